// SPDX-License-Identifier: Apache-2.0

package master

import (
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// newcomer is an endpoint that is to have an address: its tenant, its node, and whether a kubelet probes it.
type newcomer struct {
	tenant, node string
	probed       bool
}

// ambiguous tells of addresses of a family of network n that a newcomer is not to have, as its node's own stack would not know it from somebody else: a kubelet
// probes by address alone. Pods that are probed on one node have different ones, whatever their tenants, and none that the default tenant has
// anywhere, which nodes reach by host access. nil where all are as good.
func (p *plan) ambiguous(of newcomer, n model.Network, v6 bool) func(netip.Addr) bool {
	isDefault := of.tenant == model.DefaultTenant
	if !isDefault && !of.probed {
		return nil
	}
	w := p.world()
	pool := func(n model.Network) model.Pool {
		if v6 {
			return n.IPv6
		}
		return n.IPv4
	}
	own := pool(n)
	var near []model.Network // that have equal addresses
	for _, other := range w.Networks.All() {
		if other.Tenant != of.tenant && !pool(other).IsZero() && pool(other).Overlaps(own) {
			near = append(near, other)
		}
	}
	if len(near) == 0 {
		return nil
	}
	return func(a netip.Addr) bool {
		for _, other := range near {
			row, ok := w.Addresses.Get(model.AddressKey(other.Key(), a))
			if !ok {
				continue
			}
			e, _ := w.Endpoints.Get(row.Owner)
			probed := len(e.Probed()) > 0
			if of.probed && (other.Tenant == model.DefaultTenant || probed && e.Node == of.node) || isDefault && probed {
				return true
			}
		}
		return false
	}
}
