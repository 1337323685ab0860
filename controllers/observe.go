// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
	"github.com/passthrough-dev/connector-operator/controllers/internal/servicetags"
)

// observation is all that a pass knows. It is gathered once; what comes after
// decides by it alone.
type observation struct {
	// connector is the resource, as the API server defaulted it.
	connector *v1alpha1.PassthroughConnector
	now       time.Time

	// instances are the connectors that the specification asks for, by index.
	instances []instance

	// surplus are Deployments and ConfigMaps of connectors that the specification
	// does not ask for any more.
	surplus []client.Object
	// retained are the identities of such connectors, by index.
	retained []retained
	// others is how many identities other resources have with the tenant. They are
	// counted only if a connector has to be registered.
	others holders

	// serviceAccount, service, disruptionBudget and networkPolicy are the common
	// children; nil if there are none.
	serviceAccount   *corev1.ServiceAccount
	service          *corev1.Service
	disruptionBudget *policyv1.PodDisruptionBudget
	networkPolicy    *networkingv1.NetworkPolicy

	// byName are the policies by names, by the mode that asks for them; byNameProblem
	// says why the one that is asked for cannot be.
	byName        map[v1alpha1.EgressMode]*unstructured.Unstructured
	byNameProblem error

	// revisions are what was rolled out, the oldest first.
	revisions []revision

	// credentialProblem says why the GMSACredentialSpecs cannot be used.
	credentialProblem error

	// bundles are the CA bundles of the references; bundleProblem says why they
	// are not complete.
	bundles       desired.Bundles
	bundleProblem error

	// serviceTags are the addresses of spec.egress.serviceTags; serviceTagsProblem
	// says why they are not known.
	serviceTags        servicetags.Ranges
	serviceTagsProblem error

	// token is the registration token. It is read only if an identity is missing.
	// tokenProblem says why there is none or why it cannot be used.
	token        string
	tokenProblem error

	// signIn is about the sign-in that the token comes from, if spec.registration asks
	// for one and an identity is missing.
	signIn signIn

	// renewBefore is how long before its end a certificate is renewed; zero if
	// nobody has said.
	renewBefore time.Duration

	// inputs identifies what a registration would be made with now.
	inputs string
	// attempt is what is remembered of registrations that failed.
	attempt attempt
	// askAgain is after what time connectors are to be asked what they tell; zero
	// if none is there to be asked.
	askAgain time.Duration
}

// instance is one connector that the specification asks for.
type instance struct {
	index int
	name  string

	// identity is what the identity Secret holds; nil if there is no usable one.
	identity *trust.Identity
	// identityProblem says why the identity Secret that exists cannot be used.
	identityProblem error
	// expired is what the identity Secret holds if its certificate has ended;
	// identity is nil then.
	expired *trust.Identity
	// secret is the identity Secret; nil if there is none.
	secret *corev1.Secret
	// overlap is about the previous pair that the Secret still holds; nil if it
	// holds none.
	overlap *overlap
	// renewal is what is remembered of renewals that failed.
	renewal attempt
	// unsaved is an identity that was issued and waits to be stored.
	unsaved *enrolment.Issued

	configMap  *corev1.ConfigMap
	deployment *appsv1.Deployment

	// pod is the connector's pod: the one that is not being deleted, if any.
	pod *corev1.Pod
	// report is what a running pod told when it was asked in this pass,
	// reportProblem why it told nothing. Pods that are ready are not asked each time.
	report        *config.Status
	reportProblem error
	// told is what the connector told last, in this pass or lately; nil if nothing.
	told *tells
}

// registered reports whether the connector needs no registration.
func (i *instance) registered() bool { return i.identity != nil }

// observe gathers an observation. It fails only if the API server does; what is
// missing or wrong is part of the observation.
func (r *Reconciler) observe(ctx context.Context, pc *v1alpha1.PassthroughConnector) (observation, error) {
	o := observation{connector: pc, now: r.now(), attempt: r.memory.attempt(pc.UID)}
	for i := range replicas(pc) {
		o.instances = append(o.instances, instance{index: i, name: desired.ConnectorName(pc, i)})
	}
	for _, step := range []func(context.Context, *observation) error{
		r.observeChildren,
		r.observeEgress,
		r.observeRevisions,
		r.observeIdentities,
		r.observeRetained,
		r.observeLimit,
		r.observeBundles,
		r.observeServiceTags,
		r.observeToken,
		r.observeSignIn,
		r.observePods,
		r.observeCredentials,
	} {
		if err := step(ctx, &o); err != nil {
			return observation{}, err
		}
	}
	r.observeReports(ctx, &o)
	r.observeCertificates(&o)
	return o, nil
}

// replicas is how many connectors the specification asks for.
func replicas(pc *v1alpha1.PassthroughConnector) int {
	if pc.Spec.Replicas == nil {
		return 0
	}
	return int(*pc.Spec.Replicas)
}

// ours limits a list to the objects of one resource.
func ours(pc *v1alpha1.PassthroughConnector) []client.ListOption {
	return []client.ListOption{client.InNamespace(pc.Namespace), client.MatchingLabels(desired.Selector(pc))}
}

func (r *Reconciler) observeChildren(ctx context.Context, o *observation) error {
	pc := o.connector
	var deployments appsv1.DeploymentList
	if err := r.client.List(ctx, &deployments, ours(pc)...); err != nil {
		return fmt.Errorf("listing Deployments: %w", err)
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		if in := o.instanceNamed(d.Name); in != nil {
			in.deployment = d
		} else if metav1.IsControlledBy(d, pc) {
			o.surplus = append(o.surplus, d)
		}
	}
	var configMaps corev1.ConfigMapList
	if err := r.client.List(ctx, &configMaps, ours(pc)...); err != nil {
		return fmt.Errorf("listing ConfigMaps: %w", err)
	}
	for i := range configMaps.Items {
		c := &configMaps.Items[i]
		if in := o.instanceNamed(c.Name); in != nil {
			in.configMap = c
		} else if metav1.IsControlledBy(c, pc) {
			o.surplus = append(o.surplus, c)
		}
	}
	account, err := getOrNil(ctx, r.client, pc.Namespace, desired.ServiceAccountName(pc), &corev1.ServiceAccount{})
	if err != nil {
		return err
	}
	service, err := getOrNil(ctx, r.client, pc.Namespace, desired.ServiceName(pc), &corev1.Service{})
	if err != nil {
		return err
	}
	budget, err := getOrNil(ctx, r.client, pc.Namespace, desired.DisruptionBudgetName(pc), &policyv1.PodDisruptionBudget{})
	if err != nil {
		return err
	}
	o.serviceAccount, o.service, o.disruptionBudget = account, service, budget
	return nil
}

// observeDeploymentsAgain replaces what the cache knows of the connectors'
// Deployments by what the API server does. No pod is taken away on the word of
// the cache, which may not know yet what the last pass did.
func (r *Reconciler) observeDeploymentsAgain(ctx context.Context, o *observation) error {
	var deployments appsv1.DeploymentList
	if err := r.live.List(ctx, &deployments, ours(o.connector)...); err != nil {
		return fmt.Errorf("listing Deployments: %w", err)
	}
	for i := range o.instances {
		o.instances[i].deployment = nil
	}
	for i := range deployments.Items {
		if in := o.instanceNamed(deployments.Items[i].Name); in != nil {
			in.deployment = &deployments.Items[i]
		}
	}
	return nil
}

// instanceNamed finds the connector of a child's name.
func (o *observation) instanceNamed(name string) *instance {
	for i := range o.instances {
		if o.instances[i].name == name {
			return &o.instances[i]
		}
	}
	return nil
}

// getOrNil reads an object; nil if it does not exist.
func getOrNil[T client.Object](ctx context.Context, from client.Reader, namespace, name string, into T) (T, error) {
	var none T
	err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, into)
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("reading %T %s: %w", into, name, err)
	}
	return into, nil
}

// observeIdentities reads the identity Secrets. One that the cache does not know
// is read from the API server: the cache may be behind, and it knows only what
// carries our label. A registration is never made on the word of the cache.
func (r *Reconciler) observeIdentities(ctx context.Context, o *observation) error {
	for i := range o.instances {
		in := &o.instances[i]
		name := desired.IdentityName(o.connector, in.index)
		secret, err := getOrNil(ctx, r.client, o.connector.Namespace, name, &corev1.Secret{})
		if err == nil && secret == nil {
			secret, err = getOrNil(ctx, r.live, o.connector.Namespace, name, &corev1.Secret{})
		}
		if err != nil {
			return err
		}
		if secret != nil {
			in.secret, in.overlap = secret, readOverlap(secret)
			in.identity, in.identityProblem = readIdentity(o.connector, secret, o.now)
			if in.identity == nil {
				in.expired = expiredIdentity(o.connector, secret, o.now)
			}
		}
		if in.identity != nil || (secret != nil && in.expired == nil) {
			continue
		}
		if issued, ok := r.memory.kept(o.connector.UID, in.index); ok {
			in.unsaved = &issued
		}
	}
	return nil
}

// readIdentity judges an identity Secret.
func readIdentity(pc *v1alpha1.PassthroughConnector, secret *corev1.Secret, now time.Time) (*trust.Identity, error) {
	if err := checkOwner(pc, secret, "Secret", v1alpha1.ReasonIdentityInvalid); err != nil {
		return nil, err
	}
	identity, err := enrolment.ParsePair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], pc.Spec.TenantID, now)
	if errors.Is(err, enrolment.ErrExpired) {
		return nil, &blockedError{
			reason:  v1alpha1.ReasonCertificateExpired,
			message: fmt.Sprintf("in Secret %s %v: the connector has to be registered anew", secret.Name, err),
		}
	}
	if err != nil {
		return nil, &blockedError{
			reason:  v1alpha1.ReasonIdentityInvalid,
			message: fmt.Sprintf("the identity in Secret %s cannot be used: %v; restore it, or delete the Secret to have the connector registered anew", secret.Name, err),
		}
	}
	return &identity, nil
}

// expiredIdentity is the identity in a Secret of ours with which nothing is wrong
// but that its certificate has ended; nil if there is no such one.
func expiredIdentity(pc *v1alpha1.PassthroughConnector, secret *corev1.Secret, now time.Time) *trust.Identity {
	identity, err := enrolment.ParsePair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], pc.Spec.TenantID, now)
	if !errors.Is(err, enrolment.ErrExpired) || checkOwner(pc, secret, "Secret", v1alpha1.ReasonIdentityInvalid) != nil {
		return nil
	}
	return &identity
}

// checkOwner returns why an object that we would have to write is not ours; nil
// if it is.
func checkOwner(pc *v1alpha1.PassthroughConnector, object client.Object, kind, reason string) error {
	if metav1.IsControlledBy(object, pc) {
		return nil
	}
	controller := metav1.GetControllerOf(object)
	if controller != nil && controller.Kind == v1alpha1.Kind && controller.Name == pc.Name && controller.UID != pc.UID {
		return &waitingError{
			reason:  reason,
			message: fmt.Sprintf("%s %s belongs to an earlier PassthroughConnector of this name; waiting for Kubernetes to delete it", kind, object.GetName()),
			after:   jittered(recheckUnready),
		}
	}
	holder := "no controller"
	if controller != nil {
		holder = controller.Kind + " " + controller.Name
	}
	return &blockedError{
		reason:  reason,
		message: fmt.Sprintf("%s %s exists and belongs to %s, not to this PassthroughConnector; it is left alone: delete or rename it, or use another name for the PassthroughConnector", kind, object.GetName(), holder),
	}
}

// observePods finds each connector's pod, surplus connectors left out.
func (r *Reconciler) observePods(ctx context.Context, o *observation) error {
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods, ours(o.connector)...); err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	// The youngest last, and those that are being deleted first: the last one wins.
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int {
		if deletingA, deletingB := a.DeletionTimestamp != nil, b.DeletionTimestamp != nil; deletingA != deletingB {
			if deletingA {
				return -1
			}
			return 1
		}
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	for i := range pods.Items {
		pod := &pods.Items[i]
		index, err := strconv.Atoi(pod.Labels[v1alpha1.LabelIndex])
		if err != nil || index < 0 || index >= len(o.instances) {
			continue
		}
		if belongs(pod, o.instances[index].name) {
			o.instances[index].pod = pod
		}
	}
	return nil
}

// belongs reports whether a pod was made by the connector's Deployment. Labels
// alone are not believed: anybody who may create a pod can set them.
func belongs(pod *corev1.Pod, deployment string) bool {
	controller := metav1.GetControllerOf(pod)
	return controller != nil && controller.Kind == "ReplicaSet" && strings.HasPrefix(controller.Name, deployment+"-")
}
