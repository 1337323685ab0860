// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ldapserver_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/go-logr/logr"
	"go.uber.org/goleak"

	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, opts ldapserver.Options) *ldapserver.Server {
	t.Helper()
	if opts.Listen == "" {
		opts.Listen = "127.0.0.1:0"
	}
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	server, err := ldapserver.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

func trust(t *testing.T, caFile string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the CA file holds no certificate")
	}
	return &tls.Config{RootCAs: roots}
}

func dial(t *testing.T, server *ldapserver.Server) *ldap.Conn {
	t.Helper()
	conn, err := ldap.DialURL("ldaps://"+server.Addr(), ldap.DialWithTLSConfig(trust(t, server.CAFile())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestAnswersAsActiveDirectoryDoes(t *testing.T) {
	users := append(ldapserver.Users(),
		ldapserver.User{Name: "ivan", State: ldapserver.AccountExpired},
		ldapserver.User{Name: "judy", Answer: &ldapserver.Answer{Result: ldap.LDAPResultBusy}},
	)
	server := start(t, ldapserver.Options{Users: users})
	conn := dial(t, server)
	const wrong = "not the password"
	for name, tc := range map[string]struct {
		user, password string
		wantResult     uint16
		wantData       string
	}{
		"the right password":                             {user: "alice@contoso.example", password: ldapserver.Password},
		"the right password, name in another case":       {user: "ALICE@Contoso.Example", password: ldapserver.Password},
		"the right password, name with its domain":       {user: `contoso\alice`, password: ldapserver.Password},
		"a wrong password":                               {user: "alice@contoso.example", password: wrong, wantResult: 49, wantData: "52e"},
		"an unknown user":                                {user: "nobody@contoso.example", password: ldapserver.Password, wantResult: 49, wantData: "52e"},
		"a user of another domain":                       {user: "alice@other.example", password: ldapserver.Password, wantResult: 49, wantData: "52e"},
		"a bare name":                                    {user: "alice", password: ldapserver.Password, wantResult: 49, wantData: "52e"},
		"a disabled account":                             {user: "dave@contoso.example", password: ldapserver.Password, wantResult: 49, wantData: "533"},
		"a disabled account and a wrong password":        {user: "dave@contoso.example", password: wrong, wantResult: 49, wantData: "52e"},
		"an expired password":                            {user: "erin@contoso.example", password: ldapserver.Password, wantResult: 49, wantData: "532"},
		"an expired password and a wrong one":            {user: "erin@contoso.example", password: wrong, wantResult: 49, wantData: "52e"},
		"a password to change":                           {user: "frank@contoso.example", password: ldapserver.Password, wantResult: 49, wantData: "773"},
		"a locked account":                               {user: "grace@contoso.example", password: ldapserver.Password, wantResult: 49, wantData: "775"},
		"a locked account and a wrong password":          {user: "grace@contoso.example", password: wrong, wantResult: 49, wantData: "775"},
		"outside the logon hours":                        {user: "heidi@contoso.example", password: ldapserver.Password, wantResult: 49, wantData: "530"},
		"outside the logon hours and a wrong password":   {user: "heidi@contoso.example", password: wrong, wantResult: 49, wantData: "52e"},
		"an expired account":                             {user: "ivan@contoso.example", password: ldapserver.Password, wantResult: 49, wantData: "701"},
		"a result of the test's own":                     {user: "judy@contoso.example", password: ldapserver.Password, wantResult: 51},
		"no password: an unauthenticated bind succeeds":  {user: "alice@contoso.example"},
		"no password and a disabled account: it does so": {user: "dave@contoso.example"},
		"no password and no such user: it still does":    {user: "nobody@contoso.example"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := conn.SimpleBind(&ldap.SimpleBindRequest{Username: tc.user, Password: tc.password, AllowEmptyPassword: true})
			var got ldap.Error
			if answer := (*ldap.Error)(nil); errors.As(err, &answer) {
				got = *answer
			} else if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			if got.ResultCode != tc.wantResult {
				t.Fatalf("result %d (%v), want %d", got.ResultCode, err, tc.wantResult)
			}
			if tc.wantData != "" && !strings.Contains(got.Err.Error(), "AcceptSecurityContext error, data "+tc.wantData+", v") {
				t.Errorf("answered %q, want data %s", got.Err, tc.wantData)
			}
		})
	}
	if got := server.Connections(); got != 1 {
		t.Errorf("%d connections were counted, want 1", got)
	}
}

func TestAcceptsEverythingIfAskedTo(t *testing.T) {
	conn := dial(t, start(t, ldapserver.Options{AcceptEverything: true}))
	if err := conn.Bind("nobody@nowhere.example", "anything"); err != nil {
		t.Errorf("a random credential was refused: %v", err)
	}
}

func TestKeepsItsCA(t *testing.T) {
	dir := t.TempDir()
	first := start(t, ldapserver.Options{Dir: dir})
	config := trust(t, first.CAFile())
	first.Close()
	second := start(t, ldapserver.Options{Dir: dir, Listen: first.Addr()})
	conn, err := ldap.DialURL("ldaps://"+second.Addr(), ldap.DialWithTLSConfig(config))
	if err != nil {
		t.Fatalf("a server that was started again is not trusted as before: %v", err)
	}
	_ = conn.Close()
}

func TestRefusesPublicAddresses(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "192.0.2.1:636", "directory.example:636", "127.0.0.1"} {
		server, err := ldapserver.Start(t.Context(), ldapserver.Options{Listen: listen, Dir: t.TempDir()})
		if err == nil {
			server.Close()
			t.Errorf("it listens on %q", listen)
		}
	}
}

func TestOutage(t *testing.T) {
	server := start(t, ldapserver.Options{})
	config := trust(t, server.CAFile())
	conn := dial(t, server)
	server.SetOutage(true)
	if err := conn.Bind("alice@contoso.example", ldapserver.Password); err == nil {
		t.Error("an open connection survived the outage")
	}
	if c, err := ldap.DialURL("ldaps://"+server.Addr(), ldap.DialWithTLSConfig(config)); err == nil {
		_ = c.Close()
		t.Error("a connection was made during the outage")
	}
	server.SetOutage(false)
	if err := dial(t, server).Bind("alice@contoso.example", ldapserver.Password); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

func TestCloseEndsASlowBind(t *testing.T) {
	received := make(chan string, 1)
	server := start(t, ldapserver.Options{OnBind: func(name string) { received <- name }})
	conn := dial(t, server)
	answered := make(chan error, 1)
	go func() { answered <- conn.Bind("victor@contoso.example", ldapserver.Password) }()
	<-received
	server.Close() // the test's time limit is what fails if this waits
	if err := <-answered; err == nil {
		t.Error("the bind of a user whose answer takes 30 seconds succeeded at once")
	}
}

func TestLogsHoldNoPasswordAndNoUnknownName(t *testing.T) {
	var logs lockedBuffer
	server := start(t, ldapserver.Options{
		Logger: logr.FromSlogHandler(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug - 10})),
	})
	conn := dial(t, server)
	const typedAsName = "S3cret-typed-as-name"
	for _, user := range []string{"alice@contoso.example", "dave@contoso.example", typedAsName} {
		_ = conn.Bind(user, ldapserver.Password)
		_ = conn.Bind(user, ldapserver.Password+"x")
	}
	_, _ = conn.WhoAmI(nil) // not a bind: the connection ends
	server.Close()
	if got := logs.String(); !strings.Contains(got, `"user":"alice"`) {
		t.Errorf("the binds were not logged: %s", got)
	} else if strings.Contains(got, ldapserver.Password) || strings.Contains(got, typedAsName) {
		t.Errorf("the log holds a password: %s", got)
	}
}

type lockedBuffer struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
