// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/passthrough-dev/connector-operator/connector/wire/signal"
	"github.com/passthrough-dev/connector-operator/hack/tenant/internal/signin"
)

// maxBody bounds what is read of a request, in bytes.
const maxBody = 16 << 10

// credentials are what a user entered. The password lies in buffers that wipe
// clears.
type credentials struct {
	username string
	password []byte
	// code and decision are what an administrator enters beside.
	code, decision string
	// preference is what the API may ask for beside.
	preference signin.Preference
	buffer     []byte // the request
}

func (c credentials) wipe() {
	clear(c.buffer)
	clear(c.password)
}

// readBody reads a request of the given content type. Demanding the type keeps
// other sites' pages from sending such requests without being asked first.
func readBody(w http.ResponseWriter, r *http.Request, contentType string) ([]byte, error) {
	if got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || got != contentType {
		return nil, fmt.Errorf("the request must have Content-Type %s", contentType)
	}
	buffer := make([]byte, maxBody+1)
	n, err := io.ReadFull(http.MaxBytesReader(w, r.Body, maxBody), buffer)
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		clear(buffer)
		return nil, errors.New("the request is too large or broke off")
	}
	return buffer[:n], nil
}

// secretText takes a JSON string into a buffer of its own, in place of a
// string that could not be wiped.
type secretText []byte

// UnmarshalJSON implements json.Unmarshaler.
func (s *secretText) UnmarshalJSON(raw []byte) error {
	// The reader of the protocol's own password document does the unescaping.
	document := make([]byte, 0, len(raw)+16)
	document = append(document, `{"Password":`...)
	document = append(document, raw...)
	document = append(document, '}')
	password, err := signal.UnwrapPassword(document)
	if err != nil {
		clear(document)
		return errors.New("password must be a string")
	}
	*s = password
	return nil
}

// readJSON reads {"username","password","delivery"?,"endpoint"?}.
func readJSON(w http.ResponseWriter, r *http.Request) (credentials, error) {
	body, err := readBody(w, r, "application/json")
	if err != nil {
		return credentials{}, err
	}
	c := credentials{buffer: body}
	var in struct {
		Username string     `json:"username"`
		Password secretText `json:"password"`
		Delivery string     `json:"delivery"`
		Endpoint string     `json:"endpoint"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		// The error could quote the request.
		return c, errors.New(`the request must be a JSON object with the strings "username" and "password", and "delivery" and "endpoint" if wanted`)
	}
	c.username, c.password = in.Username, in.Password
	c.preference = signin.Preference{Delivery: signin.Delivery(in.Delivery), Endpoint: signin.Endpoint(in.Endpoint)}
	return c, nil
}

// readForm reads username, password, code and decision from an HTML form, in place:
// Request.ParseForm would leave the password behind in strings.
func readForm(w http.ResponseWriter, r *http.Request) (credentials, error) {
	body, err := readBody(w, r, "application/x-www-form-urlencoded")
	if err != nil {
		return credentials{}, err
	}
	c := credentials{buffer: body}
	for field := range bytes.SplitSeq(body, []byte("&")) {
		name, value, _ := bytes.Cut(field, []byte("="))
		value, ok := unescape(value)
		if !ok {
			return c, errors.New("the form is not URL-encoded")
		}
		switch string(name) {
		case "username":
			c.username = string(value)
		case "password":
			c.password = value
		case "code":
			c.code = string(value)
		case "decision":
			c.decision = string(value)
		}
	}
	return c, nil
}

// unescape decodes a form value in place.
func unescape(b []byte) ([]byte, bool) {
	n := 0
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(b) {
				return nil, false
			}
			var decoded [1]byte
			if _, err := hex.Decode(decoded[:], b[i+1:i+3]); err != nil {
				return nil, false
			}
			c = decoded[0]
			i += 2
		}
		b[n] = c
		n++
	}
	return b[:n], true
}
