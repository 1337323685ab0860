// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package installation checks whether an operator that was installed works, seen
// from the API server: what `helm test` runs.
package installation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
)

const (
	// patience is how long a check is repeated until it succeeds: an operator that
	// was just installed is starting, and one that was just upgraded waits for the
	// lease of the one before.
	patience = 2 * time.Minute

	// pause is the time between two tries.
	pause = time.Second

	// callDeadline bounds one call to the API server.
	callDeadline = 10 * time.Second
)

// Options say what is checked.
type Options struct {
	// Client reads from the API server, not from a cache.
	Client client.Client
	// Namespace is the operator's, Deployment its Deployment.
	Namespace, Deployment string
	// Lease is the name of the operator's lease; empty if it runs without one.
	Lease string
	// Out is told what was found, in lines.
	Out io.Writer

	patience, pause time.Duration
}

// Check makes all checks and fails if one does not succeed in time. It changes
// nothing: what it creates, it creates as a dry run.
func Check(ctx context.Context, o Options) error {
	if o.patience == 0 {
		o.patience, o.pause = patience, pause
	}
	checks := []struct {
		what string
		run  func(context.Context) error
	}{
		{"the API server takes a PassthroughConnector as this version writes it", o.accepts},
		{"the API server refuses a PassthroughConnector that is wrong", o.refuses},
		{"the operator's Deployment is rolled out and ready", o.available},
	}
	if o.Lease != "" {
		checks = append(checks, struct {
			what string
			run  func(context.Context) error
		}{"an operator holds the lease and renews it", o.led})
	}
	var faults []error
	for _, c := range checks {
		err := o.eventually(ctx, c.run)
		if err != nil {
			fmt.Fprintf(o.Out, "FAILED  %s: %v\n", c.what, err)
			faults = append(faults, fmt.Errorf("%s: %w", c.what, err))
			continue
		}
		fmt.Fprintf(o.Out, "ok      %s\n", c.what)
	}
	return errors.Join(faults...)
}

// eventually repeats a check until it succeeds, and returns why it last did not.
func (o Options) eventually(ctx context.Context, check func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, o.pause, o.patience, true, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, callDeadline)
		defer cancel()
		last = check(ctx)
		return last == nil, nil
	})
	if err != nil && last != nil {
		return last
	}
	return err
}

// example is a PassthroughConnector that sets what users set. It names synthetic
// things only, and is never stored.
func (o Options) example(replicas int32) *v1alpha1.PassthroughConnector {
	return &v1alpha1.PassthroughConnector{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: "installation-check"},
		Spec: v1alpha1.PassthroughConnectorSpec{
			TenantID:     "6f5e4d3c-2b1a-4908-8716-253443526170",
			Replicas:     &replicas,
			Registration: v1alpha1.RegistrationSpec{TokenSecretRef: &v1alpha1.SecretKeyReference{Name: "installation-check", Key: "token"}},
			Validation: v1alpha1.ValidationSpec{
				Method: v1alpha1.ValidationLDAP,
				LDAP: &v1alpha1.LDAPValidation{Forests: []v1alpha1.LDAPForest{{
					UPNSuffixes: []v1alpha1.UPNSuffix{"contoso.example"}, Servers: []v1alpha1.LDAPServer{"ldaps://dc1.contoso.example:636"},
				}}},
			},
		},
	}
}

func (o Options) dryRun(ctx context.Context, replicas int32) error {
	return o.Client.Create(ctx, o.example(replicas), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
}

// accepts fails if the CRD is missing, or older than this program.
func (o Options) accepts(ctx context.Context) error { return o.dryRun(ctx, 2) }

// refuses fails if the CRD has lost its schema.
func (o Options) refuses(ctx context.Context) error {
	err := o.dryRun(ctx, 0)
	switch {
	case apierrors.IsInvalid(err):
		return nil
	case err == nil:
		return errors.New("no replicas at all were accepted: the CRD is not the one of this version")
	default:
		return err
	}
}

func (o Options) available(ctx context.Context) error {
	d := &appsv1.Deployment{}
	if err := o.Client.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: o.Deployment}, d); err != nil {
		return err
	}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	if want == 0 {
		return errors.New("it is scaled to 0 replicas: nothing works on PassthroughConnectors")
	}
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < want || s.AvailableReplicas < want || s.Replicas > want {
		problem := ""
		for _, c := range s.Conditions {
			if c.Status != corev1.ConditionTrue && c.Message != "" {
				problem = ": " + c.Message
			}
		}
		return fmt.Errorf("%d of %d replicas are of the current version, %d available%s", s.UpdatedReplicas, want, s.AvailableReplicas, problem)
	}
	return nil
}

func (o Options) led(ctx context.Context) error {
	l := &coordinationv1.Lease{}
	if err := o.Client.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: o.Lease}, l); err != nil {
		return err
	}
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" || l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return errors.New("nobody holds the lease")
	}
	if age := time.Since(l.Spec.RenewTime.Time); age > time.Duration(*l.Spec.LeaseDurationSeconds)*time.Second {
		return fmt.Errorf("%s holds the lease, and has not renewed it for %s", *l.Spec.HolderIdentity, age.Round(time.Second))
	}
	return nil
}
