// SPDX-License-Identifier: Apache-2.0

package master

import (
	"slices"
	"strings"

	"github.com/contivnet/contiv/model"
)

// Each node takes a place in each infra network itself, as it takes addresses for containers: an endpoint whose id follows from the
// network and the node, so that it has one, and has it again after whatever restart.

// besideNodes refuses an infra network with an address in it at which nodes reach each other: its device would take their tunnels.
func besideNodes(w model.World, n model.Network) error {
	if n.Type != model.NetworkInfra {
		return nil
	}
	for node := range w.Nodes.Sorted() {
		if pool := n.Pool(node.VTEP); !pool.IsZero() && pool.Subnet().Contains(node.VTEP) {
			return model.Invalid("subnet", "subnet %s has address %s of node %s in it, to which tunnels go: choose one that the nodes do not use", pool.Subnet(), node.VTEP, node.Name)
		}
	}
	return nil
}

// mayBeOn refuses containers in infra networks, and nodes elsewhere.
func mayBeOn(n model.Network, e model.Endpoint) error {
	node := e.Runtime == model.RuntimeNode
	if n.Type != model.NetworkInfra {
		switch {
		case node:
			return model.Invalid("runtime", "network %s is for containers, not for nodes: create one with netctl net create -n infra", n.Key())
		case strings.Contains(e.ID, model.InfraEndpoint("", "")):
			return model.Invalid("endpointID", "endpointID %s is like those of nodes in infra networks: choose one without %s", e.ID, model.InfraEndpoint("", ""))
		}
		return nil
	}
	switch {
	case !node:
		return model.Invalid("networkName", "network %s is an infra network, whose addresses nodes have themselves: choose a network of type data", n.Key())
	case e.ID != model.InfraEndpoint(n.Name, e.Node):
		return model.Invalid("endpointID", "endpoint %s would be the place of node %s in infra network %s, whose endpointID is %s", e.ID, e.Node, n.Name, model.InfraEndpoint(n.Name, e.Node))
	case e.Port != model.InfraPort(n.Name):
		return model.Invalid("intfName", "intfName %q of a node in infra network %s is not %s", e.Port, n.Name, model.InfraPort(n.Name))
	case e.Group != "":
		return model.Invalid("groupName", "group %s cannot have node %s in it: nodes are in no group", e.Group, e.Node)
	}
	return nil
}

// containersOn are a network's endpoints but for nodes.
func containersOn(w model.World, n model.Network) []model.Endpoint {
	return slices.DeleteFunc(endpointsOn(w, n.Tenant, n.Name), func(e model.Endpoint) bool { return e.Runtime == model.RuntimeNode })
}
