// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/atomicdir"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/mounts"
	"github.com/passthrough-dev/connector-operator/hack/cluster/internal/node/volume"
)

const (
	// volumeRetry is how often a volume that cannot be made is tried again
	// without any news about its objects.
	volumeRetry = 500 * time.Millisecond
	// mountPatience is how long a volume may be impossible without an event: the
	// API server takes a moment to let the node read what a new pod uses.
	mountPatience = 3 * time.Second
	// tokenTimeout bounds one request for a token.
	tokenTimeout = 10 * time.Second
	// minRefresh keeps a token with a very short life from being asked for all the time.
	minRefresh = 10 * time.Second
	// serviceAccountPath is where Kubernetes clients look for their credentials.
	serviceAccountPath = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// volumes keeps a pod's volumes on disk. Its methods other than release are
// called by one goroutine at a time.
type volumes struct {
	runner  *Runner
	release func()
	tokens  map[tokenKey]token
}

type tokenKey struct{ volume, path string }

type token struct {
	text             string
	refresh, expires time.Time
}

func newVolumes(runner *Runner) *volumes {
	return &volumes{runner: runner, release: func() {}, tokens: map[tokenKey]token{}}
}

// prepare makes all volumes, trying again until it can or the pod is stopped.
func (v *volumes) prepare() bool {
	r := v.runner
	v.release = r.config.Objects.Subscribe(volume.References(r.Pod()), func() { signal(r.refresh) })
	began, reported := time.Now(), ""
	for {
		err := v.write()
		if err == nil {
			return true
		}
		if time.Since(began) >= mountPatience && err.Error() != reported {
			reported = err.Error()
			r.event(corev1.EventTypeWarning, "FailedMount", "MountVolume.SetUp failed for "+reported)
		}
		select {
		case <-r.stopped.Done():
			return false
		case <-r.refresh:
		case <-time.After(volumeRetry):
		}
	}
}

// keepFresh writes volumes again when their objects, the pod's metadata or a
// token's age ask for it, until the pod has ended.
func (v *volumes) keepFresh() {
	r := v.runner
	for {
		select {
		case <-r.ending:
			return
		case <-r.refresh:
		case <-time.After(v.untilRefresh(time.Now())):
		}
		// What cannot be made any more stays as it was, as under a kubelet.
		if err := v.write(); err != nil {
			r.log.Info("keeping the volumes as they were", "reason", err.Error())
		}
	}
}

// write brings every volume up to date, even if one cannot be.
func (v *volumes) write() error {
	r := v.runner
	pod := r.Pod()
	var problems []error
	for i := range pod.Spec.Volumes {
		declared := &pod.Spec.Volumes[i]
		if declared.EmptyDir != nil {
			problems = append(problems, os.MkdirAll(v.dir(declared.Name), 0o755))
			continue
		}
		payload, err := volume.Build(declared, volume.Source{
			Pod: pod, Facts: r.facts(), Objects: r.config.Objects.InNamespace(pod.Namespace),
			Token: func(projection *corev1.ServiceAccountTokenProjection) (string, error) {
				return v.token(pod, declared.Name, projection)
			},
		})
		if err == nil {
			_, err = atomicdir.Write(v.dir(declared.Name), payload)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// token returns the kept token while it is young, else a new one. An old one
// serves until it expires if no new one is to be had.
func (v *volumes) token(pod *corev1.Pod, volumeName string, projection *corev1.ServiceAccountTokenProjection) (string, error) {
	key, now := tokenKey{volumeName, projection.Path}, time.Now()
	kept, ok := v.tokens[key]
	if ok && now.Before(kept.refresh) {
		return kept.text, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), tokenTimeout)
	defer cancel()
	text, expires, err := v.runner.config.Tokens.Token(ctx, pod, projection)
	if err != nil && ok && now.Before(kept.expires) {
		kept.refresh = now.Add(minRefresh)
		v.tokens[key] = kept
		return kept.text, nil
	}
	if err != nil {
		return "", err
	}
	// A kubelet replaces a token when a fifth of its life is left.
	v.tokens[key] = token{text: text, expires: expires, refresh: now.Add(max(minRefresh, expires.Sub(now)*4/5))}
	return text, nil
}

// untilRefresh is how long the youngest reason to look again is away.
func (v *volumes) untilRefresh(now time.Time) time.Duration {
	wait := time.Hour
	for _, kept := range v.tokens {
		wait = min(wait, kept.refresh.Sub(now))
	}
	return max(wait, minRefresh)
}

func (v *volumes) dir(name string) string { return filepath.Join(v.runner.dir, "volumes", name) }

// mappings says where the container's mounts are on the host. The file for the
// termination message counts as a mount.
func (v *volumes) mappings(pod *corev1.Pod, container *corev1.Container) ([]mounts.Mapping, error) {
	found := []mounts.Mapping{{Container: container.TerminationMessagePath, Host: v.runner.terminationPath(container.Name)}}
	if container.TerminationMessagePath == "" {
		found = nil
	}
	for _, mount := range container.VolumeMounts {
		host := v.dir(mount.Name)
		if mount.SubPath != "" {
			if !filepath.IsLocal(mount.SubPath) {
				return nil, fmt.Errorf("the subPath %q of the mount %s leaves its volume", mount.SubPath, mount.MountPath)
			}
			host = filepath.Join(host, mount.SubPath)
			if isEmptyDir(pod, mount.Name) {
				if err := os.MkdirAll(host, 0o755); err != nil {
					return nil, fmt.Errorf("making the subPath of the mount %s: %w", mount.MountPath, err)
				}
			}
		}
		found = append(found, mounts.Mapping{Container: mount.MountPath, Host: host})
	}
	return found, nil
}

// serviceAccountDir is where the container's service account credentials are
// on the host, or empty if it has none.
func (v *volumes) serviceAccountDir(container *corev1.Container) string {
	for _, mount := range container.VolumeMounts {
		if mount.MountPath == serviceAccountPath {
			return v.dir(mount.Name)
		}
	}
	return ""
}

func isEmptyDir(pod *corev1.Pod, name string) bool {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return pod.Spec.Volumes[i].EmptyDir != nil
		}
	}
	return false
}
