// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

// works are the objects of an operator that works.
func works() (*appsv1.Deployment, *coordinationv1.Lease) {
	return &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "operator", Generation: 2},
			Spec:       appsv1.DeploymentSpec{Replicas: new(int32(1))},
			Status:     appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1},
		}, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "lease"},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: new("pod_1"), LeaseDurationSeconds: new(int32(15)), RenewTime: &metav1.MicroTime{Time: time.Now()}},
		}
}

// schemaOf plays the API server's validation.
func schemaOf(_ context.Context, _ client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	var options client.CreateOptions
	options.ApplyOptions(opts)
	if len(options.DryRun) == 0 || options.FieldValidation != metav1.FieldValidationStrict {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "passthroughconnectors"}, o.GetName(), nil)
	}
	if pc := o.(*v1alpha1.PassthroughConnector); *pc.Spec.Replicas < 1 {
		return apierrors.NewInvalid(schema.GroupKind{Kind: v1alpha1.Kind}, o.GetName(), nil)
	}
	return nil
}

func TestCheck(t *testing.T) {
	noKind := func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
		return &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "identity.passthrough.dev", Kind: v1alpha1.Kind}}
	}
	anything := func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return nil }
	type create = func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error
	for name, tc := range map[string]struct {
		create create
		change func(*appsv1.Deployment, *coordinationv1.Lease)
		lease  string
		want   []string // parts of the error; none if it is fine
	}{
		"everything works":  {lease: "lease"},
		"without a lease":   {change: func(_ *appsv1.Deployment, l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }},
		"there is no CRD":   {create: noKind, lease: "lease", want: []string{"takes a PassthroughConnector", "refuses a PassthroughConnector", "no matches for kind"}},
		"a CRD of old":      {create: anything, lease: "lease", want: []string{"no replicas at all were accepted"}},
		"another namespace": {change: func(d *appsv1.Deployment, _ *coordinationv1.Lease) { d.Namespace = "other" }, lease: "lease", want: []string{`"operator" not found`}},
		"the rollout is not observed": {
			change: func(d *appsv1.Deployment, _ *coordinationv1.Lease) { d.Generation = 3 }, lease: "lease",
			want: []string{"1 of 1 replicas are of the current version"},
		},
		"the pod is not ready": {
			change: func(d *appsv1.Deployment, _ *coordinationv1.Lease) {
				d.Status.AvailableReplicas = 0
				d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionFalse, Message: "no minimum availability"}}
			}, lease: "lease", want: []string{"0 available: no minimum availability"},
		},
		"the old pod is still there": {
			change: func(d *appsv1.Deployment, _ *coordinationv1.Lease) { d.Status.Replicas = 2 }, lease: "lease", want: []string{"rolled out"},
		},
		"scaled to nothing": {
			change: func(d *appsv1.Deployment, _ *coordinationv1.Lease) { d.Spec.Replicas = new(int32(0)) }, lease: "lease", want: []string{"scaled to 0"},
		},
		"nobody leads": {
			change: func(_ *appsv1.Deployment, l *coordinationv1.Lease) { l.Spec.HolderIdentity = new("") }, lease: "lease", want: []string{"nobody holds the lease"},
		},
		"the leader is gone": {
			change: func(_ *appsv1.Deployment, l *coordinationv1.Lease) {
				l.Spec.RenewTime = &metav1.MicroTime{Time: time.Now().Add(-time.Minute)}
			}, lease: "lease", want: []string{"pod_1 holds the lease, and has not renewed it for 1m"},
		},
		"there is no lease": {lease: "another", want: []string{`"another" not found`}},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := clientgoscheme.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			d, l := works()
			if tc.change != nil {
				tc.change(d, l)
			}
			if tc.create == nil {
				tc.create = schemaOf
			}
			c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(d, l).WithInterceptorFuncs(interceptor.Funcs{Create: tc.create}).Build()
			var out bytes.Buffer
			err := Check(t.Context(), Options{Client: c, Namespace: "system", Deployment: "operator", Lease: tc.lease, Out: &out, patience: time.Millisecond, pause: time.Millisecond})
			if len(tc.want) == 0 {
				if err != nil || strings.Contains(out.String(), "FAILED") {
					t.Errorf("got %v and\n%s", err, out.String())
				}
				return
			}
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(out.String(), "FAILED") {
					t.Errorf("got %v, want it to say %q; it printed\n%s", err, want, out.String())
				}
			}
		})
	}
}
