// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/connector/config"
	"github.com/passthrough-dev/connector-operator/controllers/internal/enrolment"
)

// What the operator may do, and nothing more. It creates identity Secrets, changes
// them when it renews what is in them, and deletes those that were kept unused for
// long enough; and so it does with the Secret of an administrator's sign-in. Reading Secrets is cluster-wide because a rule
// cannot be limited to names that are not known beforehand; bind the role in
// single namespaces and start the operator with --watch-namespaces to narrow it.
//
// +kubebuilder:rbac:groups=identity.passthrough.dev,resources=passthroughconnectors,verbs=get;list;watch
// +kubebuilder:rbac:groups=identity.passthrough.dev,resources=passthroughconnectors/status,verbs=update
// +kubebuilder:rbac:groups=identity.passthrough.dev,resources=passthroughconnectors/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=services;serviceaccounts,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments;controllerrevisions,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=windows.k8s.io,resources=gmsacredentialspecs,verbs=get
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=localsubjectaccessreviews,verbs=create
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=passthrough-system,resources=leases,verbs=get;create;update
// +kubebuilder:rbac:groups="",namespace=passthrough-system,resources=events,verbs=create;patch

const (
	// recheckUnready is how soon a resource is looked at again while a connector is
	// not ready: what connectors tell about themselves is not watched.
	recheckUnready = 10 * time.Second

	// recheckCredentials is how soon GMSACredentialSpecs are looked at again while
	// they cannot be used: neither they nor permissions are watched.
	recheckCredentials = time.Minute

	// recheckConflict is how soon a pass is repeated that worked on an outdated
	// copy of the resource.
	recheckConflict = 200 * time.Millisecond
)

// registrar registers one connector; *enrolment.Registrar is the real one.
type registrar interface {
	Register(ctx context.Context, req enrolment.Request) (enrolment.Issued, error)
}

// reporter asks the connector at an address what it tells about itself.
type reporter interface {
	Report(ctx context.Context, address string) (config.Status, error)
}

// Reconciler makes PassthroughConnectors real. Make one with New.
type Reconciler struct {
	client   client.Client        // reads from the caches, writes
	live     client.Reader        // reads from the API server
	recorder events.EventRecorder // tells what changed
	register registrar
	renewals renewer
	reports  reporter
	memory   *memory
	told     *toldMemory
	now      func() time.Time // stamps conditions, and judges expiry
	holder   string           // names this process in claims on identity Secrets

	defaultImage string
	firstRetry   time.Duration
	recheck      time.Duration
}

// Options are what New needs to know.
type Options struct {
	// Client reads from the caches that CacheOptions describes, and writes.
	Client client.Client
	// Live reads from the API server. It is used for what must not be outdated or
	// is not worth a cache: identity Secrets before a registration, token Secrets
	// and CA bundles.
	Live client.Reader
	// Recorder records events of the events.k8s.io API.
	Recorder events.EventRecorder
	// DefaultImage is the connector's image for resources that name none: the one
	// that was released together with the operator.
	DefaultImage string
}

// New returns a Reconciler that registers with the real service and asks
// connectors over HTTP.
func New(o Options) *Reconciler {
	return &Reconciler{
		client: o.Client, live: o.Live, recorder: o.Recorder,
		register: enrolment.Registrar{}, renewals: enrolment.Registrar{}, reports: newStatusReader(), memory: newMemory(), told: &toldMemory{}, now: time.Now,
		holder:       string(uuid.NewUUID()),
		defaultImage: o.DefaultImage, firstRetry: firstRetry, recheck: recheckUnready,
	}
}

// Reconcile makes one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pc := &v1alpha1.PassthroughConnector{}
	if err := r.client.Get(ctx, req.NamespacedName, pc); err != nil {
		if apierrors.IsNotFound(err) {
			r.memory.forget(req.NamespacedName)
			unmeasure(req.NamespacedName)
			return ctrl.Result{}, r.Sweep(ctx)
		}
		return ctrl.Result{}, fmt.Errorf("reading the PassthroughConnector: %w", err)
	}
	if !pc.DeletionTimestamp.IsZero() {
		// The garbage collector deletes what we own. Nothing outside is ours to
		// clean up: the service removes a connector that stays away.
		r.memory.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	r.memory.meet(req.NamespacedName, pc.UID)

	seen, err := r.observe(ctx, pc)
	if err != nil {
		return ctrl.Result{}, err
	}
	todo := decide(seen, r.defaultImage)
	if len(todo.replaced) > 0 {
		if err := r.observeDeploymentsAgain(ctx, &seen); err != nil {
			return ctrl.Result{}, err
		}
		todo = decide(seen, r.defaultImage)
	}
	done := r.apply(ctx, seen, todo)
	status := summarize(seen, todo, done)
	if err := r.writeStatus(ctx, pc, status); err != nil {
		done.errs = append(done.errs, err)
	}
	return r.next(seen, todo, done, status)
}

// next turns what a pass found into when the following one is.
func (r *Reconciler) next(seen observation, todo plan, done outcome, status v1alpha1.PassthroughConnectorStatus) (ctrl.Result, error) {
	if err := done.failure(); err != nil {
		return ctrl.Result{}, err
	}
	var after time.Duration
	sooner := func(d time.Duration) {
		if d > 0 && (after == 0 || d < after) {
			after = d
		}
	}
	for _, err := range done.errs {
		if waiting, ok := errors.AsType[*waitingError](err); ok {
			sooner(waiting.after)
		}
	}
	for _, at := range []time.Time{todo.retryAt, done.retryAt, todo.wakeAt, done.wakeAt, todo.pollAt, done.pollAt} {
		if !at.IsZero() {
			sooner(max(at.Sub(seen.now), time.Millisecond))
		}
	}
	if waiting, ok := errors.AsType[*waitingError](todo.registrationProblem); ok {
		sooner(jittered(waiting.after))
	}
	sooner(seen.askAgain)
	if len(seen.byName) > 0 || seen.byNameProblem != nil {
		sooner(jittered(recheckByName))
	}
	if seen.credentialProblem != nil {
		sooner(jittered(recheckCredentials))
	}
	if next := todo.rollout.window.next; !next.IsZero() {
		sooner(max(next.Sub(seen.now), time.Second))
	}
	if status.ReadyReplicas == nil || int(*status.ReadyReplicas) < len(seen.instances) {
		sooner(jittered(r.recheck))
	}
	return ctrl.Result{RequeueAfter: min(after, jittered(recheckCertificates))}, nil
}
