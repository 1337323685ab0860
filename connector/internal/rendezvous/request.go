// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

const (
	// internalError (ERROR_INTERNAL_ERROR) answers trouble of this connector's
	// own. Never a code that means a wrong password.
	internalError = 1359
	classInternal = "infrastructure"
	// answerReserve is kept of the time limit for posting the verdict.
	answerReserve = time.Second
)

// answer validates one request and posts the verdict, all within the service's
// time limit counted from arrived. Requests that must not be believed are
// dropped without an answer.
func (h *Handler) answer(request *signal.Message, arrived time.Time) {
	settings := h.opts.Settings()
	ctx, cancel := context.WithDeadline(context.Background(), arrived.Add(settings.Limit))
	defer cancel()
	to, ok := h.check(request, settings)
	if !ok || !h.firstTime(request.RequestID, arrived) {
		return
	}
	if request.Tunnel.Protocol.Traffic == signal.TrafficConnect {
		fetched, socket, ok := h.fetch(ctx, request, to)
		if !ok {
			return
		}
		defer leaveProxy(socket)
		if to, ok = h.checkFetched(fetched, settings, request.RequestID, arrived); !ok {
			return
		}
		request = fetched
	}
	answer, verdict, took := h.verdict(ctx, request.Tunnel.Protocol.PasswordValidation)
	if !verdict.Authenticated {
		h.logFailure(request, verdict, answer)
	}
	err := h.post(ctx, settings, to.answers, &posting{
		request: request, verdict: verdict, arrived: arrived, validation: took,
	})
	if err != nil {
		h.opts.Log.Error(err, "Posting a verdict failed", "requestID", request.RequestID, "transactionID", request.TransactionID)
	}
	h.opts.Observer.SignIn(answer, verdict.Reason.String(), time.Since(arrived), took, err == nil)
}

// destination is where a request says that its answer goes, after the checks.
type destination struct {
	host    string
	port    int
	answers *url.URL
}

// check decides whether a request may be believed, and where its answer goes.
func (h *Handler) check(request *signal.Message, settings Settings) (to destination, ok bool) {
	for _, id := range []string{request.RequestID, request.TransactionID} {
		if _, err := guid.Parse(id); err != nil {
			h.drop(DropMalformed, "Ignored a request without proper identifiers")
			return to, false
		}
	}
	id := "requestID"
	if !strings.EqualFold(request.SubscriptionID, h.opts.TenantID) {
		h.drop(DropTenant, "Ignored a request for another tenant", id, request.RequestID)
		return to, false
	}
	protocol := request.Tunnel.Protocol
	if protocol.PasswordValidation == nil && protocol.Traffic != signal.TrafficConnect {
		h.drop(DropUnsupported, "Ignored a request of a kind that this version does not answer", id, request.RequestID, "kind", protocol.Traffic.String())
		return to, false
	}
	to.host, to.port = request.ReturnHost, request.ReturnPort
	if request.OverrideServiceHostEnabled {
		to.host, to.port = request.OverriddenReturnHost, request.OverriddenReturnPort
	}
	err := h.opts.Pins.AllowReturnHost(to.host, to.port)
	if err == nil {
		to.answers, err = answerURL(settings.ResponseEndpointFormat, to.host, to.port)
	}
	if err != nil {
		h.drop(DropReturnHost, "Ignored a request whose answer would go elsewhere", id, request.RequestID, "error", err.Error())
		return to, false
	}
	if settings.Signing {
		h.drop(DropUnsupported, "The service asks for signed answers, whose form is not known")
		return to, false
	}
	return to, true
}

// firstTime drops a request that was seen before.
func (h *Handler) firstTime(requestID string, now time.Time) bool {
	if h.recent.first(strings.ToLower(requestID), now) {
		return true
	}
	h.drop(DropReplay, "Ignored a request that was seen before", "requestID", requestID)
	return false
}

// verdict decrypts and validates. Whatever goes wrong on the way is a refusal
// with a reason of ours, never "wrong password" and never "correct".
func (h *Handler) verdict(ctx context.Context, request *signal.PasswordValidation) (Answer, signal.Verdict, time.Duration) {
	password, refusal := h.open(request)
	if refusal != nil {
		return Answer{Code: refusal.Code, Class: classInternal}, signal.Verdict{Reason: *refusal}, 0
	}
	defer password.Zero()
	began := time.Now()
	validating := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		validating, cancel = context.WithDeadline(ctx, deadline.Add(-answerReserve))
		defer cancel()
	}
	answer := h.opts.Validator.Validate(validating, request.UserPrincipalName, request.Domain, password)
	took := time.Since(began)
	if answer.Accepted {
		return answer, signal.Verdict{Authenticated: true, UserPrincipalName: request.UserPrincipalName}, took
	}
	if answer.Code == 0 {
		answer.Code, answer.Class = internalError, classInternal
	}
	return answer, signal.Verdict{Reason: signal.Reason{Code: answer.Code}}, took
}

// open finds the entry for one of this connector's keys and takes the password
// out of it. The caller zeroes the buffer. Entries for other connectors are
// dropped at once.
func (h *Handler) open(request *signal.PasswordValidation) (*secret.Buffer, *signal.Reason) {
	var own *signal.EncryptedData
	var foreign []string
	for i := range request.EncryptedData {
		entry := &request.EncryptedData[i]
		switch {
		case !h.opts.Keys.Holds(entry.KeyIdentifier):
			foreign = append(foreign, entry.KeyIdentifier)
		case own == nil:
			own = entry
			continue
		}
		clear(entry.Ciphertext)
		entry.Ciphertext = nil
	}
	h.opts.Observer.ForeignKeys(foreign)
	if own == nil {
		return nil, &signal.Reason{Text: signal.ReasonEncryptionDataNotFound}
	}
	plaintext, err := h.opts.Keys.Decrypt(own.KeyIdentifier, own.Ciphertext)
	if err != nil {
		return nil, &signal.Reason{Code: internalError}
	}
	password, err := signal.UnwrapPassword(plaintext)
	if err != nil {
		clear(plaintext)
		return nil, &signal.Reason{Code: internalError}
	}
	// The password is part of plaintext. Moved to its front, the buffer owns the
	// whole of it, and zeroing the buffer zeroes all of it.
	n := copy(plaintext, password)
	clear(plaintext[n:])
	return secret.New(plaintext[:n]), nil
}

// logFailure writes the line that administrators know from the service's own
// agent, with keys beside it. It never names the user.
func (h *Handler) logFailure(request *signal.Message, verdict signal.Verdict, answer Answer) {
	keys := []any{"requestID", request.RequestID, "reason", verdict.Reason.String(), "class", answer.Class}
	if answer.Err != nil {
		keys = append(keys, "cause", answer.Err.Error())
	}
	h.opts.Log.Info(fmt.Sprintf("Passthrough Authentication request failed. RequestId: '%s'. Reason: '%s'.", request.RequestID, verdict.Reason), keys...)
}
