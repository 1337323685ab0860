// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

var errPending = errors.New("being written")

func (r RegistrationRequest) Marshal() ([]byte, error) { return nil, errPending }
func ParseRegistrationRequest([]byte) (RegistrationRequest, error) {
	return RegistrationRequest{}, errPending
}

// RenewalRequest asks for the next certificate.
type RenewalRequest struct {
	CSR              []byte // DER
	ConnectorVersion string
	System           SystemSettings
}

func (r RenewalRequest) Marshal() ([]byte, error)        { return nil, errPending }
func ParseRenewalRequest([]byte) (RenewalRequest, error) { return RenewalRequest{}, errPending }

// Result is the answer to both requests.
type Result struct {
	Certificate  []byte // DER
	Successful   bool
	ErrorMessage string
}

func MarshalRegistrationResult(Result) ([]byte, error) { return nil, errPending }
func MarshalRenewalResult(Result) ([]byte, error)      { return nil, errPending }
func ParseResult([]byte) (Result, error)               { return Result{}, errPending }
func NewCSR(key crypto.Signer) ([]byte, error)         { return nil, errPending }
func ParseCSR(der []byte) (*rsa.PublicKey, error)      { return nil, errPending }

// Identity is what a connector certificate says.
type Identity struct {
	TenantID    string // lower case
	ConnectorID string // lower case
	Thumbprint  string // SHA-1, upper-case hex
	NotBefore   time.Time
	NotAfter    time.Time
}

func ParseIdentity(*x509.Certificate) (Identity, error) { return Identity{}, errPending }
func (i Identity) KeyIdentifier() string                { return i.ConnectorID + "_" + i.Thumbprint }

// IssueRequest says what to issue.
type IssueRequest struct {
	PublicKey   *rsa.PublicKey // from ParseCSR
	TenantID    guid.GUID
	ConnectorID guid.GUID
	NotBefore   time.Time
	NotAfter    time.Time // clipped to the issuer's
}

func IssueCertificate(req IssueRequest, issuer *x509.Certificate, signer crypto.Signer) ([]byte, error) {
	return nil, errPending
}
