// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/passthrough-dev/connector-operator/connector/wire/internal/datacontract"
)

// Result answers a registration or a renewal (protocol sections 2.4 and 3.2).
// The service sends a refusal with HTTP status 200 too: look at Successful.
type Result struct {
	Certificate  []byte // DER; empty unless Successful
	Successful   bool
	ErrorMessage string // the service's text; of any length, so cut it before showing it
}

// MarshalRegistrationResult returns the answer to a registration.
func MarshalRegistrationResult(r Result) ([]byte, error) {
	return r.marshal("RegistrationResult", registrationNS)
}

// MarshalRenewalResult returns the answer to a renewal. The namespaces of that
// answer are not public; these are the likely ones.
func MarshalRenewalResult(r Result) ([]byte, error) {
	return r.marshal("TrustRenewalResult", renewalNS, datacontract.XMLNS("", registrationNS))
}

func (r Result) marshal(root, namespace string, attrs ...datacontract.Attr) ([]byte, error) {
	if r.Successful != (len(r.Certificate) > 0) {
		return nil, errors.New("result must hold a certificate if it is successful, and only then")
	}
	var w datacontract.Writer
	w.Element(root, func() {
		if r.Successful {
			w.Text("Certificate", base64.StdEncoding.EncodeToString(r.Certificate), attrs...)
		} else {
			w.Nil("Certificate", attrs...)
		}
		w.Text("ErrorMessage", r.ErrorMessage, attrs...)
		w.Text("IsSuccessful", fmt.Sprint(r.Successful), attrs...)
	}, datacontract.XMLNS("", namespace), datacontract.XMLNS("i", datacontract.SchemaInstance))
	return w.Bytes(), nil
}

// ParseResult reads the answer to a registration or a renewal. A refusal is not
// an error of ParseResult. A success without a certificate is.
func ParseResult(body []byte) (Result, error) {
	n, err := datacontract.Parse(body, "RegistrationResult", "TrustRenewalResult")
	if err != nil {
		return Result{}, fmt.Errorf("reading the service's answer: %w", err)
	}
	r := Result{ErrorMessage: n.Value("ErrorMessage")}
	if err := n.Bool("IsSuccessful", &r.Successful); err != nil {
		return Result{}, fmt.Errorf("reading the service's answer: %w", err)
	}
	if !r.Successful {
		return r, nil
	}
	if r.Certificate, err = n.Bytes("Certificate"); err != nil {
		return Result{}, fmt.Errorf("reading the service's answer: %w", err)
	}
	if len(r.Certificate) == 0 {
		return Result{}, errors.New("reading the service's answer: it reports success but holds no certificate")
	}
	return r, nil
}
