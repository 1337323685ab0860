// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/tally"
)

// What a whole sign-in does is tested in package cloud, over the real relay.

// A connector that repeats its answer follows the retry rule; one that says
// something else is counted, whether the sign-in still waits or is over.
func TestAnswersThatContradictTheOneTakenAreCounted(t *testing.T) {
	accepted := signal.Verdict{Authenticated: true, UserPrincipalName: "alice@contoso.example"}
	refused := signal.Verdict{Reason: signal.Reason{Code: 1326}}
	for name, tc := range map[string]struct {
		first, second signal.Verdict
		want          int
	}{
		"the same again":       {first: accepted, second: accepted},
		"refused, and why not": {first: refused, second: accepted, want: 1},
		"accepted, and not":    {first: accepted, second: refused, want: 1},
		"for another reason":   {first: refused, second: signal.Verdict{Reason: signal.Reason{Code: 1331}}, want: 1},
	} {
		for _, over := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, over: %v", name, over), func(t *testing.T) {
				counts := tally.New()
				s := New(Options{Tally: counts})
				tx := &transaction{id: "tx", answer: make(chan answer, 1)}
				s.begin(tx)
				if got := s.deliver("tx", answer{verdict: tc.first}); got != tally.Responses {
					t.Fatalf("the first answer is counted as %s", got)
				}
				if over {
					s.end(tx)
				}
				if got := s.deliver("tx", answer{verdict: tc.second}); got != tally.LateResponses {
					t.Errorf("the second answer is counted as %s", got)
				}
				if got := counts.Snapshot()[tally.ConflictingResponses]; got != tc.want {
					t.Errorf("%d contradictions, want %d", got, tc.want)
				}
			})
		}
	}
}

func TestParseUser(t *testing.T) {
	for username, want := range map[string]struct{ upn, netbios, message string }{
		"alice@contoso.example":                       {"alice@contoso.example", "CONTOSO", ""},
		"  Alice@Corp.Contoso.TEST ":                  {"Alice@Corp.Contoso.TEST", "CORP", ""},
		"alice@averyveryverylongname.test":            {"alice@averyveryverylongname.test", "AVERYVERYVERYLO", ""},
		"alice@contoso.com":                           {"", "", "domains under .example"},
		"alice@example":                               {"", "", "domains under .example"},
		"alice@example.com":                           {"", "", "domains under .example"},
		"alice@contoso.example.":                      {"", "", "domains under .example"},
		"alice@.example":                              {"", "", "domains under .example"},
		"alice":                                       {"", "", "of the form"},
		"@contoso.example":                            {"", "", "of the form"},
		"a@b@contoso.example":                         {"", "", "of the form"},
		"al ice@contoso.example":                      {"", "", "no spaces"},
		"al\x00ice@contoso.example":                   {"", "", "no spaces"},
		strings.Repeat("a", 120) + "@contoso.example": {"", "", "at most 113"},
	} {
		upn, netbios, err := parseUser(username)
		if want.message == "" {
			if err != nil || upn != want.upn || netbios != want.netbios {
				t.Errorf("%q: got %q, %q, %v; want %q, %q", username, upn, netbios, err, want.upn, want.netbios)
			}
			continue
		}
		if input := (*InputError)(nil); !errors.As(err, &input) || !strings.Contains(input.Message, want.message) {
			t.Errorf("%q: got %v, want a message about %q", username, err, want.message)
		}
	}
}

func TestErrorOf(t *testing.T) {
	for name, tc := range map[string]struct {
		reason signal.Reason
		want   int
	}{
		"a wrong password":         {signal.Reason{Code: 1326}, 50126},
		"an account that is gone":  {signal.Reason{Code: 1317}, 50034},
		"trouble on premises":      {signal.Reason{Code: 1359}, 80007},
		"a clock that is wrong":    {signal.Reason{Code: 1398}, 80013},
		"a code that is not known": {signal.Reason{Code: 99999}, 80007},
		"no key":                   {signal.Reason{Text: "EncryptionDataNotFound"}, 80011},
		"a text that is not known": {signal.Reason{Text: "Maybe"}, 80003},
		"a failure with success":   {signal.Reason{}, 80003},
	} {
		t.Run(name, func(t *testing.T) {
			if got := errorOf(tc.reason); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestEveryErrorHasAText(t *testing.T) {
	numbers := []int{noAgent, noAnswer, invalidAnswer, onPremisesError, noDecryptionKey}
	for _, number := range reasons {
		numbers = append(numbers, number)
	}
	for _, number := range numbers {
		if messages[number] == "" {
			t.Errorf("AADSTS%d has no text", number)
		}
	}
}
