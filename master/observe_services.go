// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

type servicesAnswer struct{ api.NodeServices }

func (s servicesAnswer) whose() string { return s.Node }

// observeServices tells which providers services have, and what nodes have counted for them.
func (m *Master) observeServices(w http.ResponseWriter, r *http.Request, _ []string) error {
	world := m.ledger.current()
	ofTenant, name := r.URL.Query().Get("tenant"), r.URL.Query().Get("service")
	if ofTenant != "" {
		if _, err := tenant(world, ofTenant); err != nil {
			return err
		}
	}
	var services []model.Service
	for s := range world.Services.Sorted() {
		if (ofTenant == "" || s.Tenant == ofTenant) && (name == "" || s.Name == name) {
			services = append(services, s)
		}
	}
	answers, silent := askNodes[servicesAnswer](r.Context(), m, world, api.AgentServicesPath)
	type pair struct{ service, endpoint string }
	sums := map[pair]api.Traffic{}
	for _, a := range answers {
		for _, p := range a.Providers {
			of := pair{p.Service, p.Endpoint}
			sums[of] = sums[of].Plus(p.Traffic)
		}
	}
	providers := providersOf(world, services)
	out := api.ObservedServices{Services: make([]api.ObservedService, len(services)), Nodes: len(answers), Silent: silent}
	for i, s := range services {
		of := &out.Services[i]
		*of = api.ObservedService{Service: s.Key(), VIP: text(s.IPv4), VIPv6: text(s.IPv6), Providers: make([]api.ObservedProvider, len(providers[i]))}
		for j, e := range providers[i] {
			of.Providers[j] = api.ObservedProvider{
				Endpoint: e.ID, Container: e.Name, Node: e.Node, IPv4: text(e.IPv4), IPv6: text(e.IPv6), State: api.ProviderStateOf(world, s, e),
				Traffic: sums[pair{s.Key(), e.ID}],
			}
		}
	}
	return reply(w, out, 0)
}

// providersOf are each service's, by their ids. It looks at a label of an endpoint once, however many services there are.
func providersOf(w model.World, services []model.Service) [][]model.Endpoint {
	type label struct{ tenant, key, value string }
	asking := map[label][]int{} // services by one of their selectors
	for i, s := range services {
		for k, v := range s.Selectors {
			at := label{s.Tenant, k, v}
			asking[at] = append(asking[at], i)
			break
		}
	}
	out := make([][]model.Endpoint, len(services))
	for _, e := range w.Endpoints.All() {
		for k, v := range e.Labels {
			for _, i := range asking[label{e.Tenant, k, v}] {
				if services[i].Provides(e) {
					out[i] = append(out[i], e)
				}
			}
		}
	}
	for i := range out {
		slices.SortFunc(out[i], func(a, b model.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	}
	return out
}
