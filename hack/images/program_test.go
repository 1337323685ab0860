// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/elf"
	"debug/pe"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"sigs.k8s.io/yaml"
)

// TestTheProgramsAreStatic compiles the connector as it is published, for both
// systems. The operator is compiled in the same way, which takes minutes.
func TestTheProgramsAreStatic(t *testing.T) {
	b := newBuilder(t, nil)
	dir := t.TempDir()
	onLinux, onWindows := filepath.Join(dir, "connector"), filepath.Join(dir, "connector.exe")
	pkg := find(t, "connector").pkg
	must(t, compile(t.Context(), b, pkg, "linux", runtime.GOARCH, onLinux))
	must(t, compile(t.Context(), b, pkg, "windows", "amd64", onWindows))
	linux := got[*elf.File](t)(elf.Open(onLinux))
	defer linux.Close()
	for _, p := range linux.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the connector is not static: it has a segment %s", p.Type)
		}
	}
	windows := got[*pe.File](t)(pe.Open(onWindows))
	defer windows.Close()
	if windows.Machine != pe.IMAGE_FILE_MACHINE_AMD64 {
		t.Errorf("the connector is for machine %#x", windows.Machine)
	}
	for _, program := range []string{onLinux, onWindows} {
		if bytes.Contains(got[[]byte](t)(os.ReadFile(program)), []byte(b.repository)) {
			t.Errorf("%s tells where it was built", filepath.Base(program))
		}
	}
	if runtime.GOOS == "linux" {
		if out, err := exec.CommandContext(t.Context(), onLinux, "version").Output(); err != nil || string(out) != "v1.2.3\n" {
			t.Errorf("the connector says %q, %v", out, err)
		}
	}
}

// The chart, the manifests and the Dockerfiles say the same as the images.
func TestNamesAgree(t *testing.T) {
	root := got[string](t)(findRepository())
	read := func(name string) string { return string(got[[]byte](t)(os.ReadFile(filepath.Join(root, name)))) }
	var values struct {
		Image     struct{ Repository string }
		Connector struct{ Image struct{ Repository string } }
	}
	must(t, yaml.Unmarshal([]byte(read("charts/passthrough-connector-operator/values.yaml")), &values))
	operator, connector := find(t, "operator"), find(t, "connector")
	if values.Image.Repository != operator.repository || values.Connector.Image.Repository != connector.repository {
		t.Errorf("the chart has %q and %q", values.Image.Repository, values.Connector.Image.Repository)
	}
	manager := read("config/manager/deployment.yaml")
	for _, repository := range []string{operator.repository, connector.repository} {
		if !regexp.MustCompile(regexp.QuoteMeta(repository) + `:[a-z0-9.]+\b`).MatchString(manager) {
			t.Errorf("config/manager does not name %s", repository)
		}
	}
	for name, wanted := range map[string][]string{
		"Dockerfile":           {"FROM scratch", "USER " + nonRoot, `ENTRYPOINT ["/operator"]`, "/etc/ssl/certs/ca-certificates.crt"},
		"connector/Dockerfile": {"ARG BASE=" + windowsBases()["ltsc2022"].reference, `USER "` + networkService + `"`, `ENTRYPOINT ["C:\\passthrough\\connector.exe"]`, "USER " + nonRoot},
	} {
		file := read(name)
		for _, line := range wanted {
			if !strings.Contains(file, line) {
				t.Errorf("%s has no %q", name, line)
			}
		}
		// Nothing can be run in a Windows image where it is built, nor in an empty one.
		_, stages, _ := strings.Cut(file, "\nFROM scratch")
		if regexp.MustCompile(`(?m)^(RUN|SHELL|CMD)\b`).MatchString(stages) || stages == "" {
			t.Errorf("%s: what is published runs something:\n%s", name, stages)
		}
		if !strings.Contains(file, "go build -trimpath -buildvcs=false -ldflags") {
			t.Errorf("%s builds in another way than compile", name)
		}
	}
}

// platformOf finds the image for a Linux processor.
func platformOf(t *testing.T, index v1.ImageIndex, arch string) v1.Image {
	t.Helper()
	for _, m := range got[*v1.IndexManifest](t)(index.IndexManifest()).Manifests {
		if m.Platform.OS == "linux" && m.Platform.Architecture == arch {
			return got[v1.Image](t)(index.Image(m.Digest))
		}
	}
	t.Fatalf("there is no image for linux/%s", arch)
	return nil
}
