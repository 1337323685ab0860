// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
)

// historyLimit is how many revisions are kept, beside those that are in use.
const historyLimit = 5

// revision is a revision of the resource that is or was rolled out.
type revision struct {
	name   string
	data   desired.Revision
	object *appsv1.ControllerRevision // nil if it has not been written yet
}

// annotation of the revision's object.
func (r *revision) annotation(name string) string {
	if r == nil || r.object == nil {
		return ""
	}
	return r.object.Annotations[name]
}

// observeRevisions finds the revisions, the oldest first. One that cannot be read
// is left out: nothing can return to it.
func (r *Reconciler) observeRevisions(ctx context.Context, o *observation) error {
	var list appsv1.ControllerRevisionList
	if err := r.client.List(ctx, &list, ours(o.connector)...); err != nil {
		return fmt.Errorf("listing ControllerRevisions: %w", err)
	}
	for i := range list.Items {
		object := &list.Items[i]
		if !metav1.IsControlledBy(object, o.connector) || object.DeletionTimestamp != nil {
			continue
		}
		data, err := desired.ParseRevision(object.Data.Raw)
		if err != nil {
			continue
		}
		o.revisions = append(o.revisions, revision{name: object.Name, data: data, object: object})
	}
	slices.SortFunc(o.revisions, func(a, b revision) int {
		return cmp.Or(cmp.Compare(a.object.Revision, b.object.Revision), cmp.Compare(a.name, b.name))
	})
	return nil
}

// revisionNamed finds a revision; nil if it is not kept.
func (o *observation) revisionNamed(name string) *revision {
	for i := range o.revisions {
		if o.revisions[i].name == name {
			return &o.revisions[i]
		}
	}
	return nil
}

// newest is the revision that was last specified; nil if there is none.
func (o *observation) newest() *revision {
	if len(o.revisions) == 0 {
		return nil
	}
	return &o.revisions[len(o.revisions)-1]
}

// lastRolledOut is the last revision that all connectors ran; nil if there is
// none.
func (o *observation) lastRolledOut() *revision {
	for i := len(o.revisions) - 1; i >= 0; i-- {
		if o.revisions[i].annotation(v1alpha1.AnnotationRolledOut) != "" {
			return &o.revisions[i]
		}
	}
	return nil
}

// specified is the revision that the specification makes. While the maintenance
// window is closed, an image that nobody pinned stays the one of the newest
// revision: an update that has begun goes on, and none begins.
func (o *observation) specified(releaseImage string, windowOpen bool) revision {
	data := desired.NewRevision(o.connector, releaseImage, o.bundles)
	if newest := o.newest(); newest != nil && !windowOpen && !newest.data.Pinned() {
		data = data.WithImage(newest.data.Image)
	}
	name := data.Name(o.connector)
	if kept := o.revisionNamed(name); kept != nil {
		return *kept
	}
	return revision{name: name, data: data}
}

// planRevisions plans to keep the revision that the specification makes, with how
// its rollout went, and to forget the oldest.
func (p *plan) planRevisions(o observation) {
	r := &p.rollout
	annotations := map[string]string{}
	for name, value := range map[string]string{
		v1alpha1.AnnotationRolledOut: r.rolledOut,
		v1alpha1.AnnotationFailed:    r.failedKey,
		v1alpha1.AnnotationFailure:   r.failure,
	} {
		if value != "" {
			annotations[name] = value
		}
	}
	number := int64(1)
	if newest := o.newest(); newest != nil {
		number = newest.object.Revision
		if newest.name != r.specified.name {
			number++
		}
	}
	p.ensure(o, controllerRevisionKind, r.specified.name, orNil(r.specified.object),
		desired.ControllerRevision(o.connector, r.specified.data, number, annotations))

	inUse := map[string]bool{r.specified.name: true}
	if r.current != nil {
		inUse[r.current.name] = true
	}
	for i := range o.instances {
		if d := o.instances[i].deployment; d != nil {
			inUse[d.Annotations[v1alpha1.AnnotationRevision]] = true
		}
	}
	old := slices.DeleteFunc(slices.Clone(o.revisions), func(r revision) bool { return inUse[r.name] })
	for i := range max(len(old)-historyLimit, 0) {
		p.remove = append(p.remove, old[i].object)
	}
}
