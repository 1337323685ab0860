// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/passthrough-dev/connector-operator/connector/wire/trust"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a document, broken into one element a line, with testdata/name.
func golden(t *testing.T, name string, document []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	got := strings.ReplaceAll(string(document), "><", ">\n<") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", file, diff)
	}
}

func testdata(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

const (
	tenant    = "6f5e4d3c-2b1a-4908-8716-253443526170"
	connector = "0c1d2e3f-4a5b-4c7d-8e9f-a0b1c2d3e4f5"
	group1    = "9a8b7c6d-5e4f-4a3b-9c2d-1e0f1a2b3c4d"
	keyText   = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

func request() Request {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901200, time.UTC)
	return Request{
		TenantID: tenant, ConnectorID: connector, RequestID: "11111111-2222-4333-8444-555555555555",
		AgentVersion: "1.5.3437.0", SDKVersion: "1.5.3437.0", DataModelVersion: "1.5.1542.0", ProxyDataModelVersion: "1.5.3437.0",
		System: trust.SystemSettings{
			MachineName: "server1.contoso.example", OSLanguage: "1033", OSLocale: "0409", OSSKU: "8", OSVersion: "10.0.20348",
		},
		ServiceAccountName: `NT Authority\NetworkService`, InitialBootstrap: true, ConsecutiveFailures: 2,
		ProxyPortResponseMode: "Primary", ProxyPortFallbackDisabled: true, DotNetRelease: "528449",
		Performance: &PerformanceMetrics{
			CPU:                  []CPUAggregate{{Average: 1.5, Max: 12, Interval: time.Minute, TimeCollected: at}},
			LastBootstrapLatency: 250 * time.Millisecond, TimeGenerated: at,
		},
		SuccessfulRequests: []RequestMetrics{{
			ConnectionAddress: "https://" + tenant + ".pta.bootstrap.his.msappproxy.test/", ConnectionLeaseTimeout: 300000,
			ConnectionLimit: 200, CurrentConnections: 1, CertificateIssuer: "CN=test CA", CertificateSubject: "CN=*.msappproxy.test",
			CertificateThumbprint: "0123456789ABCDEF0123456789ABCDEF01234567", TimeCollected: at,
		}},
		UpdaterStatus: "Running",
	}
}

func TestRequest(t *testing.T) {
	want := request()
	document, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "request.xml", document)
	got, err := ParseRequest(document)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestTheSmallestRequest(t *testing.T) {
	document, err := Request{TenantID: tenant, ConnectorID: connector, RequestID: connector, AgentVersion: "1.5.2482.0"}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "request-smallest.xml", document)
	if _, err := (Request{TenantID: tenant, ConnectorID: connector}).Marshal(); err == nil {
		t.Error("a request without an id is written")
	}
}

func TestRequestOfAnotherClient(t *testing.T) {
	got, err := ParseRequest(testdata(t, "request-other-client.xml"))
	if err != nil {
		t.Fatal(err)
	}
	want := Request{
		TenantID: tenant, ConnectorID: connector, RequestID: "11111111-2222-4333-8444-555555555555",
		AgentVersion: "1.5.1542.0", SDKVersion: "1.5.1542.0", DataModelVersion: "1.5.1542.0", ProxyDataModelVersion: "1.5.1542.0",
		ConnectorVersion: "1.5.1542.0", ProxyPortResponseMode: "Primary", ProxyPortFallbackDisabled: true, DotNetRelease: "461814",
		System: trust.SystemSettings{
			MachineName: "server1.contoso.example", OSLanguage: "1033", OSLocale: "0409", OSSKU: "8", OSVersion: "10.0.17763",
		},
		UpdaterStatus: "Running",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func response() Response {
	r := DefaultResponse()
	r.TrustRenewEndpoint = "https://his-nam1-cus1.renewtrust.msappproxy.test/renewTrust"
	r.ServiceMessage = "Maintenance <tonight> & tomorrow"
	for _, reliable := range []bool{false, true} {
		path := tenant + "_" + group1
		if reliable {
			path += "_reliable"
		}
		r.Endpoints = append(r.Endpoints, Endpoint{
			Available: true, Name: "his-nam1-test1/" + path, Domain: "servicebus.test", Namespace: "his-nam1-test1",
			Reliable: reliable, Scheme: "sb", ServicePath: path, SharedAccessKey: keyText, SharedAccessKeyName: "Connector",
		})
	}
	return r
}

func TestResponse(t *testing.T) {
	want := response()
	document, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "response.xml", document)
	got, err := ParseResponse(document)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if host := got.Endpoints[0].Host(); host != "his-nam1-test1.servicebus.test" {
		t.Errorf("Host() = %q", host)
	}
}

// TestResponseElementsAreInOrder guards the order that the golden file shows
// against an -update of both: the service's serializer wants the alphabet.
func TestResponseElementsAreInOrder(t *testing.T) {
	r := Response{}
	var last string
	for _, f := range r.fields(nil) {
		if f.name <= last {
			t.Errorf("%s is written behind %s", f.name, last)
		}
		last = f.name
	}
	q := Request{}
	last = ""
	for _, f := range q.fields() {
		if f.name <= last {
			t.Errorf("%s is written behind %s", f.name, last)
		}
		last = f.name
	}
}

func TestResponseOfAnOlderService(t *testing.T) {
	got, err := ParseResponse(testdata(t, "response-2020.xml"))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultResponse()
	want.MaxFailedRequests = 144
	want.PeriodicInterval = 5 * time.Minute
	want.TrustLifetimeBeforeRenew = 20 * day
	want.ConnectorState = "UpdateRequired"
	want.Settings.SignalingSettings.ServiceBusSasTokenTTL = TimeSpan(23*time.Hour + 59*time.Minute + 59*time.Second)
	want.Settings.SignalingSettings.UseCachedServiceBusSasToken = false
	want.Settings.SignalingSettings.ReceiveTimeout = TimeSpan(Infinite)
	want.RetryStrategy = RetryStrategy{Periodic: &Periodic{Interval: time.Minute}}
	want.ResponseRetry.DelayFactor = 1.5
	want.Endpoints = []Endpoint{
		{
			Available: true, Name: "his-sb-pta-NAM-Ncus/" + tenant + "_" + group1, Domain: "servicebus.test", Namespace: "his-sb-pta-NAM-Ncus",
			Scheme: "sb", ServicePath: tenant + "_" + group1, SharedAccessKey: keyText, SharedAccessKeyName: "Connector",
		},
		{Namespace: "down", Domain: "servicebus.test"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnEmptyResponseMeansTheDefaults(t *testing.T) {
	got, err := ParseResponse([]byte("<BootstrapResponse/>"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultResponse(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestARetryStrategyThatCannotBeLeavesTheDocumentedOne(t *testing.T) {
	for name, in := range map[string]string{
		"too random":      "<Randomized><PlusOrMinusPercent>101</PlusOrMinusPercent></Randomized>",
		"negative count":  "<Periodic><MaxAttempts>-1</MaxAttempts></Periodic>",
		"no duration":     "<ExponentialBackoff><MinDelay>soon</MinDelay></ExponentialBackoff>",
		"an unknown kind": "<Fibonacci><Interval>00:00:01</Interval></Fibonacci>",
		"nothing":         "",
	} {
		got, err := ParseResponse([]byte("<BootstrapResponse><PeriodicBootstrapRetryStrategy>" + in + "</PeriodicBootstrapRetryStrategy></BootstrapResponse>"))
		if diff := cmp.Diff(DefaultResponse(), got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestResponsesThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"another document":              {"<html/>", "html"},
		"an interval of nothing":        {"<PeriodicBootstrapIntervalMilliseconds>0</PeriodicBootstrapIntervalMilliseconds>", "PeriodicBootstrapIntervalMilliseconds"},
		"a negative time limit":         {"<LogicalResponseTimeoutMilliseconds>-1</LogicalResponseTimeoutMilliseconds>", "LogicalResponseTimeoutMilliseconds"},
		"no attempt at all":             {"<ResponseRetryTotalAttempts>0</ResponseRetryTotalAttempts>", "ResponseRetryTotalAttempts"},
		"a number that is none":         {"<ConnectionLimit>many</ConnectionLimit>", "ConnectionLimit"},
		"a boolean that is none":        {"<ResponseSigningEnabled>2</ResponseSigningEnabled>", "ResponseSigningEnabled"},
		"a factor that is infinite":     {"<ResponseRetryDelayFactor>INF</ResponseRetryDelayFactor>", "ResponseRetryDelayFactor"},
		"a duration that is none":       {"<DnsLookupCacheTtl>soon</DnsLookupCacheTtl>", "DnsLookupCacheTtl"},
		"settings that are no JSON":     {"<ConnectivitySettings>{</ConnectivitySettings>", "ConnectivitySettings"},
		"settings of another kind":      {`<ConnectivitySettings>{"SignalingSettings":{"OpenTimeout":5}}</ConnectivitySettings>`, "TimeSpan"},
		"more endpoints than there are": {"<SignalingListenerEndpoints>" + strings.Repeat("<SignalingListenerEndpointSettings/>", maxItems+1) + "</SignalingListenerEndpoints>", "items"},
	} {
		t.Run(name, func(t *testing.T) {
			in := tc.in
			if !strings.HasPrefix(in, "<html") {
				in = "<BootstrapResponse>" + in + "</BootstrapResponse>"
			}
			if _, err := ParseResponse([]byte(in)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestNoDocumentChoosesTheLengthOfAnError(t *testing.T) {
	long := strings.Repeat("1", 100000)
	for name, in := range map[string]string{
		"a name":         "<BootstrapResponse><a" + long + "></b" + long + "></BootstrapResponse>",
		"a root":         "<a" + long + "/>",
		"a number":       "<BootstrapResponse><ConnectionLimit>" + long + "</ConnectionLimit></BootstrapResponse>",
		"a span":         "<BootstrapResponse><DnsLookupCacheTtl>" + long + "</DnsLookupCacheTtl></BootstrapResponse>",
		"settings":       `<BootstrapResponse><ConnectivitySettings>{"SignalingSettings":{"ListenBacklog":` + long + `}}</ConnectivitySettings></BootstrapResponse>`,
		"many endpoints": "<BootstrapResponse><SignalingListenerEndpoints>" + strings.Repeat("<SignalingListenerEndpointSettings><IsAvailable>x</IsAvailable></SignalingListenerEndpointSettings>", maxItems) + "</SignalingListenerEndpoints></BootstrapResponse>",
	} {
		if _, err := ParseResponse([]byte(in)); err == nil || len(err.Error()) > 500 {
			t.Errorf("%s: error = %.600v", name, err)
		}
	}
}

func TestRenewBefore(t *testing.T) {
	if got := (Response{}).RenewBefore(); got != 720*time.Hour {
		t.Errorf("zero means %v", got)
	}
	if got := (Response{TrustLifetimeBeforeRenew: time.Hour}).RenewBefore(); got != time.Hour {
		t.Errorf("an hour means %v", got)
	}
}

func TestSettingsThatCannotBeWrittenAreAnError(t *testing.T) {
	r := response()
	r.Settings.WebSocketSignalingSettings.RetryableOperationSettings.DelayFactor = math.NaN()
	if _, err := r.Marshal(); err == nil {
		t.Error("no error")
	}
}

func TestNoPrintingRevealsAKey(t *testing.T) {
	r := response()
	asJSON, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	outputs := []string{string(asJSON)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		outputs = append(outputs, fmt.Sprintf(verb, r), fmt.Sprintf(verb, r.Endpoints), fmt.Sprintf(verb, &r.Endpoints[0]))
	}
	secret := regexp.MustCompile(keyText[:20] + "|" + fmt.Sprintf("(?i)%x", keyText[:10]))
	for _, out := range outputs {
		if secret.MatchString(out) {
			t.Errorf("a key is printed: %.200s", out)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, name := range []string{"request.xml", "request-smallest.xml", "request-other-client.xml"} {
		f.Add(testdata(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRequest(data)
		if err != nil {
			return
		}
		document, err := r.Marshal()
		if err != nil {
			return // it lacks an identifier
		}
		if _, err := ParseRequest(document); err != nil && len(data) < 1<<16 {
			t.Fatalf("what was read cannot be read when written: %v\n%s", err, document)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	f.Add(testdata(f, "response.xml"))
	f.Add(testdata(f, "response-2020.xml"))
	f.Add([]byte("<BootstrapResponse/>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseResponse(data)
		if err != nil {
			return
		}
		if r.PeriodicInterval <= 0 || r.LogicalResponseTimeout <= 0 || r.ResponseRetry.TotalAttempts < 1 || len(r.Endpoints) > maxItems {
			t.Fatalf("out of bounds: %v", r)
		}
		for _, n := range []int{1, 2, 7, 8, 1000} {
			for _, random := range []float64{0, 0.5, 0.999} {
				if d, _ := r.RetryStrategy.Delay(n, random); d < 0 {
					t.Fatalf("delay %d is %v", n, d)
				}
			}
		}
		document, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseResponse(document); err != nil && len(data) < 1<<16 {
			t.Fatalf("what was read cannot be read when written: %v\n%s", err, document)
		}
	})
}
