// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/passthrough-dev/connector-operator/connector/internal/secret"
)

// forest is one directory with its servers: in the configured order, or as DNS
// names them.
type forest struct {
	suffixes []string
	servers  []*server
	located  *locator // nil: servers are configured
}

func newForest(f Forest, opts LDAPOptions) (*forest, error) {
	var faults []error
	roots, err := loadRoots(f.CAFile)
	if err != nil {
		faults = append(faults, err)
	}
	built := &forest{}
	for _, suffix := range f.Suffixes {
		built.suffixes = append(built.suffixes, canonicalSuffix(suffix))
	}
	switch {
	case f.Discovery != nil && len(f.Servers) > 0:
		faults = append(faults, errors.New("it has servers and discovery; one of the two says where it is"))
	case f.Discovery != nil:
		faults = append(faults, f.Discovery.check()...)
		built.located = newLocator(f, roots, opts)
	case len(f.Servers) == 0:
		faults = append(faults, errors.New("it has no servers"))
	}
	for _, url := range f.Servers {
		host, port, err := parseServer(url, f.StartTLS)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		built.servers = append(built.servers, newServer(host, port, roots, f.StartTLS, opts))
	}
	return built, errors.Join(faults...)
}

// known returns the servers to ask. They may be none, and then the error says why.
func (f *forest) known(ctx context.Context) ([]*server, error) {
	if f.located != nil {
		return f.located.list(ctx)
	}
	return f.servers, nil
}

func (f *forest) close() {
	if f.located != nil {
		f.located.close()
	}
	for _, s := range f.servers {
		s.close()
	}
}

// loadRoots returns nil, which means the system's roots, for an empty path.
func loadRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the CA bundle: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the CA bundle %s holds no certificate in PEM form", path)
	}
	return roots, nil
}

func canonicalSuffix(suffix string) string {
	return strings.ToLower(strings.Trim(suffix, "."))
}

// checkSuffixes finds what would make routing ambiguous.
func checkSuffixes(forests []Forest) (faults []error) {
	owner := make(map[string]int)
	standard := -1
	for i, f := range forests {
		if len(f.Suffixes) == 0 {
			if standard >= 0 {
				faults = append(faults, fmt.Errorf("forests %d and %d both have no suffixes; one at most may be the default", standard, i))
			}
			standard = i
		}
		for _, suffix := range f.Suffixes {
			name := canonicalSuffix(suffix)
			if name == "" || strings.ContainsAny(name, "@ ") {
				faults = append(faults, fmt.Errorf("forest %d: %q is not a name suffix such as contoso.example", i, suffix))
				continue
			}
			if first, taken := owner[name]; taken {
				faults = append(faults, fmt.Errorf("suffix %q is listed for forest %d and again for forest %d", name, first, i))
			}
			owner[name] = i
		}
	}
	return faults
}

// route returns the forest whose suffix fits best, or the default one, or nil.
func (l *LDAP) route(suffix string) *forest {
	var best *forest
	longest := -1
	for _, f := range l.forests {
		if len(f.suffixes) == 0 && longest < 0 {
			best, longest = f, 0
		}
		for _, s := range f.suffixes {
			if len(s) > longest && (suffix == s || strings.HasSuffix(suffix, "."+s)) {
				best, longest = f, len(s)
			}
		}
	}
	return best
}

// probeSuffix is a suffix that route leads here with. No user has a name under
// .invalid (RFC 2606), which leads to the default forest.
func (f *forest) probeSuffix() string {
	if len(f.suffixes) > 0 {
		return f.suffixes[0]
	}
	return "canary.invalid"
}

// maxValidation bounds a validation whose caller set no deadline: the cloud
// waits no longer for the whole answer (protocol section 9.5).
const maxValidation = 15 * time.Second

// validate asks one server after the other until one has given a verdict or may
// have. A server that may have got the bind is the last one asked: a second
// bind with a wrong password would count twice towards locking the account.
func (f *forest) validate(ctx context.Context, upn string, password *secret.Buffer) Result {
	ctx, cancel := context.WithTimeout(ctx, maxValidation)
	defer cancel()

	servers, err := f.known(ctx)
	if len(servers) == 0 {
		return Refused(NoLogonServers, err)
	}
	var faults []error
	code := NoLogonServers
	servers = preferred(servers)
	for i, s := range servers {
		if ctx.Err() != nil {
			faults = append(faults, context.Cause(ctx))
			break
		}
		result, final := s.validate(ctx, share(ctx, len(servers)-i), upn, password)
		if final {
			return result
		}
		faults = append(faults, fmt.Errorf("%s: %w", s.address, result.Err))
		if result.Code != NoLogonServers {
			code = result.Code // says more than "not reached"
		}
	}
	if f.located != nil {
		f.located.hurry()
	}
	return Refused(code, fmt.Errorf("no server of the directory gave a verdict: %w", errors.Join(faults...)))
}

// preferred returns servers in their order, those that failed lately moved to the
// end: they are still better than none.
func preferred(servers []*server) []*server {
	now := time.Now()
	servers = slices.Clone(servers)
	slices.SortStableFunc(servers, func(a, b *server) int {
		return boolToInt(a.isDown(now)) - boolToInt(b.isDown(now))
	})
	return servers
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// share is the part of the remaining time that may be spent on connecting to
// the next of n servers, so that one that does not answer leaves time for the
// others.
func share(ctx context.Context, n int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return maxValidation
	}
	return time.Until(deadline) / time.Duration(n)
}
