// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"
	"strings"
)

// Images maps image names, as pods write them, to programs of this machine.
type Images map[string]string

// ParseImage reads NAME=/path/to/program.
func ParseImage(text string) (name, path string, err error) {
	name, path, ok := strings.Cut(text, "=")
	if !ok || name == "" || !strings.HasPrefix(path, "/") {
		return "", "", fmt.Errorf("the image %q is not of the form NAME=/absolute/path", text)
	}
	return name, path, nil
}

// Find returns the program that runs the image. A missing program is an error
// like a missing image: it may be there at the next attempt.
func (i Images) Find(image string) (string, error) {
	path, ok := i[image]
	if !ok {
		path, ok = i[strings.TrimSuffix(image, ":latest")]
	}
	if !ok {
		return "", fmt.Errorf("no program is mapped to the image %q; start the cluster with --image %s=/path/to/program", image, image)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("the program mapped to the image %q cannot be read: %w", image, err)
	}
	if info.IsDir() || info.Mode().Perm()&0o111 == 0 {
		return "", fmt.Errorf("the file %s mapped to the image %q is not a program", path, image)
	}
	return path, nil
}
