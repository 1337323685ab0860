// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package walls

import (
	"bufio"
	"bytes"
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/passthrough-dev/connector-operator"

// root is the repository, seen from this package's directory.
const root = "../.."

// golist runs go list in the repository with the given environment additions.
func golist(t *testing.T, env []string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	return out
}

// deps lists what the package at pattern is built from, itself included.
func deps(t *testing.T, env []string, pattern string) []string {
	t.Helper()
	return strings.Fields(string(golist(t, env, "-deps", pattern)))
}

func TestTheConnectorHoldsNoKubernetes(t *testing.T) {
	for _, goos := range []string{"linux", "windows"} {
		for _, dep := range deps(t, []string{"GOOS=" + goos, "CGO_ENABLED=0"}, "./connector") {
			if strings.HasPrefix(dep, "k8s.io/") || strings.HasPrefix(dep, "sigs.k8s.io/") {
				t.Errorf("%s: the connector is built from %s; it has no Kubernetes credentials and needs no Kubernetes code", goos, dep)
			}
		}
	}
}

func TestNothingThatShipsImportsHack(t *testing.T) {
	for _, program := range []string{".", "./connector"} {
		for _, dep := range deps(t, nil, program) {
			if strings.HasPrefix(dep, module+"/hack/") {
				t.Errorf("%s is built from %s; what ships must not use what tests", program, dep)
			}
		}
	}
}

// pkg is what `go list -json` tells of one package.
type pkg struct {
	ImportPath   string
	Name         string
	Doc          string
	Dir          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(golist(t, nil, "-json=ImportPath,Name,Doc,Dir,Imports,TestImports,XTestImports,GoFiles", "./...")))
	var all []pkg
	for dec.More() {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found only %d packages: the test looks in the wrong place", len(all))
	}
	return all
}

// under reports whether the import path is in one of the rooms.
func under(importPath string, rooms ...string) bool {
	for _, room := range rooms {
		full := module + "/" + room
		if importPath == full || strings.HasPrefix(importPath, full+"/") {
			return true
		}
	}
	return false
}

// mayImport returns why a package of ours must not import another package of
// ours or an outside one; "" if it may.
func mayImport(from, to string) string {
	switch {
	case under(from, "connector/wire"):
		if to == "net" || to == "net/http" || to == "os" || to == "crypto/tls" {
			return "the wire codecs open no socket and read no file"
		}
		if under(to, "connector") && !under(to, "connector/wire") {
			return "the wire codecs know nothing of the agent"
		}
	case under(from, "connector/config"):
		if under(to, "connector") && !under(to, "connector/wire") {
			return "the configuration contract is shared with the operator"
		}
	case under(from, "connector/internal/agent"):
		return ""
	case under(from, "connector/internal"):
		if under(to, "connector/internal") && !under(to, "connector/internal/secret") && !strings.HasPrefix(to, from) {
			return "the agent package composes its siblings; they do not know each other"
		}
	case under(from, "controllers"), from == module:
		if under(to, "connector") && !under(to, "connector/config", "connector/wire/trust", "connector/wire/bootstrap", "connector/wire/guid") {
			return "the operator shares only the configuration and trust contracts with the connector"
		}
	case under(from, "hack/tenant"):
		if under(to, "connector") && !under(to, "connector/wire") {
			return "the tenant is the other side of the wire"
		}
		if under(to, "controllers", "api") {
			return "the tenant knows nothing of Kubernetes"
		}
	}
	if under(to, "hack") && !under(from, "hack") {
		return "nothing that ships imports hack"
	}
	if under(to, "connector/wire/vectors") {
		return "the vectors are for tests"
	}
	if strings.HasPrefix(to, "github.com/Azure/go-amqp") && under(from, "connector") && !under(from, "connector/internal/signalling") {
		return "signalling is the only package that knows the AMQP client"
	}
	if under(from, "api") && strings.HasPrefix(to, "sigs.k8s.io/controller-runtime") && !strings.HasSuffix(to, "/scheme") {
		return "the API types are imported by clients that do not use controller-runtime"
	}
	return ""
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, to := range p.Imports {
			if why := mayImport(p.ImportPath, to); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, to, why)
			}
		}
	}
}

func TestTheWallsCanFall(t *testing.T) {
	for name, tc := range map[string]struct{ from, to string }{
		"a codec that dials":               {module + "/connector/wire/sas", "net"},
		"rendezvous that knows validation": {module + "/connector/internal/rendezvous", module + "/connector/internal/validation"},
		"an operator that knows the agent": {module + "/controllers", module + "/connector/internal/agent"},
		"a second user of the AMQP client": {module + "/connector/internal/rendezvous", "github.com/Azure/go-amqp"},
		"a program that ships test code":   {module + "/connector", module + "/hack/tenant"},
		"a program that ships vectors":     {module + "/connector", module + "/connector/wire/vectors"},
	} {
		t.Run(name, func(t *testing.T) {
			if mayImport(tc.from, tc.to) == "" {
				t.Errorf("%s may import %s", tc.from, tc.to)
			}
		})
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	banned := map[string]bool{"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "types": true, "manager": true, "misc": true, "base": true}
	for _, p := range packages(t) {
		if banned[path.Base(p.ImportPath)] {
			t.Errorf("%s: name a package after what it holds", p.ImportPath)
		}
		if p.Doc == "" && len(p.GoFiles) > 0 && !strings.Contains(p.ImportPath, "/applyconfiguration") {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// goFiles calls visit with every Go file of the repository, the nested modules
// included.
func goFiles(t *testing.T, visit func(name string, content []byte)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || (strings.HasPrefix(d.Name(), ".") && name != root)) {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		n++
		visit(name, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 20 {
		t.Fatalf("found only %d Go files: the test looks in the wrong place", n)
	}
}

func TestEveryFileCarriesItsLicence(t *testing.T) {
	goFiles(t, func(name string, content []byte) {
		head := bufio.NewScanner(bytes.NewReader(content))
		var seen string
		for i := 0; i < 6 && head.Scan(); i++ {
			seen += head.Text() + "\n"
		}
		if !strings.Contains(seen, "// SPDX-License-Identifier: Apache-2.0") && !strings.Contains(seen, "Code generated") {
			t.Errorf("%s: begins without the licence header", name)
		}
	})
}

// A table that says which test proves what is worth nothing once the test has
// another name.
func TestTheDocsNameTestsThatExist(t *testing.T) {
	declared := map[string]int{}
	goFiles(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, m := range declaration.FindAllSubmatch(content, -1) {
			declared[string(m[1])]++
		}
	})
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mention.FindAllSubmatch(content, -1) {
			named++
			if n := declared[string(m[1])]; n != 1 {
				t.Errorf("%s names %s: there are %d tests of that name, want one", page, m[1], n)
			}
		}
	}
	if named < 40 {
		t.Errorf("found only %d names of tests: the test looks in the wrong place", named)
	}
}

var (
	declaration = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
	mention     = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
)

func TestTestsDoNotSleep(t *testing.T) {
	goFiles(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, content, parser.ImportsOnly)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		synctest := false
		for _, imp := range f.Imports {
			synctest = synctest || imp.Path.Value == `"testing/synctest"`
		}
		// Inside a synctest bubble a sleep costs no time and is exact.
		if !synctest && bytes.Contains(content, []byte("time."+"Sleep(")) {
			t.Errorf("%s sleeps: wait for a condition, or use testing/synctest", name)
		}
	})
}
