// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

const (
	// skewFails is what Kerberos tolerates, and about how far relay tokens may
	// begin in the future.
	skewFails = 5 * time.Minute
	skewWarns = time.Minute
)

// Skew is the finding about a clock, from the time at which a server says it
// answered, in whole seconds, and those at which it was asked and the answer was
// here, by this machine's clock.
func Skew(server, asked, answered time.Time, who string) Finding {
	skew := offBy(server, asked, answered)
	direction := "ahead of"
	if skew < 0 {
		direction, skew = "behind", -skew
	}
	found := fmt.Sprintf("this machine is %s %s %s", skew.Round(time.Second), direction, who)
	const action = "set the clock of the node, from which containers have it, by a time server (Windows: w32tm /resync)"
	switch {
	case skew >= skewFails:
		return Finding{Fail, found, "certificates, relay tokens and Kerberos tickets are taken for expired or not yet valid", action}
	case skew >= skewWarns:
		return Finding{Warn, found, "beyond five minutes certificates, relay tokens and Kerberos tickets are refused", action}
	}
	return Good("this machine agrees with %s within %s", who, max(skew, time.Second).Round(time.Second))
}

// offBy is how far this machine's clock is ahead of the server's: 0 if the
// server's second lies between question and answer.
func offBy(server, asked, answered time.Time) time.Duration {
	switch {
	case server.Add(time.Second).Before(asked):
		return asked.Sub(server.Add(time.Second))
	case server.After(answered):
		return answered.Sub(server)
	default:
		return 0
	}
}

// SkewFromCertificate is the finding about a clock when a server's certificate
// was refused for its dates: the other sign of a wrong clock, and the only one
// where no answer could be had. ok is false if err is another one.
func SkewFromCertificate(err error, now time.Time) (f Finding, ok bool) {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		return Finding{}, false
	}
	return Finding{
		Result:  Fail,
		Found:   fmt.Sprintf("the server's certificate is valid from %s to %s, and it is %s here", day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter), day(now)),
		Meaning: "either the clock of this machine is wrong, or the server's certificate has ended",
		Action:  "compare this machine's clock with a time server; if it is right, the server has to get a new certificate",
	}, true
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
