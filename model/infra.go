// SPDX-License-Identifier: Apache-2.0

package model

import "strings"

// HostAccess is the infra network by which nodes and the default tenant's containers reach each other: nodes have routes by it to that
// tenant's other networks, and those have routes to it.
const HostAccess = "contivh1"

// RuntimeNode is the Runtime of an endpoint that is a node itself, in an infra network.
const RuntimeNode = "node"

// An infra network has a device of its name on every node, whose other side is a port.
const (
	infraPort  = "vv"
	deviceName = 15 // characters in a device's name (linux/if.h IFNAMSIZ, less the zero that ends it)
	infraName  = deviceName - len(infraPort)
)

// InfraPort is the port of a node's device in an infra network.
func InfraPort(network string) string { return infraPort + network }

// InfraEndpoint is the id of a node's endpoint in an infra network; with node "" what all of that network's begin with. No
// runtime's id has an @.
func InfraEndpoint(network, node string) string { return network + "@" + node }

// checkInfra refuses an infra network that nodes could not be in.
func (n Network) checkInfra() error {
	if n.Tenant != DefaultTenant {
		return Invalid("nwType", "nwType infra is for tenant %s alone, as a node has one network stack and tenants may have equal addresses: leave the tenant out, or use data", DefaultTenant)
	}
	if len(n.Name) > infraName {
		return Invalid("networkName", "networkName %s of an infra network names a device on every node, and has %d characters; at most %d are possible", n.Name, len(n.Name), infraName)
	}
	switch n.Name {
	case "lo", "all", "default", OutsideDevice: // all and default are directories beside those of devices, under /proc/sys/net
	default:
		if !strings.HasPrefix(n.Name, infraPort) && !strings.HasPrefix(n.Name, "vport") {
			return nil
		}
	}
	return Invalid("networkName", "networkName %s of an infra network names a device on every node, and that name is another's there; choose another, as %s", n.Name, HostAccess)
}
