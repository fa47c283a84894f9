// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// Probed is a port at which the node's kubelet asks a pod of this node, by an address by which the node's own stack does not reach it.
type Probed struct {
	At netip.AddrPort // the pod's
	To netip.Addr     // its private address
}

// isProbeSource tells whether a prefix is the address under which probes come.
func isProbeSource(p netip.Prefix) bool {
	return p.IsSingleIP() && slices.Contains(model.ProbeSources(), p.Addr())
}

// probes adds where the kubelet's probes go, when the node's places in infra networks are known. An address and a port lead to one pod: masters give no
// other pod of the node that is probed the same address, but what becomes of an endpoint later they do not foresee.
func (c *compiler) probes() {
	nodes := c.nodeAddrs()
	type candidate struct {
		Probed
		of model.Endpoint
	}
	var all []candidate
	for _, e := range c.local {
		if len(e.Probed()) == 0 {
			continue
		}
		n, _ := c.world.Networks.Get(e.NetworkKey())
		v4, v6 := c.private(n, e.Port)
		for _, a := range e.Addrs() {
			to := v6
			if a.Is4() {
				to = v4
			}
			switch _, isNodes := slices.BinarySearchFunc(nodes, a, compareAddr); {
			case c.reachedByHost(e, a):
				continue
			case !to.IsValid():
				c.note(e, "pod %s is in network %s, which has no gateway for %s: its kubelet's probes do not reach it; give the network a gateway", nameOfPod(e), n.Key(), a)
				continue
			case isNodes:
				c.note(e, "pod %s has the address %s of a node: its kubelet's probes do not reach it; use another subnet for network %s", nameOfPod(e), a, n.Key())
				continue
			}
			for _, port := range e.Probed() {
				all = append(all, candidate{Probed{netip.AddrPortFrom(a, port), to}, e})
			}
		}
	}
	// The default tenant's first, then by name: the same one is meant as long as it is there.
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(tenantRank(a.of), tenantRank(b.of)), cmp.Compare(a.of.Tenant, b.of.Tenant), cmp.Compare(a.of.ID, b.of.ID))
	})
	for i, p := range all {
		if i > 0 && all[i-1].At == p.At {
			c.note(p.of, "pod %s is probed at %s, as another of this node: the probes reach that one; delete the pod, and the one in its place has another address", nameOfPod(p.of), p.At)
			continue
		}
		c.out.Probed = append(c.out.Probed, p.Probed)
	}
}

func tenantRank(e model.Endpoint) int {
	if e.Tenant == model.DefaultTenant {
		return 0
	}
	return 1
}

// nameOfPod is what an operator knows it by.
func nameOfPod(e model.Endpoint) string {
	if namespace, name, ok := e.Pod(); ok {
		return namespace + "/" + name
	}
	return e.ID
}

// reachedByHost tells whether the node's stack reaches an address of the endpoint by host access.
func (c *compiler) reachedByHost(e model.Endpoint, a netip.Addr) bool {
	return e.Tenant == model.DefaultTenant && slices.ContainsFunc(c.out.Infra, func(i Infra) bool {
		return i.Network == model.HostAccess && slices.ContainsFunc(i.Routes, func(r NodeRoute) bool { return r.Prefix.Contains(a) })
	})
}
