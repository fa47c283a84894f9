// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// naming gives numbers and addresses their names. It has no index of endpoints: the rows of addresses are one.
type naming struct {
	world  model.World
	tables compile.Tables
	before compile.Tables // those of the last time, for what has just been removed

	tenants map[uint32]*tenant // by number; made when first asked
}

// tenant is what addresses are looked up in.
type tenant struct {
	name     string
	networks []model.Network // by key
}

func (n *naming) tenant(number uint32) *tenant {
	if n.tenants == nil {
		n.tenants = map[uint32]*tenant{}
		of := map[string]*tenant{}
		for _, t := range n.world.Tenants.All() {
			of[t.Name] = &tenant{name: t.Name}
			n.tenants[t.Number] = of[t.Name]
		}
		for _, net := range n.world.Networks.All() {
			if t := of[net.Tenant]; t != nil {
				t.networks = append(t.networks, net)
			}
		}
		for _, t := range of {
			slices.SortFunc(t.networks, func(a, b model.Network) int { return cmp.Compare(a.Key(), b.Key()) })
		}
	}
	if t := n.tenants[number]; t != nil {
		return t
	}
	return &tenant{}
}

// end names who has an address.
func (n *naming) end(t *tenant, at netip.AddrPort) api.FlowEnd {
	a := at.Addr().Unmap()
	for _, net := range t.networks {
		if !net.Pool(a).Subnet().Contains(a) {
			continue
		}
		row, ok := n.world.Addresses.Get(model.AddressKey(net.Key(), a))
		if !ok || row.Held {
			continue
		}
		if e, ok := n.world.Endpoints.Get(row.Owner); ok {
			return api.FlowEndOf(e, a, at.Port())
		}
	}
	return api.FlowEnd{Address: a, Port: at.Port()}
}

func (n *naming) flow(e Event) api.Flow {
	t := n.tenant(e.Tenant)
	f := api.Flow{
		Time: e.Time.UTC(), Verdict: e.Verdict, Tenant: t.name, Protocol: api.ProtocolName(e.Protocol), Reason: e.Reason,
		From: n.end(t, e.From), To: n.end(t, e.To),
	}
	if e.Rule != 0 {
		f.Rule = n.rule(e.Rule)
	}
	if !model.HasPorts(e.Protocol) {
		f.From.Port, f.To.Port = 0, 0
	}
	return f
}

// row says what a rule's number stands for.
func (n *naming) row(number uint32) (compile.Rule, bool) {
	for _, t := range []compile.Tables{n.tables, n.before} {
		if i, ok := slices.BinarySearchFunc(t.Rules, number, func(r compile.Rule, n uint32) int { return cmp.Compare(r.Number, n) }); ok {
			return t.Rules[i], true
		}
	}
	return compile.Rule{}, false
}

// rule is the key of the rule with that number.
func (n *naming) rule(number uint32) string {
	if row, ok := n.row(number); ok {
		return row.Key
	}
	return api.RemovedRule
}

// drops adds counts up by reason, network and group. What a rule that one group has refused is told of that group, also where the
// container is gone.
func (n *naming) drops(node string, counts []Drop, rules []Rule) []api.DropCount {
	sums := map[api.DropCount]uint64{} // without the packets
	for _, d := range counts {
		key := api.DropCount{Node: node, Reason: d.Reason}
		if e, ok := n.endpointAt(d.Port); ok {
			key.Network = e.NetworkKey()
			if e.Group != "" {
				key.Group = model.GroupKey(e.Tenant, e.Group)
			}
		}
		sums[key] += d.Packets
	}
	byGroup := n.refused(node, rules)
	for _, key := range slices.SortedFunc(maps.Keys(byGroup), api.DropCount.Compare) { // they share what is nobody's
		refused := byGroup[key]
		nobodys := api.DropCount{Node: node, Reason: key.Reason}
		if refused > sums[key] {
			more := min(refused-sums[key], sums[nobodys])
			sums[key] += more
			sums[nobodys] -= more
		}
	}
	out := make([]api.DropCount, 0, len(sums))
	for key, packets := range sums {
		if key.Packets = packets; packets > 0 {
			out = append(out, key)
		}
	}
	slices.SortFunc(out, api.DropCount.Compare)
	return out
}

// refused is what rules have refused that one group has.
func (n *naming) refused(node string, rules []Rule) map[api.DropCount]uint64 {
	out := map[api.DropCount]uint64{}
	for _, r := range rules {
		row, _ := n.row(r.Number)
		rule, ok := n.world.Rules.Get(row.Key)
		g, one := n.world.Groups.Get(row.Group)
		if !ok || !one {
			continue
		}
		key := api.DropCount{Node: node, Reason: PolicyIn, Network: g.NetworkKey(), Group: g.Key()}
		if rule.Direction == model.Out {
			key.Reason = PolicyOut
		}
		out[key] += r.Denied
	}
	return out
}

// endpointAt is the endpoint whose container's packets come in at a port.
func (n *naming) endpointAt(port string) (model.Endpoint, bool) {
	i, ok := slices.BinarySearchFunc(n.tables.Ports, port, func(p compile.Port, name string) int { return cmp.Compare(p.Name, name) })
	if !ok {
		return model.Endpoint{}, false
	}
	return n.world.Endpoints.Get(n.tables.Ports[i].Endpoint)
}

// rules adds counts up by the rules' keys.
func (n *naming) rules(counts []Rule) []api.RuleCount {
	sums := map[string]api.RuleCount{}
	for _, c := range counts {
		key := n.rule(c.Number)
		if key == api.RemovedRule {
			continue
		}
		sum := sums[key]
		sum.Rule, sum.Packets, sum.Connections, sum.Audited = key, sum.Packets+c.Packets, sum.Connections+c.Connections, sum.Audited+c.Audited
		sums[key] = sum
	}
	out := make([]api.RuleCount, 0, len(sums))
	for _, c := range sums {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b api.RuleCount) int { return cmp.Compare(a.Rule, b.Rule) })
	return out
}
