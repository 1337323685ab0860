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

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/bootstrap"
)

// service answers bootstraps; it is the http.Client's transport.
type service struct {
	t       *testing.T
	answers []func() (*http.Response, error) // the last one repeats
	began   time.Time
	calls   []string // time since the beginning, and what the request said
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
	if request.RequestID == "" || r.Header.Get("Content-Type") != bootstrap.ContentType || r.URL.Path != bootstrap.Path {
		s.t.Errorf("request %+v to %s with %v", request, r.URL, r.Header)
	}
	if _, ok := r.Context().Deadline(); !ok {
		s.t.Error("a call without a deadline")
	}
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

func good(t *testing.T) func() (*http.Response, error) {
	t.Helper()
	body, err := bootstrap.DefaultResponse().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return status(http.StatusOK, body)
}

func failed() (*http.Response, error) { return nil, errors.New("connection refused") }

// observe runs a loop for a while of made-up time and returns the calls and
// the observed outcomes.
func observe(t *testing.T, random float64, d time.Duration, answers ...func() (*http.Response, error)) (calls, outcomes []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &service{t: t, answers: answers, began: time.Now()}
		l := New(Options{
			URL: "https://tenant.bootstrap.msappproxy.test" + bootstrap.Path, Client: &http.Client{Transport: s},
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
		l.Run(ctx)
		calls = s.calls
	})
	return calls, outcomes
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

func TestAfterAnAnswerTheServicesStrategyHolds(t *testing.T) {
	// The documented strategy: 10 minutes, then 3 s doubling, ±20 %.
	calls, _ := observe(t, 0.5, 21*time.Minute, good(t), failed)
	if len(calls) < 4 || !strings.Contains(calls[2], "failures=1") {
		t.Fatalf("calls %v", calls)
	}
	for _, c := range calls[1:] {
		if strings.Contains(c, "initial=true") {
			t.Errorf("call %q says that it is the first", c)
		}
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
