// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keyring_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/sas"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/amqp"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/keyring"
)

type agents []string

func (a agents) IDs() []string { return a }

var (
	one = keyring.Path{Host: "ns1.servicebus.test", Path: "tenant_group"}
	two = keyring.Path{Host: "ns2.servicebus.test", Path: "tenant_group"}
)

func open(t *testing.T, dir string, known ...string) *keyring.Ring {
	t.Helper()
	r, err := keyring.Open(dir, []keyring.Path{one, two}, agents(known))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAuthorize(t *testing.T) {
	dir := t.TempDir()
	ring := open(t, dir, "a", "b")
	hour := time.Now().Add(time.Hour)
	sign := func(agent string, p keyring.Path, expiry time.Time) string {
		return sas.Sign(sas.ResourceURI(p.Host, p.Path), keyring.KeyName, ring.Key(agent, p), expiry)
	}
	good := sign("b", one, hour)
	const address = "sb://ns1.servicebus.test/tenant_group/"
	for name, tc := range map[string]struct {
		ring           *keyring.Ring
		address, token string
		want           string // condition; empty: granted to b
	}{
		"a good token":                  {ring, address, good, ""},
		"an address in other case":      {ring, "sb://NS1.servicebus.test/Tenant_Group", good, ""},
		"after a restart":               {open(t, dir, "a", "b"), address, good, ""},
		"an agent that was forgotten":   {open(t, dir, "a"), address, good, amqp.ConditionUnauthorized},
		"another tenant's key":          {open(t, t.TempDir(), "a", "b"), address, good, amqp.ConditionUnauthorized},
		"a token that is over":          {ring, address, sign("b", one, time.Now().Add(-time.Second)), amqp.ConditionUnauthorized},
		"a token for another namespace": {ring, address, sign("b", two, hour), amqp.ConditionUnauthorized},
		"a key of another path":         {ring, address, sas.Sign(sas.ResourceURI(one.Host, one.Path), keyring.KeyName, ring.Key("b", two), hour), amqp.ConditionUnauthorized},
		"another key name":              {ring, address, sas.Sign(sas.ResourceURI(one.Host, one.Path), "Root", ring.Key("b", one), hour), amqp.ConditionUnauthorized},
		"an expiry that was changed":    {ring, address, strings.Replace(good, "&se=1", "&se=2", 1), amqp.ConditionUnauthorized},
		"no token":                      {ring, address, "", amqp.ConditionUnauthorized},
		"something else":                {ring, address, "hello", amqp.ConditionUnauthorized},
		"a path that does not exist":    {ring, "sb://ns1.servicebus.test/other/", good, amqp.ConditionRelayNotFound},
		"a host that does not exist":    {ring, "sb://ns3.servicebus.test/tenant_group/", good, amqp.ConditionRelayNotFound},
		"no address":                    {ring, "", good, amqp.ConditionRelayNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			grant, err := tc.ring.Authorize(tc.address, tc.token)
			if tc.want == "" {
				if err != nil || grant.Principal != "b" || !grant.Expiry.Equal(hour.Truncate(time.Second)) {
					t.Errorf("got %+v, %v; want agent b until %s", grant, err, hour)
				}
				return
			}
			refusal := (*amqp.Refusal)(nil)
			if !errors.As(err, &refusal) || refusal.Condition != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	if key := ring.Key("a", one); len(key) != 44 || key == ring.Key("b", one) || key == ring.Key("a", two) {
		t.Errorf("the key %q is not 44 characters, or not of its own", key)
	}
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	ring := open(t, dir, "a")
	address := "sb://" + one.Host + "/" + one.Path + "/"
	token := func(r *keyring.Ring) string {
		return sas.Sign(sas.ResourceURI(one.Host, one.Path), keyring.KeyName, r.Key("a", one), time.Now().Add(time.Hour))
	}
	old := token(ring)
	if err := ring.Rotate(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, "a")
	for name, r := range map[string]*keyring.Ring{"the same": ring, "opened again": again} {
		if _, err := r.Authorize(address, old); err == nil {
			t.Errorf("%s: a token of an old key is taken", name)
		}
		if grant, err := r.Authorize(address, token(ring)); err != nil || grant.Principal != "a" {
			t.Errorf("%s: grant %+v, %v for a token of the new key", name, grant, err)
		}
	}
}
