// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/contivnet/contiv/model"
)

func TestPortsOfAPodAreThoseThatHaveNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]model.NamedPort{
		`{}`: nil,
		`{"spec": {"containers": [{"ports": [{"containerPort": 80}, {"name": "web", "containerPort": 81}, {"name": "web", "containerPort": 82, "protocol": "UDP"}]}]}}`: {
			{Name: "web", Protocol: "TCP", Port: 81}, {Name: "web", Protocol: "UDP", Port: 82},
		},
		// The first container's; and of those that run before it only what stays.
		`{"spec": {"nodeName": "n1", "containers": [{"image": "a", "ports": [{"name": "web", "containerPort": 1}]}, {"ports": [{"name": "web", "containerPort": 2}]}],
			"initContainers": [{"ports": [{"name": "once", "containerPort": 3}]}, {"restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 4, "protocol": "SCTP"}]}]}}`: {
			{Name: "web", Protocol: "TCP", Port: 1}, {Name: "side", Protocol: "SCTP", Port: 4},
		},
	} {
		var p podObject
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if got := p.Spec.ports(); !slices.Equal(got, want) {
			t.Errorf("%s has the ports %v, want %v", text, got, want)
		}
	}
}
