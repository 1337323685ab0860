// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnosis

// Kind names what a check asks. The values are API: scripts match them.
type Kind string

// The kinds, in the order in which they are asked.
const (
	IdentityFiles  Kind = "identity.files"
	IdentityDates  Kind = "identity.dates"
	NamesHosts     Kind = "names.hosts"
	NamesTCP       Kind = "names.tcp"
	NamesSRV       Kind = "names.srv"
	Proxy          Kind = "proxy"
	TLSInspection  Kind = "tls.inspection"
	Bootstrap      Kind = "bootstrap"
	Clock          Kind = "clock"
	Ports          Kind = "ports"
	Relay          Kind = "relay"
	Directory      Kind = "directory.server"
	SecureChannel  Kind = "directory.channel"
	ValidatorProof Kind = "validator.canary"
)

// Explanation says what a kind of check proves.
type Explanation struct {
	Kind   Kind
	Proves string
}

// Catalogue explains all kinds, in the order in which they are asked.
func Catalogue() []Explanation {
	return []Explanation{
		{IdentityFiles, "certificate and key can be read, belong together and are this tenant's"},
		{IdentityDates, "the certificate is valid now, and its renewal is not overdue"},
		{NamesHosts, "a host that is dialled has an address; with a proxy, which resolves names itself, only the proxy and the domain controllers are looked up"},
		{NamesTCP, "the name servers answer over TCP as well, as long answers such as lists of domain controllers need"},
		{NamesSRV, "the domain's controllers are listed in DNS"},
		{Proxy, "the proxy lets a connection to the service through, without credentials"},
		{TLSInspection, "the certificates that come from the service's hosts are verified, and descend from the roots that the service says it uses"},
		{Bootstrap, "the service knows this connector's certificate, and says where to listen"},
		{Clock, "the time here is the service's"},
		{Ports, "the ports of the chosen profile are open, from the table of `connector firewall`"},
		{Relay, "a link to each relay can be opened, as far as before listening begins"},
		{Directory, "each domain controller of the configuration answers with a certificate that is trusted"},
		{SecureChannel, "Windows has a working trust with the domain"},
		{ValidatorProof, "the directory refuses a user and a password made up at random, with a code for wrong credentials"},
	}
}
