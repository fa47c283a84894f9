// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// asked is what a configuration with that runtimeConfig asks for, in words.
func asked(t *testing.T, runtime string) (string, error) {
	t.Helper()
	conf, err := Call{Config: json.RawMessage(`{"name": "k8s", "runtimeConfig": ` + runtime + `}`)}.config()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := conf.published()
	if err != nil {
		return "", err
	}
	spec, err := conf.spec()
	return strings.TrimSuffix(fmt.Sprint(ports, spec), " <nil>"), err
}

func TestRuntimeConfigSaysPortsAndRates(t *testing.T) {
	t.Parallel()
	for runtime, want := range map[string]string{
		`{}`: "[]",
		`{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}, {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "::ffff:192.0.2.1"}]}`: "[{tcp invalid IP 8080 8080 80} {udp 192.0.2.1 53 53 5353}]",
		`{"portMappings": [{"hostPort": 1, "containerPort": 2, "hostIP": "::"}]}`:                                                                                                  "[{tcp :: 1 1 2}]",
		`{"bandwidth": {"ingressRate": 20000000, "ingressBurst": 800000, "egressRate": 10000000}}`:                                                                                 "[] &{[] [] {10000000 0} {20000000 100000}}",
		// What containerd and CRI-O write for pods, and a burst in which no packet fits.
		`{"bandwidth": {"ingressRate": 20000000, "ingressBurst": 4294967295, "egressRate": 10000000, "egressBurst": 34359738359}}`: "[] &{[] [] {10000000 0} {20000000 0}}",
		`{"bandwidth": {"egressRate": 1000, "egressBurst": 8}}`:                                                                    "[] &{[] [] {1000 2048} {0 0}}",
	} {
		if got, err := asked(t, runtime); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", runtime, got, err, want)
		}
	}
	for runtime, want := range map[string]string{
		`{"portMappings": [{"hostPort": 0, "containerPort": 80}]}`:                            "has port 0",
		`{"portMappings": [{"hostPort": 80, "containerPort": 65536}]}`:                        "has port 65536",
		`{"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "icmp"}]}`:       `the protocol "icmp"`,
		`{"portMappings": [{"hostPort": 80, "containerPort": 80, "hostIP": "node1"}]}`:        `the hostIP "node1"`,
		`{"portMappings": [{"hostPort": 80, "containerPort": 80, "hostIP": "fe80::1%eth0"}]}`: "no address",
		`{"bandwidth": {"egressBurst": 800000}}`:                                              "egressBurst and no egressRate",
		`{"bandwidth": {"ingressRate": 10}}`:                                                  "write the annotation of a pod as 10M",
	} {
		if _, err := asked(t, runtime); !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", runtime, err, want)
		}
	}
}
