// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

// request is a registration with the service.
func request(s *fixture.RegistrationService) enrolment.Request {
	return enrolment.Request{
		URL: s.URL, TenantID: fixture.TenantID, Token: fixture.Token(fixture.TenantID, nil),
		MachineName: "corp-0.passthrough", Roots: s.Authority.Roots(),
	}
}

func TestRegisterReturnsAnIdentityThatAConnectorCanUse(t *testing.T) {
	service := fixture.NewRegistrationService(t)
	issued, err := enrolment.Registrar{}.Register(t.Context(), request(service))
	if err != nil {
		t.Fatal(err)
	}
	identity, err := enrolment.ParsePair(issued.CertificatePEM, issued.KeyPEM, fixture.TenantID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(issued.Identity, identity); diff != "" {
		t.Errorf("the identity in the pair differs from the one returned (-returned +pair):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"corp-0.passthrough"}, service.Machines()); diff != "" {
		t.Errorf("machines that the service saw (-want +got):\n%s", diff)
	}
}

func TestRegisterUsesTheProxy(t *testing.T) {
	service := fixture.NewRegistrationService(t)
	proxy := newProxy(t, service.URL)
	req := request(service)
	// A name that only the proxy can resolve.
	req.URL = "https://tenant.registration.msappproxy.test"
	req.ProxyURL = proxy.URL
	_, err := enrolment.Registrar{}.Register(t.Context(), req)
	// The service's certificate is for 127.0.0.1, so reaching it ends in a
	// complaint about the name: through the proxy, and verified.
	var refused *enrolment.Error
	if !errors.As(err, &refused) || refused.Reason != v1alpha1.ReasonTLSVerificationFailed {
		t.Fatalf("got %v, want a certificate for another name to be refused", err)
	}
	if got := proxy.asked.Load(); got == nil || *got != "tenant.registration.msappproxy.test:443" {
		t.Errorf("the proxy was asked for %v", got)
	}

	req.URL = service.URL
	if _, err := (enrolment.Registrar{}).Register(t.Context(), req); err != nil {
		t.Errorf("through the proxy: %v", err)
	}
}

// proxy is an HTTP CONNECT proxy that knows one destination.
type proxy struct {
	*httptest.Server
	asked atomic.Pointer[string]
}

func newProxy(t *testing.T, destination string) *proxy {
	t.Helper()
	target, err := url.Parse(destination)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		p.asked.Store(&host)
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		upstream, err := (&net.Dialer{Timeout: time.Second}).DialContext(r.Context(), "tcp", target.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = upstream.Close() }()
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = client.Close() }()
		_, _ = fmt.Fprint(client, "HTTP/1.1 200 OK\r\n\r\n")
		// Whichever side ends first ends the other.
		ended := make(chan struct{}, 2)
		go func() { _, _ = io.Copy(upstream, client); ended <- struct{}{} }()
		go func() { _, _ = io.Copy(client, upstream); ended <- struct{}{} }()
		<-ended
	}))
	t.Cleanup(p.Close)
	return p
}

func TestRegisterSaysWhatWentWrong(t *testing.T) {
	type setup func(t *testing.T, s *fixture.RegistrationService, req *enrolment.Request)
	answer := func(h http.HandlerFunc) setup {
		return func(_ *testing.T, s *fixture.RegistrationService, _ *enrolment.Request) { s.Answer(h) }
	}
	status := func(code int) setup {
		return answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	for name, tc := range map[string]struct {
		setup       setup
		wantReason  string
		wantMessage string
	}{
		"nothing listens": {
			func(t *testing.T, _ *fixture.RegistrationService, req *enrolment.Request) {
				t.Helper()
				req.URL = "https://" + closedPort(t)
			},
			v1alpha1.ReasonServiceUnreachable, "connection refused",
		},
		"the proxy does not listen": {
			func(t *testing.T, _ *fixture.RegistrationService, req *enrolment.Request) {
				t.Helper()
				req.ProxyURL = "http://" + closedPort(t)
			},
			v1alpha1.ReasonServiceUnreachable, "spec.service.proxyURL",
		},
		"the proxy refuses": {
			func(t *testing.T, _ *fixture.RegistrationService, req *enrolment.Request) {
				t.Helper()
				refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
				t.Cleanup(refusing.Close)
				req.ProxyURL = refusing.URL
			},
			v1alpha1.ReasonServiceUnreachable, `the proxy answered "403 Forbidden"`,
		},
		"the authority is unknown": {
			func(t *testing.T, _ *fixture.RegistrationService, req *enrolment.Request) {
				t.Helper()
				req.Roots = fixture.NewAuthority(t, "Another CA").Roots()
			},
			v1alpha1.ReasonTLSVerificationFailed, "caBundleRef",
		},
		"the system's authorities do not know it": {
			func(_ *testing.T, _ *fixture.RegistrationService, req *enrolment.Request) { req.Roots = nil },
			v1alpha1.ReasonTLSVerificationFailed, "unknown authority",
		},
		"it does not speak TLS": {
			func(t *testing.T, _ *fixture.RegistrationService, req *enrolment.Request) {
				t.Helper()
				plain := httptest.NewServer(http.NotFoundHandler())
				t.Cleanup(plain.Close)
				req.URL = strings.Replace(plain.URL, "http://", "https://", 1)
			},
			v1alpha1.ReasonTLSVerificationFailed, "does not speak TLS",
		},
		"it is out of order":    {status(http.StatusServiceUnavailable), v1alpha1.ReasonServiceUnreachable, "503 Service Unavailable"},
		"it is overloaded":      {status(http.StatusTooManyRequests), v1alpha1.ReasonServiceUnreachable, "429"},
		"it forbids":            {status(http.StatusForbidden), v1alpha1.ReasonRegistrationRefused, "403 Forbidden"},
		"it does not know this": {status(http.StatusNotFound), v1alpha1.ReasonRegistrationRefused, "404"},
		"it sends us elsewhere": {
			answer(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://elsewhere.test/", http.StatusTemporaryRedirect)
			}),
			v1alpha1.ReasonServiceAnswerInvalid, "307",
		},
		"it hangs up": {
			answer(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
			v1alpha1.ReasonServiceUnreachable, "cannot be reached",
		},
		"it answers a web page": {
			answer(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "<html>Welcome to the hotel</html>")
			}),
			v1alpha1.ReasonServiceAnswerInvalid, "not a result",
		},
		"it answers without end": {
			answer(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("a"), 300<<10)) }),
			v1alpha1.ReasonServiceAnswerInvalid, "longer than",
		},
		"it refuses with a text": {
			func(_ *testing.T, s *fixture.RegistrationService, _ *enrolment.Request) {
				s.Refuse("The tenant has too many\nconnectors.")
			},
			v1alpha1.ReasonRegistrationRefused, "refused: The tenant has too many; connectors;",
		},
		"the tenant is full": {
			func(_ *testing.T, s *fixture.RegistrationService, _ *enrolment.Request) {
				s.Refuse("The connector was not registered: the tenant has 40 agents already, which is the limit.")
			},
			v1alpha1.ReasonAgentLimitReached, "the tenant takes no further connector",
		},
		"it refuses without a text": {
			func(_ *testing.T, s *fixture.RegistrationService, _ *enrolment.Request) { s.Refuse("") },
			v1alpha1.ReasonRegistrationRefused, "it gave no reason",
		},
		"it repeats the token": {
			func(_ *testing.T, s *fixture.RegistrationService, req *enrolment.Request) {
				s.Refuse("bad token " + req.Token)
			},
			v1alpha1.ReasonRegistrationRefused, "bad token [token]",
		},
		"it issues a certificate that has expired": {
			func(_ *testing.T, s *fixture.RegistrationService, _ *enrolment.Request) { s.Lifetime(-time.Minute) },
			v1alpha1.ReasonServiceAnswerInvalid, "expired",
		},
		"it issues a certificate for another tenant": {
			answerWith(func(s *fixture.RegistrationService, req trust.RegistrationRequest) ([]byte, error) {
				key, err := trust.ParseCSR(req.CSR)
				if err != nil {
					return nil, err
				}
				return s.Authority.Issue(key, fixture.OtherTenant, guid.New(), time.Now().Add(time.Hour))
			}),
			v1alpha1.ReasonServiceAnswerInvalid, "for tenant " + fixture.OtherTenant,
		},
		"it issues a certificate for another key": {
			answerWith(func(s *fixture.RegistrationService, _ trust.RegistrationRequest) ([]byte, error) {
				return s.Authority.Certificate.Raw, nil
			}),
			v1alpha1.ReasonServiceAnswerInvalid, "another key",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := fixture.NewRegistrationService(t)
			req := request(service)
			tc.setup(t, service, &req)
			_, err := enrolment.Registrar{}.Register(t.Context(), req)
			var refused *enrolment.Error
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want an *enrolment.Error", err)
			}
			if refused.Reason != tc.wantReason || !strings.Contains(refused.Message, tc.wantMessage) {
				t.Errorf("got %s: %s\nwant %s with %q", refused.Reason, refused.Message, tc.wantReason, tc.wantMessage)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %s", err, refused, refused.Message), req.Token) {
				t.Error("the error repeats the token")
			}
		})
	}
}

// answerWith lets the service issue what f makes of the request.
func answerWith(f func(*fixture.RegistrationService, trust.RegistrationRequest) ([]byte, error)) func(*testing.T, *fixture.RegistrationService, *enrolment.Request) {
	return func(t *testing.T, s *fixture.RegistrationService, _ *enrolment.Request) {
		t.Helper()
		s.Answer(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			req, err := trust.ParseRegistrationRequest(body)
			if err != nil {
				t.Error(err)
			}
			der, err := f(s, req)
			if err != nil {
				t.Error(err)
			}
			result, err := trust.MarshalRegistrationResult(trust.Result{Certificate: der, Successful: true})
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(result)
		})
	}
}

func TestRegisterGivesUpWhenTheServiceDoesNotAnswer(t *testing.T) {
	service := fixture.NewRegistrationService(t)
	release, asked := make(chan struct{}), make(chan struct{})
	service.Answer(func(http.ResponseWriter, *http.Request) { close(asked); <-release })
	defer close(release)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(500*time.Millisecond))
	defer cancel()
	_, err := enrolment.Registrar{}.Register(ctx, request(service))
	<-asked
	var refused *enrolment.Error
	if !errors.As(err, &refused) || refused.Reason != v1alpha1.ReasonServiceUnreachable || !strings.Contains(refused.Message, "no answer in time") {
		t.Errorf("got %v, want it to say that no answer came in time", err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	service := fixture.NewRegistrationService(t)
	req := request(service)
	issued, err := enrolment.Registrar{}.Register(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, req); strings.Contains(text, req.Token) {
			t.Errorf("%s of a request prints the token", verb)
		}
		if text := fmt.Sprintf(verb, issued); strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("%s of an identity prints the key", verb)
		}
	}
}

// closedPort is an address that nothing listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
