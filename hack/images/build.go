// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// module is the repository's own, and where its sources are.
const module = "github.com/passthrough-dev/connector-operator"

// product is an image that is published under one name.
type product struct {
	name       string
	repository string // as the chart and config/manager have it
	title      string
	pkg        string
	variants   []variant
}

// variant is one image of a product's index.
type variant struct {
	os, arch string
	base     string // name of a Windows base; empty: from nothing
}

// products are all there are. Connectors are for Windows nodes; those for Linux
// validate by LDAP alone.
func products() []product {
	linux := []variant{{os: "linux", arch: "amd64"}, {os: "linux", arch: "arm64"}}
	return []product{
		{"operator", "ghcr.io/passthrough-dev/connector-operator", "Passthrough Connector Operator", ".", linux},
		{"connector", "ghcr.io/passthrough-dev/connector", "Passthrough Connector", "./connector", append([]variant{
			{os: "windows", arch: "amd64", base: "ltsc2022"}, {os: "windows", arch: "amd64", base: "ltsc2025"},
		}, linux...)},
	}
}

// builder makes layouts.
type builder struct {
	repository string // directory of the sources
	version    string
	created    time.Time // that everything in the images has
	bases      map[string]*windowsBase
	// compile builds a program of the repository into a file.
	compile func(ctx context.Context, b *builder, pkg, goos, goarch, out string) error
}

func (b *builder) setBase(text string) error {
	name, reference, _ := strings.Cut(text, "=")
	base, known := b.bases[name]
	if !known || reference == "" {
		return errors.New("write ltsc2022=REFERENCE or ltsc2025=REFERENCE")
	}
	base.reference = reference
	return nil
}

// build writes a product's layout, in the place of an earlier one, and returns
// the digest of its index.
func (b *builder) build(ctx context.Context, p product, dir string) (v1.Hash, error) {
	programs, err := os.MkdirTemp("", "images-")
	if err != nil {
		return v1.Hash{}, err
	}
	defer os.RemoveAll(programs)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var documents []v1.Image
	for _, v := range p.variants {
		program := filepath.Join(programs, p.name+"-"+v.os+"-"+v.arch)
		if _, err := os.Stat(program); err != nil { // two variants may share it
			if err := b.compile(ctx, b, p.pkg, v.os, v.arch, program); err != nil {
				return v1.Hash{}, err
			}
		}
		image, contents, err := b.image(ctx, p, v, program)
		if err != nil {
			return v1.Hash{}, fmt.Errorf("%s/%s %s: %w", v.os, v.arch, v.base, err)
		}
		document, err := b.document(p, image, contents)
		if err != nil {
			return v1.Hash{}, fmt.Errorf("the SBOM of %s/%s %s: %w", v.os, v.arch, v.base, err)
		}
		documents = append(documents, document)
		config, err := image.ConfigFile()
		if err != nil {
			return v1.Hash{}, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: config.Platform()}})
	}
	index, ok := mutate.Annotations(index, b.labels(p)).(v1.ImageIndex)
	if !ok {
		return v1.Hash{}, errors.New("annotating an index did not give an index")
	}
	if err := writeLayout(dir, b.version, index, documents); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}

// labels are the OCI annotations that say what something is.
func (b *builder) labels(p product) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":    p.title,
		"org.opencontainers.image.version":  b.version,
		"org.opencontainers.image.created":  b.created.Format(time.RFC3339),
		"org.opencontainers.image.source":   "https://" + module,
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
}

const refName = "org.opencontainers.image.ref.name"

// writeLayout writes an index and what refers to its images.
func writeLayout(dir, version string, index v1.ImageIndex, documents []v1.Image) error {
	if _, err := os.Stat(dir); err == nil {
		// Blobs of an earlier build would stay otherwise.
		if _, err := layout.FromPath(dir); err != nil {
			return fmt.Errorf("%s is there and is no OCI layout: choose another place with --out", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{refName: version})); err != nil {
		return err
	}
	for _, document := range documents {
		if err := path.AppendImage(document); err != nil {
			return err
		}
	}
	return nil
}
