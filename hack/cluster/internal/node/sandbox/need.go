// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Possible says nil when sandboxes can be made here: by root, with the programs
// that set networks up, and in a network namespace without a default route, made
// for it. In the machine's own, a cluster's addresses and rules would meddle with
// the machine's.
func Possible() error {
	var problems []error
	if os.Geteuid() != 0 {
		problems = append(problems, errors.New("it needs root"))
	}
	for program, source := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(program); err != nil {
			problems = append(problems, fmt.Errorf("the program %s is missing: install the package %s", program, source))
		}
	}
	out, err := wayOut()
	if out {
		problems = append(problems, errors.New("its network namespace has a way out, so it may be the machine's own: start it by `unshare --net`"))
	}
	if err := errors.Join(append(problems, err)...); err != nil {
		return fmt.Errorf("pods cannot be isolated: %w", err)
	}
	return nil
}

// wayOut reports whether the calling thread's network namespace has a default route.
func wayOut() (bool, error) {
	table, err := os.ReadFile("/proc/thread-self/net/route")
	if err != nil {
		return false, fmt.Errorf("reading the routes: %w", err)
	}
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 7 && fields[1] == "00000000" && fields[7] == "00000000" {
			return true, nil
		}
	}
	return false, nil
}
