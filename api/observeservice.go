// SPDX-License-Identifier: Apache-2.0

package api

// ProviderCount is what one node's containers had of one provider of a service.
type ProviderCount struct {
	Service  string `json:"service"`  // tenant:service
	Endpoint string `json:"endpoint"` // the provider's id
	Traffic
}

// Traffic is what clients had of a provider, since the two came together. Bytes are of IP packets.
type Traffic struct {
	Connections uint64 `json:"connections"` // that began; of UDP, what one client's port sent without a long pause
	Open        uint64 `json:"open"`        // of those, how many are there now
	PacketsIn   uint64 `json:"packetsIn"`   // from clients to the provider
	BytesIn     uint64 `json:"bytesIn"`     // likewise
	PacketsOut  uint64 `json:"packetsOut"`  // from the provider to clients
	BytesOut    uint64 `json:"bytesOut"`    // likewise
}

// Plus is the sum of two.
func (t Traffic) Plus(u Traffic) Traffic {
	return Traffic{
		Connections: t.Connections + u.Connections, Open: t.Open + u.Open, PacketsIn: t.PacketsIn + u.PacketsIn, BytesIn: t.BytesIn + u.BytesIn,
		PacketsOut: t.PacketsOut + u.PacketsOut, BytesOut: t.BytesOut + u.BytesOut,
	}
}

// NodeServices is what one agent has counted for services; a restart of the agent does not end that.
type NodeServices struct {
	Node      string          `json:"node"`      // its name
	Revision  int64           `json:"revision"`  // that its kernel holds
	Providers []ProviderCount `json:"providers"` // by service and endpoint, of those that its containers have used
}

// ObservedProvider is a provider of a service: who it is, how it is, and what clients on all nodes that answered had of it.
type ObservedProvider struct {
	Endpoint  string `json:"endpoint"`            // its id
	Container string `json:"container,omitempty"` // its container's name
	Node      string `json:"node"`                // where it is
	IPv4      string `json:"ipv4,omitempty"`      // its address, of each family that its network has
	IPv6      string `json:"ipv6,omitempty"`      // likewise
	State     string `json:"state"`               // healthy, unhealthy, stopping, away or unreachable
	Traffic
}

// ObservedService is a service and what it carries.
type ObservedService struct {
	Service   string             `json:"service"`        // tenant:service
	VIP       string             `json:"vip,omitempty"`  // its IPv4 address
	VIPv6     string             `json:"vip6,omitempty"` // its IPv6 address
	Providers []ObservedProvider `json:"providers"`      // by id
}

// ObservedServices is the answer of ServicesPath.
type ObservedServices struct {
	Services []ObservedService `json:"services"`         // by key
	Nodes    int               `json:"nodes"`            // how many nodes answered
	Silent   []Silent          `json:"silent,omitempty"` // nodes that did not
}
