// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"fmt"

	"k8s.io/utils/ptr"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
)

// healthPort is the port of a connector's probes, status and metrics.
const healthPort = config.DefaultHealthPort

// Files in the directory that a connector reads its configuration from.
const (
	configFile    = "config.json"
	serviceCAFile = "ca.pem"
	certFile      = "identity/tls.crt"
	keyFile       = "identity/tls.key"
	// A connector looks for these two beside the former.
	previousCertFile = "identity/previous.crt"
	previousKeyFile  = "identity/previous.key"

	forestCAFormat = "ldap-%d.pem"
)

// Bundles are the PEM certificates that the specification's caBundleRefs name.
type Bundles struct {
	// Service is that of the service; empty for the system's.
	Service string `json:"service,omitempty"`
	// Forests are those of the forests, by index; empty for the system's.
	Forests map[int]string `json:"forests,omitempty"`
}

// Endpoints are the endpoints of the resource's cloud for its tenant.
func Endpoints(pc *v1alpha1.PassthroughConnector) (config.Endpoints, error) {
	if pc.Spec.Service.Cloud != v1alpha1.CloudCustom {
		endpoints, err := config.CloudEndpoints(config.Cloud(pc.Spec.Service.Cloud))
		if err != nil {
			return config.Endpoints{}, fmt.Errorf("spec.service.cloud: %w", err)
		}
		return endpoints.For(pc.Spec.TenantID), nil
	}
	custom := pc.Spec.Service.Custom
	if custom == nil {
		return config.Endpoints{}, fmt.Errorf("spec.service.custom is required when cloud is Custom")
	}
	return config.Endpoints{
		RegistrationURL: custom.RegistrationURL,
		BootstrapURL:    custom.BootstrapURL,
		LoginURL:        custom.LoginURL,
		ServiceSuffixes: texts(custom.ServiceHostSuffixes),
		RelaySuffixes:   texts(custom.RelayHostSuffixes),
	}.For(pc.Spec.TenantID), nil
}

// Files are the files of one connector's configuration, by name. They are what
// the ConfigMap holds. The configuration is written and validated by the
// connector's own package: what passes here, a connector accepts.
func Files(pc *v1alpha1.PassthroughConnector, index int, bundles Bundles) (map[string]string, error) {
	endpoints, err := Endpoints(pc)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	c := config.Config{
		APIVersion:  config.APIVersion,
		TenantID:    pc.Spec.TenantID,
		MachineName: MachineName(pc, index),
		Identity:    config.Identity{CertificateFile: certFile, KeyFile: keyFile},
		Service: config.Service{
			BootstrapURL:    endpoints.BootstrapURL,
			Transport:       string(pc.Spec.Service.Transport),
			ProxyURL:        pc.Spec.Service.ProxyURL,
			ServiceSuffixes: endpoints.ServiceSuffixes,
			RelaySuffixes:   endpoints.RelaySuffixes,
		},
		Validation: validation(&pc.Spec.Validation),
		Health:     config.Health{Port: healthPort},
	}
	if bundles.Service != "" {
		c.Service.CAFile = serviceCAFile
		files[serviceCAFile] = bundles.Service
	}
	for i, pem := range bundles.Forests {
		name := fmt.Sprintf(forestCAFormat, i)
		c.Validation.LDAP.Forests[i].CAFile = name
		files[name] = pem
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("the specification does not make a valid connector configuration: %w", err)
	}
	data, err := c.Marshal()
	if err != nil {
		return nil, fmt.Errorf("writing the connector's configuration: %w", err)
	}
	files[configFile] = string(data)
	return files, nil
}

func validation(spec *v1alpha1.ValidationSpec) config.Validation {
	v := config.Validation{Method: string(spec.Method)}
	if spec.TimeoutSeconds != nil {
		v.TimeoutSeconds = int(*spec.TimeoutSeconds)
	}
	if spec.MaxConcurrent != nil {
		v.MaxConcurrent = int(*spec.MaxConcurrent)
	}
	if spec.LogonUser != nil {
		v.LogonUser = &config.LogonUser{Domains: texts(spec.LogonUser.Domains)}
	}
	if spec.LDAP == nil {
		return v
	}
	v.LDAP = &config.LDAP{}
	for _, forest := range spec.LDAP.Forests {
		f := config.Forest{Suffixes: texts(forest.UPNSuffixes), Servers: texts(forest.Servers), StartTLS: ptr.Deref(forest.StartTLS, false)}
		if d := forest.Discovery; d != nil {
			f.Discovery = &config.Discovery{Domain: d.Domain, Site: d.Site}
		}
		v.LDAP.Forests = append(v.LDAP.Forests, f)
	}
	return v
}

// texts are values of a string type as strings.
func texts[T ~string](values []T) []string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}
