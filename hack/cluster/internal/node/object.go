// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bufio"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/pkg/version"
)

const (
	// windowsBuild is that of Windows Server 2022, which the node claims to run.
	windowsBuild = "10.0.20348"
	// maxPods is the kubelet's default.
	maxPods = 110
	// assumedMemory is claimed where the machine does not tell.
	assumedMemory = 4 << 30
)

// object describes the node to the API server.
func object(options Options) *corev1.Node {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: options.Name,
			Labels: map[string]string{
				corev1.LabelOSStable:   options.OS,
				corev1.LabelArchStable: runtime.GOARCH,
				corev1.LabelHostname:   options.Name,
			},
		},
		Spec: corev1.NodeSpec{Taints: options.Taints, PodCIDR: options.PodBlock.String(), PodCIDRs: []string{options.PodBlock.String()}},
		Status: corev1.NodeStatus{
			Capacity: capacity(), Allocatable: capacity(),
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: options.Address.String()},
				{Type: corev1.NodeHostName, Address: options.Name},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(options.Port)}},
			Conditions:      conditions(metav1.Now()),
			NodeInfo: corev1.NodeSystemInfo{
				OperatingSystem: options.OS, Architecture: runtime.GOARCH, OSImage: "Linux (processes of this machine)",
				KubeletVersion: version.Get().GitVersion, ContainerRuntimeVersion: "process://1", KernelVersion: kernelVersion(),
			},
		},
	}
	if options.OS == string(corev1.Windows) {
		node.Labels[corev1.LabelWindowsBuild] = windowsBuild
		node.Status.NodeInfo.OSImage = "Windows Server 2022 Datacenter (played by processes of this machine)"
		node.Status.NodeInfo.KernelVersion = windowsBuild + ".1"
	}
	if options.Runtime == RuntimeWine {
		// What is for any Windows node need not be a Windows program.
		node.Labels[RuntimeKey] = RuntimeWine
		node.Spec.Taints = append(slices.Clone(node.Spec.Taints), corev1.Taint{Key: RuntimeKey, Value: RuntimeWine, Effect: corev1.TaintEffectNoSchedule})
		node.Status.NodeInfo.OSImage = "Wine, as Windows Server 2022 Datacenter"
	}
	return node
}

func conditions(now metav1.Time) []corev1.NodeCondition {
	condition := func(conditionType corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: conditionType, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return []corev1.NodeCondition{
		condition(corev1.NodeReady, corev1.ConditionTrue, "NodeReady"),
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "NotMeasured"),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "NotMeasured"),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, "NotMeasured"),
	}
}

// capacity is that of the machine. Both nodes claim all of it: nothing is
// really reserved for a process.
func capacity() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(totalMemory(), resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(maxPods, resource.DecimalSI),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}
}

func totalMemory() int64 {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return assumedMemory
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "MemTotal:" {
			continue
		}
		if kilobytes, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			return kilobytes << 10
		}
	}
	return assumedMemory
}

func kernelVersion() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(release))
}
