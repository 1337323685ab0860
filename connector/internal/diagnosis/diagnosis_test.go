// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answer is a check that says a word after a while, whether its context has ended
// or not.
func answer(word string, after time.Duration) Check {
	return Check{Kind: Ports, Subject: word, Within: 10 * time.Second, Run: func(context.Context) Finding {
		time.Sleep(after)
		return Good("%s", word)
	}}
}

func TestChecksAreBoundedAndKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		entries := Perform(t.Context(), answer("slow", 9*time.Second), answer("quick", time.Millisecond), answer("stuck", time.Hour), Check{
			Kind: Bootstrap, Subject: "polite", Run: func(ctx context.Context) Finding {
				<-ctx.Done()
				return Finding{Fail, "gave up in time", "m", "a"}
			},
		})
		if took := time.Since(began); took > DefaultWithin+grace {
			t.Errorf("the checks took %s", took)
		}
		for i, want := range []struct {
			subject string
			result  Result
			found   string
			ms      int64
		}{
			{"slow", OK, "slow", 9000},
			{"quick", OK, "quick", 1},
			{"stuck", Fail, "no answer within 10s, and the call cannot be cancelled", 12000},
			{"polite", Fail, "gave up in time", 15000},
		} {
			got := entries[i]
			if got.Subject != want.subject || got.Result != want.result || got.Found != want.found || got.Milliseconds != want.ms {
				t.Errorf("entry %d: %+v, want %+v", i, got, want)
			}
		}
		time.Sleep(time.Hour) // the stuck one ends
	})
}

func TestTheEndOfADiagnosisFailsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		entries := Perform(ctx, answer("done", time.Second), Check{Run: func(ctx context.Context) Finding {
			<-ctx.Done()
			return Finding{Result: Fail, Found: "cut short"}
		}})
		if entries[0].Result != OK {
			t.Errorf("what was answered before: %+v", entries[0])
		}
		if entries[1].Result != Skipped || !strings.Contains(entries[1].Found, "--timeout") {
			t.Errorf("what was cut short: %+v", entries[1])
		}
		if late := Perform(ctx, Check{Run: func(context.Context) Finding { return Finding{Result: Fail} }}); late[0].Result != Skipped {
			t.Errorf("what began too late: %+v", late[0])
		}
	})
}
