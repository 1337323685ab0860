// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func valid() Config {
	return Config{
		APIVersion:  APIVersion,
		TenantID:    "6f5e4d3c-2b1a-4908-8716-253443526170",
		MachineName: "corp-0.passthrough",
		Identity:    Identity{CertificateFile: "identity/tls.crt", KeyFile: "identity/tls.key"},
		Service: Service{
			BootstrapURL:    "https://6f5e4d3c-2b1a-4908-8716-253443526170.pta.bootstrap.his.msappproxy.test",
			Transport:       TransportWebSocket,
			ProxyURL:        "http://127.0.0.1:3128",
			ServiceSuffixes: []string{".msappproxy.test"},
			RelaySuffixes:   []string{".servicebus.test"},
			CAFile:          "ca.pem",
		},
		Validation: Validation{
			Method: MethodLDAP, TimeoutSeconds: 10, MaxConcurrent: 64,
			LDAP: &LDAP{Forests: []Forest{
				{Suffixes: []string{"contoso.example"}, Servers: []string{"ldaps://dc1.contoso.example", "ldaps://127.0.0.1:3269"}, CAFile: "ldap-0.pem"},
				{Suffixes: []string{"fabrikam.example", "corp"}, Servers: []string{"ldaps://[::1]:636"}},
			}},
		},
		Health: Health{Port: 8080},
	}
}

func mustMarshal(t *testing.T, c Config) []byte {
	t.Helper()
	data, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	want := valid()
	data := mustMarshal(t, want)
	got, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	want.Digest = Digest(data)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want.Digest == Digest(append(data, '\n')) || !regexp.MustCompile("^[0-9a-f]{64}$").MatchString(want.Digest) {
		t.Errorf("digest %s", want.Digest)
	}
}

func TestParseToleratesHowWindowsWritesText(t *testing.T) {
	data := "\xEF\xBB\xBF" + strings.ReplaceAll(string(mustMarshal(t, valid())), "\n", "\r\n")
	if _, err := Parse([]byte(data)); err != nil {
		t.Error(err)
	}
}

func TestDefaults(t *testing.T) {
	c := valid()
	c.Service.Transport = ""
	c.Validation.TimeoutSeconds, c.Validation.MaxConcurrent, c.Health.Port = 0, 0, 0
	if err := c.Validate(); err == nil {
		t.Error("Validate fills in defaults by itself")
	}
	got, err := Parse(mustMarshal(t, c))
	if err != nil {
		t.Fatal(err)
	}
	want := valid()
	want.Digest = got.Digest
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(mustMarshal(t, valid()))
	for name, tc := range map[string]struct{ in, want string }{
		"nothing":                     {"", "EOF"},
		"another kind of document":    {"apiVersion: x", "invalid character"},
		"a misspelt field":            {strings.Replace(good, `"machineName"`, `"machinName"`, 1), `"machinName"`},
		"an unknown field, deep down": {strings.Replace(good, `"servers"`, `"server"`, 1), `"server"`},
		"text where a number belongs": {strings.Replace(good, `"port": 8080`, `"port": "8080"`, 1), "port"},
		"a second document":           {good + good, "behind"},
		"text behind":                 {good + "x", "behind"},
		"too many bytes":              {good + strings.Repeat(" ", MaxBytes), "bytes"},
		"a null":                      {"null", "apiVersion"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

// discovery has the first forest's servers found in place of listed.
func discovery(d Discovery) func(*Config) {
	return func(c *Config) {
		c.Validation.LDAP.Forests[0].Servers, c.Validation.LDAP.Forests[0].Discovery = nil, &d
	}
}

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string // beginning of the one fault; "" if there is none
	}{
		"the example":                       {func(*Config) {}, ""},
		"no proxy, system roots":            {func(c *Config) { c.Service.ProxyURL, c.Service.CAFile = "", "" }, ""},
		"a proxy with a slash":              {func(c *Config) { c.Service.ProxyURL = "http://proxy.contoso.example:8080/" }, ""},
		"a tenant in upper case":            {func(c *Config) { c.TenantID = strings.ToUpper(c.TenantID) }, ""},
		"a bootstrap on a port of its own":  {func(c *Config) { c.Service.BootstrapURL += ":8080" }, ""},
		"the longest machine name":          {func(c *Config) { c.MachineName = strings.Repeat("a", 64) }, ""},
		"another version":                   {func(c *Config) { c.APIVersion = "connector.passthrough.dev/v2" }, "apiVersion: "},
		"no tenant":                         {func(c *Config) { c.TenantID = "" }, "tenantID: "},
		"a tenant of zeros":                 {func(c *Config) { c.TenantID = "00000000-0000-0000-0000-000000000000" }, "tenantID: "},
		"no machine name":                   {func(c *Config) { c.MachineName = "" }, "machineName: "},
		"a long machine name":               {func(c *Config) { c.MachineName = strings.Repeat("a", 65) }, "machineName: "},
		"a machine name with markup":        {func(c *Config) { c.MachineName = "a<b" }, "machineName: "},
		"a machine name beyond ASCII":       {func(c *Config) { c.MachineName = "zürich" }, "machineName: "},
		"no certificate":                    {func(c *Config) { c.Identity.CertificateFile = "" }, "identity.certificateFile: "},
		"no key":                            {func(c *Config) { c.Identity.KeyFile = "" }, "identity.keyFile: "},
		"a NUL in a file name":              {func(c *Config) { c.Identity.KeyFile = "a\x00b" }, "identity.keyFile: "},
		"a bootstrap in clear text":         {func(c *Config) { c.Service.BootstrapURL = "http://a.msappproxy.test" }, "service.bootstrapURL: "},
		"a bootstrap elsewhere":             {func(c *Config) { c.Service.BootstrapURL = "https://a.msappproxy.example" }, "service.bootstrapURL: "},
		"a bootstrap with a path":           {func(c *Config) { c.Service.BootstrapURL += "/ConnectorBootstrap" }, "service.bootstrapURL: "},
		"a bootstrap with a slash":          {func(c *Config) { c.Service.BootstrapURL += "/" }, "service.bootstrapURL: "},
		"no bootstrap":                      {func(c *Config) { c.Service.BootstrapURL = "" }, "service.bootstrapURL: "},
		"another transport":                 {func(c *Config) { c.Service.Transport = "amqp" }, "service.transport: "},
		"AMQP over TLS":                     {func(c *Config) { c.Service.Transport = TransportAMQP }, ""},
		"a proxy with TLS":                  {func(c *Config) { c.Service.ProxyURL = "https://proxy:8080" }, "service.proxyURL: "},
		"a proxy without a port":            {func(c *Config) { c.Service.ProxyURL = "http://proxy" }, "service.proxyURL: "},
		"a proxy with an empty port":        {func(c *Config) { c.Service.ProxyURL = "http://proxy:" }, "service.proxyURL: "},
		"a proxy with no such port":         {func(c *Config) { c.Service.ProxyURL = "http://proxy:65536" }, "service.proxyURL: "},
		"a proxy without a host":            {func(c *Config) { c.Service.ProxyURL = "http://:8080" }, "service.proxyURL: "},
		"a proxy with a path":               {func(c *Config) { c.Service.ProxyURL = "http://proxy:8080/x" }, "service.proxyURL: "},
		"a proxy without a scheme":          {func(c *Config) { c.Service.ProxyURL = "proxy:8080" }, "service.proxyURL: "},
		"no service suffix":                 {func(c *Config) { c.Service.ServiceSuffixes = nil; c.Service.BootstrapURL = "" }, "service.serviceSuffixes: "},
		"no relay suffix":                   {func(c *Config) { c.Service.RelaySuffixes = nil }, "service.relaySuffixes: "},
		"a suffix without its dot":          {func(c *Config) { c.Service.RelaySuffixes = []string{"servicebus.test"} }, "service.relaySuffixes[0]: "},
		"a suffix as wide as the world":     {func(c *Config) { c.Service.RelaySuffixes = []string{".servicebus.test", ".net"} }, "service.relaySuffixes[1]: "},
		"a suffix of nothing":               {func(c *Config) { c.Service.RelaySuffixes = []string{"."} }, "service.relaySuffixes[0]: "},
		"a suffix with a wildcard":          {func(c *Config) { c.Service.RelaySuffixes = []string{"*.servicebus.test"} }, "service.relaySuffixes[0]: "},
		"a suffix with a dot behind":        {func(c *Config) { c.Service.RelaySuffixes = []string{".servicebus.test."} }, "service.relaySuffixes[0]: "},
		"a suffix that is an address":       {func(c *Config) { c.Service.RelaySuffixes = []string{".127.0.0.1"} }, "service.relaySuffixes[0]: "},
		"too many suffixes":                 {func(c *Config) { c.Service.RelaySuffixes = many(65, ".servicebus.test") }, "service.relaySuffixes: "},
		"another method":                    {func(c *Config) { c.Validation.Method = "Anything" }, "validation.method: "},
		"a logon of Windows":                {func(c *Config) { logon(c, "contoso.example", "EMEA.contoso.example") }, ""},
		"a logon that names no domain":      {func(c *Config) { logon(c) }, "validation.logonUser.domains: "},
		"a logon that says nothing":         {func(c *Config) { logon(c); c.Validation.LogonUser = nil }, "validation.logonUser: "},
		"a logon to the computer itself":    {func(c *Config) { logon(c, ".") }, "validation.logonUser.domains[0]: "},
		"a logon domain with an at sign":    {func(c *Config) { logon(c, "contoso.example", "@contoso") }, "validation.logonUser.domains[1]: "},
		"too many logon domains":            {func(c *Config) { logon(c, many(65, "contoso.example")...) }, "validation.logonUser.domains: "},
		"a logon and forests":               {func(c *Config) { l := c.Validation.LDAP; logon(c, "contoso.example"); c.Validation.LDAP = l }, "validation.ldap: "},
		"forests and a logon":               {func(c *Config) { c.Validation.LogonUser = &LogonUser{Domains: []string{"contoso.example"}} }, "validation.logonUser: "},
		"a time limit that is too long":     {func(c *Config) { c.Validation.TimeoutSeconds = 15 }, "validation.timeoutSeconds: "},
		"a negative time limit":             {func(c *Config) { c.Validation.TimeoutSeconds = -1 }, "validation.timeoutSeconds: "},
		"too many at once":                  {func(c *Config) { c.Validation.MaxConcurrent = 1025 }, "validation.maxConcurrent: "},
		"no directory":                      {func(c *Config) { c.Validation.LDAP = nil }, "validation.ldap: "},
		"no forest":                         {func(c *Config) { c.Validation.LDAP.Forests = nil }, "validation.ldap.forests: "},
		"a forest for nobody":               {func(c *Config) { c.Validation.LDAP.Forests[1].Suffixes = nil }, "validation.ldap.forests[1].suffixes: "},
		"a suffix that is no name":          {func(c *Config) { c.Validation.LDAP.Forests[1].Suffixes[1] = "@corp" }, "validation.ldap.forests[1].suffixes[1]: "},
		"a suffix in two forests":           {func(c *Config) { c.Validation.LDAP.Forests[1].Suffixes[1] = "Contoso.Example" }, "validation.ldap.forests[1].suffixes[1]: "},
		"a forest without servers":          {func(c *Config) { c.Validation.LDAP.Forests[0].Servers = nil }, "validation.ldap.forests[0].servers: "},
		"LDAP in clear text":                {func(c *Config) { c.Validation.LDAP.Forests[0].Servers[1] = "ldap://dc" }, "validation.ldap.forests[0].servers[1]: "},
		"StartTLS at a server of LDAPS":     {func(c *Config) { c.Validation.LDAP.Forests[0].StartTLS = true }, "validation.ldap.forests[0].servers[0]: "},
		"servers and discovery":             {func(c *Config) { c.Validation.LDAP.Forests[0].Discovery = &Discovery{Domain: "contoso.example"} }, "validation.ldap.forests[0].servers: "},
		"discovery without a domain":        {discovery(Discovery{}), "validation.ldap.forests[0].discovery.domain: "},
		"discovery in a flat domain":        {discovery(Discovery{Domain: "CONTOSO"}), "validation.ldap.forests[0].discovery.domain: "},
		"discovery at a site of two labels": {discovery(Discovery{Domain: "contoso.example", Site: "a.b"}), "validation.ldap.forests[0].discovery.site: "},
		"a server with a path":              {func(c *Config) { c.Validation.LDAP.Forests[0].Servers[1] = "ldaps://dc/x" }, "validation.ldap.forests[0].servers[1]: "},
		"a server with a query":             {func(c *Config) { c.Validation.LDAP.Forests[0].Servers[1] = "ldaps://dc?x" }, "validation.ldap.forests[0].servers[1]: "},
		"a server with port 0":              {func(c *Config) { c.Validation.LDAP.Forests[0].Servers[1] = "ldaps://dc:0" }, "validation.ldap.forests[0].servers[1]: "},
		"a server without a name":           {func(c *Config) { c.Validation.LDAP.Forests[0].Servers[1] = "ldaps://" }, "validation.ldap.forests[0].servers[1]: "},
		"a server without a scheme":         {func(c *Config) { c.Validation.LDAP.Forests[0].Servers[1] = "dc:636" }, "validation.ldap.forests[0].servers[1]: "},
		"a NUL in a forest's bundle":        {func(c *Config) { c.Validation.LDAP.Forests[0].CAFile = "\x00" }, "validation.ldap.forests[0].caFile: "},
		"no such port":                      {func(c *Config) { c.Health.Port = 65536 }, "health.port: "},
		"a negative log level":              {func(c *Config) { c.Log.Level = -1 }, "log.level: "},
	} {
		t.Run(name, func(t *testing.T) {
			c := valid()
			tc.change(&c)
			err := c.Validate()
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains("\n"+err.Error(), "\n"+tc.want) {
				t.Fatalf("error = %v, want one that begins with %q", err, tc.want)
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.Contains(line, "write") && !strings.Contains(line, "keep") && !strings.Contains(line, "needs") && !strings.Contains(line, "not a file name") {
					t.Errorf("%q does not say what to do", line)
				}
			}
		})
	}
}

// logon changes the method to LogonUser.
func logon(c *Config, domains ...string) {
	c.Validation.Method, c.Validation.LDAP, c.Validation.LogonUser = MethodLogonUser, nil, &LogonUser{Domains: domains}
}

func many(n int, s string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = s
	}
	return all
}

func TestLoadWaitsForAFolderThatIsBeingSwapped(t *testing.T) {
	file, data := filepath.Join(t.TempDir(), "config.json"), mustMarshal(t, valid())
	synctest.Test(t, func(t *testing.T) {
		gone := time.Now()
		time.AfterFunc(2*openPause+1, func() {
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Error(err)
			}
		})
		if _, err := Load(file); err != nil {
			t.Error(err)
		}
		if took := time.Since(gone); took != 3*openPause {
			t.Errorf("it was read after %s", took)
		}
		gone = time.Now()
		if _, err := Load(file + "x"); err == nil || time.Since(gone) != openAttempts*openPause {
			t.Errorf("a file that never comes was waited for for %s, %v", time.Since(gone), err)
		}
	})
}

// Windows once ended names of files at 260 characters, and lines with CR and LF.
func TestLoadReadsALongPathWrittenOnWindows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a", 120), strings.Repeat("b", 120), strings.Repeat("c", 120))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, bytes.ReplaceAll(mustMarshal(t, valid()), []byte("\n"), []byte("\r\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "identity", "tls.crt"); c.Identity.CertificateFile != want {
		t.Errorf("certificate %s, want %s", c.Identity.CertificateFile, want)
	}
}

func TestLoadRefusesWhatTheSystemCannotDo(t *testing.T) {
	c := valid()
	logon(&c, "contoso.example")
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, mustMarshal(t, c), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(file)
	if onWindows := runtime.GOOS == "windows"; (err == nil) != onWindows {
		t.Fatalf("on Windows: %t, error %v", onWindows, err)
	}
	if err != nil && !strings.Contains(err.Error(), "validation.method") {
		t.Errorf("the error is %v", err)
	}
}

func TestValidateNamesEveryFaultAtOnce(t *testing.T) {
	err := Config{Validation: Validation{Method: MethodLDAP, LDAP: &LDAP{Forests: []Forest{{}}}}}.Validate()
	if err == nil {
		t.Fatal("the empty configuration is valid")
	}
	var fields []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		field, _, _ := strings.Cut(line, ":")
		fields = append(fields, field)
	}
	want := []string{
		"apiVersion", "tenantID", "machineName", "identity.certificateFile", "identity.keyFile",
		"service.serviceSuffixes", "service.relaySuffixes", "service.bootstrapURL", "service.transport",
		"validation.timeoutSeconds", "validation.maxConcurrent",
		"validation.ldap.forests[0].suffixes", "validation.ldap.forests[0].servers", "health.port",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFaultsRepeatNoPassword(t *testing.T) {
	for _, proxy := range []string{"http://user:hunter2@proxy:8080", "http:user:hunter2@proxy:8080", "http://user:hunter2@proxy:x", "ftp://user:hunter2@proxy:1"} {
		c := valid()
		c.Service.ProxyURL = proxy
		c.Validation.LDAP.Forests[0].Servers[0] = "ldaps://cn=admin:hunter2@dc1.contoso.example"
		c.Service.BootstrapURL = "https://user:hunter2@a.msappproxy.test"
		err := c.Validate()
		if err == nil || strings.Count(err.Error(), "\n") != 2 {
			t.Errorf("%s: error = %v, want three faults", proxy, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a password is repeated: %v", err)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	c := valid()
	c.Validation.LDAP.Forests[1].CAFile = filepath.Join(dir, "elsewhere", "ca.pem")
	if err := os.WriteFile(file, mustMarshal(t, c), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]string{
		"certificate":       {got.Identity.CertificateFile, filepath.Join(dir, "identity", "tls.crt")},
		"key":               {got.Identity.KeyFile, filepath.Join(dir, "identity", "tls.key")},
		"service's bundle":  {got.Service.CAFile, filepath.Join(dir, "ca.pem")},
		"forest's bundle":   {got.Validation.LDAP.Forests[0].CAFile, filepath.Join(dir, "ldap-0.pem")},
		"an absolute name":  {got.Validation.LDAP.Forests[1].CAFile, filepath.Join(dir, "elsewhere", "ca.pem")},
		"digest":            {got.Digest, Digest(mustMarshal(t, c))},
		"the original name": {c.Resolve("/x").Identity.KeyFile[1:] + c.Validation.LDAP.Forests[0].CAFile, filepath.Join("x", "identity", "tls.key") + "ldap-0.pem"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %s, want %s", name, pair[0], pair[1])
		}
	}
	if _, err := Load(filepath.Join(dir, "missing.json")); err == nil {
		t.Error("a file that is not there is loaded")
	}
	if err := os.WriteFile(file, []byte(strings.Repeat(" ", MaxBytes+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "bytes") || !strings.Contains(err.Error(), file) {
		t.Errorf("error = %v", err)
	}
}

func TestResolveLeavesEmptyNamesEmpty(t *testing.T) {
	if got := (Config{}).Resolve("/dir"); got.Service.CAFile != "" || got.Identity.KeyFile != "" {
		t.Errorf("got %+v", got)
	}
}

func TestClouds(t *testing.T) {
	for _, cloud := range []Cloud{AzurePublic, AzureUSGovernment} {
		t.Run(string(cloud), func(t *testing.T) {
			template, err := CloudEndpoints(cloud)
			if err != nil {
				t.Fatal(err)
			}
			e := template.For("6F5E4D3C-2B1A-4908-8716-253443526170")
			c := valid()
			c.Service = Service{BootstrapURL: e.BootstrapURL, Transport: TransportWebSocket, ServiceSuffixes: e.ServiceSuffixes, RelaySuffixes: e.RelaySuffixes}
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
			if err := c.Service.AllowServiceURL(e.RegistrationURL); err != nil {
				t.Error(err)
			}
			for _, u := range []string{e.BootstrapURL, e.RegistrationURL} {
				if !strings.HasPrefix(u, "https://6f5e4d3c-2b1a-4908-8716-253443526170.") {
					t.Errorf("%s does not begin with the tenant", u)
				}
			}
			if !strings.Contains(template.BootstrapURL, TenantPlaceholder) {
				t.Error("For changes what it is called on")
			}
		})
	}
	if _, err := CloudEndpoints("AzureMoon"); err == nil {
		t.Error("an unknown cloud has endpoints")
	}
}

// TestTheStatusDocument guards the names of /statusz, which both sides and
// people's alerts rely on.
func TestTheStatusDocument(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	data, err := json.MarshalIndent(Status{
		ConnectorID: "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5", TenantID: "6f5e4d3c-2b1a-4908-8716-253443526170", Version: "v0.1.0",
		MachineName: "corp-0.passthrough", ConfigDigest: Digest(nil), Ready: true, Reason: ReasonServing, Message: "Two links are attached.",
		Certificate: CertificateStatus{
			Thumbprint: "0123456789ABCDEF0123456789ABCDEF01234567", NotAfter: at,
			PreviousThumbprints: []string{"89ABCDEF0123456789ABCDEF0123456789ABCDEF"}, LastError: "e",
		},
		BootstrapThumbprint: "0123456789ABCDEF0123456789ABCDEF01234567",
		Bootstrap:           BootstrapStatus{LastSuccess: &at, LastError: "e", ConsecutiveFailures: 1, ConnectorState: "Ok", ServiceMessage: "m", Triggers: "t"},
		Links:               []LinkStatus{{Endpoint: "his-nam1-test1.servicebus.test/path", State: LinkAttached, Since: at, LastError: "e"}},
		Validator:           ValidatorStatus{Method: MethodLDAP, State: ValidatorProven, Message: "m", LastCheck: &at},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "status.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(data)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The documentation's examples and tables are held to the types.
const documentation = "../../docs/connector-configuration.md"

// codeBlocks returns the fenced blocks of that language.
func codeBlocks(t *testing.T, document, language string) []string {
	t.Helper()
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(document, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

func TestTheDocumentationIsTrue(t *testing.T) {
	data, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	blocks := codeBlocks(t, text, "json")
	if len(blocks) != 2 {
		t.Fatalf("there are %d JSON examples, want the file and the status", len(blocks))
	}
	if _, err := Parse([]byte(blocks[0])); err != nil {
		t.Errorf("the example is not a configuration: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(blocks[1]))
	dec.DisallowUnknownFields()
	var s Status
	if err := dec.Decode(&s); err != nil {
		t.Errorf("the example is not a status: %v", err)
	}
	for _, root := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Status]()} {
		for _, field := range fieldPaths(root, "") {
			if !strings.Contains(text, "`"+field+"`") {
				t.Errorf("field %s is not described", field)
			}
		}
	}
	for _, value := range []string{
		ReasonServing, ReasonStarting, ReasonBootstrapFailing, ReasonNoLink, ReasonValidatorFailing, ReasonValidatorAcceptsAnything,
		ReasonCertificateExpired, ReasonStopping, LinkConnecting, LinkAttached, LinkWaiting, LinkClosed,
		ValidatorUnproven, ValidatorProven, ValidatorFailing, ValidatorAcceptsAnything,
	} {
		if !strings.Contains(text, "`"+value+"`") {
			t.Errorf("value %s is not described", value)
		}
	}
}

// fieldPaths lists the JSON names of leaves, such as service.relaySuffixes[].
func fieldPaths(t reflect.Type, prefix string) []string {
	switch {
	case t.Kind() == reflect.Pointer:
		return fieldPaths(t.Elem(), prefix)
	case t.Kind() == reflect.Slice:
		return fieldPaths(t.Elem(), prefix+"[]")
	case t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]():
		return []string{prefix}
	}
	var all []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if prefix != "" {
			name = prefix + "." + name
		}
		all = append(all, fieldPaths(f.Type, name)...)
	}
	return all
}

// FuzzParse checks that what passes is written and read again as the same, and
// that the hosts it pins are pinned.
func FuzzParse(f *testing.F) {
	good, err := valid().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"apiVersion":"` + APIVersion + `"}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		if c.Service.AllowReturnHost("evil.test", 443) == nil && !strings.Contains(string(data), "test") {
			t.Fatal("a foreign host is allowed")
		}
		again, err := Parse(mustMarshal(t, c))
		if err != nil {
			t.Fatal(err)
		}
		again.Digest = c.Digest
		if diff := cmp.Diff(c, again); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	})
}
