// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"net"
	"os"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/kubeconfig"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/pki"
)

// Names of files in the pki directory, without their endings.
const (
	clusterCA      = "ca"
	etcdCA         = "etcd-ca"
	etcdServer     = "etcd-server"
	etcdClient     = "etcd-client"
	apiServer      = "apiserver"
	kubeletClient  = "apiserver-kubelet-client"
	serviceAccount = "service-account"
)

// user is a client of the API server with a configuration file of its own.
type user struct {
	file, name string
	groups     []string
}

// users lists who talks to the API server with a certificate.
func users(nodes []nodeSpec) []user {
	found := []user{
		{file: "admin", name: "kubernetes-admin", groups: []string{"system:masters"}},
		{file: controllerManagerName, name: "system:kube-controller-manager"},
		{file: schedulerName, name: "system:kube-scheduler"},
	}
	for _, n := range nodes {
		found = append(found, user{file: n.name, name: "system:node:" + n.name, groups: []string{"system:nodes"}})
	}
	return found
}

// writeCredentials makes the authorities once, and every certificate and
// client configuration afresh.
func writeCredentials(files layout, addresses *network, nodes []nodeSpec) error {
	cluster, err := pki.LoadOrCreate(files.pki(), clusterCA)
	if err != nil {
		return err
	}
	etcd, err := pki.LoadOrCreate(files.pki(), etcdCA)
	if err != nil {
		return err
	}
	if err := pki.EnsureSigningKey(files.pki(), serviceAccount); err != nil {
		return err
	}
	local := []net.IP{net.IP(addresses.controlPlane().AsSlice()), net.IPv4(127, 0, 0, 1)}
	requests := map[string]struct {
		authority *pki.Authority
		request   pki.Request
	}{
		etcdServer: {etcd, pki.Request{CommonName: "etcd", Addresses: local}},
		etcdClient: {etcd, pki.Request{CommonName: "kube-apiserver"}},
		apiServer: {cluster, pki.Request{CommonName: "kube-apiserver", Addresses: local, DNSNames: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}}},
		kubeletClient: {cluster, pki.Request{CommonName: node.APIServerUser, Organizations: []string{"system:masters"}}},
	}
	for _, n := range nodes {
		own := []net.IP{net.IP(addresses.nodeAddress(n.index).AsSlice())}
		requests[n.name] = struct {
			authority *pki.Authority
			request   pki.Request
		}{cluster, pki.Request{CommonName: "system:node:" + n.name, Organizations: []string{"system:nodes"}, Addresses: own}}
	}
	for name, r := range requests {
		pair, err := r.authority.Issue(r.request)
		if err != nil {
			return err
		}
		if err := pair.Write(files.pki(), name); err != nil {
			return err
		}
	}
	return writeKubeconfigs(files, addresses, cluster, users(nodes))
}

func writeKubeconfigs(files layout, addresses *network, authority *pki.Authority, all []user) error {
	for _, u := range all {
		pair, err := authority.Issue(pki.Request{CommonName: u.name, Organizations: u.groups})
		if err != nil {
			return err
		}
		path := files.userFile(u.file)
		err = kubeconfig.Write(path, kubeconfig.Config{
			Server: "https://" + addresses.endpoint(apiServerName), AuthorityPEM: authority.CertificatePEM(),
			CertificatePEM: pair.Certificate, KeyPEM: pair.Key,
		})
		if err != nil {
			return err
		}
	}
	admin, err := os.ReadFile(files.userFile("admin"))
	if err != nil {
		return err
	}
	return writeFile(files.kubeconfig(), admin)
}
