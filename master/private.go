// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"net/netip"
	"net/url"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

type routeAnswer struct{ api.NodeRoute }

func (a routeAnswer) whose() string { return a.Node }

// mayBePrivate asks all nodes whether a private subnet is free there, before it becomes that; an invalid one is not to become it. A
// node that does not answer is not waited for, and one whose route comes later cannot be asked: such a node makes no way to the
// outside, and says why.
func (m *Master) mayBePrivate(ctx context.Context, private netip.Prefix) error {
	w := m.ledger.current()
	if !private.IsValid() || private == w.Global().PrivateSubnet {
		return nil
	}
	query := url.Values{"into": {private.Masked().String()}}
	routes, _ := askNodes[routeAnswer](ctx, m, w, api.AgentRoutePath+"?"+query.Encode())
	for _, r := range routes {
		if r.To != "" {
			return model.InUse("pvtSubnet", "the private subnet %s overlaps %s, to which node %s has a route by %s: choose another, or remove the route there",
				private, r.To, r.Node, r.Device)
		}
	}
	return nil
}
