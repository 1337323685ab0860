// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mounts

import "testing"

func TestRewrite(t *testing.T) {
	rewriter := NewRewriter([]Mapping{
		{Container: "/etc/app", Host: "/pod/volumes/config"},
		{Container: "/etc/app/identity/", Host: "/pod/volumes/identity"},
		{Container: `C:\app\config`, Host: "/pod/volumes/win"},
		{Container: "/", Host: "/never"},
	})
	tests := map[string]struct{ text, want string }{
		"the path alone":                     {"/etc/app", "/pod/volumes/config"},
		"a file below it in a flag":          {"--config=/etc/app/config.json", "--config=/pod/volumes/config/config.json"},
		"the longest mount wins":             {"/etc/app/identity/tls.crt", "/pod/volumes/identity/tls.crt"},
		"every place of a list":              {"/etc/app/a:/etc/app/b,/etc/app", "/pod/volumes/config/a:/pod/volumes/config/b,/pod/volumes/config"},
		"inside a URL":                       {"file:///etc/app/x", "file:///etc/app/x"},
		"a longer name is another path":      {"/etc/application /etc/app-2 /etc/app.d", "/etc/application /etc/app-2 /etc/app.d"},
		"a path that only ends like it":      {"/opt/etc/app", "/opt/etc/app"},
		"quoted":                             {`{"path":"/etc/app"}`, `{"path":"/pod/volumes/config"}`},
		"a Windows path, with its separator": {`--config=C:\app\config\sub\a.json`, "--config=/pod/volumes/win/sub/a.json"},
		"a Windows path in another case":     {`c:\APP\Config`, "/pod/volumes/win"},
		"other Windows paths stay":           {`C:\app\configuration`, `C:\app\configuration`},
		"a root mount is never rewritten":    {"/ /usr", "/ /usr"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := rewriter.Rewrite(test.text); got != test.want {
				t.Errorf("Rewrite(%q) = %q, want %q", test.text, got, test.want)
			}
		})
	}
}
