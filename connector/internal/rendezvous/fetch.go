// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
)

// errUnreadable marks an answer of the proxy that is no request.
var errUnreadable = errors.New("the proxy's answer cannot be read")

// fetch gets the request that a signal only points to (protocol section 7),
// from the host that the signal names and check has allowed. What it gets has
// not been checked yet. The socket stays open until the verdict is posted, as
// the service expects; leave it with leaveProxy. Without a request there is
// nothing to answer: then ok is false and the signal is dropped.
func (h *Handler) fetch(ctx context.Context, pointer *signal.Message, from destination) (request *signal.Message, socket *websocket.Conn, ok bool) {
	// What comes in the last second could not be validated any more.
	if deadline, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-answerReserve))
		defer cancel()
	}
	const id = "requestID"
	ask, err := signal.EncodeFetch(pointer.Tunnel.Protocol.ConnectionID)
	if err != nil {
		h.drop(DropMalformed, "Ignored a signal that does not say what to fetch", id, pointer.RequestID, "error", err.Error())
		return nil, nil, false
	}
	socket, err = h.openProxy(ctx, pointer, from)
	if err != nil {
		h.drop(DropFetchFailed, "Opening a WebSocket to the proxy failed", id, pointer.RequestID, "error", err.Error())
		return nil, nil, false
	}
	request, err = exchange(ctx, socket, ask)
	if err != nil {
		_ = socket.CloseNow() // the fetch has failed whatever this says
		reason := DropFetchFailed
		if errors.Is(err, errUnreadable) {
			reason = DropMalformed
		}
		h.drop(reason, "Fetching a request from the proxy failed", id, pointer.RequestID, "error", err.Error())
		return nil, nil, false
	}
	return request, socket, true
}

// checkFetched decides whether a fetched request may be believed: by the same
// rules as one in a signal. It must be a request, not one more pointer.
func (h *Handler) checkFetched(request *signal.Message, settings Settings, pointer string, now time.Time) (to destination, ok bool) {
	if to, ok = h.check(request, settings); !ok {
		return to, false
	}
	if request.Tunnel.Protocol.PasswordValidation == nil {
		h.drop(DropUnsupported, "Ignored a fetched request that only points to another one", "requestID", request.RequestID)
		return to, false
	}
	// The service gives both the same identifier; the pointer's is taken already.
	if !strings.EqualFold(request.RequestID, pointer) && !h.firstTime(request.RequestID, now) {
		return to, false
	}
	return to, true
}

// openProxy opens the WebSocket with the connector's certificate (protocol
// section 7.1).
func (h *Handler) openProxy(ctx context.Context, pointer *signal.Message, from destination) (*websocket.Conn, error) {
	host := from.host
	if from.port != 443 {
		host = net.JoinHostPort(host, strconv.Itoa(from.port))
	}
	to := url.URL{Scheme: "wss", Host: host, Path: signal.FetchPath, RawQuery: url.Values{"requestId": {guid.New().String()}}.Encode()}
	socket, response, err := websocket.Dial(ctx, to.String(), &websocket.DialOptions{
		HTTPClient: h.opts.ProxyClient,
		HTTPHeader: h.fetchHeaders(pointer),
		// Ciphertexts do not compress.
		CompressionMode: websocket.CompressionDisabled,
	})
	if response != nil && response.Body != nil {
		defer response.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket to %s: %w", host, err)
	}
	socket.SetReadLimit(signal.MaxJSON)
	return socket, nil
}

func (h *Handler) fetchHeaders(pointer *signal.Message) http.Header {
	header := http.Header{}
	for name, value := range map[string]string{
		"x-cwap-dnscachelookup-result":      "NotUsed",
		"x-cwap-connector-usesdefaultproxy": h.usesProxy(),
		"x-cwap-connector-version":          h.opts.Version,
		"x-cwap-datamodel-version":          h.opts.Version,
		"x-cwap-connector-sp-connections":   "0",
		"x-cwap-transid":                    pointer.TransactionID,
	} {
		header.Set(name, value)
	}
	return header
}

// exchange asks for the request and reads it.
func exchange(ctx context.Context, socket *websocket.Conn, ask []byte) (*signal.Message, error) {
	if err := socket.Write(ctx, websocket.MessageBinary, ask); err != nil {
		return nil, fmt.Errorf("asking for the request: %w", err)
	}
	_, document, err := socket.Read(ctx)
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return nil, fmt.Errorf("%w: it has more than %d bytes", errUnreadable, signal.MaxJSON)
	}
	if err != nil {
		return nil, fmt.Errorf("waiting for the request: %w", err)
	}
	defer clear(document) // ciphertexts for every connector of the tenant
	request, err := signal.DecodeJSON(document)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return &request, nil
}

// leaveProxy closes the socket in order (protocol section 7.2), and not so if
// the proxy takes its time over it.
func leaveProxy(socket *websocket.Conn) {
	impatience := time.AfterFunc(goodbye, func() { _ = socket.CloseNow() })
	defer impatience.Stop()
	// Whether the proxy agrees changes nothing: the verdict is posted.
	_ = socket.Close(websocket.StatusNormalClosure, "")
}
