// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// Revision is everything that the connectors of a resource are made from, what
// differs from one to the next left out. Two specifications with the same
// Revision make the same pods.
type Revision struct {
	// Image is the image that the pods run, whoever chose it.
	Image      string                  `json:"image"`
	Service    v1alpha1.ServiceSpec    `json:"service"`
	Identity   v1alpha1.IdentitySpec   `json:"identity,omitzero"`
	Validation v1alpha1.ValidationSpec `json:"validation"`
	Pod        v1alpha1.PodSpec        `json:"pod"`
	Bundles    Bundles                 `json:"bundles"`
}

// NewRevision is the revision of a specification. releaseImage is the image for a
// specification that names none.
func NewRevision(pc *v1alpha1.PassthroughConnector, releaseImage string, bundles Bundles) Revision {
	r := Revision{
		Image:      pc.Spec.Pod.Image,
		Service:    *pc.Spec.Service.DeepCopy(),
		Identity:   *pc.Spec.Identity.DeepCopy(),
		Validation: *pc.Spec.Validation.DeepCopy(),
		Pod:        *pc.Spec.Pod.DeepCopy(),
		Bundles:    bundles,
	}
	if r.Image == "" {
		r.Image = releaseImage
	}
	if r.Service.Custom != nil {
		r.Service.Custom.RegistrationURL, r.Service.Custom.LoginURL = "", "" // it is the operator that registers
	}
	return r
}

// Pinned reports whether the specification named the image.
func (r Revision) Pinned() bool { return r.Pod.Image != "" }

// WithImage is the revision with another image, if the specification named none.
func (r Revision) WithImage(image string) Revision {
	if !r.Pinned() {
		r.Image = image
	}
	return r
}

// Name is the name of the revision's ControllerRevision: the same for the same
// content.
func (r Revision) Name(pc *v1alpha1.PassthroughConnector) string {
	return pc.Name + "-" + hash(r)[:10]
}

// Of is the resource as it was specified when the revision was made. What does
// not belong to a revision, such as the number of replicas, is as it is now.
func (r Revision) Of(pc *v1alpha1.PassthroughConnector) *v1alpha1.PassthroughConnector {
	then := pc.DeepCopy()
	then.Spec.Service = r.Service
	then.Spec.Identity = r.Identity
	then.Spec.Validation = r.Validation
	then.Spec.Pod = r.Pod
	return then
}

// Key identifies what pods a rollout of the revision makes and how it is carried
// out. It changes with the operator, too, if that makes other pods of the same
// specification. A rollout that failed counts as failed while its key is the
// same.
func (r Revision) Key(pc *v1alpha1.PassthroughConnector) (string, error) {
	template, err := r.TemplateKey(pc)
	if err != nil {
		return "", err
	}
	return hash([]any{template, pc.Spec.Rollout}), nil
}

// TemplateKey identifies what pods the revision makes: it is a hash of the pod of
// a connector that has no identity of its own.
func (r Revision) TemplateKey(pc *v1alpha1.PassthroughConnector) (string, error) {
	then := r.Of(pc)
	files, err := Files(then, 0, r.Bundles)
	if err != nil {
		return "", err
	}
	return hash(podTemplate(then, Instance{Image: r.Image, Files: files})), nil
}

// ParseRevision reads what ControllerRevision wrote.
func ParseRevision(data []byte) (Revision, error) {
	var r Revision
	if err := json.Unmarshal(data, &r); err != nil {
		return Revision{}, fmt.Errorf("reading a revision: %w", err)
	}
	return r, nil
}

// ControllerRevision keeps a revision, so that the connectors can return to it.
// The number orders revisions; the annotations say how its rollout went.
func ControllerRevision(pc *v1alpha1.PassthroughConnector, r Revision, number int64, annotations map[string]string) *appsv1ac.ControllerRevisionApplyConfiguration {
	data, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("desired: encoding a revision: %v", err)) // it holds API types and strings
	}
	c := appsv1ac.ControllerRevision(r.Name(pc), pc.Namespace).
		WithLabels(shared(pc)).
		WithOwnerReferences(owner(pc)).
		WithAnnotations(annotations).
		WithRevision(number).
		WithData(runtime.RawExtension{Raw: data})
	return c.WithAnnotations(hashed(c))
}
