// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
)

const (
	// agentLimit is how many connectors a tenant has at most (protocol section 1.4).
	agentLimit = 40

	// recheckLimit is how soon it is looked again whether the tenant has room: the
	// identities of other resources do not wake this one.
	recheckLimit = 2 * time.Minute
)

// observeLimit counts the identities that the tenant is known to count: those of
// all resources for it that the operator watches, the unused ones among them. It
// is done only if a connector has to be registered. What else the tenant counts is
// for the service to say.
func (r *Reconciler) observeLimit(ctx context.Context, o *observation) error {
	if !o.needsToken() {
		return nil
	}
	var resources v1alpha1.PassthroughConnectorList
	if err := r.client.List(ctx, &resources); err != nil {
		return fmt.Errorf("listing PassthroughConnectors: %w", err)
	}
	sharing := map[types.UID]*v1alpha1.PassthroughConnector{}
	for i := range resources.Items {
		if pc := &resources.Items[i]; pc.UID != o.connector.UID && sameTenant(pc, o.connector) {
			sharing[pc.UID] = pc
		}
	}
	if len(sharing) > 0 {
		var secrets corev1.SecretList
		if err := r.client.List(ctx, &secrets, client.MatchingLabels{v1alpha1.LabelApp: v1alpha1.AppName}); err != nil {
			return fmt.Errorf("listing Secrets: %w", err)
		}
		for i := range secrets.Items {
			owner := metav1.GetControllerOf(&secrets.Items[i])
			if owner == nil || !isIdentity(&secrets.Items[i]) {
				continue
			}
			if pc := sharing[owner.UID]; pc != nil {
				o.others.add(pc, o.connector, 1)
			}
		}
		for uid, pc := range sharing {
			o.others.add(pc, o.connector, r.memory.waiting(uid))
		}
	}
	return nil
}

// holders are the identities that other resources have with a tenant.
type holders struct {
	named     map[string]int // by the resource's name, of those in the same namespace
	elsewhere int            // in other namespaces, whose names are not for everyone to see
}

// add notes identities of pc, as seen from a resource.
func (h *holders) add(pc, from *v1alpha1.PassthroughConnector, identities int) {
	switch {
	case identities == 0:
	case pc.Namespace != from.Namespace:
		h.elsewhere += identities
	default:
		if h.named == nil {
			h.named = map[string]int{}
		}
		h.named[pc.Name] += identities
	}
}

// count is how many there are.
func (h *holders) count() int {
	n := h.elsewhere
	for _, identities := range h.named {
		n += identities
	}
	return n
}

// maxHolders bounds how many resources a message names.
const maxHolders = 5

// String tells who holds them, those with most first: "hr: 20, sales: 4, other
// namespaces: 3".
func (h *holders) String() string {
	names := slices.SortedFunc(maps.Keys(h.named), func(a, b string) int {
		return cmp.Or(cmp.Compare(h.named[b], h.named[a]), cmp.Compare(a, b))
	})
	var parts []string
	rest := 0
	for i, name := range names {
		if i < maxHolders {
			parts = append(parts, fmt.Sprintf("%s: %d", name, h.named[name]))
		} else {
			rest += h.named[name]
		}
	}
	if rest > 0 {
		parts = append(parts, fmt.Sprintf("others here: %d", rest))
	}
	if h.elsewhere > 0 {
		parts = append(parts, fmt.Sprintf("other namespaces: %d", h.elsewhere))
	}
	return strings.Join(parts, ", ")
}

// isIdentity tells identity Secrets from others with our labels.
func isIdentity(secret *corev1.Secret) bool {
	return secret.Type == corev1.SecretTypeTLS && secret.Annotations[v1alpha1.AnnotationConnectorID] != ""
}

// sameTenant reports whether two resources register with one tenant of one cloud.
func sameTenant(a, b *v1alpha1.PassthroughConnector) bool {
	if !strings.EqualFold(a.Spec.TenantID, b.Spec.TenantID) {
		return false
	}
	of, errOf := desired.Endpoints(a)
	with, errWith := desired.Endpoints(b)
	return errOf == nil && errWith == nil && strings.EqualFold(of.RegistrationURL, with.RegistrationURL)
}

// room is how many connectors the tenant has room for, as far as is known.
func (o *observation) room() int {
	own := len(o.retained)
	for i := range o.instances {
		if o.instances[i].secret != nil || o.instances[i].unsaved != nil {
			own++
		}
	}
	return max(0, agentLimit-own-o.others.count())
}

// withinLimit keeps of the connectors to register those that the tenant has room
// for. One that replaces an identity whose certificate has ended needs none: it
// was counted. The second result says why some are left out; nil if none is.
func (o *observation) withinLimit(missing []int) ([]int, error) {
	room := o.room()
	var within []int
	for _, index := range missing {
		switch {
		case o.instances[index].secret != nil:
			within = append(within, index)
		case room > 0:
			room--
			within = append(within, index)
		}
	}
	if len(within) == len(missing) {
		return within, nil
	}
	others := fmt.Sprintf("%d are identities of other resources for this tenant", o.others.count())
	if who := o.others.String(); who != "" {
		others += " (" + who + ")"
	}
	return within, &waitingError{
		reason: v1alpha1.ReasonAgentLimitReached,
		message: fmt.Sprintf("a tenant takes %d connectors at most, and %d cannot be registered: %s, %d are kept unused by this one; lower spec.replicas here or there, or spec.registration.retainUnusedSeconds",
			agentLimit, len(missing)-len(within), others, len(o.retained)),
		after: recheckLimit,
	}
}
