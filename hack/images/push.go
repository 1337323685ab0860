// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// push sends a layout's index to a registry under a name, and what refers to its
// images after it. Credentials are those of docker login.
func push(ctx context.Context, dir, reference string, stdout io.Writer) error {
	to, err := name.ParseReference(reference)
	if err != nil {
		return fmt.Errorf("the name to push to: %w", err)
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		return fmt.Errorf("reading the layout %s: %w", dir, err)
	}
	top, err := path.ImageIndex()
	if err != nil {
		return err
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		return err
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	var index v1.ImageIndex
	for _, m := range manifest.Manifests { // the index comes first, see writeLayout
		if m.MediaType.IsIndex() {
			if index, err = top.ImageIndex(m.Digest); err != nil {
				return err
			}
			if err := remote.WriteIndex(to, index, options...); err != nil {
				return fmt.Errorf("pushing to %s: %w", to, err)
			}
			fmt.Fprintf(stdout, "%s@%s\n", to.Context(), m.Digest)
			continue
		}
		document, err := top.Image(m.Digest)
		if err != nil {
			return err
		}
		if err := remote.Write(to.Context().Digest(m.Digest.String()), document, options...); err != nil {
			return fmt.Errorf("pushing an SBOM to %s: %w", to.Context(), err)
		}
	}
	if index == nil {
		return errors.New("the layout holds no index: build it with images build")
	}
	return nil
}
