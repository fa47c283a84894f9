// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/cli"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/store/memory"
)

// realMaster is a netmaster over a store in memory.
func realMaster(t *testing.T) string {
	t.Helper()
	m := master.New(master.Options{Store: memory.New(), Log: slog.New(slog.DiscardHandler), Version: api.Version{Version: "9.9.9"}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	s := httptest.NewServer(m)
	t.Cleanup(func() {
		s.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the master ended with %v", err)
		}
	})
	select {
	case <-m.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("the master is not ready after 10 s")
	}
	return s.URL
}

// The story of an operator's first hour, on a real master.
func TestNetctlAndTheMasterUnderstandEachOther(t *testing.T) {
	t.Parallel()
	url := realMaster(t)
	agent, err := api.NewClient(url)
	if err != nil {
		t.Fatal(err)
	}
	put := func(path string, in any) func() error {
		return func() error { _, err := agent.Put(t.Context(), path, in, nil); return err }
	}
	node := api.Node{NodeName: "node1", VtepIP: netip.MustParseAddr("192.168.2.10"), VXLANPort: 4789, MTU: 1500, Version: "1.0"}
	endpoint := api.Endpoint{EndpointID: "0123456789abcdef", TenantName: "blue", NetworkName: "web", HomingHost: "node1", ContainerName: "c1"}

	const netHead = "Tenant  Network  Nw Type  Encap type  Packet tag  Subnet       Gateway     IPv6Subnet  IPv6Gateway  Cfgd Tag\n"
	for _, step := range []struct {
		agent  func() error // done before the command
		args   string
		exit   int
		stdout string // all of it, or with … at its end, its beginning
		stderr string // a part of it
	}{
		{args: "tenant ls -q", stdout: "default\n"},
		{args: "tenant create blue", stdout: "Creating tenant: blue\n"},
		{args: "tenant create blue", stdout: "Creating tenant: blue\n"},
		{args: "net create -t green -s 10.1.2.0/24 web", exit: cli.ExitRefused, stderr: "green"},
		{args: "net create -t blue -s 10.1.2.0/24 -g 10.1.2.254 web", stdout: "Creating network blue:web\n"},
		{args: "net create -t blue -s 10.1.2.128/25 other", exit: cli.ExitRefused, stderr: "conflicts"},
		{args: "net create -s 10.1.2.0/33 odd", exit: cli.ExitRefused, stderr: "10.1.2.0/33"},
		{args: "net ls -t blue", stdout: netHead +
			"------  -------  -------  ----------  ----------  -------      ------      ----------  -----------  ---------\n" +
			"blue    web      data     vxlan       0           10.1.2.0/24  10.1.2.254\n"},
		{args: "net inspect -t blue web", stdout: "{\n  \"Config\": {\n    \"key\": \"blue:web\",\n…"},
		{agent: put(api.ObjectPath(api.Nodes, "node1"), node), args: "node ls", stdout: "Node   State  VTEP          MTU   Endpoints  Version\n" +
			"----   -----  ----          ---   ---------  -------\n" +
			"node1  down   192.168.2.10  1500  0          1.0\n"},
		{agent: put(api.ObjectPath(api.Endpoints, endpoint.EndpointID), endpoint), args: "ep ls -a", stdout: "" +
			"Tenant  Network  Endpoint      Container  Node   State  IP        IPv6  MAC\n" +
			"------  -------  --------      ---------  ----   -----  --        ----  ---\n" +
			"blue    web      0123456789ab  c1         node1  down   10.1.2.1        02:02:0a:01:02:01\n"},
		{args: "ep inspect c1", stdout: "{\n  \"Oper\": {\n    \"containerName\": \"c1\",\n…"},
		{args: "net rm -t blue web", exit: cli.ExitRefused, stderr: "c1"},
		{args: "tenant rm blue", exit: cli.ExitRefused, stderr: "network"},
		{args: "tenant rm default", exit: cli.ExitRefused, stderr: "cannot be deleted"},
		{args: "node inspect node1", stdout: "{\n  \"Config\": {\n    \"key\": \"node1\",\n…"},
		{args: "node rm node1", stdout: "Deleting node node1\n"},
		{args: "ep ls -q -a", stdout: ""},
		{args: "net rm -t blue web", stdout: "Deleting network blue:web\n"},
		{args: "net rm -t blue web", exit: cli.ExitRefused, stderr: "network blue:web not found"},
		{args: "tenant rm blue", stdout: "Deleting tenant blue\n"},
		{args: "global set -b bridge -v 10-20", stdout: ""},
		{args: "global info", stdout: "Fabric mode: default\nForward mode: bridge\nARP mode: proxy\nVlan Range: 10-20\n" +
			"Vxlan range: 1-10000\nPrivate subnet: 172.19.0.0/16\n"},
		{args: "global set -v 20-10", exit: cli.ExitRefused, stderr: "20-10"},
		{args: "global inspect", stdout: "{\n  \"Config\": {\n    \"key\": \"global\",\n…"},
		{args: "version", stdout: "Client Version:\nVersion: \nGitCommit: \nBuildTime: \n\nServer Version:\nVersion: 9.9.9\nGitCommit: \nBuildTime: \n"},
	} {
		if step.agent != nil {
			if err := step.agent(); err != nil {
				t.Fatalf("before netctl %s: %v", step.args, err)
			}
		}
		var stdout, stderr bytes.Buffer
		exit := cli.Run(t.Context(), strings.Fields(step.args), cli.Env{Stdin: http.NoBody, Stdout: &stdout, Stderr: &stderr,
			Getenv: func(name string) string { return map[string]string{"NETMASTER": url}[name] }})
		begin, open := strings.CutSuffix(step.stdout, "…")
		if exit != step.exit || !strings.HasPrefix(stdout.String(), begin) || !open && stdout.String() != begin ||
			!strings.Contains(stderr.String(), step.stderr) || (exit == cli.ExitDone) != (stderr.Len() == 0) {
			t.Errorf("netctl %s: exit %d, stderr %q, stdout:\n%s", step.args, exit, &stderr, &stdout)
		}
	}
}
