// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/passthrough-dev/connector-operator/api/v1alpha1"
	"github.com/passthrough-dev/connector-operator/controllers/internal/desired"
	"github.com/passthrough-dev/connector-operator/controllers/internal/fixture"
	"github.com/passthrough-dev/connector-operator/controllers/internal/servicetags"
	"github.com/passthrough-dev/connector-operator/hack/policylint"
)

// written is a PassthroughConnector as a user writes it.
const written = `
apiVersion: identity.passthrough.dev/v1alpha1
kind: PassthroughConnector
metadata: {name: corp}
spec:
  tenantID: 6f5e4d3c-2b1a-4908-8716-253443526170
  replicas: 3
  service:
    cloud: Custom
    custom:
      registrationURL: https://{tenantID}.registration.msappproxy.test
      bootstrapURL: https://{tenantID}.pta.bootstrap.his.msappproxy.test
      serviceHostSuffixes: [.msappproxy.test]
      relayHostSuffixes: [.servicebus.test]
  registration: {tokenSecretRef: {name: tenant-admin, key: token}}
  validation:
    method: LDAP
    ldap: {forests: [{upnSuffixes: [contoso.example], servers: ["ldaps://dc1.contoso.example:636"]}]}
`

// set returns a change that puts YAML at a path below the object; the number of a
// list's item is a path element as well. Empty YAML removes.
func set(path, value string) func(*testing.T, map[string]any) {
	return func(t *testing.T, object map[string]any) {
		t.Helper()
		elements := strings.Split(path, "/")
		var parent any = object
		for _, e := range elements[:len(elements)-1] {
			switch p := parent.(type) {
			case map[string]any:
				if p[e] == nil {
					p[e] = map[string]any{}
				}
				parent = p[e]
			case []any:
				parent = p[e[0]-'0']
			}
		}
		last := elements[len(elements)-1]
		if value == "" {
			delete(parent.(map[string]any), last)
			return
		}
		var v any
		if err := yaml.Unmarshal([]byte(value), &v); err != nil {
			t.Fatal(err)
		}
		parent.(map[string]any)[last] = v
	}
}

func object(t *testing.T, namespace string, changes ...func(*testing.T, map[string]any)) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(written), &u.Object); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(t, u.Object)
	}
	u.SetNamespace(namespace)
	return u
}

// logonUser are the changes that make the written resource validate by LogonUser,
// and one more.
func logonUser(path, value string) []func(*testing.T, map[string]any) {
	return []func(*testing.T, map[string]any){
		set("spec/validation", "{method: LogonUser, logonUser: {domains: [contoso.example]}}"),
		set("spec/identity/gmsaCredentialSpecNames", "[corp-gmsa]"),
		set(path, value),
	}
}

// names is a list of as many different names.
func names(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("d%d.example", i)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func TestAPIRefusesWhatIsWrongAndSaysWhatToDo(t *testing.T) {
	plane := apiServer(t)
	namespace := newNamespace(t, plane.client, nil)
	type changes = []func(*testing.T, map[string]any)
	const forest = "spec/validation/ldap/forests/0/"
	const custom = "spec/service/custom/"
	rows := map[string]struct {
		changes changes
		want    string // part of the message
	}{
		"a name that is too long":                    {changes{set("metadata/name", strings.Repeat("c", 41))}, "at most 40 characters"},
		"a name that begins with a digit":            {changes{set("metadata/name", `"1corp"`)}, "begin with a letter"},
		"a name with a dot":                          {changes{set("metadata/name", "corp.one")}, "choose another name"},
		"no tenant":                                  {changes{set("spec/tenantID", "")}, "tenantID"},
		"a tenant that is no GUID":                   {changes{set("spec/tenantID", "contoso")}, "tenantID must be a GUID"},
		"a GUID without dashes":                      {changes{set("spec/tenantID", "6f5e4d3c2b1a49088716253443526170")}, "tenantID must be a GUID"},
		"the tenant of zeros":                        {changes{set("spec/tenantID", "00000000-0000-0000-0000-000000000000")}, "tenantID must be a GUID"},
		"no replica":                                 {changes{set("spec/replicas", "0")}, "greater than or equal to 1"},
		"more than a tenant can have":                {changes{set("spec/replicas", "41")}, "less than or equal to 40"},
		"an unknown cloud":                           {changes{set("spec/service/cloud", "Moon")}, "Unsupported value"},
		"a transport that is none":                   {changes{set("spec/service/transport", "Pigeon")}, "Unsupported value"},
		"a custom cloud without endpoints":           {changes{set("spec/service/custom", "")}, "custom is required when cloud is Custom"},
		"endpoints of a known cloud":                 {changes{set("spec/service/cloud", "AzurePublic")}, "custom may be set only when cloud is Custom"},
		"a registration without TLS":                 {changes{set(custom+"registrationURL", "http://r.msappproxy.test")}, "registrationURL must be an https:// URL"},
		"a registration URL with a path":             {changes{set(custom+"registrationURL", "https://r.msappproxy.test/path")}, "without a path"},
		"a bootstrap URL with credentials":           {changes{set(custom+"bootstrapURL", "https://me:secret@b.msappproxy.test")}, "bootstrapURL must be an https:// URL"},
		"a bootstrap host elsewhere":                 {changes{set(custom+"bootstrapURL", "https://b.elsewhere.test")}, "must end in one of serviceHostSuffixes"},
		"no bootstrap URL":                           {changes{set(custom+"bootstrapURL", "")}, "bootstrapURL"},
		"no service suffix":                          {changes{set(custom+"serviceHostSuffixes", "[]")}, "at least 1 items"},
		"a suffix without its dot":                   {changes{set(custom+"relayHostSuffixes", "[servicebus.test]")}, "a host suffix must be a dot"},
		"a suffix of one label":                      {changes{set(custom+"relayHostSuffixes", "[.test]")}, "at least two labels"},
		"a suffix twice":                             {changes{set(custom+"relayHostSuffixes", "[.a.test, .a.test]")}, "Duplicate value"},
		"a CA bundle without a key":                  {changes{set(custom+"caBundleRef", "{name: ca}")}, "caBundleRef.key"},
		"a proxy reached by TLS":                     {changes{set("spec/service/proxyURL", "https://proxy.test:443")}, "proxyURL must be an http:// URL"},
		"a proxy without a port":                     {changes{set("spec/service/proxyURL", "http://proxy.test")}, "proxyURL must be an http:// URL"},
		"a proxy with a password":                    {changes{set("spec/service/proxyURL", "http://me:secret@proxy.test:3128")}, "without credentials"},
		"no way to register":                         {changes{set("spec/registration", "{}")}, "exactly one of tokenSecretRef and deviceCode must be set"},
		"a sign-in at no authority":                  {changes{set("spec/registration", "{deviceCode: {}}")}, "registration.deviceCode in a custom cloud needs service.custom.loginURL"},
		"a sign-in to an application that is none":   {changes{set(custom+"loginURL", "https://l.msappproxy.test"), set("spec/registration", "{deviceCode: {clientID: wizard}}")}, "clientID must be a GUID"},
		"an authority without TLS":                   {changes{set(custom+"loginURL", "http://login.msappproxy.test")}, "loginURL must be an https:// URL"},
		"an authority with a path":                   {changes{set(custom+"loginURL", "https://login.msappproxy.test/common")}, "without a path"},
		"two ways to register":                       {changes{set("spec/registration/deviceCode", "{}")}, "exactly one of tokenSecretRef and deviceCode must be set"},
		"identities kept for a negative time":        {changes{set("spec/registration/retainUnusedSeconds", "-1")}, "retainUnusedSeconds"},
		"identities kept longer than by the service": {changes{set("spec/registration/retainUnusedSeconds", "864001")}, "less than or equal to 864000"},
		"a token Secret without a name":              {changes{set("spec/registration/tokenSecretRef", "{key: token}")}, "tokenSecretRef.name"},
		"too few credential specs":                   {changes{set("spec/identity/gmsaCredentialSpecNames", "[a, b]")}, "a name for each replica"},
		"a credential spec on Linux":                 {changes{set("spec/identity/gmsaCredentialSpecNames", "[a]"), set("spec/pod/os", "Linux")}, "has an effect on Windows only"},
		"a credential spec in capitals":              {changes{set("spec/identity/gmsaCredentialSpecNames", "[GMSA]")}, "must be the name of a GMSACredentialSpec"},
		"an identity that says nothing":              {changes{set("spec/identity", "{}")}, "at least 1 properties"},
		"no validation":                              {changes{set("spec/validation", "")}, "validation"},
		"a method that is none":                      {changes{set("spec/validation/method", "Oracle")}, "Unsupported value"},
		"LogonUser without domains":                  {logonUser("spec/validation/logonUser", ""), "logonUser is required when method is LogonUser"},
		"LogonUser with no domain in the list":       {logonUser("spec/validation/logonUser/domains", "[]"), "at least 1 items"},
		"LogonUser with too many domains":            {logonUser("spec/validation/logonUser/domains", names(65)), "at most 64 items"},
		"LogonUser of the computer itself":           {logonUser("spec/validation/logonUser/domains", `["."]`), "a domain name without @"},
		"LogonUser with a domain twice":              {logonUser("spec/validation/logonUser/domains", `["a.example", "a.example"]`), "Duplicate value"},
		"LogonUser with forests":                     {logonUser("spec/validation/ldap", `{forests: [{upnSuffixes: [a.example], servers: ["ldaps://a.example:636"]}]}`), "ldap has an effect when method is LDAP only"},
		"LogonUser on Linux":                         {logonUser("spec/pod/os", "Linux"), "LogonUser is a function of Windows"},
		"LogonUser without an account":               {logonUser("spec/identity", ""), "needs pods that have an account in the domain"},
		"LogonUser with no account in the list":      {logonUser("spec/identity/gmsaCredentialSpecNames", "[]"), "needs pods that have an account in the domain"},
		"LDAP with domains for LogonUser":            {changes{set("spec/validation/logonUser/domains", "[a.example]")}, "logonUser has an effect when method is LogonUser only"},
		"LDAP without servers to ask":                {changes{set("spec/validation/ldap", "")}, "ldap is required when method is LDAP"},
		"LDAP without a forest":                      {changes{set("spec/validation/ldap/forests", "[]")}, "at least 1 items"},
		"a forest without a server":                  {changes{set(forest+"servers", "[]")}, "at least 1 items"},
		"a server without TLS":                       {changes{set(forest+"servers", `["ldap://dc1.contoso.example:389"]`)}, "a connection without TLS would show passwords"},
		"a server of another kind":                   {changes{set(forest+"servers", `["https://dc1.contoso.example:636"]`)}, "a server must be ldaps://host:port"},
		"StartTLS at a port for TLS":                 {changes{set(forest+"startTLS", "true")}, "or with startTLS ldap://host:port; a connection"},
		"neither servers nor discovery":              {changes{set(forest+"servers", "")}, "give servers, or discovery"},
		"servers and discovery":                      {changes{set(forest+"discovery", `{domain: contoso.example}`)}, "give servers, or discovery"},
		"discovery without a domain":                 {changes{set(forest+"servers", ""), set(forest+"discovery", `{site: Berlin}`)}, "domain"},
		"discovery in a flat domain":                 {changes{set(forest+"servers", ""), set(forest+"discovery", `{domain: CONTOSO}`)}, "domain must be the DNS name"},
		"discovery at a site of two labels":          {changes{set(forest+"servers", ""), set(forest+"discovery", `{domain: contoso.example, site: a.b}`)}, "site must be the name"},
		"a server without a port":                    {changes{set(forest+"servers", `["ldaps://dc1.contoso.example"]`)}, "a server must be ldaps://host:port"},
		"a forest without a suffix":                  {changes{set(forest+"upnSuffixes", "[]")}, "at least 1 items"},
		"a suffix with an at sign":                   {changes{set(forest+"upnSuffixes", `["@contoso.example"]`)}, "a domain name without @"},
		"no time to check a password":                {changes{set("spec/validation/timeoutSeconds", "0")}, "greater than or equal to 1"},
		"more time than the service waits":           {changes{set("spec/validation/timeoutSeconds", "15")}, "less than or equal to 14"},
		"no check at a time":                         {changes{set("spec/validation/maxConcurrent", "0")}, "greater than or equal to 1"},
		"too many checks at a time":                  {changes{set("spec/validation/maxConcurrent", "1025")}, "less than or equal to 1024"},
		"an unknown operating system":                {changes{set("spec/pod/os", "Plan9")}, "Unsupported value"},
		"a node selector for the system":             {changes{set("spec/pod/nodeSelector", "{kubernetes.io/os: linux}")}, "set pod.os"},
		"no time to end":                             {changes{set("spec/pod/terminationGracePeriodSeconds", "1")}, "greater than or equal to 2"},
		"an unknown pull policy":                     {changes{set("spec/pod/imagePullPolicy", "Sometimes")}, "Unsupported value"},
		"resources that say nothing":                 {changes{set("spec/pod/resources", "{}")}, "at least 1 properties"},
		"the same pull secret twice":                 {changes{set("spec/pod/imagePullSecrets", "[{name: a}, {name: a}]")}, "Duplicate value"},
		"an unknown egress mode":                     {changes{set("spec/egress/mode", "Firewall")}, "Unsupported value"},
		"an unknown profile of ports":                {changes{set("spec/egress/ports", "All")}, "Unsupported value"},
		"no egress, and yet addresses":               {changes{set("spec/egress", "{mode: None, dnsCIDRs: [10.0.0.0/8]}")}, "set mode to NetworkPolicy"},
		"a port of old with the new ones":            {changes{set("spec/egress", "{ports: HTTPSOnly, performancePort: true}")}, "performancePort may be true only when"},
		"addresses with host bits":                   {changes{set("spec/egress/cloudCIDRs", "[203.0.113.1/24]")}, "host bits are zero"},
		"an address without its length":              {changes{set("spec/egress/cloudCIDRs", "[203.0.113.1]")}, "a block of IPv4 addresses"},
		"addresses of IPv6":                          {changes{set("spec/egress/directoryCIDRs", `["fd00:1234::/64"]`)}, "a block of IPv4 addresses"},
		"addresses twice":                            {changes{set("spec/egress/dnsCIDRs", "[10.0.0.0/8, 10.0.0.0/8]")}, "Duplicate value"},
		"no address of the cloud":                    {changes{set("spec/egress/cloudCIDRs", "[]")}, "at least 1 items"},
		"addresses of no proxy":                      {changes{set("spec/egress/proxyCIDRs", "[10.0.0.0/8]")}, "has an effect with service.proxyURL only"},
		"the cloud behind a proxy":                   {changes{set("spec/service/proxyURL", "http://p.test:3128"), set("spec/egress/cloudCIDRs", "[20.0.0.0/8]")}, "through the proxy alone"},
		"addresses of a cloud that is named":         {changes{set("spec/egress", "{mode: ClusterNetworkPolicy, cloudCIDRs: [20.0.0.0/8]}")}, "by host names, so cloudCIDRs"},
		"service tags of a cloud that is named":      {changes{set("spec/egress", "{mode: AntreaNetworkPolicy, serviceTags: {name: t, key: k, tags: [ServiceBus]}}")}, "by host names, so cloudCIDRs"},
		"Cilium on Windows":                          {changes{set("spec/egress", "{mode: CiliumNetworkPolicy}")}, "Linux nodes only"},
		"service tags behind a proxy":                {changes{set("spec/service/proxyURL", "http://p.test:3128"), set("spec/egress/serviceTags", "{name: t, key: k, tags: [ServiceBus]}")}, "through the proxy alone"},
		"service tags, and no policy":                {changes{set("spec/egress", "{mode: None, serviceTags: {name: t, key: k, tags: [ServiceBus]}}")}, "set mode to NetworkPolicy"},
		"service tags of no ConfigMap":               {changes{set("spec/egress/serviceTags", "{key: k, tags: [ServiceBus]}")}, "Required value"},
		"service tags of no key":                     {changes{set("spec/egress/serviceTags", "{name: t, tags: [ServiceBus]}")}, "Required value"},
		"a file, and no service tag":                 {changes{set("spec/egress/serviceTags", "{name: t, key: k, tags: []}")}, "at least 1 items"},
		"service tags twice":                         {changes{set("spec/egress/serviceTags", "{name: t, key: k, tags: [ServiceBus, ServiceBus]}")}, "Duplicate value"},
		"a service tag that is a pattern":            {changes{set("spec/egress/serviceTags", "{name: t, key: k, tags: ['ServiceBus.*']}")}, "must be the name of a service tag"},
		"revocation hosts behind a proxy":            {changes{set("spec/service/proxyURL", "http://p.test:3128"), set("spec/egress/revocationCIDRs", "[192.0.2.80/32]")}, "through the proxy alone"},
		"more revocation hosts than fit":             {changes{set("spec/egress/revocationCIDRs", "[10.0.0.0/32, 10.0.0.1/32, 10.0.0.2/32, 10.0.0.3/32, 10.0.0.4/32, 10.0.0.5/32, 10.0.0.6/32, 10.0.0.7/32, 10.0.0.8/32]")}, "at most 8 items"},
		"AMQP, and its ports closed":                 {changes{set("spec/service/transport", "AMQP"), set("spec/egress/ports", "HTTPSOnly")}, "set egress.ports to Documented"},
		"port 0 of the directory":                    {changes{set("spec/egress/directoryPorts", "[{port: 0}]")}, "greater than or equal to 1"},
		"a range that ends early":                    {changes{set("spec/egress/directoryPorts", "[{port: 9, endPort: 8}]")}, "endPort must not be less than port"},
		"an unknown protocol":                        {changes{set("spec/egress/directoryPorts", "[{port: 9, protocol: SCTP}]")}, "Unsupported value"},
		"a field that there is not":                  {changes{set("spec/firewall", "{mode: NetworkPolicy}")}, "unknown field"},
		"a rollout that replaces nothing":            {changes{set("spec/rollout/maxUnavailable", "0")}, "greater than or equal to 1"},
		"a rollout of more than there are":           {changes{set("spec/rollout/maxUnavailable", "41")}, "less than or equal to 40"},
		"less than no time to be ready":              {changes{set("spec/rollout/minReadySeconds", "-1")}, "greater than or equal to 0"},
		"a long time to be ready":                    {changes{set("spec/rollout/minReadySeconds", "601")}, "less than or equal to 600"},
		"no time to become available":                {changes{set("spec/rollout/progressDeadlineSeconds", "0")}, "greater than or equal to 1"},
		"a day and more to be available":             {changes{set("spec/rollout/progressDeadlineSeconds", "86401")}, "less than or equal to 86400"},
		"a deadline nothing can meet":                {changes{set("spec/rollout", "{minReadySeconds: 60, progressDeadlineSeconds: 60}")}, "must be greater than minReadySeconds"},
		"an unknown rollout mode":                    {changes{set("spec/rollout/mode", "Slow")}, "Unsupported value"},
		"an unknown way to fail":                     {changes{set("spec/rollout/onFailure", "Panic")}, "Unsupported value"},
		"a window without a start":                   {changes{set("spec/rollout/maintenanceWindow", "{durationMinutes: 60}")}, "maintenanceWindow.start"},
		"a window without an end":                    {changes{set("spec/rollout/maintenanceWindow", `{start: "02:30"}`)}, "maintenanceWindow.durationMinutes"},
		"a window at no time of day":                 {changes{set("spec/rollout/maintenanceWindow", `{start: "24:00", durationMinutes: 60}`)}, "start must be a time of day"},
		"a window that is never open":                {changes{set("spec/rollout/maintenanceWindow", `{start: "02:30", durationMinutes: 0}`)}, "greater than or equal to 1"},
		"a window of more than a day":                {changes{set("spec/rollout/maintenanceWindow", `{start: "02:30", durationMinutes: 1441}`)}, "less than or equal to 1440"},
		"a window on no day of the week":             {changes{set("spec/rollout/maintenanceWindow", `{start: "02:30", durationMinutes: 60, days: [Someday]}`)}, "Unsupported value"},
		"a window twice on a day":                    {changes{set("spec/rollout/maintenanceWindow", `{start: "02:30", durationMinutes: 60, days: [Monday, Monday]}`)}, "Duplicate value"},
		"a window in no time zone":                   {changes{set("spec/rollout/maintenanceWindow", `{start: "02:30", durationMinutes: 60, timeZone: "../etc/passwd"}`)}, "timeZone must be the name of an IANA time zone"},
		"a window in the local zone":                 {changes{set("spec/rollout/maintenanceWindow", `{start: "02:30", durationMinutes: 60, timeZone: Local}`)}, "timeZone must be the name of an IANA time zone"},
		"a spread over no topology":                  {changes{set("spec/pod/topologySpreadConstraints", "[{maxSkew: 1}]")}, "topologyKey"},
		"a spread over no label":                     {changes{set("spec/pod/topologySpreadConstraints", "[{topologyKey: a b}]")}, "topologyKey must be the key of a label"},
		"a spread without a skew":                    {changes{set("spec/pod/topologySpreadConstraints", "[{topologyKey: zone, maxSkew: 0}]")}, "greater than or equal to 1"},
		"a spread that may not be":                   {changes{set("spec/pod/topologySpreadConstraints", "[{topologyKey: zone, whenUnsatisfiable: Never}]")}, "Unsupported value"},
		"the same spread twice":                      {changes{set("spec/pod/topologySpreadConstraints", "[{topologyKey: zone}, {topologyKey: zone}]")}, "Duplicate value"},
		"a label that is the operator's":             {changes{set("spec/pod/labels", "{identity.passthrough.dev/index: '7'}")}, "labels must not hold labels that the operator sets"},
		"a well-known label we set":                  {changes{set("spec/pod/labels", "{app.kubernetes.io/name: x}")}, "labels must not hold labels that the operator sets"},
		"a label with a space":                       {changes{set("spec/pod/labels", "{team: sign in}")}, "the value of a label must hold only"},
		"a label without a key":                      {changes{set("spec/pod/labels", "{'': x}")}, "the key of a label must be"},
		"a label with a space in its key":            {changes{set("spec/pod/labels", "{'a team': x}")}, "the key of a label must be"},
		"a node of a label that is none":             {changes{set("spec/pod/nodeSelector", "{'a rack': x}")}, "the key of a label must be"},
		"a node of a value that is none":             {changes{set("spec/pod/nodeSelector", "{rack: a b}")}, "the value of a label must hold only"},
		"an annotation without a key":                {changes{set("spec/pod/annotations", "{'a note': x}")}, "the key of an annotation must be"},
		"certificates that say nothing":              {changes{set("spec/certificate", "{}")}, "at least 1 properties"},
		"a renewal within the last hour":             {changes{set("spec/certificate/renewBeforeSeconds", "3599")}, "greater than or equal to 3600"},
		"a renewal before half of a life":            {changes{set("spec/certificate/renewBeforeSeconds", "12960001")}, "less than or equal to 12960000"},
		"an annotation of the operator":              {changes{set("spec/pod/annotations", "{identity.passthrough.dev/config-hash: x}")}, "annotations must not hold those of identity.passthrough.dev"},
	}
	for name, tc := range rows {
		t.Run(name, func(t *testing.T) {
			err := plane.client.Create(t.Context(), object(t, namespace, tc.changes...), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
			if err == nil {
				t.Fatal("it was accepted")
			}
			if (!apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err)) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant it to say %q", err, tc.want)
			}
		})
	}
	for path, message := range rulesOfTheAPI(t) {
		said := func(part string) bool { return strings.Contains(message, part) }
		if !slices.ContainsFunc(slices.Collect(maps.Values(rows)), func(row struct {
			changes changes
			want    string
		}) bool {
			return said(row.want)
		}) && !said(tenantIsFixed) {
			t.Errorf("%s: no row above tries the rule %q", path, message)
		}
	}
}

// tenantIsFixed is what the one rule for changes says.
const tenantIsFixed = "tenantID cannot be changed"

// rulesOfTheAPI are the messages of the validation rules in the CRD's schema, by
// where they stand.
func rulesOfTheAPI(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "config", "crd", "bases", "identity.passthrough.dev_passthroughconnectors.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd any
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	messages := map[string]string{}
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch n := node.(type) {
		case map[string]any:
			if message, ok := n["message"].(string); ok && n["rule"] != nil {
				messages[path] = message
			}
			for name, below := range n {
				walk(path+"/"+name, below)
			}
		case []any:
			for i, below := range n {
				walk(fmt.Sprintf("%s/%d", path, i), below)
			}
		}
	}
	walk("", crd)
	if len(messages) < 20 {
		t.Fatalf("the schema has %d rules, or they stand elsewhere", len(messages))
	}
	return messages
}

func TestAPIAcceptsWhatIsRight(t *testing.T) {
	plane := apiServer(t)
	namespace := newNamespace(t, plane.client, nil)
	for name, changes := range map[string][]func(*testing.T, map[string]any){
		"as written":                             nil,
		"a name of 40 characters":                {set("metadata/name", strings.Repeat("c", 40))},
		"a tenant in capitals":                   {set("spec/tenantID", "6F5E4D3C-2B1A-4908-8716-253443526170")},
		"a known cloud and nothing else":         {set("spec/service", "")},
		"the other known cloud":                  {set("spec/service", "{cloud: AzureUSGovernment}")},
		"one credential spec for all":            {set("spec/identity/gmsaCredentialSpecNames", "[a]")},
		"a credential spec for each":             {set("spec/identity/gmsaCredentialSpecNames", "[a, b, c]")},
		"more credential specs than that":        {set("spec/identity/gmsaCredentialSpecNames", "[a, b, c, d]")},
		"LogonUser":                              logonUser("spec/validation/timeoutSeconds", "12"),
		"no credential spec, on Linux":           {set("spec/identity/gmsaCredentialSpecNames", "[]"), set("spec/pod/os", "Linux")},
		"AMQP over TLS":                          {set("spec/service/transport", "AMQP")},
		"a proxy by address":                     {set("spec/service/proxyURL", "http://[fd00::1]:3128")},
		"no egress policy":                       {set("spec/egress", "{mode: None}")},
		"egress with every address named":        {set("spec/egress", "{ports: Documented, performancePort: true, cloudCIDRs: [20.0.0.0/8], revocationCIDRs: [192.0.2.80/32], directoryCIDRs: [10.0.0.10/32], directoryPorts: [{port: 636}, {protocol: UDP, port: 88}, {port: 49152, endPort: 65535}], dnsCIDRs: [10.0.0.10/32]}")},
		"names for Cilium on Linux":              {set("spec/egress", "{mode: CiliumNetworkPolicy, revocationCIDRs: [192.0.2.80/32]}"), set("spec/pod", "{os: Linux}")},
		"names for Antrea":                       {set("spec/egress", "{mode: AntreaNetworkPolicy, directoryCIDRs: [10.0.0.10/32]}")},
		"names for the cluster and a proxy":      {set("spec/egress", "{mode: ClusterNetworkPolicy}"), set("spec/service/proxyURL", "http://proxy.test:3128")},
		"service tags and addresses":             {set("spec/egress", "{serviceTags: {name: tags, key: ServiceTags_Public.json, tags: [AzureActiveDirectory, ServiceBus.WestEurope, AzureFrontDoor.Frontend]}, cloudCIDRs: [20.0.0.0/8]}")},
		"a proxy by name and addresses":          {set("spec/service/proxyURL", "http://proxy.test:3128"), set("spec/egress/proxyCIDRs", "[10.1.0.0/16]")},
		"domain controllers found by DNS":        {set("spec/validation/ldap/forests/0/servers", ""), set("spec/validation/ldap/forests/0/discovery", `{domain: corp.contoso.example, site: Berlin-1}`)},
		"StartTLS":                               {set("spec/validation/ldap/forests/0/servers", `["ldap://dc1.contoso.example:389"]`), set("spec/validation/ldap/forests/0/startTLS", "true")},
		"an LDAP server by address":              {set("spec/validation/ldap/forests/0/servers", `["ldaps://127.0.0.1:40636"]`)},
		"labels with and without prefix":         {set("spec/pod/labels", "{team: x, example.com/team: x}"), set("spec/pod/annotations", "{note: 'a b', example.com/note: x}"), set("spec/pod/nodeSelector", "{rack: r1, example.com/rack: ''}")},
		"certificates renewed early":             {set("spec/certificate/renewBeforeSeconds", "3600")},
		"identities kept as long as they can be": {set("spec/registration/retainUnusedSeconds", "864000")},
		"no identity kept":                       {set("spec/registration/retainUnusedSeconds", "0")},
		"a sign-in in a known cloud":             {set("spec/service", "{cloud: AzureUSGovernment}"), set("spec/registration", "{deviceCode: {}}")},
		"a sign-in in a custom cloud":            {set("spec/service/custom/loginURL", "https://{tenantID}.login.msappproxy.test:443"), set("spec/registration", "{deviceCode: {clientID: 11111111-2222-4333-8444-55555555ABCD}}")},
		"an authority that is not needed":        {set("spec/service/custom/loginURL", "https://login.msappproxy.test")},
		"a service on a port of its own":         {set("spec/service/custom/registrationURL", "https://127.0.0.1:9090")},
	} {
		t.Run(name, func(t *testing.T) {
			if err := plane.client.Create(t.Context(), object(t, namespace, changes...), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAPIDefaultsOfASignIn(t *testing.T) {
	plane := apiServer(t)
	u := object(t, newNamespace(t, plane.client, nil), set("spec/service", ""), set("spec/registration", "{deviceCode: {}}"))
	if err := plane.client.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	pc := &v1alpha1.PassthroughConnector{}
	if err := plane.client.Get(t.Context(), client.ObjectKeyFromObject(u), pc); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.RegistrationSpec{DeviceCode: &v1alpha1.DeviceCodeRegistration{ClientID: v1alpha1.DefaultClientID}, RetainUnusedSeconds: ptr.To[int32](864000)}
	if diff := cmp.Diff(want, pc.Spec.Registration); diff != "" {
		t.Errorf("the defaults (-want +got):\n%s", diff)
	}
}

func TestAPIDefaults(t *testing.T) {
	plane := apiServer(t)
	u := object(t, newNamespace(t, plane.client, nil), set("spec/service", ""), set("spec/replicas", ""))
	if err := plane.client.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	pc := &v1alpha1.PassthroughConnector{}
	if err := plane.client.Get(t.Context(), client.ObjectKeyFromObject(u), pc); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.PassthroughConnectorSpec{
		TenantID:     fixture.TenantID,
		Replicas:     ptr.To[int32](2),
		Service:      v1alpha1.ServiceSpec{Cloud: v1alpha1.CloudAzurePublic, Transport: v1alpha1.TransportWebSocket},
		Registration: v1alpha1.RegistrationSpec{TokenSecretRef: &v1alpha1.SecretKeyReference{Name: "tenant-admin", Key: "token"}, RetainUnusedSeconds: ptr.To[int32](864000)},
		Validation: v1alpha1.ValidationSpec{
			Method: v1alpha1.ValidationLDAP, TimeoutSeconds: ptr.To[int32](10), MaxConcurrent: ptr.To[int32](64),
			LDAP: &v1alpha1.LDAPValidation{Forests: []v1alpha1.LDAPForest{{
				UPNSuffixes: []v1alpha1.UPNSuffix{"contoso.example"}, Servers: []v1alpha1.LDAPServer{"ldaps://dc1.contoso.example:636"},
			}}},
		},
		Egress: v1alpha1.EgressSpec{Mode: v1alpha1.EgressNetworkPolicy, Ports: v1alpha1.EgressPortsDocumented},
		Rollout: v1alpha1.RolloutSpec{
			MaxUnavailable: ptr.To[int32](1), MinReadySeconds: ptr.To[int32](20), ProgressDeadlineSeconds: ptr.To[int32](900),
			Mode: v1alpha1.RolloutActive, OnFailure: v1alpha1.RolloutHalt,
		},
		Pod: v1alpha1.PodSpec{OS: v1alpha1.OSWindows, TerminationGracePeriodSeconds: ptr.To[int64](30)},
	}
	if diff := cmp.Diff(want, pc.Spec); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestTenantCannotBeChanged(t *testing.T) {
	plane := apiServer(t)
	u := object(t, newNamespace(t, plane.client, nil))
	if err := plane.client.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	set("spec/tenantID", fixture.OtherTenant)(t, u.Object)
	if err := plane.client.Update(t.Context(), u); err == nil || !strings.Contains(err.Error(), tenantIsFixed) {
		t.Errorf("got %v, want the change to be refused", err)
	}
}

// TestPodsMeetTheRestrictedStandard asks a real API server with Pod Security
// admission. What it enforces for Windows differs from what it does for Linux.
func TestPodsMeetTheRestrictedStandard(t *testing.T) {
	plane := apiServer(t)
	namespace := newNamespace(t, plane.client, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	for _, o := range []client.Object{
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "windows-2022"}, Handler: "runhcs"},
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "sign-in"}, Value: 1000},
	} {
		if err := plane.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(*v1alpha1.PassthroughConnector){
		"Windows": func(*v1alpha1.PassthroughConnector) {},
		"Windows with all that can be set": func(pc *v1alpha1.PassthroughConnector) {
			pc.Spec.Identity.GMSACredentialSpecNames = []string{"gmsa"}
			pc.Spec.Pod.RuntimeClassName, pc.Spec.Pod.PriorityClassName = "windows-2022", "sign-in"
			pc.Spec.Pod.ImagePullSecrets = []v1alpha1.ImagePullSecret{{Name: "registry"}}
			pc.Spec.Pod.Tolerations = []corev1.Toleration{{Key: "os", Operator: corev1.TolerationOpExists}}
			pc.Spec.Pod.Labels = map[string]v1alpha1.LabelValue{"team": "sign-in"}
			pc.Spec.Pod.Annotations = map[string]v1alpha1.AnnotationValue{"example.com/note": "hello"}
			pc.Spec.Pod.TopologySpreadConstraints = []v1alpha1.TopologySpreadConstraint{{TopologyKey: "rack", MaxSkew: ptr.To[int32](2), WhenUnsatisfiable: corev1.DoNotSchedule}}
		},
		"Linux": func(pc *v1alpha1.PassthroughConnector) { pc.Spec.Pod.OS = v1alpha1.OSLinux },
	} {
		t.Run(name, func(t *testing.T) {
			pc := fixture.Connector(fixture.In(namespace), change)
			deployment := desired.Deployment(pc, desired.Instance{Image: "image", ConnectorID: "id"})
			data, err := yaml.Marshal(deployment.Spec.Template)
			if err != nil {
				t.Fatal(err)
			}
			pod := &corev1.Pod{}
			if err := yaml.Unmarshal(data, pod); err != nil {
				t.Fatal(err)
			}
			pod.Namespace, pod.GenerateName = namespace, "corp-0-"
			if err := plane.client.Create(t.Context(), pod, client.DryRunAll); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("the namespace does enforce it", func(t *testing.T) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "loose"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "image"}}},
		}
		if err := plane.client.Create(t.Context(), pod, client.DryRunAll); !apierrors.IsForbidden(err) {
			t.Errorf("got %v, want a pod without security settings to be forbidden", err)
		}
	})
}

// lintEgress holds the policy of a resource, as the API server would store it,
// against what engines on Windows understand.
func lintEgress(t *testing.T, pc *v1alpha1.PassthroughConnector) {
	t.Helper()
	var tags servicetags.Ranges
	if pc.Spec.Egress.ServiceTags != nil {
		tags.Blocks = []netip.Prefix{netip.MustParsePrefix("20.0.0.0/8")}
	}
	openings, err := desired.Openings(pc, tags)
	if err != nil {
		t.Fatal(err)
	}
	data, err := yaml.Marshal(desired.EgressPolicy(pc, openings))
	if err != nil {
		t.Fatal(err)
	}
	policy := &networkingv1.NetworkPolicy{}
	if err := yaml.Unmarshal(data, policy); err != nil {
		t.Fatal(err)
	}
	if err := apiServer(t).client.Create(t.Context(), policy, client.DryRunAll); err != nil {
		t.Error(err)
	}
	for _, finding := range policylint.Egress(policy) {
		t.Error(finding)
	}
}

// TestAPIAcceptsAnyEgress shows that what the property tests of policies draw is
// what a user could write.
func TestAPIAcceptsAnyEgress(t *testing.T) {
	plane := apiServer(t)
	namespace := newNamespace(t, plane.client, nil)
	for seed := range uint64(40) {
		pc := fixture.New(fixture.In(namespace), fixture.Egress(rand.New(rand.NewPCG(seed, 1))))
		if err := plane.client.Create(t.Context(), pc, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
			t.Fatalf("seed %d: %v\n%+v", seed, err, pc.Spec)
		}
		lintEgress(t, pc)
	}
}

func TestAPIAcceptsTheSamples(t *testing.T) {
	plane := apiServer(t)
	namespace := newNamespace(t, plane.client, nil)
	samples, err := filepath.Glob(filepath.Join("..", "config", "samples", "*passthroughconnector*.yaml"))
	if err != nil || len(samples) < 2 {
		t.Fatalf("there are the samples %v (%v), want two or more", samples, err)
	}
	for _, sample := range samples {
		t.Run(filepath.Base(sample), func(t *testing.T) {
			data, err := os.ReadFile(sample)
			if err != nil {
				t.Fatal(err)
			}
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(data, &u.Object); err != nil {
				t.Fatal(err)
			}
			u.SetNamespace(namespace)
			if err := plane.client.Create(t.Context(), u, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
				t.Fatal(err)
			}
			pc := &v1alpha1.PassthroughConnector{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, pc); err != nil {
				t.Fatal(err)
			}
			lintEgress(t, pc)
		})
	}
}
