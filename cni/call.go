// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/utils"

	"github.com/contivnet/contiv/cni/call"
	"github.com/contivnet/contiv/model"
)

// Call is one call of a runtime.
type Call call.Call

// config is what we read of the network configuration.
type config struct {
	types.NetConf
	Placement

	Args          json.RawMessage `json:"args"` // the runtime's, of any shape
	RuntimeConfig runtimeConfig   `json:"runtimeConfig"`
}

func (c Call) config() (config, error) {
	var out config
	if err := json.Unmarshal(c.Config, &out); err != nil {
		return out, types.NewError(types.ErrDecodingFailure, "Contiv: the network configuration cannot be read", err.Error())
	}
	out.Placement = out.Placement.whole()
	return out, nil
}

// pod is what the runtime says of the container in CNI_ARGS: its pod of Kubernetes, or what others name in the same way; fields
// are "" where nothing is said.
func (c Call) pod() (p Pod) {
	for arg := range strings.SplitSeq(c.Args, ";") {
		switch name, value, _ := strings.Cut(arg, "="); name {
		case "K8S_POD_NAMESPACE":
			p.Namespace = value
		case "K8S_POD_NAME":
			p.Name = value
		case "K8S_POD_UID":
			p.UID = value
		}
	}
	return p
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
