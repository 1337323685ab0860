// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/spdx/tools-golang/json"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// got returns a value that must have come without an error.
func got[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		must(t, err)
		return value
	}
}

var created = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

// registryAt is an in-process registry on loopback: host and port.
func registryAt(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// standIn is a small image in the form of a Windows base.
func standIn(t *testing.T, osVersion string) v1.Image {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	must(t, w.WriteHeader(&tar.Header{Name: "Files/Windows/System32/kernel32.dll", Mode: 0o444, Size: 4, Format: tar.FormatPAX}))
	_, err := w.Write([]byte("base"))
	must(t, err)
	must(t, w.Close())
	base := got[v1.Layer](t)(tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil }))
	image := got[v1.Image](t)(mutate.AppendLayers(empty.Image, base))
	config := got[*v1.ConfigFile](t)(image.ConfigFile())
	config = config.DeepCopy()
	config.OS, config.Architecture, config.OSVersion = "windows", "amd64", osVersion
	config.Config.Cmd, config.Config.User, config.Config.ArgsEscaped = []string{`c:\windows\system32\cmd.exe`}, "ContainerUser", true
	config.Config.Env = []string{"BASE=kept"}
	return got[v1.Image](t)(mutate.ConfigFile(image, config))
}

// pushBases puts stand-ins into a registry as the owner of the bases does: one
// list for each release, in which other builds come first.
func pushBases(t *testing.T, at string) map[string]*windowsBase {
	t.Helper()
	bases := windowsBases()
	for tag, base := range bases {
		base.reference = at + "/windows/servercore:" + tag
		list := v1.ImageIndex(empty.Index)
		for _, osVersion := range []string{"10.0.17763.1", base.build + ".4294"} {
			image := standIn(t, osVersion)
			config := got[*v1.ConfigFile](t)(image.ConfigFile())
			list = mutate.AppendManifests(list, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: config.Platform()}})
		}
		must(t, remote.WriteIndex(got[name.Reference](t)(name.ParseReference(base.reference)), list))
	}
	return bases
}

// compileStandIn builds the test's own program in the place of the project's.
func compileStandIn(ctx context.Context, b *builder, _, goos, goarch, out string) error {
	own := *b
	own.repository = filepath.Join(b.repository, "hack", "images")
	return compile(ctx, &own, "./testdata/program", goos, goarch, out)
}

// compiled are stand-ins that were built before, for tests that are not about
// building.
var compiled = struct {
	sync.Mutex
	programs map[string][]byte
}{programs: map[string][]byte{}}

func compileOnce(ctx context.Context, b *builder, pkg, goos, goarch, out string) error {
	compiled.Lock()
	defer compiled.Unlock()
	key := goos + "/" + goarch + " " + b.version
	if compiled.programs[key] == nil {
		if err := compileStandIn(ctx, b, pkg, goos, goarch, out); err != nil {
			return err
		}
		content, err := os.ReadFile(out)
		compiled.programs[key] = content
		return err
	}
	return os.WriteFile(out, compiled.programs[key], 0o600)
}

func newBuilder(t *testing.T, bases map[string]*windowsBase) *builder {
	t.Helper()
	return &builder{repository: got[string](t)(findRepository()), version: "v1.2.3", created: created, bases: bases, compile: compileOnce}
}

func find(t *testing.T, name string) product {
	t.Helper()
	i := slices.IndexFunc(products(), func(p product) bool { return p.name == name })
	if i < 0 {
		t.Fatalf("there is no product %s", name)
	}
	return products()[i]
}

// tree is what a directory holds.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		relative, _ := filepath.Rel(dir, path)
		files[relative] = string(content)
		return err
	}))
	return files
}

func TestTheSameSourcesGiveTheSameBytes(t *testing.T) {
	bases := pushBases(t, registryAt(t))
	for _, p := range products() {
		t.Run(p.name, func(t *testing.T) {
			p.variants = p.variants[:2] // the others are more of the same
			var trees []map[string]string
			for range 2 {
				dir := filepath.Join(t.TempDir(), "out", p.name)
				b := newBuilder(t, bases)
				b.compile = compileStandIn
				got[v1.Hash](t)(b.build(t.Context(), p, dir))
				trees = append(trees, tree(t, dir))
			}
			if len(trees[0]) < 2+3*len(p.variants) {
				t.Fatalf("the layout holds only %v", slices.Sorted(maps.Keys(trees[0])))
			}
			for name, content := range trees[0] {
				if trees[1][name] != content {
					t.Errorf("%s differs", name)
				}
			}
			if len(trees[0]) != len(trees[1]) {
				t.Errorf("%d files the first time, %d the second", len(trees[0]), len(trees[1]))
			}
		})
	}
}

// The time of the sources and the version are what may make a difference.
func TestOtherSourcesGiveOtherBytes(t *testing.T) {
	p := find(t, "operator")
	p.variants = p.variants[:1]
	digests := map[v1.Hash]bool{}
	for _, change := range []func(*builder){func(*builder) {}, func(b *builder) { b.created = created.Add(time.Second) }, func(b *builder) { b.version = "v1.2.4" }} {
		b := newBuilder(t, nil)
		change(b)
		digests[got[v1.Hash](t)(b.build(t.Context(), p, filepath.Join(t.TempDir(), "o")))] = true
	}
	if len(digests) != 3 {
		t.Errorf("three builds gave %d digests", len(digests))
	}
}

// published builds a product, pushes it and pulls it again.
func published(t *testing.T, product string) (v1.ImageIndex, name.Repository, map[string]*windowsBase) {
	t.Helper()
	at := registryAt(t)
	bases := pushBases(t, at)
	dir := filepath.Join(t.TempDir(), product)
	digest := got[v1.Hash](t)(newBuilder(t, bases).build(t.Context(), find(t, product), dir))
	var out bytes.Buffer
	must(t, run(t.Context(), []string{"push", dir, at + "/" + product + ":v1.2.3"}, &out))
	if want := at + "/" + product + "@" + digest.String() + "\n"; out.String() != want {
		t.Errorf("push printed %q, want %q", out.String(), want)
	}
	reference := got[name.Reference](t)(name.ParseReference(at + "/" + product + ":v1.2.3"))
	index := got[v1.ImageIndex](t)(remote.Index(reference))
	must(t, validate.Index(index))
	return index, reference.Context(), bases
}

func TestTheOperatorsImage(t *testing.T) {
	index, repository, _ := published(t, "operator")
	var platforms []string
	for _, m := range got[*v1.IndexManifest](t)(index.IndexManifest()).Manifests {
		platforms = append(platforms, m.Platform.String())
		image := got[v1.Image](t)(index.Image(m.Digest))
		config := got[*v1.ConfigFile](t)(image.ConfigFile())
		c := config.Config
		if c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/operator"}) || c.Cmd != nil || config.OS != "linux" || config.Architecture != m.Platform.Architecture {
			t.Errorf("%s: %+v", m.Platform, config)
		}
		if c.Labels["org.opencontainers.image.version"] != "v1.2.3" || !config.Created.Equal(created) {
			t.Errorf("%s: labels %v, created %s", m.Platform, c.Labels, config.Created)
		}
		want := map[string]string{"etc/": "755", "etc/ssl/": "755", "etc/ssl/certs/": "755", "etc/ssl/certs/ca-certificates.crt": "444", "LICENSE": "444", "operator": "555"}
		if diff := cmp.Diff(want, modes(t, image)); diff != "" {
			t.Errorf("%s holds other files (-want +got)\n%s", m.Platform, diff)
		}
		checkDocument(t, repository, m.Digest, func(names map[string]string) {
			for _, wanted := range []string{rootsModule, module + "/hack/images/testdata/program", "github.com/google/go-containerregistry", "stdlib"} {
				if names[wanted] == "" || names[wanted] == "unknown" {
					t.Errorf("%s: the SBOM has no version of %s: %v", m.Platform, wanted, names)
				}
			}
		})
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Errorf("platforms (-want +got)\n%s", diff)
	}
}

// modes are the entries of an image's layers.
func modes(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, header := range headers(t, image) {
		all[header.Name] = strconv.FormatInt(header.Mode, 8)
		if header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(created) {
			t.Errorf("%s belongs to %d:%d and is of %s", header.Name, header.Uid, header.Gid, header.ModTime)
		}
	}
	return all
}

// headers are those of the last layer.
func headers(t *testing.T, image v1.Image) []*tar.Header {
	t.Helper()
	layers := got[[]v1.Layer](t)(image.Layers())
	r := got[io.ReadCloser](t)(layers[len(layers)-1].Uncompressed())
	defer r.Close()
	var all []*tar.Header
	for tr := tar.NewReader(r); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		all = append(all, header)
	}
}

func TestTheConnectorsImage(t *testing.T) {
	index, repository, bases := published(t, "connector")
	var platforms []string
	for _, m := range got[*v1.IndexManifest](t)(index.IndexManifest()).Manifests {
		platforms = append(platforms, m.Platform.String())
		if m.Platform.OS != "windows" {
			continue
		}
		image := got[v1.Image](t)(index.Image(m.Digest))
		must(t, validate.Image(image))
		config := got[*v1.ConfigFile](t)(image.ConfigFile())
		c := config.Config
		if c.User != `NT AUTHORITY\NETWORK SERVICE` || !slices.Equal(c.Entrypoint, []string{`C:\passthrough\connector.exe`}) {
			t.Errorf("%s: user %q, entrypoint %q", m.Platform, c.User, c.Entrypoint)
		}
		if c.Cmd != nil || c.Shell != nil || c.ArgsEscaped || c.StopSignal != "" {
			t.Errorf("%s: something is between the container and the program: %+v", m.Platform, c)
		}
		if config.OSVersion != m.Platform.OSVersion || !slices.Equal(c.Env, []string{"BASE=kept"}) {
			t.Errorf("%s: what the base says is lost: %+v", m.Platform, config)
		}
		for _, h := range config.History {
			if strings.Contains(h.CreatedBy, "RUN") {
				t.Errorf("%s: something was run: %+v", m.Platform, h)
			}
		}
		checkWindowsLayer(t, image)
		checkDocument(t, repository, m.Digest, func(names map[string]string) {
			base := bases["ltsc2022"]
			if strings.HasPrefix(m.Platform.OSVersion, bases["ltsc2025"].build) {
				base = bases["ltsc2025"]
			}
			if digest := c.Labels["org.opencontainers.image.base.digest"]; names[base.reference] != digest || digest == "" {
				t.Errorf("%s: the SBOM has base %q, the label %q", m.Platform, names[base.reference], digest)
			}
		})
	}
	want := []string{"windows/amd64:10.0.20348.4294", "windows/amd64:10.0.26100.4294", "linux/amd64", "linux/arm64"}
	if diff := cmp.Diff(want, platforms); diff != "" {
		t.Errorf("platforms (-want +got)\n%s", diff)
	}
}

func checkWindowsLayer(t *testing.T, image v1.Image) {
	t.Helper()
	layers := got[[]v1.Layer](t)(image.Layers())
	if len(layers) != 2 {
		t.Fatalf("%d layers, want the base's and one more", len(layers))
	}
	if a, b := got[types.MediaType](t)(layers[0].MediaType()), got[types.MediaType](t)(layers[1].MediaType()); a != b {
		t.Errorf("the base's layer is a %s, the other a %s", a, b)
	}
	var names []string
	for _, h := range headers(t, image) {
		names = append(names, h.Name)
		below := strings.HasPrefix(h.Name, "Files/passthrough/")
		directory := h.Typeflag == tar.TypeDir
		if (h.Format == tar.FormatPAX) != below || (h.PAXRecords["MSWINDOWS.rawsd"] != "") != below || (h.PAXRecords["MSWINDOWS.fileattr"] != "") != below {
			t.Errorf("%s: format %s, records %v", h.Name, h.Format, h.PAXRecords)
		}
		if below {
			wanted := "O:S-1-5-32-544 G:S-1-5-18 D:P(A;%;1f01ff;S-1-5-18)(A;%;1f01ff;S-1-5-32-544)(A;%;1200a9;S-1-5-32-545)"
			flags := "0"
			if directory {
				flags = "3"
			}
			if sddl := describe(t, h.PAXRecords["MSWINDOWS.rawsd"]); sddl != strings.ReplaceAll(wanted, "%", flags) {
				t.Errorf("%s: security descriptor %s", h.Name, sddl)
			}
		}
	}
	if diff := cmp.Diff([]string{"Files/", "Hives/", "Files/passthrough/", "Files/passthrough/LICENSE", "Files/passthrough/connector.exe"}, names); diff != "" {
		t.Errorf("the layer (-want +got)\n%s", diff)
	}
}

// checkDocument pulls what refers to an image and hands its packages' versions on.
func checkDocument(t *testing.T, repository name.Repository, image v1.Hash, check func(versions map[string]string)) {
	t.Helper()
	referrers := got[v1.ImageIndex](t)(remote.Referrers(repository.Digest(image.String())))
	manifests := got[*v1.IndexManifest](t)(referrers.IndexManifest()).Manifests
	if len(manifests) != 1 || manifests[0].ArtifactType != "application/spdx+json" {
		t.Fatalf("what refers to %s: %+v", image, manifests)
	}
	artifact := got[v1.Image](t)(remote.Image(repository.Digest(manifests[0].Digest.String())))
	layers := got[[]v1.Layer](t)(artifact.Layers())
	content := got[io.ReadCloser](t)(layers[0].Compressed())
	defer content.Close()
	document, err := json.Read(content)
	must(t, err)
	if document.SPDXVersion != "SPDX-2.3" || !strings.HasSuffix(document.DocumentNamespace, image.Hex) {
		t.Errorf("document %s of %s", document.SPDXVersion, document.DocumentNamespace)
	}
	versions := map[string]string{}
	for _, p := range document.Packages {
		versions[p.PackageName] = p.PackageVersion
	}
	if len(document.Relationships) != len(document.Packages) {
		t.Errorf("%d packages and %d relationships: each has one", len(document.Packages), len(document.Relationships))
	}
	check(versions)
}

func TestABaseOfAnotherBuildIsRefused(t *testing.T) {
	at := registryAt(t)
	for reference, image := range map[string]v1.Image{"old": standIn(t, "10.0.17763.1"), "prefix": standIn(t, "10.0.203480.1")} {
		to := at + "/base:" + reference
		must(t, remote.Write(got[name.Reference](t)(name.ParseReference(to)), image))
		b := newBuilder(t, windowsBases())
		must(t, b.setBase("ltsc2022="+to))
		if _, err := b.build(t.Context(), find(t, "connector"), filepath.Join(t.TempDir(), "c")); err == nil || !strings.Contains(err.Error(), "not for windows/amd64 of build 10.0.20348") {
			t.Errorf("%s: %v", reference, err)
		}
	}
	// The right one by digest is taken.
	right := standIn(t, "10.0.20348.1")
	to := got[name.Reference](t)(name.ParseReference(at + "/base@" + got[v1.Hash](t)(right.Digest()).String()))
	must(t, remote.Write(to, right))
	base := &windowsBase{to.String(), "10.0.20348"}
	got[v1.Image](t)(base.pull(t.Context()))

	b := newBuilder(t, windowsBases())
	for _, wrong := range []string{"ltsc2019=x", "ltsc2022", "ltsc2022="} {
		if err := b.setBase(wrong); err == nil {
			t.Errorf("--base=%s is taken", wrong)
		}
	}
}

func TestNothingElseIsOverwritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "work"), []byte("of years"), 0o644))
	p := find(t, "operator")
	p.variants = p.variants[:1]
	if _, err := newBuilder(t, nil).build(t.Context(), p, dir); err == nil || !strings.Contains(err.Error(), "no OCI layout") {
		t.Errorf("%v", err)
	}
	if content, err := os.ReadFile(filepath.Join(dir, "work")); err != nil || string(content) != "of years" {
		t.Errorf("%q, %v", content, err)
	}
}
