// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/cloud"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/signin"
)

// returnAddress is where a message's answer goes, and where it is fetched.
func returnAddress(m signal.Message) string {
	if m.OverrideServiceHostEnabled {
		return net.JoinHostPort(m.OverriddenReturnHost, strconv.Itoa(m.OverriddenReturnPort))
	}
	return net.JoinHostPort(m.ReturnHost, strconv.Itoa(m.ReturnPort))
}

// ask opens a WebSocket to the proxy host and asks for a request.
func (c *connector) ask(ctx context.Context, address, transaction, message string) (*websocket.Conn, error) {
	header := http.Header{}
	header.Set("x-cwap-transid", transaction)
	socket, response, err := websocket.Dial(ctx, "wss://"+address+signal.FetchPath+"?requestId="+guid.New().String(),
		&websocket.DialOptions{HTTPClient: &http.Client{Transport: c.client.Transport}, HTTPHeader: header})
	if response != nil && response.Body != nil {
		defer response.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	socket.SetReadLimit(signal.MaxJSON)
	return socket, socket.Write(ctx, websocket.MessageBinary, []byte(message))
}

// fetch gets what a signal points to. leave ends it in order, or not.
func (c *connector) fetch(ctx context.Context, pointer signal.Message) (m signal.Message, leave func(), ok bool) {
	_, plan := c.plan()
	transaction := pointer.TransactionID
	if plan.anotherTrans {
		transaction = guid.New().String()
	}
	socket, err := c.ask(ctx, returnAddress(pointer), transaction,
		`{"ConnectionId":"`+strings.ToUpper(pointer.Tunnel.Protocol.ConnectionID)+`","MessageType":0}`)
	if err != nil {
		c.t.Errorf("asking for a request: %v", err)
		return m, nil, false
	}
	_, document, err := socket.Read(ctx)
	if err != nil {
		c.t.Errorf("waiting for a request: %v", err)
		return m, nil, false
	}
	if m, err = signal.DecodeJSON(document); err != nil {
		c.t.Error(err)
		return m, nil, false
	}
	if m.RequestID != pointer.RequestID || m.TransactionID != pointer.TransactionID {
		c.t.Errorf("fetched request %s of transaction %s for a signal with %s and %s", m.RequestID, m.TransactionID, pointer.RequestID, pointer.TransactionID)
	}
	return m, func() {
		if plan.abandon {
			_ = socket.CloseNow()
			return
		}
		if err := socket.Close(websocket.StatusNormalClosure, ""); err != nil {
			c.t.Errorf("leaving the proxy: %v", err)
		}
	}, true
}

// signInBy signs in and says how the request is to be delivered. It waits for a
// connector that takes one: its credit may come a moment after its link.
func signInBy(t *testing.T, ready cloud.Ready, delivery signin.Delivery) (result signin.Result, status int) {
	t.Helper()
	eventually(t, "a connector takes a request", func() bool {
		status = api(t, ready, http.MethodPost, "/api/signin",
			`{"username":"`+user+`","password":"`+right+`","delivery":"`+string(delivery)+`"}`, &result)
		return status != http.StatusOK || result.Attempts > 0
	})
	return result, status
}

// connectOne is a connector that listens on the first endpoint.
func connectOne(t *testing.T, ready cloud.Ready, b behaviour) *connector {
	t.Helper()
	c := register(t, ready, "one")
	c.become(right, b)
	c.listen(c.bootstrap().Endpoints[0])
	return c
}

func TestDelivery(t *testing.T) {
	const inline, connect = signal.TrafficPasswordValidation, signal.TrafficConnect
	for name, tc := range map[string]struct {
		tenant signin.Delivery
		calls  map[signin.Delivery]signal.TrafficProtocol // of the signal
	}{
		"as the service": {"", map[signin.Delivery]signal.TrafficProtocol{
			"": inline, signin.DeliverInline: inline, signin.DeliverConnect: connect, signin.DeliverConnectBytes: connect,
		}},
		"fetched, for the whole tenant": {signin.DeliverConnect, map[signin.Delivery]signal.TrafficProtocol{
			"": connect, signin.DeliverAuto: connect, signin.DeliverInline: inline,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ready := start(t, cloud.Options{Delivery: tc.tenant}).Ready()
			c := connectOne(t, ready, behaviour{})
			calls := 0
			for call, want := range tc.calls {
				calls++
				if result, status := signInBy(t, ready, call); status != http.StatusOK || result.Verdict != signin.Success {
					t.Fatalf("delivery %q: status %d, result %+v", call, status, result)
				}
				if seen := c.seen(); len(seen) != calls || seen[calls-1].Tunnel.Protocol.Traffic != want {
					t.Errorf("delivery %q: the connector saw %d signals, the last of %v; want %v", call, len(seen), seen[calls-1].Tunnel.Protocol.Traffic, want)
				}
			}
		})
	}
}

func TestADeliveryThatIsNoneIsRefused(t *testing.T) {
	ready := start(t, cloud.Options{}).Ready()
	if _, status := signInBy(t, ready, "pigeon"); status != http.StatusBadRequest {
		t.Errorf("status %d, want 400", status)
	}
	if err := (cloud.Options{Dir: "x", TenantID: tenantID, Delivery: "pigeon"}).Validate(); err == nil || !strings.Contains(err.Error(), "--delivery") {
		t.Errorf("error %v", err)
	}
}

// TestARequestIsHandedOutToWhomItIsFor: a connection id is no credential of its
// own.
func TestARequestIsHandedOutToWhomItIsFor(t *testing.T) {
	running := start(t, cloud.Options{})
	ready := running.Ready()
	hold := make(chan struct{})
	one, two := connectOne(t, ready, behaviour{respondAfter: hold}), register(t, ready, "two")
	done := make(chan signin.Result, 1)
	go func() {
		result, _ := signInBy(t, ready, signin.DeliverConnect)
		done <- result
	}()
	eventually(t, "the signal arrives", func() bool { return len(one.seen()) == 1 })
	pointer := one.seen()[0]
	good := `{"ConnectionId":"` + pointer.Tunnel.Protocol.ConnectionID + `","MessageType":0}`
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for name, tc := range map[string]struct {
		who     *connector
		message string
	}{
		"another connector":    {two, good},
		"another id":           {one, `{"ConnectionId":"` + guid.New().String() + `","MessageType":0}`},
		"another message type": {one, strings.Replace(good, `":0`, `":1`, 1)},
		"too long":             {one, good + strings.Repeat(" ", signal.MaxFetch)},
	} {
		socket, err := tc.who.ask(ctx, returnAddress(pointer), pointer.TransactionID, tc.message)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, document, err := socket.Read(ctx); err == nil {
			t.Errorf("%s was handed %.80s", name, document)
		}
		_ = socket.CloseNow()
	}
	// Without a certificate, not even the socket opens.
	stranger := &connector{t: t, client: &http.Client{Transport: transport(t, ready)}}
	if _, err := stranger.ask(ctx, returnAddress(pointer), pointer.TransactionID, good); err == nil {
		t.Error("a WebSocket opened without a certificate")
	}
	close(hold)
	if result := <-done; result.Verdict != signin.Success {
		t.Errorf("result %+v", result)
	}
	// Over: nothing waits under that id any more.
	socket, err := one.ask(ctx, returnAddress(pointer), pointer.TransactionID, good)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.Read(ctx); err == nil {
		t.Error("a request was handed out after its sign-in had ended")
	}
	_ = socket.CloseNow()
	if got := stats(t, ready)["fetchesRefused"]; got != 6 {
		t.Errorf("%d refused fetches were counted, want 6", got)
	}
}

func TestDefectsOfFetchesAreCounted(t *testing.T) {
	for name, tc := range map[string]struct {
		behave behaviour
		want   int
	}{
		"in order":            {behaviour{}, 0},
		"abandoned":           {behaviour{abandon: true}, 1},
		"another transaction": {behaviour{anotherTrans: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			running := start(t, cloud.Options{Delivery: signin.DeliverConnect})
			ready := running.Ready()
			connectOne(t, ready, tc.behave)
			if result, _ := signInBy(t, ready, ""); result.Verdict != signin.Success {
				t.Errorf("result %+v: the service was not seen to mind", result)
			}
			eventually(t, "the fetch is counted", func() bool { return stats(t, ready)["fetches"] == 1 })
			eventually(t, "the defects are counted", func() bool { return stats(t, ready)["defectFetch"] == tc.want })
			running.stop() // whatever was to be said has been said
			if got := strings.Count(running.log.String(), "A fetch was not as the service's own"); got != tc.want {
				t.Errorf("%d defects in the log, want %d", got, tc.want)
			}
		})
	}
}
