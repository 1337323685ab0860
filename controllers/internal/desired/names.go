// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// ConnectorName is the name of one connector, its Deployment and its ConfigMap.
func ConnectorName(pc *v1alpha1.PassthroughConnector, index int) string {
	return pc.Name + "-" + strconv.Itoa(index)
}

// IdentityName is the name of a connector's identity Secret.
func IdentityName(pc *v1alpha1.PassthroughConnector, index int) string {
	return ConnectorName(pc, index) + "-identity"
}

// RegistrationName is the name of the Secret with an administrator's sign-in.
func RegistrationName(pc *v1alpha1.PassthroughConnector) string { return pc.Name + "-registration" }

// ServiceName is the name of the headless Service.
func ServiceName(pc *v1alpha1.PassthroughConnector) string { return pc.Name + "-connectors" }

// ServiceAccountName is the name of the pods' ServiceAccount.
func ServiceAccountName(pc *v1alpha1.PassthroughConnector) string { return pc.Name + "-connector" }

// machineNameLimit is the longest name that the service's pages show whole.
const machineNameLimit = 64

// MachineName is what the service's pages call the connector: its name and
// namespace, or the name alone if both are too long.
func MachineName(pc *v1alpha1.PassthroughConnector, index int) string {
	name := ConnectorName(pc, index)
	if full := name + "." + pc.Namespace; len(full) <= machineNameLimit {
		return full
	}
	return name
}

// Hostname is the hostname of a connector's pod. Pods that share a group managed
// service account must have different NetBIOS names, in every cluster that uses
// the account, and a NetBIOS name is the first 15 characters of the hostname.
// So it is a hash of the resource's UID and the index, and no longer than that.
func Hostname(uid types.UID, index int) string {
	sum := sha256.Sum256([]byte(string(uid) + "/" + strconv.Itoa(index)))
	return "c" + strings.ToLower(base32.HexEncoding.EncodeToString(sum[:]))[:14]
}

// Selector selects the pods of all connectors of the resource.
func Selector(pc *v1alpha1.PassthroughConnector) labels.Set {
	return labels.Set{v1alpha1.LabelApp: v1alpha1.AppName, v1alpha1.LabelConnector: pc.Name}
}

// selector selects the pod of one connector. A Deployment's selector cannot be
// changed: keep it as it is.
func selector(pc *v1alpha1.PassthroughConnector, index int) map[string]string {
	s := Selector(pc)
	s[v1alpha1.LabelIndex] = strconv.Itoa(index)
	return s
}

// shared are the labels of what belongs to all connectors.
func shared(pc *v1alpha1.PassthroughConnector) map[string]string {
	l := maps.Clone(map[string]string(Selector(pc)))
	l[v1alpha1.LabelInstance] = pc.Name
	l[v1alpha1.LabelManagedBy] = v1alpha1.OperatorName
	return l
}

// single are the labels of what belongs to one connector.
func single(pc *v1alpha1.PassthroughConnector, index int) map[string]string {
	l := shared(pc)
	l[v1alpha1.LabelIndex] = strconv.Itoa(index)
	return l
}

// owner is the owner reference that makes the garbage collector delete an object
// with its PassthroughConnector.
func owner(pc *v1alpha1.PassthroughConnector) *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().
		WithAPIVersion(v1alpha1.GroupVersion.String()).
		WithKind(v1alpha1.Kind).
		WithName(pc.Name).
		WithUID(pc.UID).
		WithController(true).
		WithBlockOwnerDeletion(true)
}

// hash is a short hash of a value's JSON. Values are apply configurations and
// maps, whose JSON is deterministic and cannot fail.
func hash(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("desired: encoding %T: %v", v, err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// hashed is an annotation with the hash of what an object was rendered to.
func hashed(object any) map[string]string {
	return map[string]string{v1alpha1.AnnotationInputHash: hash(object)}
}
