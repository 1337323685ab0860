// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"fmt"
	"slices"
	"strings"
)

// InputError says what is wrong with what the user entered, for the user.
type InputError struct{ Message string }

// Error returns the message.
func (e *InputError) Error() string { return e.Message }

// maxName is the service's limit for user principal names, in bytes.
const maxName = 113

// reservedTLDs belong to nobody (RFC 2606, RFC 6761), so that no password of a
// real account is entered here by mistake.
var reservedTLDs = []string{"example", "test", "invalid", "localhost"}

// Reserved reports whether a domain is under a top-level domain that is kept
// for tests and documentation.
func Reserved(domain string) bool {
	labels := strings.Split(strings.ToLower(domain), ".")
	return len(labels) >= 2 && !slices.Contains(labels, "") && slices.Contains(reservedTLDs, labels[len(labels)-1])
}

// parseUser checks a user name and returns it with the NetBIOS name of its
// domain, as synchronisation would have brought it to the cloud: the first
// label in upper case.
func parseUser(username string) (upn, netbios string, err error) {
	username = strings.TrimSpace(username)
	name, domain, ok := strings.Cut(username, "@")
	switch {
	case !ok || name == "" || strings.Contains(domain, "@"):
		return "", "", &InputError{"Enter a user name of the form name@domain."}
	case len(username) > maxName:
		return "", "", &InputError{fmt.Sprintf("A user name has at most %d characters.", maxName)}
	case strings.ContainsFunc(username, func(r rune) bool { return r < 0x21 || r == 0x7F }):
		return "", "", &InputError{"A user name holds no spaces and no control characters."}
	case !Reserved(domain):
		return "", "", &InputError{"This tenant is for tests: it takes users of domains under ." + strings.Join(reservedTLDs, ", .") + " only. Never enter a real password here."}
	}
	netbios, _, _ = strings.Cut(domain, ".")
	return username, strings.ToUpper(netbios[:min(len(netbios), 15)]), nil
}
