// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/diagnosis"
	"github.com/passthrough-dev/connector-operator/connector/internal/health"
	"github.com/passthrough-dev/connector-operator/connector/internal/metrics"
	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/connector/internal/validation"
)

var (
	asItMustBe = validation.Refused(validation.LogonFailure, nil)
	noTrust    = validation.Refused(validation.TrustedRelationshipFailure, fmt.Errorf("%w: 1789", validation.ErrSecureChannel))
	noServers  = validation.Refused(validation.NoLogonServers, errors.New("no route to host"))
)

// checked is a validator whose answers a test changes, in made-up time.
type checked struct {
	*proving
	exhaustedNow atomic.Bool

	mu     sync.Mutex // protects what follows
	answer validation.Result
	asked  []time.Time
}

func (p *checked) Validate(context.Context, string, string, *secret.Buffer) validation.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, time.Now())
	return p.answer
}

func (p *checked) becomes(r validation.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = r
}

// times is how often it was asked.
func (p *checked) times() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

func (p *checked) state() config.ValidatorStatus { return p.tracker.Status(time.Now()).Validator }

// proof runs the checks of a validator that first gives the answer. done gets
// what they end with; served is closed when the validator is proven.
func proof(t *testing.T, answer validation.Result, patience time.Duration) (p *checked, served chan struct{}, done chan error) {
	t.Helper()
	p = &checked{answer: answer}
	p.proving = &proving{
		directory: &directory{Validator: p, canary: p, suffixes: []string{"contoso.example"}, patience: patience},
		exhausted: p.exhaustedNow.Load, distrusted: &atomic.Bool{}, suspicion: make(chan struct{}, 1),
		tracker: health.New(config.Config{}, "test"), metrics: metrics.New("test", nil), log: logr.Discard(),
	}
	served, done = make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { done <- p.run(ctx, func() { close(served) }) }()
	return p, served, done
}

func TestAWindowsThatCannotValidateEndsTheProcess(t *testing.T) {
	for name, tc := range map[string]struct {
		answer validation.Result
		says   string
	}{
		"a lost trust":              {noTrust, "1789"},
		"no domain controller":      {noServers, "1311"},
		"a code that judges nobody": {validation.Refused(validation.PasswordMustChange, nil), "1907"},
	} {
		t.Run(name+", from the start", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, served, done := proof(t, tc.answer, logonPatience)
				err := <-done
				if !errors.Is(err, errUnproven) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("it ended with %v", err)
				}
				if took := time.Since(began); took < logonPatience || took > logonPatience+maxProofRetry {
					t.Errorf("it ended after %s", took)
				}
				select {
				case <-served:
					t.Error("it served")
				default:
				}
			})
		})
		t.Run(name+", later", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, served, done := proof(t, asItMustBe, logonPatience)
				<-served
				time.Sleep(time.Hour)
				p.becomes(tc.answer)
				began := time.Now()
				if err := <-done; !errors.Is(err, errUnproven) {
					t.Errorf("it ended with %v", err)
				}
				if took := time.Since(began); took > proofInterval+logonPatience+maxProofRetry {
					t.Errorf("it ended after %s", took)
				}
			})
		})
	}
}

func TestAnLDAPDirectoryIsWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, served, done := proof(t, noServers, 0)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("it ended with %v", err)
		default:
		}
		p.becomes(asItMustBe)
		<-served
		if s := p.state(); s.State != config.ValidatorProven {
			t.Errorf("state %+v", s)
		}
	})
}

func TestTroubleThatPassesEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, served, done := proof(t, asItMustBe, logonPatience)
		<-served
		for range 5 {
			p.becomes(noTrust)
			p.suspect()
			time.Sleep(logonPatience - time.Minute)
			if s := p.state(); s.State != config.ValidatorFailing {
				t.Errorf("while the trust is lost: %+v", s)
			}
			p.becomes(asItMustBe)
			time.Sleep(maxProofRetry)
			if s := p.state(); s.State != config.ValidatorProven {
				t.Errorf("when it is there again: %+v", s)
			}
		}
		select {
		case err := <-done:
			t.Errorf("it ended with %v", err)
		default:
		}
	})
}

// A sign-in that meets a lost trust makes the connector look, and go unready,
// before anybody else signs in.
func TestASignInInTroubleHasTheValidatorChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, served, _ := proof(t, asItMustBe, logonPatience)
		<-served
		time.Sleep(time.Minute)
		p.becomes(noTrust)
		before := p.times()
		p.suspect()
		synctest.Wait()
		if s := p.state(); s.State != config.ValidatorFailing || p.times() != before+1 {
			t.Errorf("after %d checks at once: %+v", p.times()-before, s)
		}
		p.becomes(asItMustBe)
		time.Sleep(2 * maxProofRetry)

		// However many sign-ins fail: not more than a check every ten seconds.
		before = p.times()
		for range 600 {
			p.suspect()
			time.Sleep(100 * time.Millisecond)
		}
		if n := p.times() - before; n < 6 || n > 7 {
			t.Errorf("a minute of trouble gave rise to %d checks", n)
		}
	})
}

func TestLogonsThatAllHangCountAsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, served, done := proof(t, asItMustBe, logonPatience)
		<-served
		time.Sleep(time.Minute)
		p.exhaustedNow.Store(true)
		p.suspect()
		synctest.Wait()
		if s := p.state(); s.State != config.ValidatorFailing || !strings.Contains(s.Message, "do not return") {
			t.Errorf("%+v", s)
		}
		if err := <-done; !errors.Is(err, errUnproven) || !errors.Is(err, validation.ErrStuck) {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestAValidatorThatBeginsToAcceptAnythingIsLatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, served, done := proof(t, asItMustBe, logonPatience)
		<-served
		p.becomes(validation.Accepted())
		if err := <-done; !errors.Is(err, validation.ErrAcceptsAnything) || !p.distrusted.Load() {
			t.Errorf("it ended with %v, distrusted: %t", err, p.distrusted.Load())
		}
	})
}

func TestTheValidatorThatIsConfigured(t *testing.T) {
	v := config.Validation{Method: config.MethodLogonUser, TimeoutSeconds: 10, MaxConcurrent: 4, LogonUser: &config.LogonUser{Domains: []string{"contoso.example"}}}
	d, err := newDirectory(v, validation.LogonOptions{}, logr.Discard())
	if runtime.GOOS != "windows" {
		if err == nil || !strings.Contains(err.Error(), "Windows") {
			t.Errorf("LogonUser off Windows: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if _, bounded := d.canary.(*validation.Limit); !bounded || d.patience == 0 || len(d.suffixes) != 1 {
		t.Errorf("%+v", d)
	}
}

// What a diagnosis says of a domain, by what Windows answers.
func TestTheTrustIsDiagnosed(t *testing.T) {
	for name, tc := range map[string]struct {
		answer validation.Result
		want   diagnosis.Result
	}{
		"a trust":      {asItMustBe, diagnosis.OK},
		"a lost trust": {noTrust, diagnosis.Fail},
		"no answer":    {validation.Refused(validation.InternalError, errors.New("no LogonUserW")), diagnosis.Fail},
		"yes to all":   {validation.Accepted(), diagnosis.Skipped},
	} {
		p := &checked{answer: tc.answer}
		d := logonDirectory{&directory{Validator: p, canary: p, suffixes: []string{"contoso.example", "fabrikam.example"}}}
		if names, needed := d.domains(); len(names) != 2 || !needed || len(d.hosts()) != 0 {
			t.Errorf("domains %v, needed: %t, hosts %v", names, needed, d.hosts())
		}
		var subjects []string
		for _, c := range d.checks() {
			if c.Kind != diagnosis.SecureChannel {
				continue
			}
			subjects = append(subjects, c.Subject)
			finding := c.Run(t.Context())
			if finding.Result != tc.want || (tc.want == diagnosis.Fail) != (finding.Action != "" && finding.Meaning != "") {
				t.Errorf("%s: %+v, want %s", name, finding, tc.want)
			}
		}
		if strings.Join(subjects, " ") != "contoso.example fabrikam.example" {
			t.Errorf("%s: checks of %v", name, subjects)
		}
	}
}
