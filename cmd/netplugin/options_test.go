// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"slices"
	"testing"
)

func TestMasterIsLookedForAtItsServiceWhereNobodyNamesIt(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		env  map[string]string
		want string
	}{
		{nil, "http://127.0.0.1:9999"},
		{map[string]string{"CONTIV_NETMASTER_SERVICE_HOST": "10.96.7.1", "CONTIV_NETMASTER_SERVICE_PORT": "9999"}, "http://10.96.7.1:9999"},
		{map[string]string{"CONTIV_NETMASTER_SERVICE_HOST": "fd00::7", "CONTIV_NETMASTER_SERVICE_PORT": "9999", "CONTIV_NETPLUGIN_NETMASTER": ""}, "http://[fd00::7]:9999"},
		{map[string]string{"CONTIV_NETMASTER_SERVICE_HOST": "10.96.7.1", "CONTIV_NETMASTER_SERVICE_PORT": "9999", "CONTIV_NETPLUGIN_NETMASTER": "http://192.168.2.54:9999"}, "http://192.168.2.54:9999"},
	} {
		o, _, err := parseOptions(nil, func(name string) string { return row.env[name] }, io.Discard, io.Discard)
		if err != nil || !slices.Equal(o.masters, []string{row.want}) {
			t.Errorf("%v: %v, %v; want %s", row.env, o.masters, err, row.want)
		}
	}
}

func TestNodesThatHaveNoDockerSaySo(t *testing.T) {
	t.Parallel()
	const variable = "CONTIV_NETPLUGIN_DOCKER_SOCKET"
	for _, row := range []struct {
		args []string
		env  map[string]string
		want string
	}{
		{nil, nil, "/var/run/docker.sock"},
		{[]string{"--docker-socket="}, nil, ""},
		{[]string{"--docker-socket=none"}, nil, ""},
		{nil, map[string]string{variable: "none"}, ""},
		{nil, map[string]string{variable: "/run/docker.sock"}, "/run/docker.sock"},
	} {
		o, _, err := parseOptions(row.args, func(name string) string { return row.env[name] }, io.Discard, io.Discard)
		if err != nil || o.docker != row.want {
			t.Errorf("%v %v: %q, %v; want %q", row.args, row.env, o.docker, err, row.want)
		}
	}
}
