// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// windowsBase is a base image, of which there is one for each build of Windows
// that nodes run.
type windowsBase struct {
	reference string
	build     string // what its os.version begins with
}

// windowsBases are Server Core: Nano Server lacks what LogonUser needs.
func windowsBases() map[string]*windowsBase {
	return map[string]*windowsBase{
		"ltsc2022": {"mcr.microsoft.com/windows/servercore:ltsc2022", "10.0.20348"},
		"ltsc2025": {"mcr.microsoft.com/windows/servercore:ltsc2025", "10.0.26100"},
	}
}

const (
	// networkService is the account that a group managed service account takes the
	// place of on the network.
	networkService   = `NT AUTHORITY\NETWORK SERVICE`
	windowsDirectory = "passthrough"
)

// pull fetches the base's image for its build.
func (base *windowsBase) pull(ctx context.Context) (v1.Image, error) {
	reference, err := name.ParseReference(base.reference)
	if err != nil {
		return nil, fmt.Errorf("the base image's name: %w", err)
	}
	got, err := remote.Get(reference, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, fmt.Errorf("pulling the base image: %w", err)
	}
	if !got.MediaType.IsIndex() {
		image, err := got.Image()
		if err != nil {
			return nil, err
		}
		return image, base.check(image)
	}
	index, err := got.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if m.Platform == nil || m.Platform.OS != "windows" || m.Platform.Architecture != "amd64" || !base.is(m.Platform.OSVersion) {
			continue
		}
		image, err := index.Image(m.Digest)
		if err != nil {
			return nil, err
		}
		return image, base.check(image)
	}
	return nil, fmt.Errorf("%s holds no image for windows/amd64 of build %s", base.reference, base.build)
}

func (base *windowsBase) is(osVersion string) bool {
	return strings.HasPrefix(osVersion, base.build+".")
}

// check refuses an image that nodes of the build would not run.
func (base *windowsBase) check(image v1.Image) error {
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	if config.OS != "windows" || config.Architecture != "amd64" || !base.is(config.OSVersion) {
		return fmt.Errorf("%s is for %s/%s of build %q, not for windows/amd64 of build %s", base.reference, config.OS, config.Architecture, config.OSVersion, base.build)
	}
	return nil
}

// windowsImage puts the program on top of a base: one layer, and nothing that
// would have to be run.
func (b *builder) windowsImage(ctx context.Context, p product, v variant, program string, binary, licence []byte) (v1.Image, contents, error) {
	base := b.bases[v.base]
	from, err := base.pull(ctx)
	if err != nil {
		return nil, contents{}, err
	}
	digest, err := from.Digest()
	if err != nil {
		return nil, contents{}, err
	}
	mediaType, err := from.MediaType()
	if err != nil {
		return nil, contents{}, err
	}
	layer := types.OCILayer
	if mediaType == types.DockerManifestSchema2 {
		layer = types.DockerLayer
	}
	exe := p.name + ".exe"
	image, err := b.append(from, p, "the program and its licence", layer, func(w *tar.Writer) error {
		return b.windowsLayer(w, []file{{"LICENSE", 0o444, licence}, {exe, 0o555, binary}})
	})
	if err != nil {
		return nil, contents{}, err
	}
	image, err = b.configure(image, p, func(c *v1.ConfigFile) {
		c.Config.User, c.Config.Entrypoint = networkService, []string{`C:\` + windowsDirectory + `\` + exe}
		c.Config.Labels["org.opencontainers.image.base.name"] = base.reference
		c.Config.Labels["org.opencontainers.image.base.digest"] = digest.String()
	})
	return image, contents{program: program, base: base, digest: digest}, err
}

// Records that Windows layers need, as the platform's own tools write them.
const (
	recordSecurity   = "MSWINDOWS.rawsd"
	recordAttributes = "MSWINDOWS.fileattr"
	attributeFile    = "32" // FILE_ATTRIBUTE_ARCHIVE
	attributeDir     = "16" // FILE_ATTRIBUTE_DIRECTORY
)

// windowsLayer writes files into the image's own directory. A layer has the file
// system below Files and registry hives below Hives, of which there are none.
func (b *builder) windowsLayer(w *tar.Writer, files []file) error {
	for _, root := range []string{"Files", "Hives"} {
		if err := b.write(w, root, 0o555, nil, nil); err != nil {
			return err
		}
	}
	directory := "Files/" + windowsDirectory
	if err := b.write(w, directory, 0o555, nil, map[string]string{recordSecurity: readOnly(true), recordAttributes: attributeDir}); err != nil {
		return err
	}
	for _, f := range files {
		if err := b.write(w, directory+"/"+f.name, f.mode, f.content, map[string]string{recordSecurity: readOnly(false), recordAttributes: attributeFile}); err != nil {
			return err
		}
	}
	return nil
}

// Access of readOnly's entries.
const (
	fullAccess     = 0x001F01FF
	readAndExecute = 0x001200A9
)

// readOnly is a security descriptor in its self-relative form (MS-DTYP 2.4.6), in
// base64: it belongs to the administrators, who and the system have full access,
// while users may read and execute. The account that the connector runs as is a
// user, so it cannot change what it runs. In words it is
// O:BAG:SYD:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1200a9;;;BU), inherited in a directory.
func readOnly(directory bool) string {
	const headerSize = 20
	const selfRelative, daclPresent, daclProtected = 0x8000, 0x0004, 0x1000
	system, administrators, users := sid(18), sid(32, 544), sid(32, 545)
	var inherit byte
	if directory {
		inherit = 0x01 | 0x02 // by files and directories
	}
	var entries []byte
	for _, e := range []struct {
		access uint32
		who    []byte
	}{{fullAccess, system}, {fullAccess, administrators}, {readAndExecute, users}} {
		size := uint16(8 + len(e.who))
		entries = append(entries, 0 /* allowed */, inherit)
		entries = binary.LittleEndian.AppendUint16(entries, size)
		entries = binary.LittleEndian.AppendUint32(entries, e.access)
		entries = append(entries, e.who...)
	}
	acl := []byte{2, 0} // revision
	acl = binary.LittleEndian.AppendUint16(acl, uint16(8+len(entries)))
	acl = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(acl, 3), 0) // entries
	acl = append(acl, entries...)

	owner := uint32(headerSize)
	group := owner + uint32(len(administrators))
	dacl := group + uint32(len(system))
	descriptor := []byte{1, 0} // revision
	descriptor = binary.LittleEndian.AppendUint16(descriptor, selfRelative|daclPresent|daclProtected)
	for _, offset := range []uint32{owner, group, 0, dacl} {
		descriptor = binary.LittleEndian.AppendUint32(descriptor, offset)
	}
	descriptor = append(descriptor, administrators...)
	descriptor = append(descriptor, system...)
	return base64.StdEncoding.EncodeToString(append(descriptor, acl...))
}

// sid is S-1-5 and the numbers (MS-DTYP 2.4.2.2).
func sid(numbers ...uint32) []byte {
	b := []byte{1, byte(len(numbers)), 0, 0, 0, 0, 0, 5}
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}
