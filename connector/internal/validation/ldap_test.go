// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// directory starts a real LDAPS server on loopback.
func directory(t *testing.T, opts ldapserver.Options) *ldapserver.Server {
	t.Helper()
	opts.Listen, opts.Dir = "127.0.0.1:0", t.TempDir()
	server, err := ldapserver.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// forestOf lists servers that share the CA of the first one that is real.
func forestOf(caFile string, addresses ...string) Forest {
	f := Forest{Suffixes: []string{ldapserver.Domain}, CAFile: caFile}
	for _, address := range addresses {
		f.Servers = append(f.Servers, "ldaps://"+address)
	}
	return f
}

func against(t *testing.T, servers ...*ldapserver.Server) *LDAP {
	t.Helper()
	f := forestOf(servers[0].CAFile())
	for _, s := range servers {
		f.Servers = append(f.Servers, "ldaps://"+s.Addr())
	}
	return newLDAP(t, LDAPOptions{Forests: []Forest{f}})
}

func sharedCA(t *testing.T, n int, opts ldapserver.Options) []*ldapserver.Server {
	t.Helper()
	opts.Listen, opts.Dir = "127.0.0.1:0", t.TempDir()
	var servers []*ldapserver.Server
	for range n {
		server, err := ldapserver.Start(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		servers = append(servers, server)
	}
	return servers
}

// within bounds a validation generously; tests about deadlines set their own.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

// validate does what callers do: the password lives in one buffer, which is
// zeroed as soon as the call has returned.
func validate(ctx context.Context, v Validator, user, password string) Result {
	b := secret.New([]byte(password))
	defer b.Zero()
	return v.Validate(ctx, user+"@"+ldapserver.Domain, ldapserver.NetBIOS, b)
}

func wantCode(t *testing.T, got Result, want Code) {
	t.Helper()
	accepted, code := got.Answer()
	if code != want || accepted != (want == Success) {
		t.Errorf("answered %t, %d (%v), want %d", accepted, code, got.Err, want)
	}
}

func TestAnswersOfTheDirectoryBecomeCodes(t *testing.T) {
	const right, wrong = ldapserver.Password, "Wrong-Horse-7!"
	answer := func(result int64, text string) *ldapserver.Answer {
		return &ldapserver.Answer{Result: result, Diagnostic: text}
	}
	users := append(ldapserver.Users(),
		ldapserver.User{Name: "restricted", State: ldapserver.Restricted},
		ldapserver.User{Name: "workstation", State: ldapserver.WrongWorkstation},
		ldapserver.User{Name: "expired", State: ldapserver.AccountExpired},
		ldapserver.User{Name: "deleted", State: "525"},
		ldapserver.User{Name: "plain", Answer: answer(ldap.LDAPResultInvalidCredentials, "")},
		ldapserver.User{Name: "unwilling", Answer: answer(ldap.LDAPResultUnwillingToPerform, adPrefix+", data 52e, v4563")},
		ldapserver.User{Name: "busy", Answer: answer(ldap.LDAPResultBusy, "")},
		ldapserver.User{Name: "unavailable", Answer: answer(ldap.LDAPResultUnavailable, "")},
		ldapserver.User{Name: "operations", Answer: answer(ldap.LDAPResultOperationsError, "")},
		ldapserver.User{Name: "stronger", Answer: answer(ldap.LDAPResultStrongAuthRequired, "")},
		ldapserver.User{Name: "referral", Answer: answer(ldap.LDAPResultReferral, "")},
		ldapserver.User{Name: "progress", Answer: answer(ldap.LDAPResultSaslBindInProgress, "")},
		ldapserver.User{Name: "nosuch", Answer: answer(ldap.LDAPResultNoSuchObject, "")},
		ldapserver.User{Name: "odd", Answer: answer(12345, "")},
		ldapserver.User{Name: "mute", Answer: &ldapserver.Answer{HangUp: true}},
		ldapserver.User{Name: "verbose", Answer: answer(ldap.LDAPResultInvalidCredentials, strings.Repeat("x", 1<<20))},
	)
	v := against(t, directory(t, ldapserver.Options{Users: users}))
	for name, tc := range map[string]struct {
		user, password string
		want           Code
	}{
		"a good user":                         {"alice", right, Success},
		"a good user in capitals":             {"BOB", right, Success},
		"a wrong password":                    {"carol", wrong, LogonFailure},
		"the right password and one more":     {"carol", right + "x", LogonFailure},
		"an unknown user":                     {"nobody", right, LogonFailure},
		"disabled":                            {"dave", right, AccountDisabled},
		"disabled and a wrong password":       {"dave", wrong, LogonFailure},
		"password expired":                    {"erin", right, PasswordExpired},
		"password to change":                  {"frank", right, PasswordMustChange},
		"locked":                              {"grace", right, AccountLockedOut},
		"locked and a wrong password":         {"grace", wrong, AccountLockedOut},
		"outside the hours":                   {"heidi", right, InvalidLogonHours},
		"restricted":                          {"restricted", right, AccountRestriction},
		"another workstation":                 {"workstation", right, InvalidWorkstation},
		"account expired":                     {"expired", right, AccountExpired},
		"no such user, where it is said":      {"deleted", right, NoSuchUser},
		"invalid credentials without a cause": {"plain", right, LogonFailure},
		"unwilling, whatever the text says":   {"unwilling", right, InternalError},
		"busy":                                {"busy", right, RPCServerUnavailable},
		"unavailable":                         {"unavailable", right, RPCServerUnavailable},
		"operations error":                    {"operations", right, InternalError},
		"stronger authentication required":    {"stronger", right, InternalError},
		"a referral":                          {"referral", right, InternalError},
		"SASL in progress":                    {"progress", right, InternalError},
		"no such object":                      {"nosuch", right, InternalError},
		"a result that does not exist":        {"odd", right, InternalError},
		"a connection closed for an answer":   {"mute", right, RPCCallFailed},
		"an answer too long to be one":        {"verbose", right, RPCCallFailed},
	} {
		t.Run(name, func(t *testing.T) {
			got := validate(within(t, 10*time.Second), v, tc.user, tc.password)
			wantCode(t, got, tc.want)
			if infrastructure := tc.want.Class() == ClassInfrastructure; infrastructure != (got.Err != nil) {
				t.Errorf("the error for code %d is %v", tc.want, got.Err)
			}
		})
	}
}

func TestWhatNeverReachesTheServer(t *testing.T) {
	server := directory(t, ldapserver.Options{AcceptEverything: true})
	v := against(t, server)
	for name, tc := range map[string]struct {
		upn, password string
		want          Code
	}{
		"an empty password, which the server would accept": {"alice@contoso.example", "", LogonFailure},
		"a NUL for a password":                             {"alice@contoso.example", "\x00", LogonFailure},
		"a password with a NUL":                            {"alice@contoso.example", ldapserver.Password + "\x00x", LogonFailure},
		"no name":                                          {"", ldapserver.Password, InvalidParameter},
		"neither name nor password":                        {"", "", InvalidParameter},
		"a name without a domain":                          {"alice", ldapserver.Password, InvalidParameter},
		"a distinguished name":                             {"CN=alice,DC=contoso,DC=example", ldapserver.Password, InvalidParameter},
		"a name with a NUL":                                {"alice\x00@contoso.example", ldapserver.Password, InvalidParameter},
		"a name without end":                               {strings.Repeat("a", 5000) + "@contoso.example", ldapserver.Password, InvalidParameter},
		"a domain of no forest":                            {"alice@fabrikam.example", ldapserver.Password, NoSuchDomain},
	} {
		t.Run(name, func(t *testing.T) {
			b := secret.New([]byte(tc.password))
			defer b.Zero()
			wantCode(t, v.Validate(within(t, 10*time.Second), tc.upn, "", b), tc.want)
		})
	}
	wantCode(t, v.Validate(within(t, 10*time.Second), "alice@contoso.example", "", nil), LogonFailure)
	if got := server.Connections(); got != 0 {
		t.Errorf("the server saw %d connections, want none", got)
	}

	// The last barrier, below the checks that these cases meet first.
	c, err := v.forests[0].servers[0].connect(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, tc := range []struct{ upn, password string }{{"alice@contoso.example", ""}, {"", "x"}, {"", ""}} {
		if err := c.bind(t.Context(), tc.upn, secret.New([]byte(tc.password))); !errors.Is(err, errNotSent) {
			t.Errorf("a bind as %q with %d bytes of password gave %v, want that it is not sent", tc.upn, len(tc.password), err)
		}
	}
	if got := server.Binds(); got != 0 {
		t.Errorf("the server saw %d binds, want none", got)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	server := directory(t, ldapserver.Options{})
	v := against(t, server)
	for range 5 {
		wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), Success)
		wantCode(t, validate(within(t, 10*time.Second), v, "alice", "wrong"), LogonFailure)
		wantCode(t, validate(within(t, 10*time.Second), v, "dave", ldapserver.Password), AccountDisabled)
	}
	if got := server.Connections(); got != 1 {
		t.Errorf("15 binds, one after the other, took %d connections, want 1", got)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	const bound, binds = 3, 12
	arrived, release := make(chan struct{}, binds), make(chan struct{})
	server := directory(t, ldapserver.Options{OnBind: func(string) { arrived <- struct{}{}; <-release }})
	f := forestOf(server.CAFile(), server.Addr())
	v := newLDAP(t, LDAPOptions{Forests: []Forest{f}, MaxConnections: bound})

	var group sync.WaitGroup
	for range binds {
		group.Go(func() {
			wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), Success)
		})
	}
	for range bound {
		<-arrived
	}
	// All slots are taken and no bind returns: one more finds no connection.
	wantCode(t, validate(within(t, 500*time.Millisecond), v, "bob", ldapserver.Password), NoSystemResources)
	close(release)
	group.Wait()
	if got := server.Connections(); got > bound {
		t.Errorf("%d binds at a time took %d connections, want at most %d", binds, got, bound)
	}
}

func TestAConnectionThatTheServerDroppedIsReplaced(t *testing.T) {
	server := directory(t, ldapserver.Options{})
	v := against(t, server)
	for range 3 {
		wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), Success)
		// Whether the pool has noticed by the next round or not, it must cope.
		v.forests[0].servers[0].idle[0].raw.Close()
	}
	if got := server.Connections(); got != 3 {
		t.Errorf("%d connections were made, want 3", got)
	}
}

func TestIdleConnectionsExpire(t *testing.T) {
	v := against(t, directory(t, ldapserver.Options{}))
	s := v.forests[0].servers[0]
	wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), Success)
	c := s.takeIdle()
	if c == nil {
		t.Fatal("the connection was not kept")
	}
	s.expire(c) // its timer fired while it was in use
	if !c.usable() {
		t.Fatal("a connection in use was closed for being idle")
	}
	s.giveBack(c)
	if !c.expiry.Stop() {
		t.Error("nothing will close the idle connection")
	}
	s.expire(c)
	if c.usable() || s.takeIdle() != nil {
		t.Error("the connection outlived its time")
	}
}

func TestAConnectionIsReplacedWhenOld(t *testing.T) {
	server := directory(t, ldapserver.Options{})
	v := against(t, server)
	s := v.forests[0].servers[0]
	wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), Success)
	s.idle[0].made = time.Now().Add(-maxAge)
	wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), Success)
	if got := server.Connections(); got != 2 {
		t.Errorf("%d connections were made, want a second one", got)
	}
}

func TestTheDeadlineIsKept(t *testing.T) {
	server := directory(t, ldapserver.Options{})
	v := against(t, server)
	// A connection is at hand, so that the time goes into the bind.
	wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), Success)
	// The margin is for busy machines; victor's answer would take 30 seconds.
	const limit, margin = time.Second, 5 * time.Second
	start := time.Now()
	got := validate(within(t, limit), v, "victor", ldapserver.Password)
	if took := time.Since(start); took < limit || took > limit+margin {
		t.Errorf("it took %s, want %s", took, limit)
	}
	wantCode(t, got, RPCCallFailed)
	if !errors.Is(got.Err, context.DeadlineExceeded) {
		t.Errorf("the error is %v, want the deadline among its causes", got.Err)
	}
	// The answer to victor is still to come; nobody else may get it.
	wantCode(t, validate(within(t, 10*time.Second), v, "alice", "wrong"), LogonFailure)
	if got := server.Connections(); got != 2 {
		t.Errorf("%d connections were made, want 2: one that timed out is not used again", got)
	}
}

func TestCancellingEndsABind(t *testing.T) {
	ctx, cancel := context.WithCancel(within(t, 10*time.Second))
	server := directory(t, ldapserver.Options{OnBind: func(string) { cancel() }})
	v := against(t, server)
	wantCode(t, validate(ctx, v, "victor", ldapserver.Password), RPCCallFailed)
	if v.forests[0].servers[0].isDown(time.Now()) {
		t.Error("the server counts as down because the caller gave up")
	}
	wantCode(t, validate(ctx, v, "alice", ldapserver.Password), NoLogonServers)
	if got := server.Binds(); got != 1 {
		t.Errorf("the server saw %d binds, want 1: none after the context had ended", got)
	}
}

// closedPort is an address at which nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// silentPort accepts connections, in the kernel, and never says a word.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestTheNextServerIsAskedIfOneCannotBe(t *testing.T) {
	for name, first := range map[string]func(*testing.T, string) string{
		"nothing listens": func(t *testing.T, _ string) string { t.Helper(); return closedPort(t) },
		"it is silent":    func(t *testing.T, _ string) string { t.Helper(); return silentPort(t) },
		"its certificate is for another name": func(t *testing.T, dir string) string {
			t.Helper()
			s, err := ldapserver.Start(t.Context(), ldapserver.Options{Listen: "127.0.0.1:0", Dir: dir, HostNames: []string{"dc9.contoso.example"}, HostNamesOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			return s.Addr()
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			second, err := ldapserver.Start(t.Context(), ldapserver.Options{Listen: "127.0.0.1:0", Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(second.Close)
			v := newLDAP(t, LDAPOptions{Forests: []Forest{forestOf(second.CAFile(), first(t, dir), second.Addr())}})
			wantCode(t, validate(within(t, 6*time.Second), v, "alice", ldapserver.Password), Success)
			// It is remembered: the good server is asked first now.
			if got := preferred(v.forests[0].servers)[0].address; got != second.Addr() {
				t.Errorf("the next request goes to %s first, want %s", got, second.Addr())
			}
		})
	}
}

func TestABusyServerIsPassedOver(t *testing.T) {
	busy := directory(t, ldapserver.Options{Users: []ldapserver.User{{Name: "alice", Answer: &ldapserver.Answer{Result: ldap.LDAPResultBusy}}}})
	calm, err := ldapserver.Start(t.Context(), ldapserver.Options{Listen: "127.0.0.1:0", Dir: filepath.Dir(busy.CAFile())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(calm.Close)
	v := against(t, busy, calm)
	wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), Success)
	if busy.Binds() != 1 || calm.Binds() != 1 {
		t.Errorf("the servers saw %d and %d binds, want one each", busy.Binds(), calm.Binds())
	}
}

func TestAPasswordIsJudgedOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		user string
		want Code
	}{
		"a refusal is final":                 {"alice", LogonFailure},
		"so is a locked account":             {"grace", AccountLockedOut},
		"and an answer of another kind":      {"unwilling", InternalError},
		"a bind that may have been received": {"mute", RPCCallFailed},
	} {
		t.Run(name, func(t *testing.T) {
			servers := sharedCA(t, 2, ldapserver.Options{Users: append(ldapserver.Users(),
				ldapserver.User{Name: "unwilling", Answer: &ldapserver.Answer{Result: ldap.LDAPResultUnwillingToPerform}},
				ldapserver.User{Name: "mute", Answer: &ldapserver.Answer{HangUp: true}},
			)})
			v := against(t, servers...)
			wantCode(t, validate(within(t, 10*time.Second), v, tc.user, "wrong"), tc.want)
			if servers[0].Binds() != 1 || servers[1].Binds() != 0 {
				t.Errorf("the servers saw %d and %d binds, want one at the first", servers[0].Binds(), servers[1].Binds())
			}
		})
	}
}

func TestAServerThatClosesDuringABind(t *testing.T) {
	received, closed := make(chan struct{}), make(chan struct{})
	servers := sharedCA(t, 2, ldapserver.Options{OnBind: func(string) { close(received); <-closed }})
	v := against(t, servers...)
	go func() {
		<-received
		servers[0].SetOutage(true)
		close(closed)
	}()
	wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), RPCCallFailed)
	if got := servers[1].Binds(); got != 0 {
		t.Errorf("the bind was repeated at the second server")
	}
}

func TestNoServerCanBeReached(t *testing.T) {
	ca := directory(t, ldapserver.Options{})
	v := newLDAP(t, LDAPOptions{Forests: []Forest{forestOf(ca.CAFile(), closedPort(t), silentPort(t))}})
	start := time.Now()
	got := validate(within(t, time.Second), v, "alice", ldapserver.Password)
	wantCode(t, got, NoLogonServers)
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("it took %s, want one second", took)
	}
}

func TestAnOutageEnds(t *testing.T) {
	server := directory(t, ldapserver.Options{})
	v := against(t, server)
	wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), Success)
	server.SetOutage(true)
	if class := validate(within(t, 10*time.Second), v, "alice", "wrong").Class(); class != ClassInfrastructure {
		t.Errorf("during the outage the class is %s", class)
	}
	wantCode(t, validate(within(t, 10*time.Second), v, "alice", "wrong"), NoLogonServers)
	server.SetOutage(false)
	wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), Success)
}

func TestTLSIsVerified(t *testing.T) {
	good := directory(t, ldapserver.Options{})
	elsewhere := directory(t, ldapserver.Options{HostNames: []string{"dc9.contoso.example"}, HostNamesOnly: true})
	old := oldTLS(t)
	clear := clearText(t)
	for name, f := range map[string]Forest{
		"another CA":                    forestOf(elsewhere.CAFile(), good.Addr()),
		"the system's roots":            forestOf("", good.Addr()),
		"another host name":             forestOf(elsewhere.CAFile(), elsewhere.Addr()),
		"a server with TLS 1.1 at best": forestOf(good.CAFile(), old),
		"a server without TLS":          forestOf(good.CAFile(), clear),
	} {
		t.Run(name, func(t *testing.T) {
			v := newLDAP(t, LDAPOptions{Forests: []Forest{f}})
			wantCode(t, validate(within(t, 10*time.Second), v, "alice", ldapserver.Password), InternalError)
		})
	}
	if good.Binds()+elsewhere.Binds() != 0 {
		t.Error("a password was sent to a server that is not trusted")
	}
}

// oldTLS and clearText are servers that greet every connection in their way.
func oldTLS(t *testing.T) string {
	t.Helper()
	// The certificate is asked for when the version has been agreed on.
	config := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		t.Error("the validator agreed to a version of TLS before 1.2")
		return nil, errors.New("no certificate")
	}}
	return greet(t, func(conn net.Conn) { _ = tls.Server(conn, config).HandshakeContext(t.Context()) })
}

func clearText(t *testing.T) string {
	t.Helper()
	return greet(t, func(conn net.Conn) { _, _ = conn.Write([]byte("220 welcome to something else\r\n")) })
}

func greet(t *testing.T, greeting func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			greeting(conn)
			conn.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		group.Wait()
	})
	return l.Addr().String()
}
