// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/passthrough-dev/connector-operator/connector/wire/guid"
)

// Bounds of what Validate accepts.
const (
	MaxMachineName = 64
	// MaxTimeoutSeconds leaves a second of the cloud's fifteen for the answer.
	MaxTimeoutSeconds = 14
	MaxConcurrent     = 1024
	MaxForests        = 64
	MaxListItems      = 64 // suffixes and servers
	MaxLogLevel       = 10
)

// faults collects what is wrong with a configuration.
type faults []error

func (f *faults) add(field, problem string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %s", field, fmt.Sprintf(problem, args...)))
}

// Validate reports every fault at once, each as "field.path: what is wrong and
// what to write". It looks at values only, so that both sides come to the same
// result; files are read by those who use them.
func (c Config) Validate() error {
	var f faults
	if c.APIVersion != APIVersion {
		f.add("apiVersion", "is %.64q; write %q", c.APIVersion, APIVersion)
	}
	if id, err := guid.Parse(c.TenantID); err != nil || id.IsZero() {
		f.add("tenantID", "is %.64q; write the tenant's GUID, such as 6f5e4d3c-2b1a-4908-8716-253443526170", c.TenantID)
	}
	if !isMachineName(c.MachineName) {
		f.add("machineName", "is %.80q; write 1 to %d letters, digits, dots, dashes and underscores", c.MachineName, MaxMachineName)
	}
	f.file("identity.certificateFile", c.Identity.CertificateFile, true)
	f.file("identity.keyFile", c.Identity.KeyFile, true)
	f.service(c.Service)
	f.validation(c.Validation)
	f.between("health.port", c.Health.Port, 1, 65535)
	f.between("log.level", c.Log.Level, 0, MaxLogLevel)
	return errors.Join(f...)
}

func (f *faults) service(s Service) {
	f.suffixes("service.serviceSuffixes", s.ServiceSuffixes)
	f.suffixes("service.relaySuffixes", s.RelaySuffixes)
	f.bootstrapURL(s)
	if s.Transport != TransportWebSocket && s.Transport != TransportAMQP {
		f.add("service.transport", "is %.64q; write %q or %q", s.Transport, TransportWebSocket, TransportAMQP)
	}
	if s.ProxyURL != "" {
		f.proxyURL(s.ProxyURL)
	}
	f.file("service.caFile", s.CAFile, false)
}

func (f *faults) bootstrapURL(s Service) {
	const field = "service.bootstrapURL"
	if err := s.AllowServiceURL(s.BootstrapURL); err != nil {
		f.add(field, "%v; write https://host under one of service.serviceSuffixes", err)
		return
	}
	if u, err := url.Parse(s.BootstrapURL); err != nil || u.Path != "" {
		f.add(field, "has a path or ends with a slash; write https://host alone, the path is added")
	}
}

func (f *faults) proxyURL(raw string) {
	const field = "service.proxyURL"
	u, err := url.Parse(raw)
	switch {
	case err != nil: // the error would repeat what may be a password
		f.add(field, "is not a URL; write http://host:port")
	case u.User != nil:
		f.add(field, "holds credentials, which do not belong into this file and are not supported; write http://host:port")
	case u.Scheme != "http" || u.Opaque != "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		f.add(field, "is %.128q; write http://host:port and nothing behind it", withoutUser(raw))
	case !isServer(u) || u.Port() == "":
		f.add(field, "is %.128q; write http://host:port, with the port", raw)
	}
}

func (f *faults) suffixes(field string, suffixes []string) {
	f.length(field, len(suffixes), MaxListItems)
	for i, s := range suffixes {
		if !isSuffix(s) {
			f.add(index(field, i), "is %.128q; write a dot and at least two labels, such as .msappproxy.net", s)
		}
	}
}

func (f *faults) validation(v Validation) {
	f.between("validation.timeoutSeconds", v.TimeoutSeconds, 1, MaxTimeoutSeconds)
	f.between("validation.maxConcurrent", v.MaxConcurrent, 1, MaxConcurrent)
	if v.Method != MethodLDAP && v.Method != MethodLogonUser {
		f.add("validation.method", "is %.64q; write %q or %q", v.Method, MethodLDAP, MethodLogonUser)
		return
	}
	f.onlyWith(MethodLDAP, "validation.ldap", v.Method, v.LDAP != nil)
	f.onlyWith(MethodLogonUser, "validation.logonUser", v.Method, v.LogonUser != nil)
	switch {
	case v.Method == MethodLDAP && v.LDAP != nil:
		f.forests("validation.ldap.forests", v.LDAP.Forests)
	case v.Method == MethodLogonUser && v.LogonUser != nil:
		f.domains("validation.logonUser.domains", v.LogonUser.Domains)
	}
}

// onlyWith checks that what a method needs is there if it is the chosen one, and
// not otherwise.
func (f *faults) onlyWith(method, field, chosen string, present bool) {
	switch {
	case chosen == method && !present:
		f.add(field, "is missing; method %s needs it", method)
	case chosen != method && present:
		f.add(field, "has no effect with method %s; remove it, or write %q as the method", chosen, method)
	}
}

func (f *faults) domains(field string, domains []string) {
	f.length(field, len(domains), MaxListItems)
	for i, d := range domains {
		if !isHostname(strings.ToLower(d)) {
			f.add(index(field, i), "is %.128q; write the DNS name of a domain, such as contoso.example", d)
		}
	}
}

func (f *faults) forests(field string, forests []Forest) {
	f.length(field, len(forests), MaxForests)
	seen := map[string]string{} // suffix to the field it was first seen in
	for i, forest := range forests {
		f.forest(index(field, i), forest, seen)
	}
}

func (f *faults) forest(field string, forest Forest, seen map[string]string) {
	f.length(field+".suffixes", len(forest.Suffixes), MaxListItems)
	for i, s := range forest.Suffixes {
		at := index(field+".suffixes", i)
		name := strings.ToLower(s)
		if !isHostname(name) {
			f.add(at, "is %.128q; write what stands behind the @ of user names, such as contoso.example", s)
		} else if first, again := seen[name]; again {
			f.add(at, "is %q, as is %s already; keep one, since a user belongs to one forest", s, first)
		} else {
			seen[name] = at
		}
	}
	f.whereabouts(field, forest)
	f.file(field+".caFile", forest.CAFile, false)
}

// whereabouts checks where a forest's servers are: listed, or in DNS.
func (f *faults) whereabouts(field string, forest Forest) {
	if d := forest.Discovery; d != nil {
		if len(forest.Servers) > 0 {
			f.add(field+".servers", "goes with no discovery; write one of the two")
		}
		if name := strings.ToLower(d.Domain); !isHostname(name) || !strings.Contains(name, ".") {
			f.add(field+".discovery.domain", "is %.128q; write the DNS name of the domain, such as corp.contoso.example", d.Domain)
		}
		if d.Site != "" && (!isHostname(strings.ToLower(d.Site)) || strings.Contains(d.Site, ".")) {
			f.add(field+".discovery.site", "is %.128q; write the site's name: letters, digits and hyphens", d.Site)
		}
		return
	}
	f.length(field+".servers", len(forest.Servers), MaxListItems)
	scheme := "ldaps"
	if forest.StartTLS {
		scheme = "ldap"
	}
	for i, s := range forest.Servers {
		if !isServerURL(s, scheme) {
			f.add(index(field+".servers", i), "is %.128q; write %s://host or %s://host:port: without StartTLS a server must be ldaps://, since clear-text LDAP would show passwords to the network, and with it ldap://", withoutUser(s), scheme, scheme)
		}
	}
}

func (f *faults) between(field string, value, least, most int) {
	if value < least || value > most {
		f.add(field, "is %d; write a number from %d to %d", value, least, most)
	}
}

func (f *faults) length(field string, n, most int) { //nolint:unparam // every list has the same bound today
	if n < 1 || n > most {
		f.add(field, "has %d items; write 1 to %d", n, most)
	}
}

func (f *faults) file(field, name string, required bool) {
	switch {
	case name == "" && required:
		f.add(field, "is missing; write the name of a PEM file, relative to this file or absolute")
	case strings.ContainsRune(name, 0) || len(name) > 4096:
		f.add(field, "is %.64q, which is not a file name", name)
	}
}

func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

func isMachineName(s string) bool {
	for _, c := range []byte(s) {
		if !isLetterOrDigit(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= MaxMachineName && isLetterOrDigit(s[0])
}

func isServerURL(raw, scheme string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == scheme && u.User == nil && u.Opaque == "" &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && isServer(u)
}

// withoutUser drops what stands before an @, which may be a password.
func withoutUser(raw string) string {
	return raw[strings.LastIndexByte(raw, '@')+1:]
}
