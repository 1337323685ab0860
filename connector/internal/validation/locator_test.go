// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/hack/directory/ldapserver"
)

const (
	everywhere = "dc._msdcs.contoso.example."
	inBerlin   = "Berlin._sites.dc._msdcs.contoso.example."
)

// zone is a DNS zone of service records, by the name behind _ldap._tcp.
type zone struct {
	mu      sync.Mutex
	records map[string][]string
	down    bool
	asked   []string
}

func (z *zone) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if service != "ldap" || proto != "tcp" {
		return "", nil, fmt.Errorf("asked for _%s._%s", service, proto)
	}
	z.asked = append(z.asked, name)
	if z.down {
		return "", nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	if ctx.Err() != nil {
		return "", nil, ctx.Err()
	}
	var records []*net.SRV
	for _, host := range z.records[name] {
		records = append(records, &net.SRV{Target: host, Port: 389})
	}
	if records == nil {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return name, records, nil
}

func (z *zone) set(change func(*zone)) {
	z.mu.Lock()
	defer z.mu.Unlock()
	change(z)
}

// finds are the hosts that a validation would ask now.
func finds(t *testing.T, l *LDAP) []string {
	t.Helper()
	servers, err := l.forests[0].known(t.Context())
	if err != nil {
		t.Logf("the list comes with: %v", err)
	}
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, s.address)
	}
	return hosts
}

func TestDomainControllersAreFoundByDNS(t *testing.T) {
	many := make([]string, 0, 40)
	for i := range 40 {
		many = append(many, fmt.Sprintf("dc%d.contoso.example.", i))
	}
	for name, tc := range map[string]struct {
		forest  Forest
		records map[string][]string
		want    []string
		wantErr string
	}{
		"all of the domain": {
			Forest{Discovery: &Discovery{Domain: "Contoso.Example."}}, map[string][]string{everywhere: {"DC1.contoso.example.", "dc2.contoso.example"}},
			[]string{"dc1.contoso.example:636", "dc2.contoso.example:636"}, "",
		},
		"those of the site first": {
			Forest{Discovery: &Discovery{Domain: "contoso.example", Site: "Berlin"}},
			map[string][]string{everywhere: {"dc1.contoso.example.", "dc2.contoso.example.", "dc3.contoso.example."}, inBerlin: {"dc3.contoso.example."}},
			[]string{"dc3.contoso.example:636", "dc1.contoso.example:636", "dc2.contoso.example:636"}, "",
		},
		"a site without domain controllers": {
			Forest{Discovery: &Discovery{Domain: "contoso.example", Site: "Berlin"}}, map[string][]string{everywhere: {"dc1.contoso.example."}},
			[]string{"dc1.contoso.example:636"}, "",
		},
		"by StartTLS": {
			Forest{Discovery: &Discovery{Domain: "contoso.example"}, StartTLS: true}, map[string][]string{everywhere: {"dc1.contoso.example."}},
			[]string{"dc1.contoso.example:389"}, "",
		},
		"one that is elsewhere": {
			Forest{Discovery: &Discovery{Domain: "contoso.example"}},
			map[string][]string{everywhere: {"dc1.evil.example.", "contoso.example.", "evilcontoso.example.", "dc1.contoso.example."}},
			[]string{"dc1.contoso.example:636"}, "",
		},
		"all elsewhere": {
			Forest{Discovery: &Discovery{Domain: "contoso.example"}}, map[string][]string{everywhere: {"dc1.evil.example."}},
			nil, `"dc1.evil.example" as a domain controller, which is not under contoso.example`,
		},
		"none": {Forest{Discovery: &Discovery{Domain: "contoso.example"}}, nil, nil, "no such host"},
		"more than can be asked": {
			Forest{Discovery: &Discovery{Domain: "contoso.example"}}, map[string][]string{everywhere: many},
			func() (want []string) {
				for i := range maxLocated {
					want = append(want, fmt.Sprintf("dc%d.contoso.example:636", i))
				}
				return want
			}(), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLDAP(t, LDAPOptions{Forests: []Forest{tc.forest}, Resolver: &zone{records: tc.records}})
			if diff := cmp.Diff(tc.want, finds(t, l)); diff != "" {
				t.Errorf("servers (-want +got)\n%s", diff)
			}
			if tc.wantErr == "" {
				return
			}
			b := secret.New([]byte("x"))
			defer b.Zero()
			got := l.Validate(t.Context(), "alice@contoso.example", "", b)
			wantCode(t, got, NoLogonServers)
			if !strings.Contains(got.Err.Error(), tc.wantErr) {
				t.Errorf("the error %v does not say %q", got.Err, tc.wantErr)
			}
		})
	}
}

// told are the changes that a validator has told.
type told struct {
	mu      sync.Mutex
	changes []string
}

func (o *told) located(domain string, hosts []string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change := domain + ": " + strings.Join(hosts, " ")
	if err != nil {
		change = domain + ": fails"
	}
	o.changes = append(o.changes, change)
}

func TestAChangeInDNSIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{records: map[string][]string{everywhere: {"dc1.contoso.example.", "dc2.contoso.example."}}}
		var o told
		l, err := NewLDAP(LDAPOptions{Forests: []Forest{{Discovery: &Discovery{Domain: "contoso.example"}}}, Resolver: z, Located: o.located})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		check := func(want ...string) {
			t.Helper()
			finds(t, l) // starts a lookup if one is due
			synctest.Wait()
			if diff := cmp.Diff(want, finds(t, l)); diff != "" {
				t.Errorf("servers (-want +got)\n%s", diff)
			}
		}
		check("dc1.contoso.example:636", "dc2.contoso.example:636")
		first := l.forests[0].located.servers[1]
		z.set(func(z *zone) { z.records[everywhere] = []string{"dc2.contoso.example.", "dc3.contoso.example."} })
		check("dc1.contoso.example:636", "dc2.contoso.example:636") // not due
		time.Sleep(lookAgain)
		check("dc2.contoso.example:636", "dc3.contoso.example:636")
		if l.forests[0].located.servers[0] != first {
			t.Error("a server that is still named lost its connections")
		}

		z.set(func(z *zone) { z.down = true })
		time.Sleep(lookAgain)
		check("dc2.contoso.example:636", "dc3.contoso.example:636") // what was known is still used
		z.set(func(z *zone) { z.down, z.asked = false, nil })
		check("dc2.contoso.example:636", "dc3.contoso.example:636")
		if len(z.asked) != 0 {
			t.Errorf("DNS was asked %d times at once after a failure", len(z.asked))
		}
		time.Sleep(lookSoon)
		check("dc2.contoso.example:636", "dc3.contoso.example:636")
		if len(z.asked) != 1 {
			t.Errorf("DNS was asked %d times after the pause, want once", len(z.asked))
		}
		want := []string{
			"contoso.example: dc1.contoso.example dc2.contoso.example", "contoso.example: dc2.contoso.example dc3.contoso.example",
			"contoso.example: fails", "contoso.example: dc2.contoso.example dc3.contoso.example",
		}
		if diff := cmp.Diff(want, o.changes); diff != "" {
			t.Errorf("what was told (-want +got)\n%s", diff)
		}
	})
}

// When no domain controller answers, DNS is asked again soon: they may be others
// by now.
func TestAnOutageHurriesTheNextLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{records: map[string][]string{everywhere: {"dc1.contoso.example."}}}
		l, err := NewLDAP(LDAPOptions{
			Forests: []Forest{{Discovery: &Discovery{Domain: "contoso.example"}}}, Resolver: z,
			Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for range 3 {
			wantCode(t, validate(t.Context(), l, "alice", ldapserver.Password), NoLogonServers)
		}
		synctest.Wait()
		if len(z.asked) != 1 {
			t.Errorf("DNS was asked %d times at once, want once", len(z.asked))
		}
		z.set(func(z *zone) { z.records[everywhere] = []string{"dc9.contoso.example."} })
		time.Sleep(lookSoon)
		finds(t, l)
		synctest.Wait()
		if got := finds(t, l); !slices.Equal(got, []string{"dc9.contoso.example:636"}) {
			t.Errorf("after the pause the servers are %v", got)
		}
	})
}

// mapped dials names that only a test knows.
func mapped(hosts map[string]*ldapserver.Server) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		server := hosts[host]
		if server == nil {
			return nil, fmt.Errorf("no route to %s", host)
		}
		return new(net.Dialer).DialContext(ctx, network, server.Addr())
	}
}

// TestADeadDomainControllerIsPassedOver lets real servers be found by DNS, verifies
// their names, and takes one away.
func TestADeadDomainControllerIsPassedOver(t *testing.T) {
	names := []string{"dc1.contoso.example", "dc2.contoso.example"}
	servers := sharedCA(t, 2, ldapserver.Options{HostNames: names, HostNamesOnly: true})
	l := newLDAP(t, LDAPOptions{
		Forests:  []Forest{{Suffixes: []string{ldapserver.Domain}, CAFile: servers[0].CAFile(), Discovery: &Discovery{Domain: "contoso.example"}}},
		Resolver: &zone{records: map[string][]string{everywhere: names}},
		Dial:     mapped(map[string]*ldapserver.Server{names[0]: servers[0], names[1]: servers[1]}),
	})
	wantCode(t, validate(within(t, 20*time.Second), l, "alice", ldapserver.Password), Success)
	wantCode(t, validate(within(t, 20*time.Second), l, "alice", "wrong"), LogonFailure)
	servers[0].Close()
	// A bind that goes out before the client has noticed is not repeated elsewhere:
	// it may have been judged. That costs one sign-in, and no more.
	if got := validate(within(t, 20*time.Second), l, "alice", ldapserver.Password); got.Code != Success && got.Code != RPCCallFailed {
		t.Errorf("the sign-in that found it gone was answered with %d (%v)", got.Code, got.Err)
	}
	before := servers[1].Binds()
	for range 3 {
		wantCode(t, validate(within(t, 20*time.Second), l, "alice", ldapserver.Password), Success)
	}
	if got := servers[1].Binds() - before; got != 3 {
		t.Errorf("the second server saw %d binds, want 3", got)
	}
}

func TestDiscoveryIsChecked(t *testing.T) {
	for name, tc := range map[string]struct {
		forest Forest
		want   string
	}{
		"beside servers":           {Forest{Servers: []string{"ldaps://dc1"}, Discovery: &Discovery{Domain: "contoso.example"}}, "servers and discovery"},
		"no domain":                {Forest{Discovery: &Discovery{}}, "is not the DNS name of a domain"},
		"a flat name":              {Forest{Discovery: &Discovery{Domain: "CONTOSO"}}, "is not the DNS name of a domain"},
		"a domain with a wildcard": {Forest{Discovery: &Discovery{Domain: "*.example"}}, "is not the DNS name of a domain"},
		"a site that is two":       {Forest{Discovery: &Discovery{Domain: "contoso.example", Site: "a.b"}}, "is not the name of a site"},
		"clear text":               {Forest{Servers: []string{"ldap://dc1"}}, "must be of the form ldaps://host"},
		"TLS at once and later":    {Forest{Servers: []string{"ldaps://dc1"}, StartTLS: true}, "must be of the form ldap://host"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewLDAP(LDAPOptions{Forests: []Forest{tc.forest}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error is %v, want %q", err, tc.want)
			}
		})
	}
}
