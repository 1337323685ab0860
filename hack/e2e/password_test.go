// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// spellings are the forms in which a password could leak.
func spellings(password string) map[string][]byte {
	wide := make([]byte, 0, 2*len(password))
	for _, u := range utf16.Encode([]rune(password)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	return map[string][]byte{
		"plain":  []byte(password),
		"base64": []byte(strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(password)), "=")),
		"hex":    []byte(hex.EncodeToString([]byte(password))),
		"UTF-16": wide,
	}
}

func TestPasswordsAppearNowhere(t *testing.T) {
	s := newScene(t, "passwords", goodToken(t))
	s.apply(spec("replicas", 1), spec("validation", "timeoutSeconds", 2))
	s.ready(1)

	const wrong, slow = "Wrong-Zebra-41-canary", "Slow-Giraffe-43-canary"
	if r := s.signIn("alice@contoso.example", userPassword); r.Verdict != "success" {
		t.Fatalf("alice was refused: %+v", r)
	}
	if r := s.signIn("alice@contoso.example", wrong); r.Reason != "1326" {
		t.Fatalf("a wrong password got %+v", r)
	}
	// The directory answers for victor only after 30 s.
	if r := s.signIn("victor@contoso.example", slow); r.Verdict != "failure" || r.Reason == "1326" {
		t.Fatalf("a directory that does not answer got %+v, want an infrastructure failure", r)
	}
	// The stored events and the last log lines are written after the answer.
	s.eventually(20*time.Second, "the failure is in the connector's log", func() (bool, string) {
		logs := s.kubectl("logs", "deploy/corp-0", "--tail=-1")
		return strings.Contains(logs, "Passthrough Authentication request failed"), logs
	})

	places := map[string][]byte{
		"every object in the cluster": []byte(s.everyObject()),
		"connector logs":              []byte(s.kubectl("logs", "deploy/corp-0", "--tail=-1")),
	}
	for _, path := range []string{"/metrics", "/statusz", "/readyz"} {
		places["connector "+path] = s.fromPod(path)
	}
	searched := 0
	for _, password := range []string{userPassword, wrong, slow} {
		for form, needle := range spellings(password) {
			for place, hay := range places {
				if bytes.Contains(hay, needle) {
					t.Errorf("%s holds a password (%s)", place, form)
				}
			}
			searched += searchFiles(t, bed.Dir, form, needle)
		}
	}
	if searched < 100 {
		t.Errorf("only %d files were searched", searched)
	}
}

// everyObject prints what the API server stores for the scene and the operator.
func (s *scene) everyObject() string {
	s.t.Helper()
	var all strings.Builder
	for _, kind := range []string{"ptc", "events", "pods", "deployments", "configmaps", "secrets", "leases"} {
		out, err := bed.Kubectl(s.ctx, nil, "get", kind, "-A", "-o", "yaml")
		if err != nil {
			s.t.Fatal(err)
		}
		if len(out) == 0 {
			s.t.Errorf("kubectl printed nothing for %s", kind)
		}
		all.WriteString(out)
	}
	return all.String()
}

// fromPod reads a page of the connector.
func (s *scene) fromPod(path string) []byte {
	s.t.Helper()
	ip := s.kubectl("get", "pods", "-o", "jsonpath={.items[0].status.podIP}")
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, fmt.Sprintf("http://%s:8080%s", ip, path), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || len(data) == 0 {
		s.t.Fatalf("reading %s: %v (%d bytes)", path, err, len(data))
	}
	return data
}

// searchFiles searches every file that any process of the system wrote: logs,
// state, etcd's data, volumes. The built programs are left out; the directory's
// holds its synthetic users.
func searchFiles(t *testing.T, dir, form string, needle []byte) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // files of running processes come and go
		}
		if d.IsDir() && name == filepath.Join(dir, "bin") {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		n++
		if bytes.Contains(data, needle) {
			t.Errorf("%s holds a password (%s)", name, form)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
