// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
)

const (
	// workers is how many resources are worked on side by side: one whose
	// registration service hangs must not hold up the others.
	workers = 4

	// passDeadline bounds a pass, and with it every call to the API server, so that
	// one that hangs does not keep a worker forever. A registration that was begun
	// has deadlines of its own.
	passDeadline = 2 * time.Minute

	// secretIndex and configMapIndex find the resources that refer to a Secret or a
	// ConfigMap, by its name.
	secretIndex    = "referredSecrets"
	configMapIndex = "referredConfigMaps"
)

// CacheOptions limits the manager's caches to what the reconciler reads: of the
// built-in kinds only the operator's own objects. Secrets and ConfigMaps of
// others are not held in memory. An empty list of namespaces means all.
func CacheOptions(namespaces []string) cache.Options {
	app := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{v1alpha1.LabelApp: v1alpha1.AppName})}
	return cache.Options{
		DefaultNamespaces: namespaceConfigs(namespaces),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:         app,
			&corev1.ConfigMap{}:      app,
			&corev1.Service{}:        app,
			&corev1.ServiceAccount{}: app,
			&corev1.Pod{}:            app,
			&appsv1.Deployment{}:     app,

			&networkingv1.NetworkPolicy{}:   app,
			&appsv1.ControllerRevision{}:    app,
			&policyv1.PodDisruptionBudget{}: app,
		},
	}
}

func namespaceConfigs(namespaces []string) map[string]cache.Config {
	if len(namespaces) == 0 {
		return nil
	}
	configs := map[string]cache.Config{}
	for _, namespace := range namespaces {
		configs[namespace] = cache.Config{}
	}
	return configs
}

// SetupWithManager starts the reconciler with a manager whose caches were made
// with CacheOptions for the same namespaces.
//
// Beside its own objects it watches the metadata of all Secrets and ConfigMaps,
// so that a token or a CA bundle that is put right is noticed at once. Their
// contents never reach that cache.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, namespaces []string) error {
	metadata, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		DefaultNamespaces: namespaceConfigs(namespaces),
		DefaultTransform:  nameOnly,
	})
	if err != nil {
		return fmt.Errorf("making the cache of references: %w", err)
	}
	if err := mgr.Add(metadata); err != nil {
		return fmt.Errorf("adding the cache of references: %w", err)
	}
	for index, names := range map[string]client.IndexerFunc{secretIndex: referredSecrets, configMapIndex: referredConfigMaps} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.PassthroughConnector{}, index, names); err != nil {
			return fmt.Errorf("adding the index %s: %w", index, err)
		}
	}
	err = mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		if err := r.Sweep(ctx); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Could not look for policies whose resource went while no operator ran")
		}
		return nil
	}))
	if err != nil {
		return fmt.Errorf("adding the sweep of policies: %w", err)
	}
	registerMetrics()
	owned := builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})
	err = ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.PassthroughConnector{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&appsv1.Deployment{}, owned).
		Owns(&corev1.Secret{}, owned).
		Owns(&corev1.ConfigMap{}, owned).
		Owns(&corev1.Service{}, owned).
		Owns(&networkingv1.NetworkPolicy{}, owned).
		Owns(&corev1.ServiceAccount{}, owned).
		Owns(&appsv1.ControllerRevision{}, owned).
		Owns(&policyv1.PodDisruptionBudget{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(resourceOfPod), owned).
		WatchesRawSource(r.referenceSource(metadata, "Secret", secretIndex)).
		WatchesRawSource(r.referenceSource(metadata, "ConfigMap", configMapIndex)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, ReconciliationTimeout: passDeadline}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("adding the controller: %w", err)
	}
	return nil
}

// nameOnly keeps of an object what tells whether it changed.
func nameOnly(object any) (any, error) {
	if m, ok := object.(*metav1.PartialObjectMetadata); ok {
		m.Annotations, m.Labels, m.ManagedFields, m.OwnerReferences, m.Finalizers = nil, nil, nil, nil, nil
	}
	return object, nil
}

// referenceSource starts a pass for each resource that refers to a changed object.
func (r *Reconciler) referenceSource(metadata cache.Cache, kind, index string) source.Source {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: kind})
	referring := func(ctx context.Context, changed *metav1.PartialObjectMetadata) []reconcile.Request {
		var list v1alpha1.PassthroughConnectorList
		if err := r.client.List(ctx, &list, client.InNamespace(changed.Namespace), client.MatchingFields{index: changed.Name}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Could not find who refers to a changed object", "kind", kind, "namespace", changed.Namespace, "object", changed.Name)
			return nil
		}
		var requests []reconcile.Request
		for i := range list.Items {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
		return requests
	}
	return source.Kind(metadata, object,
		handler.TypedEnqueueRequestsFromMapFunc(referring),
		predicate.TypedResourceVersionChangedPredicate[*metav1.PartialObjectMetadata]{})
}

// referredSecrets are the Secrets that a resource depends on by name: the token,
// and those that must hold its identities and its sign-in. The latter are among them
// so that the deletion of a foreign Secret in the way is noticed.
func referredSecrets(object client.Object) []string {
	pc := object.(*v1alpha1.PassthroughConnector)
	var names []string
	if ref := pc.Spec.Registration.TokenSecretRef; ref != nil {
		names = append(names, ref.Name)
	}
	if pc.Spec.Registration.DeviceCode != nil {
		names = append(names, desired.RegistrationName(pc))
	}
	for i := range replicas(pc) {
		names = append(names, desired.IdentityName(pc, i))
	}
	return names
}

// referredConfigMaps are the ConfigMaps that a resource takes CA bundles and
// service tags from.
func referredConfigMaps(object client.Object) []string {
	pc := object.(*v1alpha1.PassthroughConnector)
	names := map[string]bool{}
	if custom := pc.Spec.Service.Custom; custom != nil && custom.CABundleRef != nil {
		names[custom.CABundleRef.Name] = true
	}
	if ldap := pc.Spec.Validation.LDAP; ldap != nil {
		for _, forest := range ldap.Forests {
			if forest.CABundleRef != nil {
				names[forest.CABundleRef.Name] = true
			}
		}
	}
	if tags := pc.Spec.Egress.ServiceTags; tags != nil {
		names[tags.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// resourceOfPod finds the resource of a connector's pod, which a ReplicaSet owns,
// by its label.
func resourceOfPod(_ context.Context, pod client.Object) []reconcile.Request {
	name := pod.GetLabels()[v1alpha1.LabelConnector]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
}
