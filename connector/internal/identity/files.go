// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Names of the files that hold the pair before the current one. They are in the
// folder of the certificate, and there only during an overlap.
const (
	PreviousCertificateFile = "previous.crt"
	PreviousKeyFile         = "previous.key"
)

// A folder that a kubelet is swapping is whole again within these.
const (
	loadAttempts = 10
	loadPause    = 100 * time.Millisecond
)

// paths are where an identity is read from.
type paths struct{ cert, key, previousCert, previousKey string }

func pathsOf(certFile, keyFile string) paths {
	dir := filepath.Dir(certFile)
	return paths{certFile, keyFile, filepath.Join(dir, PreviousCertificateFile), filepath.Join(dir, PreviousKeyFile)}
}

// content is what the files hold; a previous file that is not there is nil.
type content struct{ cert, key, previousCert, previousKey []byte }

// digest identifies content without keeping a key.
type digest [sha256.Size]byte

func (p paths) read() (c content, err error) {
	if c.cert, err = os.ReadFile(p.cert); err != nil {
		return c, fmt.Errorf("reading the connector's certificate: %w", err)
	}
	if c.key, err = os.ReadFile(p.key); err != nil {
		return c, fmt.Errorf("reading the connector's key: %w", err)
	}
	if c.previousCert, err = readIfThere(p.previousCert); err == nil {
		c.previousKey, err = readIfThere(p.previousKey)
	}
	if err != nil {
		return c, fmt.Errorf("reading the pair before the current one: %w", err)
	}
	return c, nil
}

func readIfThere(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (c content) digest() digest {
	h := sha256.New()
	for _, part := range [][]byte{c.cert, c.key, c.previousCert, c.previousKey} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return digest(h.Sum(nil))
}

// wipe zeroes the keys.
func (c content) wipe() {
	clear(c.key)
	clear(c.previousKey)
}
