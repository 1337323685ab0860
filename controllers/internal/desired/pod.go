// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

const (
	// containerName is the name of the connector's container.
	containerName = "connector"

	// volumeName is the one volume: configuration and identity.
	volumeName = "configuration"

	// directory is where the volume is mounted. On Windows it is below C:.
	directory = "/etc/passthrough-connector"

	// windowsUser is the account that presents the group managed service account
	// on the network. It is not an administrator of the container.
	windowsUser = `NT AUTHORITY\NETWORK SERVICE`

	// memoryShare is the part of the memory limit, in percent, that the Go runtime
	// is told to stay below. The rest is for stacks, the kernel's buffers and, on
	// Windows, the system's own processes in the container.
	memoryShare = 80
)

// Paths of the connector's health server.
const (
	livePath  = "/healthz"
	readyPath = "/readyz"
)

func podTemplate(pc *v1alpha1.PassthroughConnector, in Instance) *corev1ac.PodTemplateSpecApplyConfiguration {
	annotations := map[string]string{}
	for key, value := range pc.Spec.Pod.Annotations {
		annotations[key] = string(value)
	}
	labels := map[string]string{}
	for key, value := range pc.Spec.Pod.Labels {
		labels[key] = string(value)
	}
	maps.Copy(labels, single(pc, in.Index))
	annotations[v1alpha1.AnnotationConfigHash] = hash(in.Files)
	annotations[v1alpha1.AnnotationConnectorID] = in.ConnectorID
	return corev1ac.PodTemplateSpec().
		WithLabels(labels).
		WithAnnotations(annotations).
		WithSpec(podSpec(pc, in))
}

func podSpec(pc *v1alpha1.PassthroughConnector, in Instance) *corev1ac.PodSpecApplyConfiguration {
	pod := &pc.Spec.Pod
	nodes := map[string]string{corev1.LabelOSStable: string(osName(pod.OS))}
	for key, value := range pod.NodeSelector {
		nodes[key] = string(value)
	}
	spec := corev1ac.PodSpec().
		WithOS(corev1ac.PodOS().WithName(osName(pod.OS))).
		WithNodeSelector(nodes).
		WithHostname(Hostname(pc.UID, in.Index)).
		WithServiceAccountName(ServiceAccountName(pc)).
		WithAutomountServiceAccountToken(false).
		WithEnableServiceLinks(false).
		WithSecurityContext(podSecurity(pc, in.Index)).
		WithContainers(container(pc, in)).
		WithTopologySpreadConstraints(spread(pc)...).
		WithVolumes(volume(pc, in.Index))
	for _, s := range pod.ImagePullSecrets {
		spec.WithImagePullSecrets(corev1ac.LocalObjectReference().WithName(s.Name))
	}
	for _, t := range pod.Tolerations {
		spec.WithTolerations(toleration(t))
	}
	if pod.RuntimeClassName != "" {
		spec.WithRuntimeClassName(pod.RuntimeClassName)
	}
	if pod.PriorityClassName != "" {
		spec.WithPriorityClassName(pod.PriorityClassName)
	}
	if pod.TerminationGracePeriodSeconds != nil {
		spec.WithTerminationGracePeriodSeconds(*pod.TerminationGracePeriodSeconds)
	}
	return spec
}

// spread spreads the pods of all connectors. The default asks for different
// nodes and zones but does not insist: there may be few Windows nodes, and a
// connector on a shared node is better than none.
func spread(pc *v1alpha1.PassthroughConnector) []*corev1ac.TopologySpreadConstraintApplyConfiguration {
	constraints := pc.Spec.Pod.TopologySpreadConstraints
	if len(constraints) == 0 {
		constraints = []v1alpha1.TopologySpreadConstraint{{TopologyKey: corev1.LabelHostname}, {TopologyKey: corev1.LabelTopologyZone}}
	}
	out := make([]*corev1ac.TopologySpreadConstraintApplyConfiguration, 0, len(constraints))
	for _, c := range constraints {
		a := corev1ac.TopologySpreadConstraint().
			WithTopologyKey(c.TopologyKey).
			WithMaxSkew(1).
			WithWhenUnsatisfiable(corev1.ScheduleAnyway).
			WithLabelSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(pc)))
		if c.MaxSkew != nil {
			a.WithMaxSkew(*c.MaxSkew)
		}
		if c.WhenUnsatisfiable != "" {
			a.WithWhenUnsatisfiable(c.WhenUnsatisfiable)
		}
		out = append(out, a)
	}
	return out
}

func osName(os v1alpha1.OS) corev1.OSName {
	if os == v1alpha1.OSLinux {
		return corev1.Linux
	}
	return corev1.Windows
}

// podSecurity meets the restricted Pod Security Standard. Group managed service
// accounts are set for the pod, since the admission webhook that resolves them
// does not look at every container.
func podSecurity(pc *v1alpha1.PassthroughConnector, index int) *corev1ac.PodSecurityContextApplyConfiguration {
	security := corev1ac.PodSecurityContext().WithRunAsNonRoot(true)
	if pc.Spec.Pod.OS == v1alpha1.OSLinux {
		return security.WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))
	}
	windows := corev1ac.WindowsSecurityContextOptions().WithRunAsUserName(windowsUser)
	if name := credentialSpec(pc.Spec.Identity.GMSACredentialSpecNames, index); name != "" {
		windows.WithGMSACredentialSpecName(name)
	}
	return security.WithWindowsOptions(windows)
}

// credentialSpec is the name for one connector: its own, or the common one.
func credentialSpec(names []string, index int) string {
	switch {
	case len(names) == 1:
		return names[0]
	case index < len(names):
		return names[index]
	default:
		return ""
	}
}

func container(pc *v1alpha1.PassthroughConnector, in Instance) *corev1ac.ContainerApplyConfiguration {
	pod := &pc.Spec.Pod
	resources := containerResources(pod)
	c := corev1ac.Container().
		WithName(containerName).
		WithImage(in.Image).
		WithArgs("run", "--config="+directory+"/"+configFile, "--bind-address=$(POD_IP)").
		WithEnv(corev1ac.EnvVar().WithName("POD_IP").
			WithValueFrom(corev1ac.EnvVarSource().WithFieldRef(corev1ac.ObjectFieldSelector().WithFieldPath("status.podIP")))).
		WithPorts(corev1ac.ContainerPort().WithName(portName).WithContainerPort(healthPort).WithProtocol(corev1.ProtocolTCP)).
		WithResources(resources).
		WithTerminationMessagePolicy(corev1.TerminationMessageFallbackToLogsOnError).
		WithVolumeMounts(corev1ac.VolumeMount().WithName(volumeName).WithMountPath(directory).WithReadOnly(true))
	withProbes(c, pod.OS)
	if pod.ImagePullPolicy != "" {
		c.WithImagePullPolicy(pod.ImagePullPolicy)
	}
	if resources.Limits != nil {
		if limit, ok := (*resources.Limits)[corev1.ResourceMemory]; ok {
			c.WithEnv(corev1ac.EnvVar().WithName("GOMEMLIMIT").WithValue(strconv.FormatInt(limit.Value()/100*memoryShare, 10)))
		}
	}
	if pod.OS == v1alpha1.OSLinux {
		c.WithSecurityContext(corev1ac.SecurityContext().
			WithAllowPrivilegeEscalation(false).
			WithReadOnlyRootFilesystem(true).
			WithCapabilities(corev1ac.Capabilities().WithDrop("ALL")))
	}
	return c
}

// withProbes adds the probes. All of them are HTTP: on Windows, starting a
// process for a probe is slow. The start may take minutes there, since the image
// is large and a domain controller has to be found; once it runs, looking often
// costs nothing.
func withProbes(c *corev1ac.ContainerApplyConfiguration, os v1alpha1.OS) {
	probe := func(path string, period, failures int32) *corev1ac.ProbeApplyConfiguration {
		return corev1ac.Probe().
			WithHTTPGet(corev1ac.HTTPGetAction().WithPath(path).WithPort(intstr.FromString(portName))).
			WithPeriodSeconds(period).
			WithTimeoutSeconds(5).
			WithFailureThreshold(failures)
	}
	startFailures := int32(300) // five minutes
	if os == v1alpha1.OSLinux {
		startFailures = 60
	}
	c.WithStartupProbe(probe(livePath, 1, startFailures)).
		WithReadinessProbe(probe(readyPath, 2, 2)).
		WithLivenessProbe(probe(livePath, 10, 6))
}

// containerResources are those of the specification or, if it has none, the
// defaults that the API documents. The memory request equals the limit: Windows
// has no out-of-memory killer, allocations fail instead.
func containerResources(pod *v1alpha1.PodSpec) *corev1ac.ResourceRequirementsApplyConfiguration {
	requests, limits := pod.Resources.Requests, pod.Resources.Limits
	if len(requests) == 0 && len(limits) == 0 {
		memory := resource.MustParse("512Mi")
		if pod.OS == v1alpha1.OSLinux {
			memory = resource.MustParse("128Mi")
		}
		requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: memory}
		limits = corev1.ResourceList{corev1.ResourceMemory: memory}
	}
	r := corev1ac.ResourceRequirements()
	if len(limits) > 0 {
		r.WithLimits(limits)
	}
	if len(requests) > 0 {
		r.WithRequests(requests)
	}
	return r
}

func toleration(t corev1.Toleration) *corev1ac.TolerationApplyConfiguration {
	a := corev1ac.Toleration()
	if t.Key != "" {
		a.WithKey(t.Key)
	}
	if t.Operator != "" {
		a.WithOperator(t.Operator)
	}
	if t.Value != "" {
		a.WithValue(t.Value)
	}
	if t.Effect != "" {
		a.WithEffect(t.Effect)
	}
	if t.TolerationSeconds != nil {
		a.WithTolerationSeconds(*t.TolerationSeconds)
	}
	return a
}

// volume is configuration and identity side by side. It is one volume so that a
// connector sees both change at the same moment.
func volume(pc *v1alpha1.PassthroughConnector, index int) *corev1ac.VolumeApplyConfiguration {
	return corev1ac.Volume().WithName(volumeName).WithProjected(corev1ac.ProjectedVolumeSource().WithSources(
		corev1ac.VolumeProjection().WithConfigMap(corev1ac.ConfigMapProjection().WithName(ConnectorName(pc, index))),
		corev1ac.VolumeProjection().WithSecret(corev1ac.SecretProjection().WithName(IdentityName(pc, index)).WithItems(
			corev1ac.KeyToPath().WithKey(corev1.TLSCertKey).WithPath(certFile),
			corev1ac.KeyToPath().WithKey(corev1.TLSPrivateKeyKey).WithPath(keyFile),
		)),
		// The pair before it is there only for a while after a renewal.
		corev1ac.VolumeProjection().WithSecret(corev1ac.SecretProjection().WithName(IdentityName(pc, index)).WithOptional(true).WithItems(
			corev1ac.KeyToPath().WithKey(v1alpha1.KeyPreviousCertificate).WithPath(previousCertFile),
			corev1ac.KeyToPath().WithKey(v1alpha1.KeyPreviousKey).WithPath(previousKeyFile),
		)),
	))
}
