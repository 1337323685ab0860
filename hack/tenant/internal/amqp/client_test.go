// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package amqp

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	goamqp "github.com/Azure/go-amqp"
)

// These tests let a client that others wrote talk to the server.

func dial(t *testing.T, g *gate, idle time.Duration) *goamqp.Conn {
	t.Helper()
	client, server := net.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(t.Context(), server, Options{Container: "c_G1", TrackingSuffix: "_G1", Authorizer: g, Registrar: g})
	}()
	conn, err := goamqp.NewConn(t.Context(), client, &goamqp.ConnOptions{
		SASLType: goamqp.SASLTypeExternal(""), HostName: "ns-relay.servicebus.test", IdleTimeout: idle,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		t.Logf("the server ended with: %v", <-ended)
	})
	return conn
}

const address = "sb://ns.servicebus.test/path/"

func links(t *testing.T, conn *goamqp.Conn, token string) (*goamqp.Sender, *goamqp.Receiver, error) {
	t.Helper()
	session, err := conn.NewSession(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	properties := map[string]any{"com.microsoft:swt": token, "com.microsoft:tracking-id": "t"}
	sender, err := session.NewSender(t.Context(), address, &goamqp.SenderOptions{Name: "RelayLink_x:out", Properties: properties})
	if err != nil {
		return nil, nil, err
	}
	receiver, err := session.NewReceiver(t.Context(), address, &goamqp.ReceiverOptions{Name: "RelayLink_x:in", Properties: properties, Credit: 2})
	return sender, receiver, err
}

func TestIndependentClientListens(t *testing.T) {
	g := newGate()
	conn := dial(t, g, -1)
	sender, receiver, err := links(t, conn, "good")
	if err != nil {
		t.Fatal(err)
	}
	if got := receiver.Properties()["com.microsoft:tracking-id"]; got != "t_G1" {
		t.Errorf("the receiver's tracking id is %v, want t_G1", got)
	}
	listener := <-g.attached
	for _, text := range []string{"one", "two", "three", "four", "five"} { // credit is 2: it must be renewed
		delivery := sendWhenReady(t, listener, text)
		message, err := receiver.Receive(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if string(message.GetData()) != text {
			t.Errorf("received %q, want %q", message.GetData(), text)
		}
		if len(message.DeliveryTag) != 16 {
			t.Errorf("the delivery tag has %d bytes, want 16", len(message.DeliveryTag))
		}
		settle, want := receiver.AcceptMessage, OutcomeAccepted
		if text == "three" {
			settle, want = receiver.ReleaseMessage, OutcomeRefused
		}
		if err := settle(t.Context(), message); err != nil {
			t.Fatal(err)
		}
		<-delivery.Done()
		if got := delivery.Outcome(); got != want {
			t.Errorf("%s: outcome %v, want %v", text, got, want)
		}
	}
	if err := sender.Send(t.Context(), goamqp.NewMessage([]byte("up")), nil); err == nil {
		t.Error("a message on the sending link was accepted; nothing is sent there")
	}
	lost := sendWhenReady(t, listener, "unsettled")
	if err := receiver.Close(t.Context()); err != nil {
		t.Errorf("detaching: %v", err)
	}
	<-g.detached
	if <-lost.Done(); lost.Outcome() != OutcomeLost {
		t.Errorf("a delivery on a link that ended: outcome %v, want lost", lost.Outcome())
	}
	if _, err := listener.Send(nil); !errors.Is(err, ErrGone) {
		t.Errorf("sending on a link that ended: %v, want ErrGone", err)
	}
}

// sendWhenReady sends once there is credit.
func sendWhenReady(t *testing.T, l *Listener, text string) *Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		d, err := l.Send([]byte(text))
		if err == nil {
			return d
		}
		if !errors.Is(err, ErrNoCredit) {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the listener never got credit")
		}
	}
}

func TestIndependentClientIsRefused(t *testing.T) {
	conn := dial(t, newGate(), -1)
	_, _, err := links(t, conn, "bad")
	refusal := (*goamqp.Error)(nil)
	if !errors.As(err, &refusal) || refusal.Condition != ConditionUnauthorized || refusal.Description != "the token is not good" {
		t.Errorf("attaching with a bad token: %v, want %s", err, ConditionUnauthorized)
	}
}

func TestIndependentClientDrains(t *testing.T) {
	g := newGate()
	conn := dial(t, g, -1)
	session, err := conn.NewSession(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := session.NewReceiver(t.Context(), address, &goamqp.ReceiverOptions{Credit: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.IssueCredit(10); err != nil {
		t.Fatal(err)
	}
	if err := receiver.DrainCredit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := (<-g.attached).Send(nil); !errors.Is(err, ErrNoCredit) {
		t.Errorf("sending after a drain: %v, want ErrNoCredit", err)
	}
}
