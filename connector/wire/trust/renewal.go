// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/passthrough-dev/connector-operator/connector/wire/internal/datacontract"
)

// RenewalRequest asks for the next certificate, over mutual TLS with the current
// one (protocol section 3.1).
type RenewalRequest struct {
	CSR              []byte // DER, from NewCSR, over a new key
	ConnectorVersion string // such as 1.5.3437.0
	System           SystemSettings
}

// Marshal returns the body to post to RenewalPath.
func (r RenewalRequest) Marshal() ([]byte, error) {
	if len(r.CSR) == 0 {
		return nil, errors.New("renewal request has no certificate request: set CSR")
	}
	var w datacontract.Writer
	w.Element("TrustRenewalRequest", func() {
		w.Text("Base64Csr", base64.StdEncoding.EncodeToString(r.CSR), datacontract.XMLNS("", registrationNS))
		w.Element("TrustRenewalRequestSettings", func() {
			writeSystem(&w, "SystemSettingsInformation", r.System, datacontract.XMLNS("", commonsNS))
			w.Text("ConnectorVersion", r.ConnectorVersion)
		})
	}, datacontract.XMLNS("", renewalNS), datacontract.XMLNS("i", datacontract.SchemaInstance))
	return w.Bytes(), nil
}

// ParseRenewalRequest reads a body that was posted to RenewalPath. Who asks is
// said by the client certificate, not by the body.
func ParseRenewalRequest(body []byte) (RenewalRequest, error) {
	n, err := datacontract.Parse(body, "TrustRenewalRequest")
	if err != nil {
		return RenewalRequest{}, fmt.Errorf("reading the renewal request: %w", err)
	}
	csr, err := readCSR(n)
	if err != nil {
		return RenewalRequest{}, fmt.Errorf("reading the renewal request: %w", err)
	}
	settings := n.Child("TrustRenewalRequestSettings")
	return RenewalRequest{
		CSR:              csr,
		ConnectorVersion: settings.Value("ConnectorVersion"),
		System:           readSystem(settings.Child("SystemSettingsInformation")),
	}, nil
}
