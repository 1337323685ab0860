// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node"
)

// Names of components: of their processes, logs and pid files.
const (
	etcdName              = "etcd"
	apiServerName         = "kube-apiserver"
	controllerManagerName = "kube-controller-manager"
	schedulerName         = "kube-scheduler"
	nodeProgram           = "kubecluster"
)

// clientQPS and clientBurst replace limits that make a control plane of one
// machine wait for itself: with them, it is up four seconds sooner.
const (
	clientQPS   = "200"
	clientBurst = "400"
)

// endpointControllers are left out unless pods are isolated: they have loopback
// addresses then, and the API refuses those in endpoints and endpoint slices.
// These would fail, again and again, for each service.
var endpointControllers = []string{"-endpoints-controller", "-endpointslice-controller", "-endpointslice-mirroring-controller"}

// disabledControllers are those that could only do harm here.
var disabledControllers = []string{
	// Nodes provide no volumes that could be attached or bound, and two of
	// these make directories in the host's /usr.
	"-persistentvolume-attach-detach-controller", "-persistentvolume-binder-controller", "-persistentvolume-expander-controller",
}

// component is a process to keep running.
type component struct {
	name string
	// argv begins with the name that chooses the part this program plays.
	argv []string
	// grace is how long it may take to stop.
	grace time.Duration
}

// nodeSpec is one node to run. The index chooses its addresses and so must not
// depend on how many nodes of another kind there are.
type nodeSpec struct {
	name, system string
	index        int
	wine         bool // it runs Windows programs
}

// nodes lists the nodes: linux-0, windows-0, linux-1, windows-1 and so on have
// the indices 0, 1, 2, 3, so that adding nodes moves no other.
func nodes(counts map[string]int) []nodeSpec {
	var specs []nodeSpec
	for offset, system := range []string{"linux", "windows"} {
		for i := range counts[system] {
			specs = append(specs, nodeSpec{name: fmt.Sprintf("%s-%d", system, i), system: system, index: 2*i + offset})
		}
	}
	return specs
}

// wineNode is the Windows node that runs Windows programs. Its index is the last.
func wineNode() nodeSpec {
	return nodeSpec{name: "wine-0", system: "windows", index: maxNodes - 1, wine: true}
}

func etcdComponent(files layout, addresses *network) component {
	client := "https://" + addresses.endpoint(etcdName)
	return component{name: etcdName, grace: 5 * time.Second, argv: []string{
		etcdName,
		"--data-dir=" + files.etcd(),
		// The cluster is for tests: what a power failure may take is no loss,
		// and waiting for disks is most of what etcd does.
		"--unsafe-no-fsync",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--client-cert-auth", "--trusted-ca-file=" + files.pkiFile(etcdCA+".crt"),
		"--cert-file=" + files.pkiFile(etcdServer+".crt"), "--key-file=" + files.pkiFile(etcdServer+".key"),
		// There are no peers, but the port cannot be turned off.
		"--listen-peer-urls=https://" + addresses.controlPlane().String() + ":0",
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + files.pkiFile(etcdCA+".crt"),
		"--peer-cert-file=" + files.pkiFile(etcdServer+".crt"), "--peer-key-file=" + files.pkiFile(etcdServer+".key"),
		"--snapshot-count=5000", "--log-level=warn",
	}}
}

func apiServerComponent(files layout, addresses *network) component {
	address := addresses.controlPlane().String()
	return component{name: apiServerName, grace: 8 * time.Second, argv: []string{
		apiServerName,
		"--bind-address=" + address, "--advertise-address=" + address,
		"--secure-port=" + strconv.Itoa(addresses.Ports[apiServerName]),
		"--tls-cert-file=" + files.pkiFile(apiServer+".crt"), "--tls-private-key-file=" + files.pkiFile(apiServer+".key"),
		"--client-ca-file=" + files.pkiFile(clusterCA+".crt"),
		"--etcd-servers=https://" + addresses.endpoint(etcdName), "--etcd-cafile=" + files.pkiFile(etcdCA+".crt"),
		"--etcd-certfile=" + files.pkiFile(etcdClient+".crt"), "--etcd-keyfile=" + files.pkiFile(etcdClient+".key"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + files.pkiFile(serviceAccount+".pub"),
		"--service-account-signing-key-file=" + files.pkiFile(serviceAccount+".key"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--enable-aggregator-routing=true",
		// The endpoints of the service "kubernetes" would be a loopback
		// address, which the API refuses in endpoints.
		"--endpoint-reconciler-type=none",
		"--kubelet-client-certificate=" + files.pkiFile(kubeletClient+".crt"), "--kubelet-client-key=" + files.pkiFile(kubeletClient+".key"),
		"--kubelet-certificate-authority=" + files.pkiFile(clusterCA+".crt"), "--kubelet-preferred-address-types=InternalIP",
		"--profiling=false",
	}}
}

func controllerManagerComponent(files layout, options Options) component {
	controllers := append([]string{"*"}, disabledControllers...)
	if !options.Isolate {
		controllers = append(controllers, endpointControllers...)
	}
	return component{name: controllerManagerName, grace: 3 * time.Second, argv: []string{
		controllerManagerName,
		"--kubeconfig=" + files.userFile(controllerManagerName),
		"--leader-elect=false", "--secure-port=0", "--profiling=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + files.pkiFile(serviceAccount+".key"), "--root-ca-file=" + files.pkiFile(clusterCA+".crt"),
		"--cluster-signing-cert-file=" + files.pkiFile(clusterCA+".crt"), "--cluster-signing-key-file=" + files.pkiFile(clusterCA+".key"),
		"--kube-api-qps=" + clientQPS, "--kube-api-burst=" + clientBurst,
		"--controllers=" + strings.Join(controllers, ","),
	}}
}

func schedulerComponent(files layout) component {
	return component{name: schedulerName, grace: 3 * time.Second, argv: []string{
		schedulerName,
		"--kubeconfig=" + files.userFile(schedulerName),
		"--leader-elect=false", "--secure-port=0", "--profiling=false",
		"--kube-api-qps=" + clientQPS, "--kube-api-burst=" + clientBurst,
	}}
}

func nodeComponent(files layout, addresses *network, options Options, spec nodeSpec) component {
	argv := []string{
		nodeProgram, "node", "--name=" + spec.name, "--os=" + spec.system,
		"--kubeconfig=" + files.userFile(spec.name), "--dir=" + files.node(spec.name),
		"--address=" + addresses.nodeAddress(spec.index).String(), "--port=" + strconv.Itoa(addresses.Ports[spec.name]),
		"--pod-cidr=" + addresses.nodeBlock(spec.index).String(),
		"--tls-cert-file=" + files.pkiFile(spec.name+".crt"), "--tls-private-key-file=" + files.pkiFile(spec.name+".key"),
		"--client-ca-file=" + files.pkiFile(clusterCA+".crt"),
		"--crash-backoff=" + options.CrashBackoff.String(), "--crash-backoff-max=" + options.CrashBackoffMax.String(),
	}
	if options.Isolate {
		argv = append(argv, "--isolate")
	}
	for _, image := range options.Images {
		argv = append(argv, "--image="+image)
	}
	if spec.wine {
		argv = append(argv, "--runtime="+node.RuntimeWine, "--wine="+options.Wine)
	}
	if spec.system == "windows" {
		for _, taint := range options.WindowsTaints {
			argv = append(argv, "--taint="+taint)
		}
	}
	return component{name: spec.name, grace: 8 * time.Second, argv: argv}
}
