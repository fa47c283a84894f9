// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// Endpoint is what an agent PUTs to attach a container and DELETEs to detach it. Addresses that are left
// out are allocated, of each family that the network has.
type Endpoint struct {
	Key           string            `json:"key"`
	EndpointID    string            `json:"endpointID"`
	TenantName    string            `json:"tenantName"`
	NetworkName   string            `json:"networkName"`
	GroupName     string            `json:"groupName,omitempty"`
	HomingHost    string            `json:"homingHost"`
	IntfName      string            `json:"intfName,omitempty"`
	IPv4Address   netip.Addr        `json:"ipv4Address,omitzero"`
	IPv6Address   netip.Addr        `json:"ipv6Address,omitzero"`
	MACAddress    model.MAC         `json:"macAddress,omitzero"`
	Runtime       string            `json:"runtime,omitempty"`
	ContainerID   string            `json:"containerID,omitempty"`
	ContainerName string            `json:"containerName,omitempty"`
	Aliases       []string          `json:"aliases,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
}

// EndpointOf is how the API shows e.
func EndpointOf(e model.Endpoint) Endpoint {
	return Endpoint{
		Key: e.ID, EndpointID: e.ID, TenantName: e.Tenant, NetworkName: e.Network, GroupName: e.Group, HomingHost: e.Node,
		IntfName: e.Port, IPv4Address: e.IPv4, IPv6Address: e.IPv6, MACAddress: e.MAC, Runtime: e.Runtime,
		ContainerID: e.Container, ContainerName: e.Name, Aliases: e.Aliases, Labels: e.Labels,
	}
}

// Model is the endpoint that e asks for.
func (e Endpoint) Model() (model.Endpoint, error) {
	m := model.Endpoint{
		ID: e.EndpointID, Tenant: e.TenantName, Network: e.NetworkName, Group: e.GroupName, Node: e.HomingHost, Port: e.IntfName,
		IPv4: e.IPv4Address, IPv6: e.IPv6Address, MAC: e.MACAddress, Runtime: e.Runtime, Container: e.ContainerID,
		Name: e.ContainerName, Aliases: e.Aliases, Labels: e.Labels,
	}
	return m, m.Check()
}

// EndpointOper is v1's view of an endpoint: the Oper of its inspection and the rows of a network's.
type EndpointOper struct {
	ContainerID      string    `json:"containerID,omitempty"`
	ContainerName    string    `json:"containerName,omitempty"`
	EndpointGroupID  int       `json:"endpointGroupId,omitempty"`
	EndpointGroupKey string    `json:"endpointGroupKey,omitempty"`
	EndpointID       string    `json:"endpointID,omitempty"`
	HomingHost       string    `json:"homingHost,omitempty"`
	IntfName         string    `json:"intfName,omitempty"`
	IPAddress        [2]string `json:"ipAddress"` // v4, v6; "" for none
	Labels           string    `json:"labels"`    // as v1 wrote it: map[k:v …]
	MACAddress       string    `json:"macAddress,omitempty"`
	Network          string    `json:"network,omitempty"` // network.tenant
	ServiceName      string    `json:"serviceName,omitempty"`
	VirtualPort      string    `json:"virtualPort,omitempty"`
	VtepIP           string    `json:"vtepIP,omitempty"`
	// NodeState is up or down: whether the endpoint's node is heard of. New since v1.
	NodeState string `json:"nodeState,omitempty"`
}

// EndpointInspect is the answer of inspect: v1 has no Config here.
type EndpointInspect struct {
	Oper EndpointOper `json:"Oper"`
}

// AddressRequest asks for an address of a network before the container's endpoint is known, as Docker does.
type AddressRequest struct {
	Node      string     `json:"node"`                // who asks
	IPAddress netip.Addr `json:"ipAddress,omitzero"`  // the one that must be given; left out: the lowest free
	IPv6      bool       `json:"ipv6,omitempty"`      // the family, when no address is named
	GroupName string     `json:"groupName,omitempty"` // the group that the container will be in; left out: none
}

// Address is an address that was given, held for the node until an endpoint claims it.
type Address struct {
	IPAddress netip.Addr `json:"ipAddress"`
	Length    int        `json:"length"` // of the network's prefix, in bits
}
