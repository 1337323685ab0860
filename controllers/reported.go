// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/config/prose"
	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
)

const (
	// reportFresh is how often a connector that is ready is asked. Connectors
	// bootstrap every ten minutes, and what the service says changes with that.
	reportFresh = 5 * time.Minute
	// reportKept is for how long what a connector told counts if it tells no more.
	reportKept = 30 * time.Minute
	// bootstrapResolution keeps status from changing with every bootstrap.
	bootstrapResolution = time.Hour

	stateLimit          = 64
	serviceMessageLimit = 512
)

// tells is what a connector told when it was last asked.
type tells struct {
	pod           types.UID
	asked         time.Time // also when it did not answer
	answered      time.Time // zero if it never did
	state         string
	message       string
	lastBootstrap time.Time
	links         int32
	inspected     string // what it says about TLS inspection; empty if nothing
}

// tellsOf reduces a report to what is remembered. Nothing of it is believed to be
// short, printable or sane.
func tellsOf(report *config.Status, now time.Time) tells {
	t := tells{answered: now, state: prose.Line(report.Bootstrap.ConnectorState, stateLimit), message: prose.Line(report.Bootstrap.ServiceMessage, serviceMessageLimit)}
	if at := report.Bootstrap.LastSuccess; at != nil && !at.After(now.Add(bootstrapResolution)) {
		t.lastBootstrap = at.UTC().Truncate(bootstrapResolution)
	}
	for _, l := range report.Links {
		if l.State == config.LinkAttached {
			t.links++
		}
	}
	if !report.Ready && report.Reason == config.ReasonTLSInspected {
		t.inspected = prose.Line(report.Message, serviceMessageLimit)
	}
	return t
}

// toldMemory remembers between passes what connectors told. It may be lost: they
// are asked again. A nil one remembers nothing.
type toldMemory struct {
	mu    sync.Mutex
	known map[toldKey]tells
}

type toldKey struct {
	connector types.UID
	index     int
}

// get returns what the connector's present pod told; nil if nothing lately.
func (m *toldMemory) get(key toldKey, pod types.UID) *tells {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.known[key]
	if !ok || t.pod != pod {
		return nil
	}
	return &t
}

// put remembers what a connector told, and forgets what is too old.
func (m *toldMemory) put(key toldKey, t tells, now time.Time) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[toldKey]tells{}
	}
	m.known[key] = t
	for k, old := range m.known {
		if now.Sub(old.asked) > reportKept {
			delete(m.known, k)
		}
	}
}

// toAsk chooses the connectors to ask in this pass: those that are not ready, and
// then those that are and have not been asked for longest.
func (r *Reconciler) toAsk(o *observation) []*instance {
	var first, due []*instance
	asked := map[*instance]time.Time{}
	for i := range o.instances {
		in := &o.instances[i]
		switch {
		case in.pod == nil || !answers(in.pod):
		case !ready(in), in.awaitsConfirmation():
			first = append(first, in)
		default:
			if t := r.told.get(toldKey{o.connector.UID, in.index}, in.pod.UID); t != nil {
				if o.now.Sub(t.asked) < reportFresh {
					continue
				}
				asked[in] = t.asked
			}
			due = append(due, in)
		}
	}
	slices.SortStableFunc(due, func(a, b *instance) int { return asked[a].Compare(asked[b]) })
	all := append(first, due...)
	return all[:min(len(all), reportsPerPass)]
}

// remember takes over what connectors told in this pass, fills in what they told
// before, and says when to ask again.
func (r *Reconciler) remember(o *observation) {
	for i := range o.instances {
		in := &o.instances[i]
		if in.pod == nil || !answers(in.pod) {
			continue
		}
		key := toldKey{o.connector.UID, in.index}
		last := r.told.get(key, in.pod.UID)
		var now tells
		switch {
		case in.report != nil:
			now = tellsOf(in.report, o.now)
		case in.reportProblem != nil && last != nil:
			now = *last
		case in.reportProblem == nil:
			in.told = last
			if last == nil || o.now.Sub(last.asked) >= reportFresh { // the pass had no room for it
				o.askAgain = jittered(recheckUnready)
			}
			continue
		}
		now.pod, now.asked = in.pod.UID, o.now
		r.told.put(key, now, o.now)
		in.told = &now
	}
	for i := range o.instances {
		in := &o.instances[i]
		if in.told != nil && (in.told.answered.IsZero() || o.now.Sub(in.told.answered) > reportKept) {
			in.told = nil
		}
		if in.pod != nil && answers(in.pod) && o.askAgain == 0 {
			o.askAgain = jittered(reportFresh)
		}
	}
}

// withTold adds to a connector's status what it told.
func withTold(c v1alpha1.ConnectorStatus, t *tells) v1alpha1.ConnectorStatus {
	if t == nil {
		return c
	}
	c.State, c.ServiceMessage, c.Links = t.state, t.message, &t.links
	if !t.lastBootstrap.IsZero() {
		c.LastBootstrapTime = new(metav1.NewTime(t.lastBootstrap))
	}
	return c
}

// severity orders what connectors tell; the gravest is the lowest.
type severity int

const (
	inspected severity = iota
	serviceError
	updateRequired
	unknownState
	information
	healthy
	silent
)

// findings are what severities mean for the condition.
var findings = map[severity]struct {
	status metav1.ConditionStatus
	reason string
	action string
}{
	inspected:      {metav1.ConditionFalse, v1alpha1.ReasonTLSInspected, ""},
	serviceError:   {metav1.ConditionFalse, v1alpha1.ReasonServiceError, ""},
	updateRequired: {metav1.ConditionFalse, v1alpha1.ReasonUpdateRequired, "; update the operator, or spec.pod.image if it is set"},
	unknownState:   {metav1.ConditionUnknown, v1alpha1.ReasonServiceStateUnknown, ""},
	information:    {metav1.ConditionTrue, v1alpha1.ReasonServiceInformation, ""},
	healthy:        {metav1.ConditionTrue, v1alpha1.ReasonServiceOk, ""},
	silent:         {metav1.ConditionUnknown, v1alpha1.ReasonNotReported, ""},
}

// judge returns how grave it is what a connector tells, and what there is to say.
func judge(t *tells) (severity, string) {
	switch {
	case t == nil:
		return silent, ""
	case t.inspected != "":
		return inspected, t.inspected
	case t.state == "":
		return silent, ""
	}
	says := "the service says " + cmp.Or(t.message, "nothing more")
	switch t.state {
	case bootstrap.StateErrorServiceMessage:
		return serviceError, says
	case bootstrap.StateUpdateRequired:
		return updateRequired, "the service wants a newer version and says " + cmp.Or(t.message, "nothing more")
	case bootstrap.StateInfoServiceMessage:
		return information, says
	case bootstrap.StateOk:
		if t.message != "" {
			return information, says
		}
		return healthy, ""
	default:
		return unknownState, fmt.Sprintf("the state is %q and %s", t.state, says)
	}
}

// serviceCondition sums up what the service says about the connectors.
func serviceCondition(o observation) metav1.Condition {
	gravest, text, name, count, reported := silent, "", "", 0, 0
	for i := range o.instances {
		in := &o.instances[i]
		s, says := judge(in.told)
		if s != silent {
			reported++
		}
		switch {
		case s < gravest:
			gravest, text, name, count = s, says, in.name, 1
		case s == gravest:
			count++
		}
	}
	f := findings[gravest]
	c := metav1.Condition{Type: v1alpha1.ConditionServiceHealthy, Status: f.status, Reason: f.reason}
	switch gravest {
	case silent:
		c.Message = "no connector has told yet what the service says about it"
	case healthy:
		c.Message = fmt.Sprintf("the service finds no fault with %d of %d connectors that have told", count, reported)
	default:
		c.Message = fmt.Sprintf("%s: %s", name, text)
		if count > 1 {
			c.Message += fmt.Sprintf(" (and %d more)", count-1)
		}
		c.Message += f.action
	}
	return c
}
