// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

const (
	// DefaultRenewBefore is how long before the end of a certificate it is renewed
	// unless somebody says otherwise (protocol section 3.3).
	DefaultRenewBefore = 30 * 24 * time.Hour

	// emergencyBefore is how long before its end a certificate that was not renewed
	// becomes urgent, and never more than a quarter of the window.
	emergencyBefore = 7 * 24 * time.Hour

	// jitterPart is the part of the window over which renewals are spread.
	jitterPart = 0.1
)

// Phase is how urgent the renewal of a certificate is.
type Phase int

// The phases, in the order in which they follow each other.
const (
	Fresh     Phase = iota // nothing to do
	Due                    // renew it
	Emergency              // renew it, whatever else waits
	Expired                // the service does not know it any more: register anew
)

// Schedule is when what becomes due for one certificate.
type Schedule struct {
	RenewAfter     time.Time // Due from here on
	EmergencyAfter time.Time // Emergency from here on
	NotAfter       time.Time // Expired from here on
}

// ScheduleOf computes the schedule of a certificate that shall be renewed that
// long before its end; half of its lifetime is used at most. The jitter is drawn
// once for each certificate: it follows from the thumbprint, so that every pass
// and every process of the operator comes to the same times.
func ScheduleOf(identity trust.Identity, renewBefore time.Duration) Schedule {
	window := max(min(renewBefore, identity.NotAfter.Sub(identity.NotBefore)/2), 0)
	jitter := time.Duration(float64(window) * jitterPart * draw(identity.Thumbprint))
	return Schedule{
		RenewAfter:     identity.NotAfter.Add(jitter - window).Truncate(time.Second),
		EmergencyAfter: identity.NotAfter.Add(-min(emergencyBefore, window/4)).Truncate(time.Second),
		NotAfter:       identity.NotAfter,
	}
}

// Phase is how urgent the renewal is at a time.
func (s Schedule) Phase(now time.Time) Phase {
	switch {
	case !now.Before(s.NotAfter):
		return Expired
	case !now.Before(s.EmergencyAfter):
		return Emergency
	case !now.Before(s.RenewAfter):
		return Due
	default:
		return Fresh
	}
}

// Next is when the phase changes after now; zero if it does not any more.
func (s Schedule) Next(now time.Time) time.Time {
	for _, at := range []time.Time{s.RenewAfter, s.EmergencyAfter, s.NotAfter} {
		if now.Before(at) {
			return at
		}
	}
	return time.Time{}
}

// draw turns a thumbprint into a number from 0 to below 1, evenly spread.
func draw(thumbprint string) float64 {
	sum := sha256.Sum256([]byte(thumbprint))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}
