// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"encoding/json"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientac "k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// typed finds which fields an apply configuration holds. Reading the schemas of
// the built-in kinds takes a moment, so it happens once.
var typed = sync.OnceValue(func() managedfields.TypeConverter { return clientac.NewTypeConverter(scheme.Scheme) })

// unowned are fields that the API server never notes as applied by anybody.
var unowned = fieldpath.NewSet(
	fieldpath.MakePathOrDie("apiVersion"),
	fieldpath.MakePathOrDie("kind"),
	fieldpath.MakePathOrDie("metadata"),
	fieldpath.MakePathOrDie("metadata", "name"),
	fieldpath.MakePathOrDie("metadata", "namespace"),
)

// inPlace reports whether applying want to the live object would change nothing:
// the object carries the hash of what was rendered, and the operator still owns
// exactly the fields that it would apply. A value that somebody else changed, or
// a field that somebody removed, is not owned by the operator any more.
//
// Values are not compared one by one, because the API server may write a value
// in another way than it was sent. If in doubt, the answer is no: applying once
// too often does no harm.
func inPlace(live client.Object, want runtime.ApplyConfiguration) bool {
	rendered, wanted := fieldsOf(want)
	if wanted == nil || live.GetAnnotations()[v1alpha1.AnnotationInputHash] != rendered.GetAnnotations()[v1alpha1.AnnotationInputHash] {
		return false
	}
	owned := ownedFields(live)
	return owned != nil && wanted.Difference(unowned).Equals(owned)
}

// replacesPod reports whether applying want to the live Deployment would replace
// its pod: the pod template was rendered to something else, or somebody changed
// it.
func replacesPod(live client.Object, want runtime.ApplyConfiguration) bool {
	rendered, wanted := fieldsOf(want)
	if wanted == nil || live.GetAnnotations()[v1alpha1.AnnotationTemplateHash] != rendered.GetAnnotations()[v1alpha1.AnnotationTemplateHash] {
		return true
	}
	owned := ownedFields(live)
	return owned == nil || !ofTemplate(wanted).Equals(ofTemplate(owned))
}

// ofTemplate are the fields of a set that are in the pod template.
func ofTemplate(set *fieldpath.Set) *fieldpath.Set {
	for _, name := range []string{"spec", "template"} {
		set = set.WithPrefix(fieldpath.PathElement{FieldName: &name})
	}
	return set
}

// fieldsOf are what an apply configuration holds, and the fields it is in; nil if
// that cannot be found out.
func fieldsOf(want runtime.ApplyConfiguration) (*unstructured.Unstructured, *fieldpath.Set) {
	data, err := json.Marshal(want)
	if err != nil {
		return nil, nil
	}
	rendered := &unstructured.Unstructured{}
	if err := rendered.UnmarshalJSON(data); err != nil {
		return nil, nil
	}
	value, err := typed().ObjectToTyped(rendered)
	if err != nil {
		return nil, nil
	}
	set, err := value.ToFieldSet()
	if err != nil {
		return nil, nil
	}
	return rendered, set
}

// ownedFields are the fields of an object that the operator applied; nil if there
// are none.
func ownedFields(live client.Object) *fieldpath.Set {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != v1alpha1.OperatorName || entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
			return nil
		}
		return set
	}
	return nil
}
