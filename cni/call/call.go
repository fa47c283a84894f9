// SPDX-License-Identifier: Apache-2.0

// Package call is what the CNI program and the agent say to each other. It is apart from package cni, which answers, so that the program
// has nothing of the agent in it: it is started for each container, and a hundred at once share the node's processors.
package call

import (
	"encoding/json"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

// Commands that a runtime gives (CNI specification 1.1.0, section 2).
const (
	Add    = "ADD"
	Del    = "DEL"
	Check  = "CHECK"
	GC     = "GC"
	Status = "STATUS"
)

// SocketPath is where the agent listens for the CNI program.
const SocketPath = "/run/contiv/contiv-cni.sock"

// Path is the URL path of calls on the socket.
const Path = "/cni"

// Call is one call of a runtime, as the CNI program carries it.
type Call struct {
	Command     string          `json:"command"`
	ContainerID string          `json:"containerID,omitempty"`
	Netns       string          `json:"netns,omitempty"` // path, as the agent sees it
	IfName      string          `json:"ifName,omitempty"`
	Args        string          `json:"args,omitempty"` // CNI_ARGS: NAME=VALUE;…
	Config      json.RawMessage `json:"config"`         // the network configuration, from standard input
}

// Answer is the agent's: a result, or an error with a code of the specification's section 5.
type Answer struct {
	Result *current.Result `json:"result,omitempty"`
	Error  *types.Error    `json:"error,omitempty"`
}
