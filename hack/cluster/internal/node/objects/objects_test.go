// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/environ"
)

// server is an API server with one config map at most, that it lists and
// watches for those who ask for it by name.
type server struct {
	mu      sync.Mutex // protects what follows
	object  *corev1.ConfigMap
	events  chan metav1.WatchEvent
	queries []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("watch") == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.queries = append(s.queries, r.URL.Path+"?"+r.URL.Query().Get("fieldSelector"))
		list := corev1.ConfigMapList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
		if s.object != nil {
			list.Items = append(list.Items, *s.object)
		}
		_ = json.NewEncoder(w).Encode(list)
		return
	}
	if r.URL.Query().Get("sendInitialEvents") != "" { // not that kind of watch
		http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`, http.StatusUnprocessableEntity)
		return
	}
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case event := <-s.events:
			_ = json.NewEncoder(w).Encode(event)
			_ = flush.Flush()
		}
	}
}

func configMap(version, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "settings", ResourceVersion: version},
		Data:       map[string]string{"k": value},
	}
}

func event(t *testing.T, kind string, object *corev1.ConfigMap) metav1.WatchEvent {
	t.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var e metav1.WatchEvent
	e.Type = kind
	e.Object.Raw = data
	return e
}

func TestCacheFollowsOneObject(t *testing.T) {
	api := &server{events: make(chan metav1.WatchEvent)}
	listener := httptest.NewServer(api)
	defer listener.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: listener.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	cache := New(client.CoreV1().RESTClient())
	key := Key{ConfigMaps, "ns", "settings"}
	changed := make(chan struct{}, 1)
	release := cache.Subscribe([]Key{key}, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	// Each step ends when the cache says what it should; every change pokes us.
	waitFor := func(what string, ask func(*corev1.ConfigMap, error) error) {
		t.Helper()
		for {
			err := ask(cache.InNamespace("ns").ConfigMap("settings"))
			if err == nil {
				return
			}
			select {
			case <-changed:
			case <-t.Context().Done():
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	value := func(want string) func(*corev1.ConfigMap, error) error {
		return func(object *corev1.ConfigMap, err error) error {
			if err != nil || object.Data["k"] != want {
				return fmt.Errorf("%v, %w", object, err)
			}
			return nil
		}
	}
	absent := func(object *corev1.ConfigMap, err error) error {
		if !errors.Is(err, environ.ErrNotFound) {
			return fmt.Errorf("%v, %w", object, err)
		}
		return nil
	}
	waitFor("absent at first", absent)
	api.events <- event(t, "ADDED", configMap("2", "one"))
	waitFor("added", value("one"))
	api.events <- event(t, "MODIFIED", configMap("3", "two"))
	waitFor("changed", value("two"))
	api.events <- event(t, "DELETED", configMap("4", "two"))
	waitFor("deleted", absent)

	release()
	if _, err := cache.ConfigMap("ns", "settings"); err == nil || errors.Is(err, environ.ErrNotFound) {
		t.Errorf("after the release: %v, want an error that says it is not kept", err)
	}
	api.mu.Lock()
	defer api.mu.Unlock()
	if want := "/api/v1/namespaces/ns/configmaps?metadata.name=settings"; len(api.queries) != 1 || api.queries[0] != want {
		t.Errorf("asked %q, want %q once", api.queries, want)
	}
}
