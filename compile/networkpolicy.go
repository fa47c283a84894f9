// SPDX-License-Identifier: Apache-2.0

package compile

import "github.com/contivnet/contiv/model"

// networkPolicy reads a NetworkPolicy. In each direction that it isolates it is a rule for each of its own, and behind those of all
// NetworkPolicies a deny of everything.
func (d *domain) networkPolicy(o model.NetworkPolicy, here *tenantPods) *podPolicy {
	p := d.podPolicy(networkPolicyText+o.Key(), o, selectPods(o.Namespace, model.NamespacedPods{Pods: o.Pods}))
	p.ingress, p.egress = o.IsolatesIngress, o.IsolatesEgress
	for _, side := range []struct {
		in, isolates bool
		rules        []model.NetworkPolicyRule
	}{{true, o.IsolatesIngress, o.Ingress}, {false, o.IsolatesEgress, o.Egress}} {
		if !side.isolates {
			continue
		}
		for i, r := range side.rules {
			p.add(d, here, rule{
				key: podRuleKey(p.key, side.in, i), tier: tierNetworkPolicy, in: side.in, allow: true, rank: rank{policy: p.key, place: i},
			}, peersOf(o.Namespace, r.Peers), r.Ports)
		}
		p.add(d, here, rule{key: isolationKey(p.key, side.in), tier: tierNetworkPolicy, in: side.in, rank: rank{priority: 1, policy: p.key}}, nil, nil)
	}
	return p
}

// peersOf are whom a rule of a NetworkPolicy of the namespace names; nil for everybody.
func peersOf(namespace string, peers []model.NetworkPolicyPeer) (out []whom) {
	if len(peers) > 0 {
		out = []whom{}
	}
	for _, p := range peers {
		switch {
		case p.Block != nil:
			if !p.Block.CIDR.IsValid() {
				continue
			}
			w := whom{block: p.Block.CIDR.Masked()}
			for _, e := range p.Block.Except {
				if e.IsValid() {
					w.except = append(w.except, e.Masked())
				}
			}
			out = append(out, w)
		case p.Namespaces != nil:
			out = append(out, whom{pods: selectPods("", model.NamespacedPods{Namespaces: *p.Namespaces, Pods: selectorOf(p.Pods)})})
		case p.Pods != nil:
			out = append(out, whom{pods: selectPods(namespace, model.NamespacedPods{Pods: *p.Pods})})
		}
	}
	return out
}

func selectorOf(s *model.Selector) model.Selector {
	if s == nil {
		return model.Selector{}
	}
	return *s
}
