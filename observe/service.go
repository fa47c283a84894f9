// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"slices"

	"github.com/contivnet/contiv/api"
)

// Services are the node's counts, of the services and providers that there are.
func (o *Observer) Services() (api.NodeServices, error) {
	world, tables := o.Names()
	n := naming{world: world, tables: tables}
	out := api.NodeServices{Node: o.Node, Revision: o.Applied()}
	counts, err := o.Source.Services()
	out.Providers = n.providers(counts)
	return out, err
}

// providers adds counts up by service and endpoint: one with two addresses is two providers to the data path. What has just gone is
// not told.
func (n *naming) providers(counts []Service) []api.ProviderCount {
	type pair struct{ service, endpoint string }
	services := map[uint32]string{}
	for _, s := range n.tables.Services {
		services[s.Number] = s.Key
	}
	type numbers struct{ service, provider uint32 }
	endpoints := map[numbers]string{}
	for _, p := range n.tables.Providers {
		endpoints[numbers{p.Service, p.Number}] = p.Endpoint
	}
	sums := map[pair]api.Traffic{}
	for _, c := range counts {
		of := pair{services[c.Service], endpoints[numbers{c.Service, c.Provider}]}
		if of.service != "" && of.endpoint != "" {
			sums[of] = sums[of].Plus(c.Traffic)
		}
	}
	out := make([]api.ProviderCount, 0, len(sums))
	for of, t := range sums {
		out = append(out, api.ProviderCount{Service: of.service, Endpoint: of.endpoint, Traffic: t})
	}
	slices.SortFunc(out, func(a, b api.ProviderCount) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	return out
}
