// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nonRoot is the user of Linux images, by number: Kubernetes can tell only of
// numbers that they are not root.
const nonRoot = "65532:65532"

// contents are what an image is made of, for its SBOM.
type contents struct {
	program string // the file, as it was built
	base    *windowsBase
	digest  v1.Hash // of the base
	roots   bool    // it carries certificates
}

// image puts a program into an image.
func (b *builder) image(ctx context.Context, p product, v variant, program string) (v1.Image, contents, error) {
	licence, err := os.ReadFile(filepath.Join(b.repository, "LICENSE"))
	if err != nil {
		return nil, contents{}, err
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		return nil, contents{}, err
	}
	if v.os == "windows" {
		return b.windowsImage(ctx, p, v, program, binary, licence)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := b.append(base, p, "the program, its licence and the roots of authorities", types.OCILayer, func(w *tar.Writer) error {
		for _, dir := range []string{"etc", "etc/ssl", "etc/ssl/certs"} {
			if err := b.write(w, dir, 0o755, nil, nil); err != nil {
				return err
			}
		}
		for _, f := range []file{
			{"LICENSE", 0o444, licence}, {p.name, 0o555, binary}, {"etc/ssl/certs/ca-certificates.crt", 0o444, roots()},
		} {
			if err := b.write(w, f.name, f.mode, f.content, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, contents{}, err
	}
	image, err = b.configure(image, p, func(c *v1.ConfigFile) {
		c.OS, c.Architecture = v.os, v.arch
		c.Config.User, c.Config.Entrypoint, c.Config.WorkingDir = nonRoot, []string{"/" + p.name}, "/"
	})
	return image, contents{program: program, roots: true}, err
}

type file struct {
	name    string
	mode    int64
	content []byte
}

// configure finishes an image's configuration.
func (b *builder) configure(image v1.Image, p product, change func(*v1.ConfigFile)) (v1.Image, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: b.created}
	if config.Config.Labels == nil {
		config.Config.Labels = map[string]string{}
	}
	maps.Copy(config.Config.Labels, b.labels(p))
	// Nothing but the program is started, with the arguments of whoever starts it.
	config.Config.Cmd, config.Config.Shell, config.Config.ArgsEscaped, config.Config.StopSignal = nil, nil, false, ""
	change(config)
	return mutate.ConfigFile(image, config)
}

// append adds a layer of what fill writes.
func (b *builder) append(base v1.Image, p product, comment string, mediaType types.MediaType, fill func(*tar.Writer) error) (v1.Image, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	if err := fill(w); err != nil {
		return nil, fmt.Errorf("writing the layer: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("writing the layer: %w", err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil
	}, tarball.WithMediaType(mediaType), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	return mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{
		Created: v1.Time{Time: b.created}, CreatedBy: "hack/images", Comment: p.title + ": " + comment,
	}})
}

// write adds a file, or a directory if content is nil. It belongs to root.
func (b *builder) write(w *tar.Writer, name string, mode int64, content []byte, records map[string]string) error {
	header := &tar.Header{
		Name: path.Clean(name), Mode: mode, Size: int64(len(content)), ModTime: b.created, Format: tar.FormatPAX, Typeflag: tar.TypeReg, PAXRecords: records,
	}
	if content == nil {
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
	}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err := w.Write(content)
	return err
}

// roots are the certificates of the authorities that Mozilla trusts, as the Go
// project keeps them, in the form of a system's bundle. Those that are trusted on
// conditions are left out: a bundle cannot state them.
func roots() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a Buffer takes all
		}
	}
	return b.Bytes()
}
