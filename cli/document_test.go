// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/contivnet/contiv/api"
)

func TestTextsNeedNoQuotesAndDefaultsAreFilledIn(t *testing.T) {
	t.Parallel()
	docs, err := documents("f", []byte(`
kind: rule
tenantName: &mine on
policyName: *mine
ruleId: 007
priority: 10
port: 80
fromIpAddress: 10.1.1.1
toIpAddress: ~
link-sets: {Policies: {}}
---
- {kind: bgp, hostname: 1.5, as: 65535.1, neighbor-as: null}
- {kind: network, networkName: 2026-01-02, reserved: [10.1.1.1], internal: true}
---
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []api.ApplyObject
	for _, d := range docs {
		o, err := d.object()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o)
	}
	want := []api.ApplyObject{
		{Collection: "rules", Object: []byte(`{"fromIpAddress":"10.1.1.1","policyName":"on","port":80,"priority":10,"ruleId":"007","tenantName":"on"}`)},
		{Collection: "Bgps", Object: []byte(`{"as":"65535.1","hostname":"1.5"}`)},
		{Collection: "networks", Object: []byte(`{"internal":true,"networkName":"2026-01-02","reserved":["10.1.1.1"],"tenantName":"default"}`)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %s", got)
	}
}

// A position is that of the compiler's and the editor's: lines and columns from 1.
func TestJSONFieldsHaveTheirPlaces(t *testing.T) {
	t.Parallel()
	text := "{\n  \"a\": \"x\\\"y\\\\\",\n\t\"b\\\"\" : [1.5,\n true, null,{}],\n\n \"c\": \"\"}"
	n, err := nodeOfJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var got [][3]any
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		got = append(got, [3]any{n.Line, n.Column, n.Value})
		for _, c := range n.Content {
			walk(c)
		}
	}
	walk(n)
	want := [][3]any{
		{1, 1, ""}, {2, 3, "a"}, {2, 8, `x"y\`}, {3, 2, `b"`}, {3, 10, ""}, {3, 11, "1.5"}, {4, 2, "true"}, {4, 8, "null"}, {4, 13, ""},
		{6, 2, "c"}, {6, 7, ""},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestDeepNonsenseIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := nodeOfJSON([]byte(strings.Repeat("[", 10000) + strings.Repeat("]", 10000))); err == nil {
		t.Error("10000 lists in one another are read")
	}
	// Aliases of aliases, a thousand million elements in all, each in a place for a text.
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 10) + "]\n"
	}
	docs, err := documents("f", []byte("kind: group\npolicies: *i\n"+bomb))
	if err == nil {
		_, err = docs[0].object()
	}
	if err == nil {
		t.Error("a bomb is read")
	}
}

// Whatever the text is, it is read or refused at a place; what is read is JSON for the API, and reads the same again.
func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{
		"kind: tenant\ntenantName: blue\n---\nkind: network\nnetworkName: web\npktTag: 7\nreserved: [10.1.1.1]\n",
		`[{"kind":"rule","ruleId":1,"port":80},{"kind":"policy","policyName":"p","audit":true}]`,
		"- &a {kind: bgp, as: 1}\n- *a\n", "kind: global\nkey: [x]\nlinks: 3\n", "---\n---\n", "{\"kind\":\"tenant\",\"tenantName\":\"\\ud83d\\ude00\"}",
		"kind: group\npolicies: [a, {b: c}]\n", "a: &a [*a]\n", "? [kind]\n: x\n", "<<: {kind: tenant}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		docs, err := documents("f", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for _, d := range docs {
			o, err := d.object()
			if err != nil {
				if !strings.HasPrefix(err.Error(), "f:") {
					t.Fatalf("%q: %v", text, err)
				}
				continue
			}
			b, err := documentOf(o)
			if err != nil {
				t.Fatalf("%q: %s: %v", text, o.Object, err)
			}
			var printed bytes.Buffer
			p := &program{Env: Env{Stdout: &printed}}
			if err := p.printYAML(json.RawMessage(b)); err != nil {
				t.Fatalf("%q: %s: %v", text, b, err)
			}
			again, err := documents("f", printed.Bytes())
			if err != nil || len(again) != 1 {
				t.Fatalf("%q is printed as\n%s: %v", text, &printed, err)
			}
			if o2, err := again[0].object(); err != nil || o2.Collection != o.Collection || !bytes.Equal(o2.Object, o.Object) {
				t.Fatalf("%q is %s, then %s (%v), as it is printed as\n%s", text, o.Object, o2.Object, err, &printed)
			}
		}
	})
}
