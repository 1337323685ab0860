// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
)

const registrationSecret = "corp-registration"

// signingIn is a harness with a resource whose administrator has to sign in.
func signingIn(t *testing.T, replicas int32) *harness {
	t.Helper()
	h := newHarness(t)
	h.must(h.client.Create(t.Context(), fixture.CAConfigMapObject(h.namespace, h.service.Authority.PEM())))
	h.create(fixture.Replicas(replicas), fixture.SignedInBy(h.service))
	return h
}

// wantRegistered settles and checks that n connectors are registered.
func (h *harness) wantRegistered(n int) {
	h.t.Helper()
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, fmt.Sprintf("%d of %d", n, n))
	if got := len(h.service.Machines()); got != n {
		h.t.Errorf("%d connectors were registered, want %d", got, n)
	}
}

func (h *harness) refreshToken() string {
	h.t.Helper()
	return string(h.secret(registrationSecret).Data[v1alpha1.KeyRefreshToken])
}

func TestAnAdministratorSignsInOnce(t *testing.T) {
	h := signingIn(t, 2)
	h.passes(1)
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonSignInRequired,
		"0 of 2 connectors are registered; an administrator of the tenant has to sign in: open https://login.msappproxy.test/device and enter the code CODE-0001 before 20")
	h.wantCondition(v1alpha1.ConditionReady, v1alpha1.ReasonNotRegistered, "CODE-0001")
	if got := h.signInEvents(); !cmp.Equal(got, []string{"CODE-0001"}) {
		t.Errorf("the events tell of the codes %q", got)
	}
	secret := h.secret(registrationSecret)
	if !controlledBy(secret, h.get()) || secret.Labels[v1alpha1.LabelConnector] != "corp" || secret.Labels[v1alpha1.LabelManagedBy] != v1alpha1.OperatorName {
		t.Errorf("the Secret's metadata: %+v", secret.ObjectMeta)
	}

	h.settle()
	before, calls, began := h.children(), h.service.SignInCalls(), h.clock
	h.passes(20)
	if diff := cmp.Diff(before, h.children()); diff != "" {
		t.Errorf("waiting changed something (-before +after):\n%s", diff)
	}
	polls := h.service.SignInCalls() - calls
	if most := int(h.clock.Sub(began)/(5*time.Second)) + 1; polls == 0 || polls > most {
		t.Errorf("the authority was asked %d times in %s", polls, h.clock.Sub(began))
	}
	if more := h.signInEvents(); len(more) > 0 {
		t.Errorf("waiting made the events %q", more)
	}

	h.service.Approve()
	h.wantRegistered(2)
	secret = h.secret(registrationSecret)
	if len(secret.Data) != 2 || len(secret.Data[v1alpha1.KeyRefreshToken]) == 0 || len(secret.Data[v1alpha1.KeyAuthority]) == 0 {
		t.Errorf("the Secret holds %d entries after the sign-in: %v", len(secret.Data), slices.Collect(mapKeys(secret.Data)))
	}

	calls = h.service.SignInCalls()
	h.passes(3)
	if h.service.SignInCalls() != calls {
		t.Error("the authority is called although no connector has to be registered")
	}
	used := h.refreshToken()
	h.scale(3)
	h.wantRegistered(3)
	if h.service.Codes() != 1 || h.refreshToken() == used {
		t.Errorf("%d codes were asked for, and the refresh token was replaced: %t", h.service.Codes(), h.refreshToken() != used)
	}
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// signInEvents are the codes of the events that ask for a sign-in since the last call.
func (h *harness) signInEvents() []string {
	var codes []string
	for _, e := range h.events() {
		if _, after, found := strings.Cut(e, "enter the code "); found && strings.HasPrefix(e, "Warning SignInRequired ") {
			codes = append(codes, after[:len("CODE-0001")])
		}
	}
	return codes
}

func TestManyConnectorsAreRegisteredWithOneSignIn(t *testing.T) {
	h := signingIn(t, 10)
	h.passes(1)
	h.service.Approve()
	h.wantRegistered(10)
	if h.service.Codes() != 1 {
		t.Errorf("%d codes were asked for", h.service.Codes())
	}
}

func TestACodeThatEndsIsReplacedByAnother(t *testing.T) {
	h := signingIn(t, 1)
	h.passes(1)
	first := h.clock
	for h.service.Codes() == 1 {
		h.passes(1)
		h.ready()
		if h.clock.Sub(first) > time.Hour {
			t.Fatal("no other code within an hour")
		}
	}
	if waited := h.clock.Sub(first); waited < 14*time.Minute+30*time.Second {
		t.Errorf("another code after %s, before the first had ended", waited)
	}
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonSignInRequired, "CODE-0002")
	if got := h.signInEvents(); !cmp.Equal(got, []string{"CODE-0001", "CODE-0002"}) {
		t.Errorf("the events tell of the codes %q", got)
	}
	h.service.Approve()
	h.wantRegistered(1)
}

// TestACodeThatTheAuthorityEndsEarly lets the authority say that each code has ended,
// at once: the operator must not go round and round.
func TestACodeThatTheAuthorityEndsEarly(t *testing.T) {
	h := signingIn(t, 1)
	h.passes(1)
	h.service.Authorize(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/devicecode") {
			_, _ = fmt.Fprintf(w, `{"device_code":"d","user_code":"ENDS","verification_uri":%q,"expires_in":900}`, fixture.VerificationURL)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"expired_token"}`))
	})
	calls, began := h.service.SignInCalls(), h.clock
	for h.clock.Sub(began) < time.Hour {
		h.passes(1)
	}
	if got := h.service.SignInCalls() - calls; got > 150 {
		t.Errorf("the authority was called %d times in an hour", got)
	}
	h.service.Authorize(nil)
	h.later()
	h.passes(2)
	h.service.Approve()
	h.wantRegistered(1)
}

func TestADeniedSignInIsNotAskedForAgain(t *testing.T) {
	h := signingIn(t, 1)
	h.passes(1)
	h.service.Deny()
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonSignInDenied, "CODE-0001 was denied, and the operator does not ask again by itself: delete Secret corp-registration")
	calls := h.service.SignInCalls()
	h.restart()
	for range 3 {
		h.clock = h.clock.Add(time.Hour)
		h.passes(1)
	}
	if got := h.service.SignInCalls() - calls; got != 0 {
		t.Errorf("the authority was called %d times after the sign-in had been denied", got)
	}
	h.remove(&corev1.Secret{}, registrationSecret)
	h.passes(1)
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonSignInRequired, "CODE-0002")
	h.service.Approve()
	h.wantRegistered(1)
}

func TestASignInThatWasRevokedIsAskedForAgain(t *testing.T) {
	h := signingIn(t, 1)
	h.passes(1)
	h.service.Approve()
	h.wantRegistered(1)
	h.events()
	h.service.Revoke()
	h.scale(2)
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonSignInRequired, "1 of 2 connectors are registered; an administrator of the tenant has to sign in")
	if !slices.ContainsFunc(h.events(), func(e string) bool {
		return strings.HasPrefix(e, "Warning SignInLapsed ") && contains(e, "invalid_grant")
	}) {
		t.Error("no event tells why somebody has to sign in again")
	}
	h.service.Approve()
	h.wantRegistered(2)
}

func TestAnOperatorThatIsRestartedWaitsForTheSameCode(t *testing.T) {
	h := signingIn(t, 1)
	h.passes(2)
	calls := h.service.SignInCalls()
	h.restart()
	at := h.clock
	h.passes(1)
	if h.service.SignInCalls() != calls {
		t.Error("the authority was asked at once: the process before may have asked a moment ago")
	}
	if wait := h.clock.Sub(at); wait <= 0 || wait > 5*time.Second {
		t.Errorf("the next pass is after %s", wait)
	}
	h.service.Approve()
	h.wantRegistered(1)
	if h.service.Codes() != 1 {
		t.Errorf("%d codes were asked for", h.service.Codes())
	}
}

func TestAnAuthorityThatWantsToBeAskedLessOftenIs(t *testing.T) {
	h := signingIn(t, 1)
	h.passes(1)
	h.service.Authorize(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"slow_down"}`))
	})
	var calls []time.Time
	for len(calls) < 4 {
		before, at := h.service.SignInCalls(), h.clock
		h.passes(1)
		if h.service.SignInCalls() != before {
			calls = append(calls, at)
			if len(calls) == 2 {
				h.restart() // the interval outlives the process
			}
		}
	}
	for i, least := range []time.Duration{10 * time.Second, 15 * time.Second, 20 * time.Second} {
		if pause := calls[i+1].Sub(calls[i]); pause < least {
			t.Errorf("the pause after slow_down number %d was %s, want %s or more", i+1, pause, least)
		}
	}
	h.service.Authorize(nil)
	h.service.Approve()
	for range 10 {
		h.passes(1)
	}
	h.wantRegistered(1)
}

func TestSignInProblemsAreToldAndOvercome(t *testing.T) {
	answer := func(status int, body string) func(*harness) {
		return func(h *harness) {
			h.service.Authorize(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			})
		}
	}
	answersAgain := func(h *harness) { h.service.Authorize(nil) }
	for name, tc := range map[string]struct {
		spoil           func(*harness)
		reason, message string
		mend            func(*harness)
	}{
		"the authority is out of order": {answer(503, ""), v1alpha1.ReasonServiceUnreachable, "the sign-in authority at 127.0.0.1", answersAgain},
		"the application is not known": {
			answer(400, `{"error":"unauthorized_client","error_description":"AADSTS700016: not found\r\nTrace: 1"}`),
			v1alpha1.ReasonSignInRefused, "unauthorized_client: AADSTS700016: not found; Trace: 1; check that the tenant allows device codes", answersAgain,
		},
		"the answer is no code":        {answer(200, `{}`), v1alpha1.ReasonServiceAnswerInvalid, "it holds no device code", answersAgain},
		"the answer is longer than it": {answer(200, strings.Repeat(" ", 1<<20)), v1alpha1.ReasonServiceAnswerInvalid, "longer than", answersAgain},
		"the Secret belongs to somebody else": {
			func(h *harness) {
				h.must(h.client.Create(h.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: registrationSecret}}))
			},
			v1alpha1.ReasonNameTaken, "Secret corp-registration exists and belongs to no controller",
			func(h *harness) { h.remove(&corev1.Secret{}, registrationSecret) },
		},
		"the CA bundle does not exist": {
			func(h *harness) { h.remove(&corev1.ConfigMap{}, fixture.CAConfigMap) },
			v1alpha1.ReasonCABundleNotFound, "tenant-ca",
			func(h *harness) {
				h.must(h.client.Create(h.t.Context(), fixture.CAConfigMapObject(h.namespace, h.service.Authority.PEM())))
			},
		},
		"the proxy does not answer": {
			func(h *harness) {
				h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Service.ProxyURL = "http://127.0.0.1:1" })
			},
			v1alpha1.ReasonServiceUnreachable, "spec.service.proxyURL",
			func(h *harness) {
				h.change(func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Service.ProxyURL = "" })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := signingIn(t, 1)
			tc.spoil(h)
			h.passes(1)
			h.wantCondition(v1alpha1.ConditionRegistered, tc.reason, tc.message)
			tc.mend(h)
			h.later()
			h.passes(1)
			h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonSignInRequired, "CODE-000")
			h.service.Approve()
			h.wantRegistered(1)
		})
	}
}

func TestAfterAFailureTheAuthorityIsLeftInPeace(t *testing.T) {
	h := signingIn(t, 1)
	h.service.FailSignIns(func(int) fixture.Fault { return fixture.RequestLost })
	for range 5 {
		if _, err := h.r.Reconcile(t.Context(), requestFor(h)); err != nil { // no time passes
			t.Fatal(err)
		}
	}
	if calls := h.service.SignInCalls(); calls != 1 {
		t.Errorf("the authority was called %d times during the pause", calls)
	}
}

// TestARefusedRegistrationSaysHowToSignInAnew signs in an administrator who may not
// register connectors.
func TestARefusedRegistrationSaysHowToSignInAnew(t *testing.T) {
	h := signingIn(t, 1)
	h.passes(1)
	h.service.Approve()
	h.service.Refuse("The role is missing.")
	h.passes(3)
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistrationRefused, "The role is missing; check that the token is of an administrator who may register connectors; to let another administrator sign in, delete Secret corp-registration")
	h.service.Answer(nil)
	h.remove(&corev1.Secret{}, registrationSecret)
	h.passes(1) // at once, whatever the pause is
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonSignInRequired, "CODE-0002")
	h.service.Approve()
	h.wantRegistered(1)
}

func TestAnExpiredCertificateIsReplacedWithoutAnybody(t *testing.T) {
	h := signingIn(t, 1)
	h.service.Lifetime(24 * time.Hour)
	h.passes(1)
	h.service.Approve()
	h.wantRegistered(1)
	h.clock = h.clock.Add(25 * time.Hour)
	h.service.Lifetime(180 * 24 * time.Hour)
	h.settle()
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "1 of 1")
	if got := len(h.service.Machines()); got != 2 || h.service.Codes() != 1 {
		t.Errorf("%d registrations and %d codes, want 2 and 1", got, h.service.Codes())
	}
}

func TestASignInThatIsOfNoUseGoes(t *testing.T) {
	t.Run("another application", func(t *testing.T) {
		h := signingIn(t, 1)
		h.passes(1)
		h.service.Approve()
		h.wantRegistered(1)
		h.change(func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Registration.DeviceCode.ClientID = "11111111-2222-4333-8444-555555555555"
			pc.Spec.Replicas = new(int32(2))
		})
		h.settle()
		h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonSignInRequired, "CODE-0002")
		if h.refreshToken() != "" {
			t.Error("the refresh token of the application before is still there")
		}
	})
	t.Run("another way to register", func(t *testing.T) {
		h := signingIn(t, 1)
		h.passes(1)
		h.service.Approve()
		h.wantRegistered(1)
		h.change(func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Registration = v1alpha1.RegistrationSpec{TokenSecretRef: &v1alpha1.SecretKeyReference{Name: fixture.TokenSecret, Key: fixture.TokenKey}}
		})
		h.settle()
		if err := h.client.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: registrationSecret}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
			t.Errorf("the Secret with the sign-in is still there: %v", err)
		}
	})
}

// signInStory signs in, registers two connectors and then a third. Whoever looks
// approves whatever code is shown.
func signInStory(t *testing.T, h *harness) map[string]string {
	t.Helper()
	for _, replicas := range []int32{2, 3} {
		if replicas == 3 {
			h.scale(replicas)
		}
		registered := func() bool {
			pc := h.get()
			for _, c := range pc.Status.Conditions {
				if c.Type == v1alpha1.ConditionRegistered {
					return c.Status == metav1.ConditionTrue && len(pc.Status.Connectors) == int(replicas)
				}
			}
			return false
		}
		for n := 0; !registered(); n++ {
			if n == 60 {
				t.Fatalf("sixty passes, and not registered: %+v", h.get().Status.Conditions)
			}
			_, _ = h.pass()
			if h.service.UserCode() != "" && contains(fmt.Sprint(h.get().Status.Conditions), h.service.UserCode()) {
				h.service.Approve()
			}
		}
	}
	for range 2 {
		h.settleThroughErrors()
		h.ready()
	}
	h.settleThroughErrors()
	if got := len(h.service.Machines()); got != 3 {
		t.Errorf("%d connectors were registered, want 3", got)
	}
	state := map[string]string{}
	for name := range h.children() {
		state[sameEachRun(name)] = ""
	}
	for _, c := range h.get().Status.Conditions {
		state[c.Type] = c.Reason + ": " + sameEachRun(c.Message)
	}
	secret := h.secret(registrationSecret)
	state["keys"] = fmt.Sprint(slices.Sorted(mapKeys(secret.Data)))
	if token := h.refreshToken(); !h.service.Good(token) {
		t.Errorf("the Secret holds a refresh token that is good for nothing")
	}
	return state
}

func TestASignInGoesOnAfterAFailureOfAnyWrite(t *testing.T) {
	sameWhateverWriteFails(t, 10, func(t *testing.T, failAt int) (map[string]string, int) {
		t.Helper()
		h := signingIn(t, 2)
		h.failing(func(n int, what string) error {
			if n == failAt {
				t.Logf("write %d fails: %s", n, what)
				return errInjected
			}
			return nil
		})
		state := signInStory(t, h)
		if h.service.Codes() != 1 {
			t.Errorf("%d codes were asked for: a write that fails is no reason to bother anybody", h.service.Codes())
		}
		return state, h.written()
	})
}

func TestASignInGoesOnAfterAFailureOfAnyCall(t *testing.T) {
	run := func(t *testing.T, failAt int, fault fixture.Fault) (map[string]string, int) {
		t.Helper()
		h := signingIn(t, 2)
		h.service.FailSignIns(func(n int) fixture.Fault {
			if n == failAt {
				return fault
			}
			return fixture.NoFault
		})
		return signInStory(t, h), h.service.SignInCalls()
	}
	clean, calls := run(t, 0, fixture.NoFault)
	if calls < 3 {
		t.Fatalf("only %d calls were counted", calls)
	}
	for n := 1; n <= calls; n++ {
		for name, fault := range map[string]fixture.Fault{"request lost": fixture.RequestLost, "answer lost": fixture.AnswerLost, "answer broken": fixture.AnswerBroken} {
			t.Run(fmt.Sprintf("call %d, %s", n, name), func(t *testing.T) {
				got, _ := run(t, n, fault)
				if diff := cmp.Diff(clean, got); diff != "" {
					t.Errorf("the state differs from that without a failure (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestATokenThatCannotBeStored lets no Secret be updated while a refresh token is
// used, which the authority takes once: the operator keeps the next one in memory, or,
// if it ends before, asks an administrator again.
func TestATokenThatCannotBeStored(t *testing.T) {
	for name, restart := range map[string]bool{"the operator lives": false, "the operator ends": true} {
		t.Run(name, func(t *testing.T) {
			h := signingIn(t, 1)
			h.passes(1)
			h.service.Approve()
			h.wantRegistered(1)
			h.failing(func(_ int, what string) error {
				if what == "update *v1.Secret" {
					return errInjected
				}
				return nil
			})
			h.scale(2)
			h.passes(1)
			h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonSignInNotStored, "Secret corp-registration: injected failure")
			if got := len(h.service.Machines()); got != 1 {
				t.Errorf("a connector was registered before the refresh token was stored")
			}
			h.failing(nil)
			codes := 1
			if restart {
				h.restart()
				codes = 2
			}
			h.later()
			h.passes(2)
			h.service.Approve()
			h.wantRegistered(2)
			if h.service.Codes() != codes {
				t.Errorf("%d codes were asked for, want %d", h.service.Codes(), codes)
			}
		})
	}
}

// TestASecretThatIsDeletedDuringAPassIsNotMadeAgain deletes the Secret between the
// look at it and the write.
func TestASecretThatIsDeletedDuringAPassIsNotMadeAgain(t *testing.T) {
	h := signingIn(t, 1)
	h.passes(1)
	h.service.Approve()
	deleted := false
	h.failing(func(_ int, what string) error {
		if what == "update *v1.Secret" && !deleted {
			deleted = true
			h.remove(&corev1.Secret{}, registrationSecret)
		}
		return nil
	})
	for !deleted {
		h.passes(1)
	}
	if len(h.service.Machines()) != 0 {
		t.Error("a connector was registered with a sign-in that was taken back")
	}
	h.later()
	h.passes(1)
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonSignInRequired, "CODE-0002")
}

// TestSecretsOfASignInAreNotShown goes through a sign-in with all that can go wrong,
// with an authority whose complaints repeat what they are about.
func TestSecretsOfASignInAreNotShown(t *testing.T) {
	h := signingIn(t, 2)
	var said strings.Builder
	var mu sync.Mutex // protects said: connectors are registered side by side
	// main allows no higher verbosity: the client would log the bodies of Secrets.
	ctx := ctrl.LoggerInto(t.Context(), funcr.New(func(prefix, args string) {
		mu.Lock()
		defer mu.Unlock()
		said.WriteString(prefix + args + "\n")
	}, funcr.Options{Verbosity: 7}))
	pass := func(n int) {
		t.Helper()
		for range n {
			result, err := h.r.Reconcile(ctx, requestFor(h))
			if err != nil {
				said.WriteString(err.Error())
			}
			h.clock = h.clock.Add(min(result.RequeueAfter, 2*lastRetry))
			fmt.Fprintf(&said, "%+v\n", h.get().Status)
			for _, e := range h.events() {
				said.WriteString(e + "\n")
			}
		}
	}
	pass(3)
	h.service.FailSignIns(func(n int) fixture.Fault { return fixture.Fault(n % 4) }) // in turn all faults and none
	pass(8)
	h.service.FailSignIns(nil)
	h.service.Deny()
	pass(8)
	h.remove(&corev1.Secret{}, registrationSecret)
	pass(2)
	h.service.Approve()
	h.service.Refuse("Go away.")
	pass(4)
	h.service.Answer(nil)
	pass(6)
	h.service.Revoke()
	h.scale(3)
	pass(4)
	h.service.Approve()
	pass(6)
	h.wantCondition(v1alpha1.ConditionRegistered, v1alpha1.ReasonRegistered, "3 of 3")

	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(&said, families)
	secrets := h.service.Secrets()
	if len(secrets) < 6 {
		t.Fatalf("only %d secrets were given out", len(secrets))
	}
	for _, secret := range secrets {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret)} {
			if contains(said.String(), form) {
				t.Errorf("%.20s... was shown", form)
			}
		}
	}
	for _, want := range []string{"invalid_grant", "[token]", "CODE-0001", "SignInLapsed"} {
		if !contains(said.String(), want) {
			t.Errorf("%s was not seen: the test looks in the wrong place", want)
		}
	}
}
