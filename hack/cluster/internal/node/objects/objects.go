// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package objects keeps the secrets and config maps that pods of this node
// use, each by a watch on that one object. A node may read no others: the API
// server's node authorizer sees to that, so a watch on all is out of question.
package objects

import (
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/environ"
)

// ErrPending says that the object's first reading has not come back yet.
var ErrPending = errors.New("not read yet")

// Kind is a resource name.
type Kind string

// The kinds that can be kept.
const (
	ConfigMaps Kind = "configmaps"
	Secrets    Kind = "secrets"
)

// Key names an object.
type Key struct {
	Kind            Kind
	Namespace, Name string
}

// Cache holds objects while somebody subscribes to them. It is safe for
// concurrent use.
type Cache struct {
	client rest.Interface

	mu      sync.Mutex // protects entries and their subscribers
	entries map[Key]*entry
}

type entry struct {
	store       cache.Store
	controller  cache.Controller
	stop        chan struct{}
	subscribers map[*subscription]bool
}

type subscription struct{ changed func() }

// New reads with the client of the core group.
func New(client rest.Interface) *Cache {
	return &Cache{client: client, entries: map[Key]*entry{}}
}

// Subscribe keeps the objects until release is called. changed is called, from
// another goroutine, whenever one of them appears, changes or goes; it must not
// block.
func (c *Cache) Subscribe(keys []Key, changed func()) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	subscriber := &subscription{changed: changed}
	for _, key := range keys {
		if c.entries[key] == nil {
			c.entries[key] = c.start(key)
		}
		c.entries[key].subscribers[subscriber] = true
	}
	return func() { c.release(subscriber) }
}

// ConfigMap returns the config map, or an error that is [environ.ErrNotFound]
// or [ErrPending]. The object must not be changed.
func (c *Cache) ConfigMap(namespace, name string) (*corev1.ConfigMap, error) {
	return get[*corev1.ConfigMap](c, Key{ConfigMaps, namespace, name})
}

// Secret returns the secret, under the same terms.
func (c *Cache) Secret(namespace, name string) (*corev1.Secret, error) {
	return get[*corev1.Secret](c, Key{Secrets, namespace, name})
}

// InNamespace narrows the cache to one namespace, for [environ.Resolve].
func (c *Cache) InNamespace(namespace string) environ.Objects { return view{c, namespace} }

type view struct {
	cache     *Cache
	namespace string
}

func (v view) ConfigMap(name string) (*corev1.ConfigMap, error) {
	return v.cache.ConfigMap(v.namespace, name)
}

func (v view) Secret(name string) (*corev1.Secret, error) { return v.cache.Secret(v.namespace, name) }

func get[T runtime.Object](c *Cache, key Key) (T, error) {
	var none T
	c.mu.Lock()
	kept := c.entries[key]
	c.mu.Unlock()
	if kept == nil {
		return none, fmt.Errorf("%s is not kept for this pod", key.Name)
	}
	object, exists, err := kept.store.GetByKey(key.Namespace + "/" + key.Name)
	switch {
	case err != nil:
		return none, err
	case exists:
		return object.(T), nil
	case !kept.controller.HasSynced():
		return none, ErrPending
	default:
		return none, environ.ErrNotFound
	}
}

// start begins watching. The caller holds the lock.
func (c *Cache) start(key Key) *entry {
	var example runtime.Object = &corev1.ConfigMap{}
	if key.Kind == Secrets {
		example = &corev1.Secret{}
	}
	kept := &entry{stop: make(chan struct{}), subscribers: map[*subscription]bool{}}
	notify := func() { c.notify(kept) }
	kept.store, kept.controller = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(c.client, string(key.Kind), key.Namespace, fields.OneTermEqualSelector("metadata.name", key.Name)),
		ObjectType:    example,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { notify() },
			UpdateFunc: func(any, any) { notify() },
			DeleteFunc: func(any) { notify() },
		},
	})
	go kept.controller.Run(kept.stop)
	go func() {
		// An absent object has no event, but its absence is news too.
		if cache.WaitForCacheSync(kept.stop, kept.controller.HasSynced) {
			notify()
		}
	}()
	return kept
}

func (c *Cache) notify(kept *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for subscriber := range kept.subscribers {
		subscriber.changed()
	}
}

func (c *Cache) release(subscriber *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, kept := range c.entries {
		delete(kept.subscribers, subscriber)
		if len(kept.subscribers) == 0 {
			close(kept.stop)
			delete(c.entries, key)
		}
	}
}
