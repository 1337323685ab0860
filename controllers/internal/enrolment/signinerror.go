// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

var authority = service{"sign-in authority", "request for a sign-in", "check spec.service and spec.registration.deviceCode"}

// What the authority's error codes mean (RFC 6749 section 5.2, RFC 8628 section 3.5,
// and those that the service documents beside them).
var (
	afterCode = map[string]error{
		"authorization_pending":  ErrPending,
		"slow_down":              ErrSlowDown,
		"access_denied":          ErrDenied,
		"authorization_declined": ErrDenied,
		"expired_token":          ErrCodeEnded,
		"bad_verification_code":  ErrCodeEnded,
		"invalid_grant":          ErrCodeEnded,
	}
	afterRefresh = map[string]error{
		"invalid_grant":        ErrLapsed,
		"interaction_required": ErrLapsed,
		"login_required":       ErrLapsed,
		"consent_required":     ErrLapsed,
	}
)

// explain turns what the library returned into an error of this package. The
// library's own errors are never repeated or wrapped: some quote the whole answer.
func (a Authority) explain(err error, secret string, meanings map[string]error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return a.unanswered(err)
	}
	status, code := refused.Response.StatusCode, refused.ErrorCode
	meaning := meanings[code]
	if errors.Is(meaning, ErrPending) || errors.Is(meaning, ErrSlowDown) {
		return meaning
	}
	if code == "temporarily_unavailable" || code == "server_error" || code == "slow_down" {
		status = http.StatusServiceUnavailable
	}
	if code == "" || status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		e := refusedByStatus(status, authority, a.host())
		if e.Reason == v1alpha1.ReasonRegistrationRefused {
			e.Reason = v1alpha1.ReasonSignInRefused
		}
		return e
	}
	text := clean(code+": "+refused.ErrorDescription, secret)
	e := &Error{
		Reason:  v1alpha1.ReasonSignInRefused,
		Message: fmt.Sprintf("the sign-in authority at %s refused: %s; check that the tenant allows device codes and knows the application of spec.registration.deviceCode", a.host(), text),
		Retry:   true, cause: meaning,
	}
	if meaning != nil {
		e.Message = fmt.Sprintf("%v: the sign-in authority at %s said %s", meaning, a.host(), text)
	}
	return e
}

// errTooLong is an answer of more than answerLimit.
var errTooLong = fmt.Errorf("it is longer than %d bytes", answerLimit)

// unanswered is the Error for a call that brought no answer, or none that is known.
func (a Authority) unanswered(err error) error {
	call, ok := errors.AsType[*url.Error](err)
	switch {
	case errors.Is(err, errTooLong):
		return invalidAnswer(authority, a.host(), errTooLong.Error(), nil)
	case ok:
		return classify(call, authority, a.host())
	default:
		return invalidAnswer(authority, a.host(), "it is not the answer of such an authority", nil)
	}
}
