// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"testing"

	"go.yaml.in/yaml/v3"
)

// roles are the rules of a manifest's cluster roles, by name.
func roles(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
			Rules    any
		}
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		if o.Kind == "ClusterRole" {
			out[o.Metadata.Name] = o.Rules
		}
	}
}

func TestPodsOfContivMayDoWhatItsProgramsOnHostsMay(t *testing.T) {
	t.Parallel()
	pods := roles(t, "k8s/contiv.yaml")
	for path, name := range map[string]string{"k8s/netmaster-rbac.yaml": "contiv-netmaster", "k8s/netplugin-rbac.yaml": "contiv-netplugin"} {
		if hosts := roles(t, path)[name]; hosts == nil || !reflect.DeepEqual(hosts, pods[name]) {
			t.Errorf("%s allows %v, contiv.yaml %v: change helm/contiv/templates/accounts.yaml too, and make generate", path, hosts, pods[name])
		}
	}
}
