// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// responsePorts are those that signals still name beside 443.
var responsePorts = PortRange{PortResponseFirst, PortResponseLast}

// AllowReturnHost decides whether a response may go to a host and port that a
// signal named. An error means: drop the signal, it may be forged. The host must
// be a plain DNS name under one of ServiceSuffixes, the port 443 or 10100 to
// 10120.
func (s Service) AllowReturnHost(host string, port int) error {
	if err := under(host, s.ServiceSuffixes, "service.serviceSuffixes"); err != nil {
		return err
	}
	if port != PortHTTPS && !responsePorts.Contains(port) {
		return fmt.Errorf("port %d is not one for responses: 443 and 10100 to 10120 are", port)
	}
	return nil
}

// AllowRelayHost decides whether a relay host that a bootstrap answer or a
// signal named may be dialled: it must be a plain DNS name under one of
// RelaySuffixes. It is dialled on a port of the transport's, see
// AllowRendezvousPort.
func (s Service) AllowRelayHost(host string) error {
	return under(host, s.RelaySuffixes, "service.relaySuffixes")
}

// AllowRendezvousPort decides whether a relay instance may be dialled on a port
// that a signal named. Only TransportAMQP goes by it, and there is only one such
// port; WebSockets are always on 443, whatever the signal says.
func (s Service) AllowRendezvousPort(port int) error {
	if s.Transport == TransportAMQP && port != PortRendezvous {
		return fmt.Errorf("port %d is not the one for relayed connections, %d", port, PortRendezvous)
	}
	return nil
}

// AllowServiceURL decides whether a URL of the service, such as the renewal
// endpoint that a bootstrap answer named, may be used: https, a host under one
// of ServiceSuffixes, no credentials, no query. Any port is allowed, since TLS
// proves who answers there.
func (s Service) AllowServiceURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("it is not a URL")
	case u.User != nil:
		return errors.New("the URL holds credentials")
	case u.Scheme != "https" || u.Opaque != "":
		return fmt.Errorf("%.128q is not an https:// URL", raw)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("%.128q has a query or a fragment", raw)
	case !isPort(u):
		return fmt.Errorf("%.128q has a port that is none", raw)
	}
	return under(u.Hostname(), s.ServiceSuffixes, "service.serviceSuffixes")
}

// under checks that a host is a DNS name below a suffix. Everything but a plain
// name is refused first: what looks like one to the comparison and like
// something else to a resolver (an address, a port, credentials, a NUL) must not
// come through.
func under(host string, suffixes []string, field string) error {
	if !isHostname(host) {
		return fmt.Errorf("host %.128q is not a plain DNS name", host)
	}
	host = lower(host)
	for _, s := range suffixes {
		s = lower(s)
		// A suffix without its leading dot would match half a label.
		if strings.HasPrefix(s, ".") && strings.HasSuffix(host, s) && len(host) > len(s) {
			return nil
		}
	}
	return fmt.Errorf("host %q is under none of %s (%s)", host, field, strings.Join(suffixes, ", "))
}

// isSuffix reports whether s is a dot and a DNS name of two labels or more.
func isSuffix(s string) bool {
	name, found := strings.CutPrefix(s, ".")
	return found && isHostname(name) && strings.Contains(name, ".")
}

// isHostname reports whether s is a DNS name as hosts have it (RFC 1123), no
// address, and without the dot of the root.
func isHostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	label := ""
	for label = range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	// A numeric last label makes resolvers read the name as an address, in
	// spellings that netip does not know (0x7f.1, 127.1).
	return label[0] > '9'
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !isLetterOrDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

func isLetterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// lower maps ASCII letters alone: Unicode's mapping knows letters outside ASCII
// whose lower case is inside.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// isServer reports whether a URL names a host, by name or address, and a port
// that exists or none.
func isServer(u *url.URL) bool {
	_, err := netip.ParseAddr(u.Hostname())
	return (err == nil || isHostname(u.Hostname())) && isPort(u)
}

// isPort reports whether the URL has a port that exists, or none.
func isPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}
