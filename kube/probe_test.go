// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestProbedPortsAreThoseAtWhichAKubeletAsksThePod(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]uint16{
		`{}`: nil,
		`{"spec": {"containers": [{"livenessProbe": {"exec": {"command": ["true"]}}}]}}`:                                                                                        nil,
		`{"spec": {"containers": [{"readinessProbe": {"httpGet": {"path": "/", "port": 8080}}, "livenessProbe": {"tcpSocket": {"port": 8080}}}]}}`:                              {8080},
		`{"spec": {"containers": [{"startupProbe": {"grpc": {"port": 9000}}}, {"lifecycle": {"preStop": {"httpGet": {"port": 81}}, "postStart": {"httpGet": {"port": 80}}}}]}}`: {80, 81, 9000},
		// By the name that the same container gives it; what nobody has is none, nor is another machine's.
		`{"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8081}], "livenessProbe": {"httpGet": {"port": "web"}}}, {"livenessProbe": {"httpGet": {"port": "web"}}},
			{"livenessProbe": {"tcpSocket": {"host": "192.0.2.1", "port": 22}}}, {"livenessProbe": {"tcpSocket": {"port": 70000}}}]}}`: {8081},
		`{"spec": {"initContainers": [{"livenessProbe": {"tcpSocket": {"port": 1}}}, {"restartPolicy": "Always", "livenessProbe": {"tcpSocket": {"port": 2}}}]}}`: {2},
	} {
		var p podObject
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if got := p.Spec.probed(); !slices.Equal(got, want) {
			t.Errorf("%s is asked at the ports %v, want %v", text, got, want)
		}
	}
}
