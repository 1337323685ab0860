// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// TestTheImageRuns starts what was pulled, with nothing around it but the image's
// own files, as the image's user.
func TestTheImageRuns(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to change the root directory")
	}
	index, _, _ := published(t, "operator")
	image := platformOf(t, index, runtime.GOARCH)
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755))
	unpack(t, image, root)
	config := got[*v1.ConfigFile](t)(image.ConfigFile())
	cmd := exec.CommandContext(t.Context(), config.Config.Entrypoint[0])
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	out, err := cmd.CombinedOutput()
	want := "version v1.2.3, user 65532:65532, enough roots true, can write false, application/vnd.oci.image.layer.v1.tar+gzip\n"
	if err != nil || string(out) != want {
		t.Errorf("%v, it says %q, want %q", err, out, want)
	}
}

func unpack(t *testing.T, image v1.Image, root string) {
	t.Helper()
	files := mutate.Extract(image)
	defer files.Close()
	for r := tar.NewReader(files); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		name := filepath.Join(root, header.Name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		if header.Typeflag == tar.TypeDir {
			must(t, os.MkdirAll(name, header.FileInfo().Mode()))
			continue
		}
		content := got[[]byte](t)(io.ReadAll(r))
		must(t, os.WriteFile(name, content, header.FileInfo().Mode().Perm()))
		must(t, os.Chmod(name, header.FileInfo().Mode().Perm())) // whatever the umask
	}
}
