// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrapping

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
)

// service answers bootstraps; it is the http.Client's transport.
type service struct {
	t       *testing.T
	answers []func() (*http.Response, error) // the last one repeats
	began   time.Time
	calls   []string // time since the beginning, and what the request said
	urls    []string
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	request, err := bootstrap.ParseRequest(body)
	if err != nil {
		s.t.Error(err)
	}
	if request.RequestID == "" || r.Header.Get("Content-Type") != bootstrap.ContentType || !strings.HasSuffix(r.URL.Path, bootstrap.Path) {
		s.t.Errorf("request %+v to %s with %v", request, r.URL, r.Header)
	}
	if _, ok := r.Context().Deadline(); !ok {
		s.t.Error("a call without a deadline")
	}
	s.urls = append(s.urls, r.URL.String())
	s.calls = append(s.calls, fmt.Sprintf("%s initial=%v failures=%d", time.Since(s.began).Round(time.Second), request.InitialBootstrap, request.ConsecutiveFailures))
	answer := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	return answer()
}

func status(code int, body []byte) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Body: io.NopCloser(bytes.NewReader(body))}, nil
	}
}

func good(t *testing.T, change ...func(*bootstrap.Response)) func() (*http.Response, error) {
	t.Helper()
	response := bootstrap.DefaultResponse()
	for _, f := range change {
		f(&response)
	}
	body, err := response.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return status(http.StatusOK, body)
}

func failed() (*http.Response, error) { return nil, errors.New("connection refused") }

const configured = "https://tenant.bootstrap.msappproxy.test"

func allow(url string) error {
	if !strings.HasPrefix(url, "https://other.msappproxy.test") {
		return errors.New("not pinned")
	}
	return nil
}

// observe runs a loop for a while of made-up time and returns the calls and
// the observed outcomes.
func observe(t *testing.T, random float64, d time.Duration, answers ...func() (*http.Response, error)) (calls, outcomes []string) {
	t.Helper()
	calls, _, outcomes = observeDuring(t, random, d, nil, answers...)
	return calls, outcomes
}

// observeDuring is observe, beside something that happens meanwhile. It returns
// where the calls went, too.
func observeDuring(t *testing.T, random float64, d time.Duration, during func(*Loop), answers ...func() (*http.Response, error)) (calls, urls, outcomes []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &service{t: t, answers: answers, began: time.Now()}
		l := New(Options{
			URL: configured, Client: &http.Client{Transport: s}, Log: logr.Discard(), Allow: allow,
			Request: func() bootstrap.Request {
				return bootstrap.Request{TenantID: "6f5e4d3c-2b1a-4908-8716-253443526170", ConnectorID: "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5", AgentVersion: "1.0"}
			},
			Observe: func(r *bootstrap.Response, failures int, err error) {
				outcomes = append(outcomes, fmt.Sprintf("%v %d %v", r != nil, failures, err != nil))
			},
		})
		l.random = func() float64 { return random }
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		if during != nil {
			go during(l)
		}
		l.Run(ctx)
		calls, urls = s.calls, s.urls
	})
	return calls, urls, outcomes
}

func TestTheLoopCallsAsOftenAsTheServiceSays(t *testing.T) {
	calls, outcomes := observe(t, 0, 31*time.Minute, good(t))
	want := []string{"0s initial=true failures=0", "10m0s initial=false failures=0", "20m0s initial=false failures=0", "30m0s initial=false failures=0"}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"true 0 false", "true 0 false", "true 0 false", "true 0 false"}, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestJitterMakesTheIntervalShorterNeverLonger(t *testing.T) {
	calls, _ := observe(t, 0.999, 10*time.Minute, good(t))
	if len(calls) != 2 || calls[1] != "9m30s initial=false failures=0" {
		t.Errorf("calls %v, want a second one 5 %% early", calls)
	}
}

func TestBeforeTheFirstAnswerTheLoopTriesSoon(t *testing.T) {
	calls, outcomes := observe(t, 0.999999, 4*time.Minute, failed, failed, failed, failed, failed, failed, failed, good(t))
	want := []string{
		"0s initial=true failures=0", "2s initial=true failures=1", "6s initial=true failures=2", "14s initial=true failures=3",
		"30s initial=true failures=4", "1m2s initial=true failures=5", "2m2s initial=true failures=6", "3m2s initial=true failures=7",
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got := outcomes[len(outcomes)-1]; got != "true 0 false" {
		t.Errorf("last outcome %s, want a success that resets the count", got)
	}
}

// times are the parts of calls that say when.
func times(calls []string) []string {
	var all []string
	for _, c := range calls {
		when, _, _ := strings.Cut(c, " ")
		all = append(all, when)
	}
	return all
}

func TestAfterAnAnswerTheServicesStrategyHolds(t *testing.T) {
	at := func(s bootstrap.RetryStrategy) func(*bootstrap.Response) {
		return func(r *bootstrap.Response) { r.RetryStrategy = s }
	}
	every := func(d time.Duration, attempts int) bootstrap.RetryStrategy {
		return bootstrap.RetryStrategy{Periodic: &bootstrap.Periodic{Interval: d, MaxAttempts: attempts}}
	}
	for name, tc := range map[string]struct {
		strategy bootstrap.RetryStrategy
		random   float64
		want     []string // the second call, at 10 minutes or a little before, fails
	}{
		"the documented one": {bootstrap.DefaultRetryStrategy(), 0.5, []string{
			"0s", "9m45s", // interval less half of 5 %
			"19m45s", "19m48s", "19m54s", "20m6s", "20m30s", "21m18s", // once after ten minutes, then from 3 s doubling
			"1h21m18s", "2h21m18s", "3h21m18s", // then hourly
		}},
		"and at most 20 % less": {bootstrap.DefaultRetryStrategy(), 0, []string{
			"0s", "10m0s", "20m0s", "20m2s", "20m7s", "20m17s", "20m36s", "21m14s", "1h9m14s", "1h57m14s", "2h45m14s", "3h33m14s",
		}},
		"one that has ended: the documented one again": {every(30*time.Minute, 2), 0.5, []string{
			"0s", "9m45s", "39m45s", "1h9m45s", "1h9m51s", "1h10m3s", "1h10m27s", "1h11m15s", "2h11m15s", "3h11m15s",
		}},
		"one without any delay": {every(0, 0), 0.5, nil},
		"one of years":          {every(bootstrap.Infinite, 0), 0.5, []string{"0s", "9m45s", "2h9m45s"}},
	} {
		t.Run(name, func(t *testing.T) {
			calls, _ := observe(t, tc.random, 4*time.Hour, good(t, at(tc.strategy)), failed)
			if tc.want == nil {
				if n := len(calls); n > 4*3600 {
					t.Errorf("%d calls in four hours: a busy loop", n)
				}
				return
			}
			if diff := cmp.Diff(tc.want, times(calls)); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			for _, c := range calls[1:] {
				if strings.Contains(c, "initial=true") {
					t.Errorf("call %q says that it is the first", c)
				}
			}
		})
	}
}

func TestAnIntervalOfYearsIsNotBelieved(t *testing.T) {
	calls, _ := observe(t, 0, 5*time.Hour, good(t, func(r *bootstrap.Response) { r.PeriodicInterval = 1000 * time.Hour }))
	if diff := cmp.Diff([]string{"0s", "2h0m0s", "4h0m0s"}, times(calls)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestSoonBringsTheNextCallForward(t *testing.T) {
	calls, _, _ := observeDuring(t, 0.999999, 15*time.Minute, func(l *Loop) {
		time.Sleep(2 * time.Minute)
		l.Soon()
		time.Sleep(time.Minute)
		for range 100 { // a storm of reasons is one reason
			l.Soon()
		}
	}, good(t))
	// Three minutes: one call, and at most one for what was asked during it. Then
	// the interval.
	if len(calls) < 4 || len(calls) > 5 || times(calls)[1] != "2m0s" || !strings.HasPrefix(times(calls)[2], "3m") {
		t.Errorf("calls %v", calls)
	}
}

func TestSoonKeepsADistanceFromTheCallBefore(t *testing.T) {
	calls, _, _ := observeDuring(t, 0, 19*time.Second, func(l *Loop) {
		for range 40 {
			time.Sleep(400 * time.Millisecond)
			l.Soon()
		}
	}, good(t))
	if diff := cmp.Diff([]string{"0s", "5s", "10s", "15s"}, times(calls)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestBootstrapsMoveWhereTheServiceSays(t *testing.T) {
	to := func(url string) func(*bootstrap.Response) {
		return func(r *bootstrap.Response) { r.BootstrapEndpointOverride = url }
	}
	home := configured + bootstrap.Path
	other := "https://other.msappproxy.test" + bootstrap.Path
	for name, tc := range map[string]struct {
		answers []func() (*http.Response, error)
		want    []string
	}{
		"to a base":                     {[]func() (*http.Response, error){good(t, to("https://other.msappproxy.test"))}, []string{home, other, other}},
		"to a URL with the path":        {[]func() (*http.Response, error){good(t, to(other))}, []string{home, other, other}},
		"with a slash":                  {[]func() (*http.Response, error){good(t, to("https://other.msappproxy.test/"))}, []string{home, other, other}},
		"below a path":                  {[]func() (*http.Response, error){good(t, to("https://other.msappproxy.test/x"))}, []string{home, "https://other.msappproxy.test/x" + bootstrap.Path}},
		"not to a host that is not":     {[]func() (*http.Response, error){good(t, to("https://evil.example"))}, []string{home, home, home}},
		"and back when it is withdrawn": {[]func() (*http.Response, error){good(t, to(other)), good(t)}, []string{home, other, home, home}},
		"and back when it does not work": {
			[]func() (*http.Response, error){good(t, to(other)), failed, failed, failed, good(t)},
			[]string{home, other, other, other, home, home},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, urls, _ := observeDuring(t, 0.5, time.Hour, nil, tc.answers...)
			if len(urls) < len(tc.want) {
				t.Fatalf("calls to %v", urls)
			}
			if diff := cmp.Diff(tc.want, urls[:len(tc.want)]); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, answer := range map[string]func() (*http.Response, error){
		"forbidden":  status(http.StatusForbidden, nil),
		"no XML":     status(http.StatusOK, []byte("<html>")),
		"too large":  status(http.StatusOK, make([]byte, maxAnswer+1)),
		"no success": status(http.StatusBadGateway, nil),
	} {
		t.Run(name, func(t *testing.T) {
			_, outcomes := observe(t, 0.5, time.Second, answer)
			if diff := cmp.Diff([]string{"false 1 true"}, outcomes); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}
