// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
)

// telling is a reporter that answers for addresses.
type telling struct {
	mu    sync.Mutex
	asked []string
	tell  func(address string) (config.Status, error)
}

func (r *telling) Report(_ context.Context, address string) (config.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, address)
	return r.tell(address)
}

// askedSince returns who was asked since the last call, in order of address.
func (r *telling) askedSince() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	slices.Sort(asked)
	return asked
}

// says is a status with what the service says.
func says(state, message string) config.Status {
	at := testNow.Add(-3 * time.Minute)
	return config.Status{
		Ready: true, Reason: config.ReasonServing,
		Bootstrap: config.BootstrapStatus{LastSuccess: &at, ConnectorState: state, ServiceMessage: message},
		Links:     []config.LinkStatus{{Endpoint: "a", State: config.LinkAttached}, {Endpoint: "b", State: config.LinkWaiting}, {Endpoint: "c", State: config.LinkAttached}},
	}
}

// serving is an observation of n connectors that run and are ready, at addresses
// 127.0.0.0 and up.
func serving(n int32, now time.Time) observation {
	o, _, _ := seen(n)
	o.now = now
	for i := range o.instances {
		o.instances[i].pod.Status.PodIP = fmt.Sprintf("127.0.0.%d", i)
		o.instances[i].pod.UID = "pod"
	}
	return o
}

func TestServiceCondition(t *testing.T) {
	inspected := config.Status{Reason: config.ReasonTLSInspected, Message: "exempt *.msappproxy.test from inspection"}
	for name, tc := range map[string]struct {
		tell   []config.Status
		want   string // status and reason
		prefix string
	}{
		"all is well":       {[]config.Status{says("Ok", ""), says("Ok", "")}, "True ServiceOk", "the service finds no fault with 2 of 2"},
		"none has told":     {[]config.Status{{}, {}}, "Unknown NotReported", "no connector has told"},
		"one has told":      {[]config.Status{{}, says("Ok", "")}, "True ServiceOk", "the service finds no fault with 1 of 1"},
		"an update":         {[]config.Status{says("Ok", ""), says("UpdateRequired", "1.6 is out")}, "False UpdateRequired", "corp-1: the service wants a newer version and says 1.6 is out; update the operator"},
		"two updates":       {[]config.Status{says("UpdateRequired", ""), says("UpdateRequired", "")}, "False UpdateRequired", "corp-0: the service wants a newer version and says nothing more (and 1 more)"},
		"information":       {[]config.Status{says("InfoServiceMessage", "tonight"), says("Ok", "")}, "True ServiceInformation", "corp-0: the service says tonight"},
		"a message with Ok": {[]config.Status{says("Ok", "tonight")}, "True ServiceInformation", "corp-0: the service says tonight"},
		"an error":          {[]config.Status{says("UpdateRequired", ""), says("ErrorServiceMessage", "blocked")}, "False ServiceError", "corp-1: the service says blocked"},
		"something newer":   {[]config.Status{says("Quarantined", "why")}, "Unknown ServiceStateUnknown", `corp-0: the state is "Quarantined" and the service says why`},
		"TLS is inspected":  {[]config.Status{says("ErrorServiceMessage", "x"), inspected}, "False TLSInspected", "corp-1: exempt *.msappproxy.test"},
		"hostile text":      {[]config.Status{says("ErrorServiceMessage", strings.Repeat("a\n\x1b[31m\u202e", 5000))}, "False ServiceError", "corp-0: the service says a; [31ma;"},
	} {
		t.Run(name, func(t *testing.T) {
			o := serving(int32(len(tc.tell)), testNow)
			for i := range o.instances {
				if tc.tell[i].Reason == config.ReasonTLSInspected {
					o.instances[i].deployment = deploymentWith(1, 0)
				}
			}
			r := &Reconciler{told: &toldMemory{}, reports: &telling{tell: func(address string) (config.Status, error) {
				return tc.tell[int(address[len(address)-1]-'0')], nil
			}}}
			r.observeReports(t.Context(), &o)
			_, p, done := seen(int32(len(tc.tell)))
			status := summarize(o, p, done)
			checkConditions(t, o.connector, status, v1alpha1.ReasonServiceInformation)
			c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionServiceHealthy)
			if got := string(c.Status) + " " + c.Reason; got != tc.want || !strings.HasPrefix(c.Message, tc.prefix) {
				t.Errorf("%s: %q, want %s: %q", got, c.Message, tc.want, tc.prefix)
			}
			if len(c.Message) > conditionMessageLimit || len(status.Connectors[0].ServiceMessage) > serviceMessageLimit || strings.ContainsAny(status.Connectors[0].ServiceMessage, "\n\x1b\u202e") {
				t.Errorf("text of others: condition %q, connector %q", c.Message, status.Connectors[0].ServiceMessage)
			}
		})
	}
}

func TestWhatConnectorsTellIsInStatusAndChangesSlowly(t *testing.T) {
	reporter := &telling{tell: func(string) (config.Status, error) { return says("Ok", "hello"), nil }}
	r := &Reconciler{told: &toldMemory{}, reports: reporter}
	_, p, done := seen(2)
	pass := func(now time.Time) v1alpha1.PassthroughConnectorStatus {
		o := serving(2, now)
		r.observeReports(t.Context(), &o)
		if o.askAgain <= 0 || o.askAgain > reportFresh+reportFresh/4 {
			t.Errorf("connectors are asked again after %s", o.askAgain)
		}
		return summarize(o, p, done)
	}
	first := pass(testNow)
	want := v1alpha1.ConnectorStatus{
		Name: "corp-0", Index: new(int32(0)), ConnectorID: "id-0", Thumbprint: "AB", Ready: new(true),
		NotAfter: new(metav1.NewTime(testNow.AddDate(0, 0, 100))), State: "Ok", ServiceMessage: "hello", Links: new(int32(2)),
		LastBootstrapTime: new(metav1.NewTime(testNow.Add(-time.Hour))), // 13:57, rounded down
		RenewAfter:        first.Connectors[0].RenewAfter,               // another test's subject
	}
	if diff := cmp.Diff(want, first.Connectors[0]); diff != "" {
		t.Errorf("connector (-want +got):\n%s", diff)
	}
	if got := reporter.askedSince(); len(got) != 2 {
		t.Errorf("asked %v", got)
	}
	// In the next minutes nobody is asked, and nothing changes.
	for minute := range 5 {
		if diff := cmp.Diff(first.Connectors, pass(testNow.Add(time.Duration(minute)*time.Minute)).Connectors); diff != "" {
			t.Errorf("after %d minutes (-first +now):\n%s", minute, diff)
		}
	}
	if got := reporter.askedSince(); len(got) != 0 {
		t.Errorf("asked %v again within minutes", got)
	}
	// Bootstraps go on; status is not rewritten for each.
	reporter.tell = func(string) (config.Status, error) {
		s := says("Ok", "hello")
		*s.Bootstrap.LastSuccess = testNow.Add(-time.Minute)
		return s, nil
	}
	if diff := cmp.Diff(first.Connectors, pass(testNow.Add(6*time.Minute)).Connectors); diff != "" {
		t.Errorf("after the next bootstrap (-first +now):\n%s", diff)
	}
	if got := reporter.askedSince(); len(got) != 2 {
		t.Errorf("asked %v after six minutes", got)
	}
	// One that stops to answer is believed for a while.
	reporter.tell = func(string) (config.Status, error) { return config.Status{}, errors.New("it does not answer") }
	if diff := cmp.Diff(first.Connectors, pass(testNow.Add(20*time.Minute)).Connectors); diff != "" {
		t.Errorf("one silence (-first +now):\n%s", diff)
	}
	if got := pass(testNow.Add(40 * time.Minute)).Connectors[0]; got.State != "" || got.Links != nil {
		t.Errorf("what was told is believed for ever: %+v", got)
	}
}

func TestAllConnectorsHaveTheirTurn(t *testing.T) {
	reporter := &telling{tell: func(string) (config.Status, error) { return says("Ok", ""), nil }}
	r := &Reconciler{told: &toldMemory{}, reports: reporter}
	asked := map[string]int{}
	for pass := range 3 {
		o := serving(40, testNow.Add(time.Duration(pass)*recheckUnready))
		o.instances[39].deployment = deploymentWith(1, 0) // asked in each
		r.observeReports(t.Context(), &o)
		for _, address := range reporter.askedSince() {
			asked[address]++
		}
		if soon := o.askAgain < reportFresh; soon != (pass < 2) {
			t.Errorf("pass %d asks again after %s", pass, o.askAgain)
		}
	}
	if len(asked) != 40 || asked["127.0.0.39"] != 3 || asked["127.0.0.0"] != 1 {
		t.Errorf("asked %v", asked)
	}
}

func TestANewPodIsNotTakenForTheOldOne(t *testing.T) {
	r := &Reconciler{told: &toldMemory{}, reports: &telling{tell: func(string) (config.Status, error) { return says("Ok", ""), nil }}}
	o := serving(1, testNow)
	r.observeReports(t.Context(), &o)
	r.reports = &telling{tell: func(string) (config.Status, error) { return config.Status{}, errors.New("starting") }}
	o = serving(1, testNow.Add(time.Second))
	o.instances[0].pod.UID = "another"
	r.observeReports(t.Context(), &o)
	if o.instances[0].told != nil {
		t.Errorf("a pod that has told nothing counts as having told %+v", o.instances[0].told)
	}
}

func TestAReportFromTheFutureIsNotBelieved(t *testing.T) {
	future := testNow.AddDate(1, 0, 0)
	if got := tellsOf(&config.Status{Bootstrap: config.BootstrapStatus{LastSuccess: &future}}, testNow); !got.lastBootstrap.IsZero() {
		t.Errorf("last bootstrap %s", got.lastBootstrap)
	}
}
