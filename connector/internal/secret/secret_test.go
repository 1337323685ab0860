// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package secret_test

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"text/template"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

const canary = "C4nary-Bird!"

// traces are the forms in which the canary could show in output: as text, as
// the numbers fmt prints for bytes, as hexadecimal, as base64.
var traces = []string{
	canary,
	"C4nary",
	"67 52 110 97",
	"43346e617279",
	"43346E617279",
	"43 34 6e 61",
	"0x43, 0x34",
	"QzRuYXJ5",
}

func check(t *testing.T, how, output string) {
	t.Helper()
	for _, trace := range traces {
		if strings.Contains(output, trace) {
			t.Errorf("%s shows the secret as %q in %q", how, trace, output)
		}
	}
}

// The check must be able to fail.
func TestTracesAreFoundInUnprotectedBytes(t *testing.T) {
	b := []byte(canary)
	encoded, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	for how, output := range map[string]string{
		"%s": string(b), "%v": fmt.Sprintf("%v", b), "%x": hex.EncodeToString(b), "% x": fmt.Sprintf("% x", b),
		"%X": fmt.Sprintf("%X", b), "%#v": fmt.Sprintf("%#v", b), "JSON": string(encoded),
	} {
		found := false
		for _, trace := range traces {
			found = found || strings.Contains(output, trace)
		}
		if !found {
			t.Errorf("the traces do not recognise the secret as %s prints it: %q", how, output)
		}
	}
}

type byPointer struct{ Password *secret.Buffer }
type byValue struct{ Password secret.Buffer }
type hiddenPointer struct{ password *secret.Buffer }
type hiddenValue struct{ password secret.Buffer }
type embedded struct{ *secret.Buffer }
type nested struct {
	Inner any
	list  []hiddenValue
	table map[string]hiddenPointer
}

// holders are the ways in which a buffer can be part of what is printed.
func holders() map[string]any {
	b := secret.New([]byte(canary))
	return map[string]any{
		"a pointer":                        b,
		"a value":                          *b,
		"a pointer to a pointer":           &b,
		"a struct with a pointer":          byPointer{b},
		"a struct with a value":            byValue{*b},
		"a struct with a hidden pointer":   hiddenPointer{b},
		"a struct with a hidden value":     hiddenValue{*b},
		"a pointer to one of these":        &hiddenValue{*b},
		"an embedding struct":              embedded{b},
		"a slice":                          []*secret.Buffer{b},
		"a slice of values":                []secret.Buffer{*b},
		"a map":                            map[string]secret.Buffer{"password": *b},
		"structs in structs":               nested{byValue{*b}, []hiddenValue{{*b}}, map[string]hiddenPointer{"x": {b}}},
		"an error that formats it":         fmt.Errorf("sign-in of %v failed", b),
		"an error that formats its struct": fmt.Errorf("sign-in of %+v failed: %w", hiddenValue{*b}, errors.New("no")),
	}
}

func TestNoVerbPrintsASecret(t *testing.T) {
	var formats []string
	for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "# ", "20", ".3", "-20.5"} {
		for _, verb := range "vTtbcdoOqxXUeEfFgGspw" {
			formats = append(formats, "%"+flags+string(verb))
		}
	}
	for name, holder := range holders() {
		t.Run(name, func(t *testing.T) {
			for _, format := range formats {
				check(t, format, fmt.Sprintf(format, holder))
			}
			check(t, "Sprint", fmt.Sprint(holder))
			check(t, "Sprintln", fmt.Sprintln(holder))
			check(t, "an error", fmt.Errorf("failed: %v", holder).Error())
			check(t, "a panic's value", panicText(holder))
		})
	}
}

func panicText(v any) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	panic(v)
}

func TestNoEncoderShowsASecret(t *testing.T) {
	for name, holder := range holders() {
		t.Run(name, func(t *testing.T) {
			// What cannot be encoded at all shows nothing; errors are checked, too.
			text, err := json.Marshal(holder)
			check(t, "JSON", string(text)+fmt.Sprint(err))
			text, err = xml.Marshal(holder)
			check(t, "XML", string(text)+fmt.Sprint(err))
			var b bytes.Buffer
			err = gob.NewEncoder(&b).Encode(holder)
			check(t, "gob", b.String()+fmt.Sprint(err))
			b.Reset()
			err = binary.Write(&b, binary.LittleEndian, holder)
			check(t, "binary", b.String()+fmt.Sprint(err))
			b.Reset()
			err = template.Must(template.New("").Parse("{{.}} {{printf \"%#v\" .}}")).Execute(&b, holder)
			check(t, "a template", b.String()+fmt.Sprint(err))
		})
	}
}

func TestNoLoggerShowsASecret(t *testing.T) {
	for name, holder := range holders() {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			debug := &slog.HandlerOptions{Level: slog.LevelDebug - 10}
			for how, handler := range map[string]slog.Handler{
				"slog JSON": slog.NewJSONHandler(&out, debug), "slog text": slog.NewTextHandler(&out, debug),
			} {
				slog.New(handler).Info("message", "password", holder, slog.Group("group", "password", holder))
				logger := logr.FromSlogHandler(handler)
				logger.V(2).WithValues("with", holder).Info("message", "password", holder)
				logger.Error(fmt.Errorf("failed on %v", holder), "message", "password", holder)
				check(t, how+", directly and by logr", out.String())
			}
			keep := func(prefix, args string) { fmt.Fprintln(&out, prefix, args) }
			for _, logger := range []logr.Logger{funcr.New(keep, funcr.Options{Verbosity: 9}), funcr.NewJSON(func(s string) { keep("", s) }, funcr.Options{Verbosity: 9})} {
				logger.WithValues("with", holder).Info("message", "password", holder)
			}
			log.New(&out, "", 0).Printf("%v %+v", holder, holder)
			check(t, "funcr and log", out.String())
			if out.Len() == 0 {
				t.Error("nothing was logged, so nothing was tested")
			}
		})
	}
}

func TestPlaceholder(t *testing.T) {
	b := secret.New([]byte(canary))
	encoded, err := json.Marshal(byPointer{b})
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "p", b)
	for how, got := range map[string]string{
		"%s": fmt.Sprintf("%s", b), "%v": fmt.Sprintf("%v", *b), "%x": fmt.Sprintf("%x", b), "%#v": fmt.Sprintf("%#v", b), "%d": fmt.Sprintf("%d", b),
		"String": b.String(), "GoString": b.GoString(), "JSON": string(encoded), "slog": logged.String(), "logr": fmt.Sprint(b.MarshalLog()),
	} {
		if !strings.Contains(got, secret.Placeholder) {
			t.Errorf("%s prints %q, want the placeholder in it", how, got)
		}
	}
	var null *secret.Buffer
	if got := fmt.Sprintf("%v", null); got != "<nil>" {
		t.Errorf("a nil buffer prints as %q, want <nil>", got)
	}
	if _, err := b.MarshalBinary(); err == nil {
		t.Error("a secret let itself be encoded")
	}
}

func TestZero(t *testing.T) {
	backing := []byte(canary + "and the rest of the capacity")
	b := secret.New(backing[:len(canary)])
	if got := string(b.Bytes()); got != canary || b.Len() != len(canary) {
		t.Fatalf("the buffer holds %d bytes that are not those it was given", b.Len())
	}
	b.Zero()
	b.Zero()
	if !bytes.Equal(backing, make([]byte, len(backing))) {
		t.Error("Zero left something in the slice's capacity")
	}
	if b.Bytes() != nil || b.Len() != 0 {
		t.Error("a zeroed buffer still holds a slice")
	}

	var null *secret.Buffer
	null.Zero()
	new(secret.Buffer).Zero()
	if null.Bytes() != nil || null.Len() != 0 || new(secret.Buffer).Bytes() != nil {
		t.Error("a buffer that was never filled holds something")
	}
}

func TestMove(t *testing.T) {
	backing := []byte(canary)
	from := secret.New(backing)
	to := from.Move()
	if from.Bytes() != nil {
		t.Error("the old owner still holds the secret")
	}
	from.Zero()
	if string(to.Bytes()) != canary {
		t.Error("zeroing the old owner changed the secret")
	}
	if &to.Bytes()[0] != &backing[0] {
		t.Error("Move copied the secret")
	}
	to.Zero()
	if !bytes.Equal(backing, make([]byte, len(backing))) {
		t.Error("the new owner did not zero the secret")
	}
	var null *secret.Buffer
	if null.Move().Bytes() != nil || new(secret.Buffer).Move().Bytes() != nil {
		t.Error("an empty buffer moved something")
	}
}

func TestZeroFromSeveralGoroutines(t *testing.T) {
	backing := []byte(canary)
	b := secret.New(backing)
	var group sync.WaitGroup
	for range 8 {
		group.Go(b.Zero)
		group.Go(func() { b.Move().Zero() })
	}
	group.Wait()
	if !bytes.Equal(backing, make([]byte, len(backing))) {
		t.Error("the secret is not zeroed")
	}
}
