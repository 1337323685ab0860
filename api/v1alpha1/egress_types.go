// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// EgressMode is who limits where the connectors may connect to.
//
// +kubebuilder:validation:Enum=NetworkPolicy;CiliumNetworkPolicy;AntreaNetworkPolicy;ClusterNetworkPolicy;None
type EgressMode string

// The modes.
const (
	// EgressNetworkPolicy has the operator apply a NetworkPolicy.
	EgressNetworkPolicy EgressMode = "NetworkPolicy"
	// EgressCilium has the operator apply a NetworkPolicy that leaves out what is
	// known by name, and a CiliumNetworkPolicy that opens it by name.
	EgressCilium EgressMode = "CiliumNetworkPolicy"
	// EgressAntrea is the same with a NetworkPolicy of Antrea (crd.antrea.io).
	EgressAntrea EgressMode = "AntreaNetworkPolicy"
	// EgressCluster is the same with a ClusterNetworkPolicy of SIG Network
	// (policy.networking.k8s.io), which belongs to no namespace.
	EgressCluster EgressMode = "ClusterNetworkPolicy"
	// EgressNone leaves it to others.
	EgressNone EgressMode = "None"
)

// EgressPorts says which ports of the service are opened.
//
// +kubebuilder:validation:Enum=Documented;HTTPSOnly
type EgressPorts string

// The profiles of ports.
const (
	// EgressPortsDocumented opens every port that the service's documentation
	// lists.
	EgressPortsDocumented EgressPorts = "Documented"
	// EgressPortsHTTPSOnly opens 443, and 80 for revocation lists.
	EgressPortsHTTPSOnly EgressPorts = "HTTPSOnly"
)

// EgressSpec is where the connectors may connect to. The operator applies it; it
// cannot see whether the cluster's network enforces it.
//
// +kubebuilder:validation:XValidation:rule="self.mode != 'None' || (!has(self.performancePort) && !has(self.cloudCIDRs) && !has(self.serviceTags) && !has(self.revocationCIDRs) && !has(self.proxyCIDRs) && !has(self.directoryCIDRs) && !has(self.directoryPorts) && !has(self.dnsCIDRs))",message="in mode None nothing else but ports may be set, because it would have no effect: remove the other fields or set mode to NetworkPolicy",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(self.performancePort) || !self.performancePort || self.ports == 'Documented'",message="performancePort may be true only when ports is Documented: remove it or change ports",fieldPath=".performancePort",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="self.mode in ['NetworkPolicy', 'None'] || (!has(self.cloudCIDRs) && !has(self.serviceTags))",message="in this mode the cloud is opened by host names, so cloudCIDRs and serviceTags would have no effect: remove them or set mode to NetworkPolicy",reason=FieldValueForbidden
type EgressSpec struct {
	// mode is NetworkPolicy, which applies one NetworkPolicy to the connectors'
	// pods and knows addresses alone, or None. CiliumNetworkPolicy,
	// AntreaNetworkPolicy and ClusterNetworkPolicy add a policy of that kind, which
	// opens the hosts of the cloud, revocation hosts, and proxy and directory servers
	// that are given by name, by their names. The cluster must have the kind, and
	// the operator must be allowed to write it.
	//
	// +optional
	// +kubebuilder:default=NetworkPolicy
	Mode EgressMode `json:"mode,omitempty"`

	// ports is Documented, which opens every port that the service's documentation
	// lists, or HTTPSOnly, which opens 443, and 80 for revocation lists: what
	// today's service needs.
	//
	// +optional
	// +kubebuilder:default=Documented
	Ports EgressPorts `json:"ports,omitempty"`

	// performancePort also opens port 9350, which the service's documentation calls
	// optional.
	//
	// +optional
	PerformancePort *bool `json:"performancePort,omitempty"`

	// cloudCIDRs are the IPv4 addresses of the cloud, beside those of serviceTags.
	// Without either the ports of the service are open to any address. Port 80 is
	// revocationCIDRs'.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=200
	CloudCIDRs []IPv4CIDR `json:"cloudCIDRs,omitempty"`

	// serviceTags are the addresses of the cloud as Microsoft publishes them each
	// week. They are put together with cloudCIDRs into as few blocks as can be, of
	// which a policy holds 200: more are refused. A change of the file is followed.
	//
	// +optional
	ServiceTags *ServiceTags `json:"serviceTags,omitempty"`

	// revocationCIDRs are the IPv4 addresses of the hosts that say, on port 80,
	// whether certificates are revoked. Certificate authorities run them, most
	// outside the cloud. Without them port 80 is open to any address, whatever
	// cloudCIDRs are.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	RevocationCIDRs []IPv4CIDR `json:"revocationCIDRs,omitempty"`

	// proxyCIDRs are the IPv4 addresses of the proxy that service.proxyURL names.
	// Without them the proxy's port is open to the address in the URL, or to any
	// address if the URL holds a name.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	ProxyCIDRs []IPv4CIDR `json:"proxyCIDRs,omitempty"`

	// directoryCIDRs are the IPv4 addresses of the domain controllers. Without them
	// the ports of the directory are open to the addresses in the servers' URLs, of
	// which there may be 32, or to any address if one of these holds a name.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	DirectoryCIDRs []IPv4CIDR `json:"directoryCIDRs,omitempty"`

	// directoryPorts are the ports of the domain controllers. The default is what
	// the validation method needs; for LDAP these are the ports in the servers'
	// URLs.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	DirectoryPorts []EgressPort `json:"directoryPorts,omitempty"`

	// dnsCIDRs are IPv4 addresses of name servers beside the cluster's own, which
	// are pods labelled k8s-app: kube-dns or node-local-dns, and 169.254.20.10.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	DNSCIDRs []IPv4CIDR `json:"dnsCIDRs,omitempty"`
}

// ServiceTags names a file of Azure's IP ranges and service tags, and what to take
// of it.
type ServiceTags struct {
	// name is the name of a ConfigMap in the same namespace.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// key is the key of the file in the ConfigMap's data or binaryData. It is the
	// JSON that Microsoft publishes, whole or cut down to the tags that are needed,
	// as it is or compressed with gzip: a ConfigMap holds 1 MiB, and the file has more
	// than four.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`

	// tags are the names of the tags whose IPv4 addresses are the cloud's, such as
	// AzureActiveDirectory or, of one region, ServiceBus.WestEurope.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Tags []ServiceTag `json:"tags,omitempty"`
}

// ServiceTag is the name of a service tag.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$')",message="must be the name of a service tag, such as ServiceBus or ServiceBus.WestEurope",reason=FieldValueInvalid
type ServiceTag string

// EgressPort is a port or a range of ports.
//
// +kubebuilder:validation:XValidation:rule="!has(self.endPort) || self.endPort >= self.port",message="endPort must not be less than port: write the last port of the range",fieldPath=".endPort",reason=FieldValueInvalid
type EgressPort struct {
	// protocol is TCP or UDP.
	//
	// +optional
	// +kubebuilder:default=TCP
	Protocol EgressProtocol `json:"protocol,omitempty"`

	// port is the port, or the first of a range.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// endPort is the last port of a range.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	EndPort int32 `json:"endPort,omitempty"`
}

// EgressProtocol is a transport protocol.
//
// +kubebuilder:validation:Enum=TCP;UDP
type EgressProtocol string

// IPv4CIDR is a block of IPv4 addresses. Network policies on Windows know no
// others.
//
// +kubebuilder:validation:MinLength=9
// +kubebuilder:validation:MaxLength=18
// +kubebuilder:validation:XValidation:rule="isCIDR(self) && cidr(self).ip().family() == 4 && cidr(self) == cidr(self).masked()",message="must be a block of IPv4 addresses whose host bits are zero, such as 203.0.113.0/24 or 203.0.113.7/32",reason=FieldValueInvalid
type IPv4CIDR string
