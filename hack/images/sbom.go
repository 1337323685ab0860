// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// mediaTypeSPDX is that of an SPDX document in JSON.
const mediaTypeSPDX types.MediaType = "application/spdx+json"

// rootsModule is where the Linux images' certificates come from.
const rootsModule = "golang.org/x/crypto/x509roots/fallback"

// document makes the artifact that refers to an image and holds its SBOM, by
// which registries find it (OCI distribution 1.1, referrers).
func (b *builder) document(p product, image v1.Image, c contents) (v1.Image, error) {
	subject, err := partial.Descriptor(image)
	if err != nil {
		return nil, err
	}
	bom, err := b.sbom(p, subject.Digest, c)
	if err != nil {
		return nil, err
	}
	artifact := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mediaTypeSPDX)
	artifact, err = mutate.Append(artifact, mutate.Addendum{
		Layer: static.NewLayer(bom, mediaTypeSPDX), MediaType: mediaTypeSPDX,
		Annotations: map[string]string{"org.opencontainers.image.title": p.name + ".spdx.json"},
	})
	if err != nil {
		return nil, err
	}
	refers, ok := mutate.Subject(artifact, v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest}).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("an artifact that refers to %s is no image", subject.Digest)
	}
	return refers, nil
}

// sbom lists what an image is made of: the modules of the program, as the program
// itself tells, Go's own library, and the base or the certificates.
func (b *builder) sbom(p product, image v1.Hash, c contents) ([]byte, error) {
	info, err := buildinfo.ReadFile(c.program)
	if err != nil {
		return nil, fmt.Errorf("reading what the program is made of: %w", err)
	}
	top := b.pack("Image", p.repository, image.String())
	top.PrimaryPackagePurpose, top.PackageLicenseDeclared = "CONTAINER", "Apache-2.0"
	top.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: image.Hex}}
	document := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: p.name + " " + b.version,
		DocumentNamespace: "https://" + module + "/sbom/" + p.name + "/" + image.Hex,
		CreationInfo:      &spdx.CreationInfo{Created: b.created.Format(time.RFC3339), Creators: []common.Creator{{CreatorType: "Tool", Creator: "hack/images"}}},
		Packages:          []*spdx.Package{top},
	}
	relate := func(from common.ElementID, relationship string, to *spdx.Package) {
		if to != top {
			document.Packages = append(document.Packages, to)
		}
		document.Relationships = append(document.Relationships, &spdx.Relationship{
			RefA: common.MakeDocElementID("", string(from)), RefB: common.MakeDocElementID("", string(to.PackageSPDXIdentifier)), Relationship: relationship,
		})
	}
	relate("DOCUMENT", "DESCRIBES", top)
	program := b.module("Program", debug.Module{Path: info.Path, Version: b.version})
	program.PackageLicenseDeclared, program.PrimaryPackagePurpose = "Apache-2.0", "APPLICATION"
	relate(top.PackageSPDXIdentifier, "CONTAINS", program)
	relate(program.PackageSPDXIdentifier, "DEPENDS_ON", b.module("Go", debug.Module{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}))
	for i, dependency := range info.Deps {
		if dependency.Replace != nil {
			dependency = dependency.Replace
		}
		relate(program.PackageSPDXIdentifier, "DEPENDS_ON", b.module(fmt.Sprintf("Module-%d", i), *dependency))
	}
	switch {
	case c.base != nil:
		base := b.pack("Base", c.base.reference, c.digest.String())
		base.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: c.digest.Hex}}
		relate(top.PackageSPDXIdentifier, "DESCENDANT_OF", base)
	case c.roots:
		own, ok := debug.ReadBuildInfo()
		if !ok {
			return nil, errors.New("this program does not know what it is made of")
		}
		version := "unknown"
		for _, m := range own.Deps {
			if m.Path == rootsModule {
				version = m.Version
			}
		}
		relate(top.PackageSPDXIdentifier, "CONTAINS", b.module("Roots", debug.Module{Path: rootsModule, Version: version}))
	}
	var out bytes.Buffer
	if err := json.Write(document, &out, json.Indent("  ")); err != nil {
		return nil, fmt.Errorf("writing the SBOM: %w", err)
	}
	return out.Bytes(), nil
}

const noAssertion = "NOASSERTION"

// pack describes something of which no more is known than its name and version.
func (b *builder) pack(id, name, version string) *spdx.Package {
	return &spdx.Package{
		PackageName: name, PackageSPDXIdentifier: common.ElementID(id), PackageVersion: version, PackageDownloadLocation: noAssertion,
		FilesAnalyzed: false, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion, PackageCopyrightText: noAssertion,
	}
}

// module describes a Go module, with the name by which vulnerability scanners know
// it.
func (b *builder) module(id string, m debug.Module) *spdx.Package {
	p := b.pack(id, m.Path, m.Version)
	escaped := strings.ReplaceAll(url.PathEscape(m.Version), "+", "%2B")
	p.PackageExternalReferences = []*spdx.PackageExternalReference{{
		Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: "pkg:golang/" + strings.ToLower(m.Path) + "@" + escaped,
	}}
	return p
}
