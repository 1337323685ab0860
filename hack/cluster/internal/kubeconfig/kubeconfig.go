// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubeconfig writes the client configuration files of the cluster:
// the administrator's, the components' and the one each pod finds in
// KUBECONFIG.
package kubeconfig

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Config is one file. Give either the client certificate or the token file.
type Config struct {
	// Server is the API server's URL.
	Server string
	// AuthorityPEM is embedded; AuthorityFile is referred to.
	AuthorityPEM  []byte
	AuthorityFile string
	// CertificatePEM and KeyPEM are embedded.
	CertificatePEM, KeyPEM []byte
	// TokenFile is read again by clients as it changes.
	TokenFile string
	// Namespace is used where a request names none.
	Namespace string
}

// Write stores the configuration, readable by the owner alone.
func Write(path string, config Config) error {
	const name = "kubecluster"
	file := clientcmdapi.NewConfig()
	file.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   config.Server,
		CertificateAuthorityData: config.AuthorityPEM,
		CertificateAuthority:     config.AuthorityFile,
	}
	file.AuthInfos[name] = &clientcmdapi.AuthInfo{
		ClientCertificateData: config.CertificatePEM,
		ClientKeyData:         config.KeyPEM,
		TokenFile:             config.TokenFile,
	}
	file.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name, Namespace: config.Namespace}
	file.CurrentContext = name
	if err := clientcmd.WriteToFile(*file, path); err != nil {
		return fmt.Errorf("writing the client configuration %s: %w", path, err)
	}
	return nil
}
