// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/model"
)

// podPolicy is a policy of Kubernetes as it holds in one tenant: it selects pods of that, and its rules name addresses of that.
type podPolicy struct {
	key     string // kind and key
	subject *podSelector

	ingress, egress bool // whether it says anything of what comes in, and of what is sent
	in, out         []*rule

	ports  map[portName][]uint16 // what the names of ports mean that its rules name
	digest uint64                // of the object
}

// portName is what a rule names that names a port.
type portName struct{ name, protocol string }

// rank is the place of a rule of Kubernetes in its tier.
type rank struct {
	priority int // the lowest is first
	policy   string
	place    int // in the policy
}

func (r rank) compare(q rank) int {
	return cmp.Or(cmp.Compare(r.priority, q.priority), cmp.Compare(r.policy, q.policy), cmp.Compare(r.place, q.place))
}

// How the keys begin of policies of Kubernetes, and of what lets a node come to its own pods.
const (
	networkPolicyText        = "networkpolicy "
	clusterNetworkPolicyText = "clusternetworkpolicy "
	homeText                 = "node "
)

// IsOfKubernetes tells whether a rule's key is not a group's rule's.
func IsOfKubernetes(key string) bool {
	return strings.HasPrefix(key, networkPolicyText) || strings.HasPrefix(key, clusterNetworkPolicyText) || strings.HasPrefix(key, homeText)
}

// directionText is how Kubernetes calls a direction.
func directionText(in bool) string {
	if in {
		return "ingress"
	}
	return "egress"
}

// podRuleKey is the key of a rule of a policy of Kubernetes.
func podRuleKey(policy string, in bool, place int) string {
	return fmt.Sprintf("%s %s[%d]", policy, directionText(in), place)
}

// isolationKey is the key of the deny of what no NetworkPolicy allows.
func isolationKey(policy string, in bool) string { return policy + " " + directionText(in) }

// homeKey is the key of the rule that lets a node come to its own pods.
func homeKey(node string) string { return homeText + node }

// tenantPods are a tenant's pods, as far as it decides how policies of Kubernetes are read.
type tenantPods struct {
	namespaces map[string]bool
	ports      map[portName][]uint16 // sorted
}

// findPods finds where pods are, by tenant.
func (c *compiler) findPods() {
	c.podsOf = map[string]*tenantPods{}
	for _, a := range c.affiliations {
		if a.pod == none {
			continue
		}
		t := c.podsOf[a.tenant]
		if t == nil {
			t = &tenantPods{map[string]bool{}, map[portName][]uint16{}}
			c.podsOf[a.tenant] = t
		}
		p := c.pods.list[a.pod]
		t.namespaces[p.namespace] = true
		for _, n := range p.ports {
			at := portName{n.Name, n.Protocol}
			if i, had := slices.BinarySearch(t.ports[at], n.Port); !had {
				t.ports[at] = slices.Insert(t.ports[at], i, n.Port)
			}
		}
	}
}

// readPods has the domains hold the policies of Kubernetes that may concern their pods. was is the World that was read before.
func (b *book) readPods(c *compiler, was model.World, moved bool) {
	w := b.world
	changed := map[string]bool{}
	for d := range w.NetworkPolicies.Since(was.NetworkPolicies) {
		changed[networkPolicyText+d.Key] = true
	}
	for d := range w.ClusterNetworkPolicies.Since(was.ClusterNetworkPolicies) {
		changed[clusterNetworkPolicyText+d.Key] = true
	}
	if len(changed) == 0 && !moved {
		return
	}
	for name, d := range b.domains {
		here := c.podsOf[name]
		if here == nil {
			here = &tenantPods{}
		}
		d.readPods(w, here, changed)
		d.readHome(c.node)
	}
}

func (d *domain) readPods(w model.World, here *tenantPods, changed map[string]bool) {
	old := d.pods
	d.pods, d.ofNamespace = map[string]*podPolicy{}, map[string][]*podPolicy{}
	hold := func(namespace, key string, read func() *podPolicy) {
		p := old[key]
		if p != nil && !changed[key] && p.holdsFor(here) {
			delete(old, key)
		} else {
			p = read()
		}
		d.pods[key], d.ofNamespace[namespace] = p, append(d.ofNamespace[namespace], p)
	}
	if len(here.namespaces) > 0 {
		for _, o := range w.NetworkPolicies.All() {
			if here.namespaces[o.Namespace] {
				hold(o.Namespace, networkPolicyText+o.Key(), func() *podPolicy { return d.networkPolicy(o, here) })
			}
		}
		for _, o := range w.ClusterNetworkPolicies.All() {
			hold("", clusterNetworkPolicyText+o.Key(), func() *podPolicy { return d.clusterNetworkPolicy(o, here) })
		}
	}
	for _, p := range old { // after their successors, which may name the same
		p.forget()
	}
}

// podPolicy is a policy of Kubernetes that says nothing yet.
func (d *domain) podPolicy(key string, o model.Object, subject *podSelector) *podPolicy {
	text, _ := json.Marshal([]any{d.tenant.Name, key, o}) // what has been read from JSON; its rules name peers of the tenant
	sum := sha256.Sum256(text)                            // as whoever writes policies would find two with one hash of ours
	return &podPolicy{key: key, subject: subject, ports: map[portName][]uint16{}, digest: binary.BigEndian.Uint64(sum[:])}
}

// holdsFor tells whether the names of ports that the policy names still mean the same.
func (p *podPolicy) holdsFor(here *tenantPods) bool {
	for n, was := range p.ports {
		if !slices.Equal(here.ports[n], was) {
			return false
		}
	}
	return true
}

func (p *podPolicy) forget() {
	for _, r := range p.in {
		r.forget()
	}
	for _, r := range p.out {
		r.forget()
	}
}

// whom is one way to be whom a rule of Kubernetes names: a pod, or who has an address.
type whom struct {
	pods   *podSelector
	block  netip.Prefix
	except []netip.Prefix
}

// add adds a rule to the policy: about packets from or to any of the peers, nil for everybody, at any of the ports, none for all of them. A port
// by name makes as many rules as pods have numbers by that name, each for those pods alone.
func (p *podPolicy) add(d *domain, here *tenantPods, r rule, peers []whom, ports []model.PolicyPort) {
	if peers != nil && len(peers) == 0 {
		return
	}
	var spans []span
	if len(ports) == 0 {
		spans = []span{{protocol: AnyProtocol}}
	}
	for _, port := range ports {
		if s, ok := spanOf(port); ok {
			spans = append(spans, s)
		}
	}
	if len(spans) > 0 {
		p.put(d, r, peers, spans, model.NamedPort{})
	}
	for _, port := range ports {
		for _, n := range namesOf(port) {
			p.ports[n] = here.ports[n]
			for _, number := range here.ports[n] {
				at, _ := spanOf(model.PolicyPort{Protocol: n.protocol, Port: number})
				p.put(d, r, peers, []span{at}, model.NamedPort{Name: n.name, Protocol: n.protocol, Port: number})
			}
		}
	}
}

// put adds a rule for pods that have the port, where it has a name.
func (p *podPolicy) put(d *domain, r rule, peers []whom, spans []span, port model.NamedPort) {
	r.spans = spans
	r.digest = hash64(hash64(hash64(p.digest+uint64(port.Port), r.key), port.Name), port.Protocol)
	var receiver []*named
	if r.in {
		r.needs = port
	} else if port.Name != "" {
		receiver = []*named{d.name(selector{port: port})}
	}
	for _, w := range peers {
		who := peer{all: slices.Clone(receiver)}
		if w.pods != nil {
			who.all = append(who.all, d.namePods(w.pods))
		} else {
			who.all = append(who.all, d.name(selector{prefix: w.block}))
		}
		for _, e := range w.except {
			who.except = append(who.except, d.name(selector{prefix: e}))
		}
		r.peers = append(r.peers, who)
	}
	switch {
	case receiver == nil:
	case peers == nil:
		r.peers = []peer{{all: receiver}}
	default:
		for range len(peers) - 1 { // each is forgotten
			d.name(receiver[0].selector)
		}
	}
	if r.in {
		p.in = append(p.in, &r)
	} else {
		p.out = append(p.out, &r)
	}
}

// spanOf is where packets to a port go that has no name; ok is false for one that says what this version does not know.
func spanOf(p model.PolicyPort) (s span, ok bool) {
	n, any, ok := model.ProtocolNumber(p.Protocol)
	if !ok || any || !model.HasPorts(n) || p.Name != "" || p.End != 0 && (p.Port == 0 || p.End < p.Port) {
		return s, false
	}
	return span{int16(n), p.Port, max(p.Port, p.End)}, true
}

// namesOf are the names that a port may have: of one protocol or of each.
func namesOf(p model.PolicyPort) (out []portName) {
	if p.Name == "" {
		return nil
	}
	for _, protocol := range []string{"TCP", "UDP", "SCTP"} {
		if p.Protocol == "" || strings.EqualFold(p.Protocol, protocol) {
			out = append(out, portName{p.Name, protocol})
		}
	}
	return out
}

// readHome has the domain have a rule by which the node comes to its own pods, where policies of Kubernetes are: from its places in infra
// networks, as far as its own processes send it (what it passes on from elsewhere has that address and another class), and with probes. By its other addresses it is not known, as containers who come by the node's ports have those too.
func (d *domain) readHome(node string) {
	old := d.home
	switch {
	case len(d.pods) == 0:
		d.home = nil
	case old == nil || old.key != homeKey(node):
		d.home = &rule{key: homeKey(node), tier: tierNode, in: true, allow: true, spans: []span{{protocol: AnyProtocol}}}
		d.home.digest = hash64(hash64(hash64(offset64, d.tenant.Name), "\x00"), d.home.key)
		d.home.peers = []peer{{all: []*named{d.name(selector{home: true})}}}
	}
	if old != nil && d.home != old {
		old.forget()
	}
}

// selecting are the policies of Kubernetes that select a pod.
func (d *domain) selecting(w model.World, is pod) (out []*podPolicy) {
	for _, namespace := range [...]string{is.namespace, ""} {
		for _, p := range d.ofNamespace[namespace] {
			if p.subject.selects(w, is) {
				out = append(out, p)
			}
		}
	}
	return out
}

// podRules are those of Kubernetes' rules that hold for a pod in a direction; none where no policy that selects it says anything of that.
func (d *domain) podRules(w model.World, is pod, in bool) (out []*rule) {
	says := false
	for _, p := range d.selecting(w, is) {
		rules, of := p.out, p.egress
		if in {
			rules, of = p.in, p.ingress
		}
		says = says || of
		for _, r := range rules {
			if r.needs.Name == "" || slices.Contains(is.ports, r.needs) {
				out = append(out, r)
			}
		}
	}
	if in && says {
		out = append(out, d.home)
	}
	return out
}
