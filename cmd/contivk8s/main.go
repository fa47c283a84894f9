// SPDX-License-Identifier: Apache-2.0

// Command contivk8s is the CNI program that a kubelet, containerd, podman or Nomad calls. It carries the call to the
// node's netplugin over a unix socket and prints the answer.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/contivnet/contiv/cni/call"
)

// Set by the build.
var version, commit, built = "devel", "unknown", "unknown"

// patience is longer than the agent's own, so that the agent's error is the one that is seen.
const patience = 40 * time.Second

func main() {
	socket := os.Getenv("CONTIV_CNI_SOCKET")
	if socket == "" {
		socket = call.SocketPath
	}
	carry := func(command string) func(*skel.CmdArgs) error {
		return func(a *skel.CmdArgs) error {
			return ask(socket, call.Call{Command: command, ContainerID: a.ContainerID, Netns: a.Netns, IfName: a.IfName, Args: a.Args, Config: a.StdinData})
		}
	}
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add: carry(call.Add), Del: carry(call.Del), Check: carry(call.Check), GC: carry(call.GC), Status: carry(call.Status),
	}, cniversion.All, fmt.Sprintf("Contiv CNI program %s (commit %s, built %s)", version, commit, built))
}

// ask has the agent answer, and prints the result in the configuration's version.
func ask(socket string, c call.Call) error {
	body, err := json.Marshal(c)
	if err != nil {
		return types.NewError(types.ErrDecodingFailure, "the network configuration is not JSON", err.Error())
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	resp, err := client.Post("http://netplugin"+call.Path, "application/json", bytes.NewReader(body))
	if err != nil {
		code := types.ErrTryAgainLater
		if c.Command == call.Status {
			code = types.ErrPluginNotAvailable
		}
		return types.NewError(code, "Contiv: no netplugin answers on this node: start it", err.Error())
	}
	defer resp.Body.Close()
	var a call.Answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return types.NewError(types.ErrIOFailure, "Contiv: netplugin's answer cannot be read", err.Error())
	}
	if a.Error != nil {
		return a.Error
	}
	if a.Result == nil {
		return nil
	}
	var conf types.NetConf
	if err := json.Unmarshal(c.Config, &conf); err != nil {
		return types.NewError(types.ErrDecodingFailure, "the network configuration is not JSON", err.Error())
	}
	return types.PrintResult(a.Result, conf.CNIVersion)
}
