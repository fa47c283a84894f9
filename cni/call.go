// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/utils"

	"github.com/contivnet/contiv/model"
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

// CallPath is the URL path of calls on the socket.
const CallPath = "/cni"

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

// config is what we read of the network configuration.
type config struct {
	types.NetConf
	Tenant  string `json:"tenant"`
	Network string `json:"network"`
	Group   string `json:"group"` // "" for none
}

// Where containers go unless the configuration names a network or a group.
const defaultNetwork = "default-net"

func (c Call) config() (config, error) {
	var out config
	if err := json.Unmarshal(c.Config, &out); err != nil {
		return out, types.NewError(types.ErrDecodingFailure, "Contiv: the network configuration cannot be read", err.Error())
	}
	out.Tenant = cmp.Or(out.Tenant, model.DefaultTenant)
	if out.Group == "" {
		out.Network = cmp.Or(out.Network, defaultNetwork)
	}
	return out, nil
}

// networkIn is the network of w that the configuration means, by its name or by that of its group.
func (c config) networkIn(w model.World) (model.Network, error) {
	name := c.Network
	if c.Group != "" {
		g, ok := w.Groups.Get(model.GroupKey(c.Tenant, c.Group))
		if !ok {
			return model.Network{}, model.NotFound("group", "group %s of tenant %s does not exist: create it with netctl group create -t %s %s %s",
				c.Group, c.Tenant, c.Tenant, cmp.Or(name, "NETWORK"), c.Group)
		}
		name = cmp.Or(name, g.Network)
		if g.Network != name {
			return model.Network{}, model.Invalid("group", "group %s of tenant %s is in network %s, not in %s: correct the configuration, in which the network may be left out",
				c.Group, c.Tenant, g.Network, name)
		}
	}
	n, ok := w.Networks.Get(model.NetworkKey(c.Tenant, name))
	if !ok {
		return n, model.NotFound("network", "network %s of tenant %s does not exist: create it with netctl net create -t %s -s SUBNET %s", name, c.Tenant, c.Tenant, name)
	}
	return n, nil
}

// name is what the runtime calls the container, to be found by: the pod's name for those of Kubernetes, and of others that say it
// in the same way; "" where nothing is said.
func (c Call) name() string {
	for arg := range strings.SplitSeq(c.Args, ";") {
		if name, ok := strings.CutPrefix(arg, "K8S_POD_NAME="); ok {
			return name
		}
	}
	return ""
}

// maxContainerID bounds a container's id: an endpoint's has 256 characters.
const maxContainerID = 200

// endpointID is the id of the attachment that a call is about. A colon is in neither name, so no two attachments have one id.
func (c Call) endpointID() (string, error) {
	if err := utils.ValidateContainerID(c.ContainerID); err != nil {
		return "", types.NewError(types.ErrInvalidEnvironmentVariables, "Contiv: CNI_CONTAINERID: "+err.Msg, err.Details)
	}
	if len(c.ContainerID) > maxContainerID {
		return "", types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("Contiv: CNI_CONTAINERID has more than %d characters", maxContainerID), c.ContainerID)
	}
	if err := utils.ValidateInterfaceName(c.IfName); err != nil {
		return "", types.NewError(types.ErrInvalidEnvironmentVariables, "Contiv: CNI_IFNAME: "+err.Msg, err.Details)
	}
	return "cni-" + c.ContainerID + ":" + c.IfName, nil
}

// result is what a runtime is told of an attached endpoint.
func result(e model.Endpoint, n model.Network, c Call) *current.Result {
	inside := 0
	out := &current.Result{
		CNIVersion: current.ImplementedSpecVersion,
		Interfaces: []*current.Interface{{Name: c.IfName, Mac: e.MAC.String(), Sandbox: c.Netns}},
	}
	for _, a := range e.Addrs() {
		ip := &current.IPConfig{Interface: &inside, Address: ipNet(netip.PrefixFrom(a, n.Pool(a).Prefix.Bits()))}
		if g := n.Pool(a).Gateway; g.IsValid() {
			ip.Gateway = g.AsSlice()
			out.Routes = append(out.Routes, &types.Route{Dst: ipNet(netip.PrefixFrom(anyOf(g), 0)), GW: g.AsSlice()})
		}
		out.IPs = append(out.IPs, ip)
	}
	return out
}

// anyOf is the unspecified address of g's family.
func anyOf(g netip.Addr) netip.Addr {
	if g.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
