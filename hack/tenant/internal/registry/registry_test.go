// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/authority"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/registry"
)

// issuer makes certificates for one key: what differs is all that counts here.
type issuer struct {
	t   *testing.T
	ca  *authority.Authority
	key *rsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	ca, err := authority.Open(t.TempDir(), "msappproxy.test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t, ca, key}
}

func (i *issuer) certificate(connector guid.GUID) []byte {
	i.t.Helper()
	der, err := i.ca.IssueConnector(&i.key.PublicKey, guid.New(), connector, 180*24*time.Hour)
	if err != nil {
		i.t.Fatal(err)
	}
	return der
}

func open(t *testing.T, dir string) *registry.Registry {
	t.Helper()
	r, err := registry.Open(dir, 30*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func list(t *testing.T, r *registry.Registry, now time.Time) []registry.Agent {
	t.Helper()
	agents, err := r.Agents(now)
	if err != nil {
		t.Fatal(err)
	}
	return agents
}

func identifiers(t *testing.T, r *registry.Registry, now time.Time) []string {
	t.Helper()
	recipients, err := r.Recipients(now)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, x := range recipients {
		ids = append(ids, x.KeyIdentifier)
	}
	return ids
}

func TestLifeOfAnAgent(t *testing.T) {
	i, dir, now := newIssuer(t), t.TempDir(), time.Now().Round(0)
	r := open(t, dir)
	id := guid.New()
	a, err := r.Add("server1.contoso.example", i.certificate(id), now)
	if err != nil {
		t.Fatal(err)
	}
	if r.Active(a, now) {
		t.Error("an agent is active before its first bootstrap")
	}
	if err := r.Bootstrapped(a.ConnectorID, a.Current().Thumbprint, "server2.contoso.example", "1.0", now); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	if diff := cmp.Diff(list(t, r, now), list(t, again, now)); diff != "" {
		t.Errorf("the registry after a restart (-before +after):\n%s", diff)
	}
	a = list(t, again, now)[0]
	if a.Name != "server2.contoso.example" || !again.Active(a, now.Add(29*time.Minute)) || again.Active(a, now.Add(31*time.Minute)) {
		t.Errorf("agent %+v: want its newest name, and active for 30 minutes", a)
	}
	if got := list(t, again, now.Add(10*24*time.Hour+time.Second)); len(got) != 0 {
		t.Errorf("after ten silent days there is still %+v", got)
	}
	if got := list(t, open(t, dir), now); len(got) != 0 {
		t.Error("a forgotten agent came back with a restart")
	}
}

func TestOverlapOfCertificates(t *testing.T) {
	i, now := newIssuer(t), time.Now()
	r := open(t, t.TempDir())
	id := guid.New()
	a, err := r.Add("server1", i.certificate(id), now)
	if err != nil {
		t.Fatal(err)
	}
	first := a.Current().Thumbprint
	if err := r.AddCertificate(a.ConnectorID, i.certificate(id)); err != nil {
		t.Fatal(err)
	}
	a, _ = r.ByID(a.ConnectorID)
	second := a.Current().Thumbprint
	if diff := cmp.Diff([]string{a.ConnectorID + "_" + first, a.ConnectorID + "_" + second}, identifiers(t, r, now)); diff != "" {
		t.Errorf("recipients before the new certificate is used:\n%s", diff)
	}
	if err := r.Bootstrapped(a.ConnectorID, first, "", "", now); err != nil {
		t.Fatal(err)
	}
	if got := identifiers(t, r, now); len(got) != 2 {
		t.Errorf("a bootstrap with the old certificate left %v", got)
	}
	if err := r.Bootstrapped(a.ConnectorID, second, "", "", now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{a.ConnectorID + "_" + second}, identifiers(t, r, now)); diff != "" {
		t.Errorf("recipients once the new certificate is used:\n%s", diff)
	}
	for after, want := range map[time.Duration]bool{9 * time.Minute: true, 11 * time.Minute: false} {
		if _, ok := r.ByThumbprint(first, now.Add(after)); ok != want {
			t.Errorf("%s after its retirement the old certificate is taken: %v, want %v", after, ok, want)
		}
	}
	if _, ok := r.ByThumbprint(second, now.Add(181*24*time.Hour)); ok {
		t.Error("a certificate is taken after its end")
	}
}

func TestAtMostFortyAgents(t *testing.T) {
	i, now := newIssuer(t), time.Now()
	r := open(t, t.TempDir())
	for range registry.Limit {
		if _, err := r.Add("server", i.certificate(guid.New()), now); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Room(now); !errors.Is(err, registry.ErrFull) {
		t.Errorf("room for another agent: %v, want ErrFull", err)
	}
	if _, err := r.Add("server", i.certificate(guid.New()), now); !errors.Is(err, registry.ErrFull) {
		t.Errorf("adding another agent: %v, want ErrFull", err)
	}
	if _, err := r.Add("server", i.certificate(guid.New()), now.Add(11*24*time.Hour)); err != nil {
		t.Errorf("adding an agent when the others are forgotten: %v", err)
	}
}
