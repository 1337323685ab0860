// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"strings"
	"testing"

	"github.com/passthrough-dev/connector-operator/connector/wire/vectors"
)

const fetchedConnection = "8457828f-0000-4000-8000-4044b1478cc1"

func TestFetchOfTheTranscript(t *testing.T) {
	want := vectors.Text("fetch.json")
	got, err := EncodeFetch(fetchedConnection)
	if err != nil || string(got) != want {
		t.Errorf("wrote %s, %v; want %s", got, err, want)
	}
	id, err := DecodeFetch([]byte(want))
	if err != nil || id != fetchedConnection {
		t.Errorf("read %q, %v", id, err)
	}
}

func TestDecodeFetch(t *testing.T) {
	for name, tc := range map[string]struct {
		doc string
		ok  bool
	}{
		"with spaces, in another order": {`{ "MessageType": 0, "ConnectionId": "` + fetchedConnection + `", "New": [1] }`, true},
		"without a type":                {`{"ConnectionId":"` + fetchedConnection + `"}`, true},
		"another type":                  {`{"ConnectionId":"` + fetchedConnection + `","MessageType":1}`, false},
		"no id":                         {`{"MessageType":0}`, false},
		"an id that is none":            {`{"ConnectionId":"canary","MessageType":0}`, false},
		"a number":                      {`{"ConnectionId":1}`, false},
		"no JSON":                       {`canary`, false},
		"too long":                      {`{"ConnectionId":"` + fetchedConnection + `"` + strings.Repeat(" ", MaxFetch) + `}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeFetch([]byte(tc.doc))
			if (err == nil) != tc.ok {
				t.Errorf("error = %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error quotes the message: %v", err)
			}
		})
	}
	if _, err := EncodeFetch(`x","MessageType":1,"y":"`); err == nil {
		t.Error("an id that is none was written")
	}
}

func FuzzDecodeFetch(f *testing.F) {
	f.Add([]byte(vectors.Text("fetch.json")))
	f.Add([]byte(`{"MessageType":0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := DecodeFetch(data)
		if err != nil {
			return
		}
		if _, err := EncodeFetch(id); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
