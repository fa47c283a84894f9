// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/model"
)

// class is a set of selectors: what some addresses of a tenant have in common for all of its rules. Addresses without any have
// none (nil), which is the number 0.
type class struct {
	text   string // what it is
	has    []*named
	number uint32
	chain  []*rule // those of the role that is being folded
}

// territory is where the selectors of a domain lie.
type territory struct {
	*domain
	prefixes nest[*named]
	subnets  nest[[]*named] // of the named networks, of which several may have ranges of one subnet
	pods     []*named
	selects  map[string][]*named // of those that select pods, the ones that select a namespace, by its name
}

func (b *book) territory(d *domain) *territory {
	t := &territory{domain: d, prefixes: newNest[*named](), subnets: newNest[[]*named](), selects: map[string][]*named{}}
	for s, n := range d.selectors {
		if n.pods != nil {
			t.pods = append(t.pods, n)
		}
		if s.prefix.IsValid() {
			t.prefixes.add(s.prefix, n)
		}
		if s.network == "" {
			continue
		}
		network, _ := b.world.Networks.Get(model.NetworkKey(d.tenant.Name, s.network))
		for _, pool := range [...]model.Pool{network.IPv4, network.IPv6} {
			if !pool.IsZero() {
				t.subnets.add(pool.Subnet(), append(t.subnets.at[pool.Subnet()], n))
			}
		}
	}
	return t
}

// affiliate is an affiliation as its tenant's rules see it.
type affiliate struct {
	*territory                   // nil where no rule names anybody
	has        []*named          // the group, the network and what selects pods, where rules name them
	classes    map[*named]*class // by the longest named prefix of the address, nil for none
}

// classifier finds the classes of addresses.
type classifier struct {
	list  []*class
	index map[string]*class // by text
}

// classify makes the rows that say of what class addresses are: of endpoints, and of those that no endpoint has.
func (b *book) classify(c *compiler, turn int) (endpoints []Endpoint, prefixes []Prefix) {
	k := classifier{index: map[string]*class{}}
	territories := map[string]*territory{}
	for name, d := range b.domains {
		if len(d.selectors) > 0 {
			territories[name] = b.territory(d)
		}
	}
	affiliates := make([]affiliate, len(c.affiliations))
	for i, a := range c.affiliations {
		t := territories[a.tenant]
		if t == nil {
			continue
		}
		affiliates[i] = affiliate{territory: t, classes: map[*named]*class{}}
		for _, s := range [...]selector{{group: a.group}, {network: a.network}, {home: a.home}} {
			if n := t.selectors[s]; n != nil {
				affiliates[i].has = append(affiliates[i].has, n)
			}
		}
		if a.pod != none {
			affiliates[i].has = append(affiliates[i].has, t.satisfiedBy(b.world, c.pods.list[a.pod])...)
		}
	}
	of := make([]*class, 0, len(c.located)) // the endpoints, and after them the prefixes
	endpoints = make([]Endpoint, len(c.located))
	for i := range c.located {
		endpoints[i] = c.located[i].Endpoint
		of = append(of, k.of(affiliates[c.located[i].of], endpoints[i].Addr))
	}
	for _, t := range territories {
		for _, p := range t.rows() {
			prefixes = append(prefixes, Prefix{Tenant: t.tenant.Number, Prefix: p})
			of = append(of, k.at(t, p))
		}
	}
	k.number(b, turn)
	for i, class := range of {
		switch {
		case class == nil:
		case i < len(endpoints):
			endpoints[i].Class = class.number
		default:
			prefixes[i-len(endpoints)].Class = class.number
		}
	}
	slices.SortFunc(prefixes, func(a, b Prefix) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), comparePrefix(a.Prefix, b.Prefix))
	})
	return endpoints, prefixes
}

// satisfiedBy are the selectors of pods that a pod satisfies.
func (t *territory) satisfiedBy(w model.World, p pod) (out []*named) {
	of, ok := t.selects[p.namespace]
	if !ok {
		labels := namespaceLabels(w, p.namespace)
		for _, n := range t.pods {
			if n.pods.ofNamespace(p.namespace, labels) {
				of = append(of, n)
			}
		}
		t.selects[p.namespace] = of
	}
	for _, n := range of {
		if n.pods.ofPod(p) {
			out = append(out, n)
		}
	}
	for _, port := range p.ports {
		if n := t.selectors[selector{port: port}]; n != nil {
			out = append(out, n)
		}
	}
	return out
}

// of is the class of an endpoint's address.
func (k *classifier) of(a affiliate, addr netip.Addr) *class {
	if a.territory == nil {
		return nil
	}
	longest, _, _ := a.prefixes.find(addr, addr.BitLen())
	found, ok := a.classes[longest]
	if !ok {
		found = k.with(append(a.prefixes.all(addr, addr.BitLen()), a.has...))
		a.classes[longest] = found
	}
	return found
}

// rows are the prefixes that have one: the named ones and the subnets of the named networks.
func (t *territory) rows() []netip.Prefix {
	out := make([]netip.Prefix, 0, len(t.prefixes.at)+len(t.subnets.at))
	for p := range t.prefixes.at {
		out = append(out, p)
	}
	for p := range t.subnets.at {
		if _, had := t.prefixes.at[p]; !had {
			out = append(out, p)
		}
	}
	if t.selectors[selector{home: true}] != nil {
		for _, a := range model.ProbeSources() {
			if p := netip.PrefixFrom(a, a.BitLen()); !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// at is the class of the addresses in a prefix that no endpoint has and no longer prefix.
func (k *classifier) at(t *territory, p netip.Prefix) *class {
	has := t.prefixes.all(p.Addr(), p.Bits())
	for _, networks := range t.subnets.all(p.Addr(), p.Bits()) {
		has = append(has, networks...)
	}
	if n := t.selectors[selector{home: true}]; n != nil && isProbeSource(p) {
		has = append(has, n)
	}
	return k.with(has)
}

// with is the class of a set of selectors of one domain.
func (k *classifier) with(has []*named) *class {
	if len(has) == 0 {
		return nil
	}
	slices.SortFunc(has, func(a, b *named) int { return cmp.Compare(a.text, b.text) })
	var b strings.Builder
	b.WriteString(has[0].domain.tenant.Name)
	for _, n := range has {
		b.WriteByte('\n')
		b.WriteString(n.text)
	}
	found := k.index[b.String()]
	if found == nil {
		found = &class{text: b.String(), has: has}
		k.list, k.index[found.text] = append(k.list, found), found
	}
	return found
}

// number gives the classes their numbers, and the selectors their classes.
func (k *classifier) number(b *book, turn int) {
	texts := make([]string, len(k.list))
	for i, c := range k.list {
		texts[i] = c.text
	}
	for i, n := range numbers(texts) {
		k.list[i].number = n
	}
	slices.SortFunc(k.list, compareClass)
	matching := map[*named][]*class{}
	for _, c := range k.list {
		for _, n := range c.has {
			matching[n] = append(matching[n], c)
		}
	}
	for _, d := range b.domains {
		for _, n := range d.selectors {
			if !slices.EqualFunc(n.matching, matching[n], func(a, b *class) bool { return a.number == b.number }) {
				n.changed = turn
			}
			n.matching = matching[n]
		}
	}
}

func compareClass(a, b *class) int { return cmp.Compare(a.number, b.number) }

// classes are those whose addresses satisfy a rule that names its peer.
func (r *rule) classes() []*class {
	if len(r.peers) == 1 {
		return r.peers[0].classes()
	}
	var out []*class
	for _, p := range r.peers {
		out = append(out, p.classes()...)
	}
	slices.SortFunc(out, compareClass)
	return slices.Compact(out)
}

// classes are those whose addresses satisfy all that a peer must, and nothing that it must not.
func (p peer) classes() []*class {
	rarest := p.all[0]
	for _, n := range p.all[1:] {
		if len(n.matching) < len(rarest.matching) {
			rarest = n
		}
	}
	if len(p.all) == 1 && len(p.except) == 0 {
		return rarest.matching
	}
	var out []*class
	for _, c := range rarest.matching {
		has := func(n *named) bool { return slices.Contains(c.has, n) }
		if !slices.ContainsFunc(p.all, func(n *named) bool { return !has(n) }) && !slices.ContainsFunc(p.except, has) {
			out = append(out, c)
		}
	}
	return out
}
