// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"encoding/json"
	"maps"
	"testing"
)

func TestLabelsAreTheRuntimesInEitherForm(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]string{
		`{"name": "x"}`: {},
		`{"name": "x", "args": {"cni": {"labels": [{"key": "app", "value": "web"}, {"key": "tier", "value": "front"}]}}}`: {"app": "web", "tier": "front"},
		`{"name": "x", "runtimeConfig": {"labels": {"app": "web", "io.x/y": ""}}}`:                                        {"app": "web", "io.x/y": ""},
		`{"name": "x", "args": {"cni": {"labels": [{"key": "app", "value": "db"}, {"key": "tier", "value": "back"}]}},
		  "runtimeConfig": {"labels": {"app": "web"}, "portMappings": []}}`: {"app": "web", "tier": "back"},
		// Nobody becomes another configuration's.
		`{"name": "x", "args": {"cni": {"labels": [{"key": "cni.config", "value": "y"}]}}, "runtimeConfig": {"labels": {"cni.config": "z", "io.kubernetes.pod.name": "web-0"}}}`: {},
		// Other runtimes' args.
		`{"name": "x", "args": "verbose"}`: {}, `{"name": "x", "args": ["a"]}`: {},
		`{"name": "x", "args": {"cni": {"labels": {"app": "web"}}}}`:                  {},
		`{"name": "x", "args": {"cni": {"labels": [{"value": "web"}, {"key": ""}]}}}`: {},
		`{"name": "x", "args": {"org.apache.mesos": {"network_info": {}}}}`:           {},
	} {
		conf, err := Call{Config: json.RawMessage(text)}.config()
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		want[labelConfig] = "x"
		if got := conf.labels(); !maps.Equal(got, want) {
			t.Errorf("%s: labels are %q, want %q", text, got, want)
		}
	}
}
