// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-logr/logr"

	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/internal/diagnosis"
	"github.com/passthrough-dev/connector-operator/connector/internal/validation"
)

// examinable is what a diagnosis asks of a method of validation. A method is
// diagnosed by an implementation of it, see directoryOf.
type examinable interface {
	// hosts are dialled by name or address.
	hosts() []string
	// domains have their controllers looked up; needed says that validation depends
	// on their being found.
	domains() (names []string, needed bool)
	// checks are about servers, and about this machine's trust in them.
	checks() []diagnosis.Check
	// prove is the canary.
	prove(ctx context.Context) error
	close()
}

// directoryOf makes a configuration's method of validation ready to be diagnosed.
// The error is one for which the connector would not start.
func directoryOf(ctx context.Context, v config.Validation) (examinable, error) {
	ctx, cancel := context.WithTimeout(ctx, diagnosis.DefaultWithin)
	defer cancel()
	switch v.Method {
	case config.MethodLDAP:
		ldap, err := newLDAP(v, logr.Discard())
		if err != nil {
			return nil, err
		}
		found, faults := ldap.Controllers(ctx)
		return ldapDirectory{ldap, v.LDAP.Forests, found, faults}, nil
	case config.MethodLogonUser:
		logons, err := newLogons(v.LogonUser.Domains, validation.LogonOptions{})
		if err != nil {
			return nil, err
		}
		return logonDirectory{logons}, nil
	default:
		return nil, fmt.Errorf("this connector cannot diagnose validation by %.32s", v.Method)
	}
}

func (e *examination) examineDirectory(ctx context.Context, directory examinable) {
	e.ask(ctx, directory.checks()...)
	e.ask(ctx, diagnosis.Check{Kind: diagnosis.ValidatorProof, Subject: e.opts.Config.Validation.Method, Within: proofTimeout, Run: func(ctx context.Context) diagnosis.Finding {
		err := directory.prove(ctx)
		switch {
		case err == nil:
			return diagnosis.Good("a user and a password made up at random were refused as wrong")
		case errors.Is(err, validation.ErrAcceptsAnything):
			return diagnosis.Finding{
				Result: diagnosis.Fail, Found: err.Error(),
				Meaning: "whoever answers says yes to every password; the connector refuses to serve, so that nobody gets in",
				Action:  "find out what answers in the place of the domain controllers; do not work around this",
			}
		case errors.As(err, new(unusable)):
			return diagnosis.NotAsked("the validator cannot be set up")
		default:
			return diagnosis.Finding{
				Result: diagnosis.Fail, Found: err.Error(), Meaning: "the connector does not become ready before the directory has refused a random credential",
				Action: "begin with the checks of the domain controllers; `connector explain CODE` tells what a code means",
			}
		}
	}})
}

// ldapDirectory diagnoses validation by LDAP.
type ldapDirectory struct {
	ldap        *validation.LDAP
	forests     []config.Forest
	controllers []validation.Controller
	faults      []error // forests whose controllers were not found
}

func (d ldapDirectory) hosts() []string {
	var hosts []string
	for _, c := range d.controllers {
		if host, _, err := net.SplitHostPort(c.Address()); err == nil {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// domains are the suffixes of user names. They need not be domains, and nothing
// depends on it: the servers are configured.
func (d ldapDirectory) domains() (names []string, needed bool) {
	for _, f := range d.forests {
		names = append(names, f.Suffixes...)
	}
	return names, false
}

func (d ldapDirectory) checks() []diagnosis.Check {
	var checks []diagnosis.Check
	for _, fault := range d.faults {
		checks = append(checks, diagnosis.Check{Kind: diagnosis.Directory, Subject: "discovery", Run: func(context.Context) diagnosis.Finding {
			return diagnosis.Finding{
				Result: diagnosis.Fail, Found: fault.Error(), Meaning: "no domain controller of this forest is known, so its users cannot sign in",
				Action: "begin with the checks of names: the cluster's name servers have to know the domain's zone",
			}
		}})
	}
	for _, c := range d.controllers {
		checks = append(checks, diagnosis.Check{Kind: diagnosis.Directory, Subject: c.Address(), Run: func(ctx context.Context) diagnosis.Finding {
			return greeted(ctx, c)
		}})
	}
	return append(checks, notAsked("this machine", "validation by LDAP needs no trust between this machine and a domain", diagnosis.SecureChannel)...)
}

func (d ldapDirectory) prove(ctx context.Context) error {
	return validation.Prove(ctx, d.ldap, d.ldap.ProbeSuffixes()...)
}

func (d ldapDirectory) close() { d.ldap.Close() }

// logonDirectory diagnoses validation by LogonUser. Windows finds the domain
// controllers by itself, and knows alone how it stands with them.
type logonDirectory struct{ *directory }

func (logonDirectory) hosts() []string { return nil }

func (d logonDirectory) domains() (names []string, needed bool) { return d.suffixes, true }

// checks ask what the canary does, and judge the trust alone: whoever is refused
// for a reason of the user's was judged by a domain controller.
func (d logonDirectory) checks() []diagnosis.Check {
	checks := notAsked("the domain controllers", "Windows speaks to them, not the connector", diagnosis.Directory)
	for _, domain := range d.suffixes {
		checks = append(checks, diagnosis.Check{Kind: diagnosis.SecureChannel, Subject: domain, Within: proofTimeout, Run: func(ctx context.Context) diagnosis.Finding {
			err := validation.Prove(ctx, d.canary, domain)
			switch {
			case err == nil:
				return diagnosis.Good("a logon was judged, so there is a trust that carries one")
			case errors.Is(err, validation.ErrAcceptsAnything):
				return diagnosis.NotAsked("Windows says yes to everybody, which shows no trust")
			}
			return diagnosis.Finding{
				Result: diagnosis.Fail, Found: err.Error(), Meaning: "nobody of this domain can sign in",
				Action: "see that the pod was given its group managed service account (condition CredentialSpecUsable) and that the ports to the domain controllers are open; then start the connector again, each with an account of its own if this comes back",
			}
		}})
	}
	return checks
}

// greeted shakes hands with a domain controller.
func greeted(ctx context.Context, c validation.Controller) diagnosis.Finding {
	state, err := c.Greet(ctx)
	if err == nil {
		leaf := state.PeerCertificates[0]
		return diagnosis.Good("%s, a certificate until %s issued by %q", tls.VersionName(state.Version), leaf.NotAfter.UTC().Format(time.RFC3339), nameOf(leaf.Issuer.CommonName, leaf.Issuer.Organization))
	}
	finding := diagnosis.Finding{
		Result: diagnosis.Fail, Found: err.Error(), Meaning: "this domain controller is not asked; others of its forest are, if there are any",
		Action: "open TCP to " + c.Address() + " in network policies (spec.egress.directoryCIDRs) and firewalls, and see that the domain controller speaks LDAP over TLS there",
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		finding.Action = "put the root of the directory's certificates into the forest's CA bundle (spec.validation.ldap)"
	case errors.As(err, &name):
		finding.Action = "name the server as its certificate does (spec.validation.ldap), or give it a certificate for " + c.Address()
	case errors.As(err, &invalid):
		finding.Action = "give the domain controller a new certificate, or set the clock of this machine right"
	}
	return finding
}

// unusable is the directory of a method that cannot be set up.
type unusable struct{ error }

func (unusable) hosts() []string           { return nil }
func (unusable) domains() ([]string, bool) { return nil, false }

func (u unusable) checks() []diagnosis.Check {
	return []diagnosis.Check{{Kind: diagnosis.Directory, Subject: "configuration", Run: func(context.Context) diagnosis.Finding {
		return diagnosis.Finding{
			Result: diagnosis.Fail, Found: u.Error(), Meaning: "the connector does not start", Action: "correct the configuration: spec.validation of the PassthroughConnector",
		}
	}}}
}

func (u unusable) prove(context.Context) error { return u }
func (unusable) close()                        {}
