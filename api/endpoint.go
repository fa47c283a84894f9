// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// Endpoint is what an agent PUTs to attach a container and DELETEs to detach it. Addresses that are left
// out are allocated, of each family that the network has.
type Endpoint struct {
	Key           string            `json:"key"`        // endpointID
	EndpointID    string            `json:"endpointID"` // Docker's endpoint id; for CNI the container id and interface name
	TenantName    string            `json:"tenantName"`
	NetworkName   string            `json:"networkName"`
	GroupName     string            `json:"groupName,omitempty"`   // left out: none
	HomingHost    string            `json:"homingHost"`            // the node that it is on
	IntfName      string            `json:"intfName,omitempty"`    // the host side of its veth pair
	IPv4Address   netip.Addr        `json:"ipv4Address,omitzero"`  // asked for, or what was given
	IPv6Address   netip.Addr        `json:"ipv6Address,omitzero"`  // asked for, or what was given
	MACAddress    model.MAC         `json:"macAddress,omitzero"`   // left out: made of the address
	Runtime       string            `json:"runtime,omitempty"`     // docker or cni; node: there is no container, it is the node itself
	ContainerID   string            `json:"containerID,omitempty"` // the runtime's
	ContainerName string            `json:"containerName,omitempty"`
	Aliases       []string          `json:"aliases,omitempty"` // more names by which others in the network find it
	Labels        map[string]string `json:"labels,omitempty"`  // the container's
	// Unhealthy are the keys of the services whose health check it fails. New since v1.
	Unhealthy []string `json:"unhealthy,omitempty"`
	// Stopping says that the container was told to stop, so that no service sends it new connections. New since v1.
	Stopping bool `json:"stopping,omitempty"`
	// Spec is what its runtime says of few containers: ports with names, and rates. New since v1.
	Spec *model.Spec `json:"spec,omitempty"`
	// Published are ports of the node behind which the container's are.
	Published []model.Published `json:"published,omitempty"`
}

// EndpointOf is how the API shows e.
func EndpointOf(e model.Endpoint) Endpoint {
	return Endpoint{
		Key: e.ID, EndpointID: e.ID, TenantName: e.Tenant, NetworkName: e.Network, GroupName: e.Group, HomingHost: e.Node,
		IntfName: e.Port, IPv4Address: e.IPv4, IPv6Address: e.IPv6, MACAddress: e.MAC, Runtime: e.Runtime,
		ContainerID: e.Container, ContainerName: e.Name, Aliases: e.Aliases, Labels: e.Labels, Unhealthy: e.Unhealthy, Stopping: e.Stopping,
		Spec: e.Spec, Published: e.Published,
	}
}

// Model is the endpoint that e asks for.
func (e Endpoint) Model() (model.Endpoint, error) {
	m := model.Endpoint{
		ID: e.EndpointID, Tenant: e.TenantName, Network: e.NetworkName, Group: e.GroupName, Node: e.HomingHost, Port: e.IntfName,
		IPv4: e.IPv4Address, IPv6: e.IPv6Address, MAC: e.MACAddress, Runtime: e.Runtime, Container: e.ContainerID,
		Name: e.ContainerName, Aliases: e.Aliases, Labels: e.Labels, Unhealthy: e.Unhealthy, Stopping: e.Stopping,
		Spec: e.Spec, Published: e.Published,
	}
	return m, m.Check()
}

// EndpointOper is v1's view of an endpoint: the Oper of its inspection and the rows of a network's.
type EndpointOper struct {
	ContainerID      string    `json:"containerID,omitempty"` // the runtime's
	ContainerName    string    `json:"containerName,omitempty"`
	EndpointGroupID  int       `json:"endpointGroupId,omitempty"`  // the group's number
	EndpointGroupKey string    `json:"endpointGroupKey,omitempty"` // group:tenant
	EndpointID       string    `json:"endpointID,omitempty"`       // Docker's endpoint id; for CNI the container id and interface name
	HomingHost       string    `json:"homingHost,omitempty"`       // its node
	IntfName         string    `json:"intfName,omitempty"`         // the host side of its veth pair
	IPAddress        [2]string `json:"ipAddress"`                  // v4, v6; "" for none
	Labels           string    `json:"labels"`                     // as v1 wrote it: map[k:v …]
	MACAddress       string    `json:"macAddress,omitempty"`       // as 02:02:0a:01:01:05
	Network          string    `json:"network,omitempty"`          // network.tenant
	ServiceName      string    `json:"serviceName,omitempty"`      // its group
	VirtualPort      string    `json:"virtualPort,omitempty"`      // v and intfName
	VtepIP           string    `json:"vtepIP,omitempty"`           // its node's tunnel endpoint
	// NodeState is up or down: whether the endpoint's node is heard of. New since v1.
	NodeState string `json:"nodeState,omitempty"`
	// ProviderState is one of those of api/service.go, as healthy, for a provider of a service that is inspected. New since v1.
	ProviderState string `json:"providerState,omitempty"`
	// PublishedPorts are the node's ports that lead to it, as 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp. New since v1.
	PublishedPorts string `json:"publishedPorts,omitempty"`
}

// EndpointInspect is the answer of inspect: v1 has no Config here.
type EndpointInspect struct {
	Oper EndpointOper `json:"Oper"` // all there is of it
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
	IPAddress netip.Addr `json:"ipAddress"` // the address that was given
	Length    int        `json:"length"`    // of the network's prefix, in bits
}
