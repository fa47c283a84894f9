// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// podPolicies asks the policies of Kubernetes that select a pod: what the first rule of each tier says that matches. ok is false where none selects
// it for the direction. The rule whose key is without is not there.
func (t tracer) podPolicies(own model.Endpoint, direction, without string) (says [tiers]*said, ok bool) {
	namespace, _, isPod := own.Pod()
	if own.ID == "" || !isPod {
		return says, false
	}
	in := direction == model.In
	labels, namespaceLabels := own.PodLabels(), namespaceLabels(t.world, namespace)
	say := func(at tier, s said) {
		if s.key != without && says[at] == nil {
			says[at] = &s
		}
	}
	var isolating []said
	for p := range t.world.NetworkPolicies.Sorted() {
		isolates, rules := p.IsolatesEgress, p.Egress
		if in {
			isolates, rules = p.IsolatesIngress, p.Ingress
		}
		if p.Namespace != namespace || !p.Pods.Matches(labels) || !isolates {
			continue
		}
		ok = true
		key := networkPolicyText + p.Key()
		for i, r := range rules {
			isPeer := len(r.Peers) == 0 || slices.ContainsFunc(r.Peers, func(of model.NetworkPolicyPeer) bool { return t.isPolicyPeer(of, namespace, in) })
			if isPeer && t.isAtPort(r.Ports, own, in) {
				say(tierNetworkPolicy, said{key: podRuleKey(key, in, i), policy: key, allow: true})
			}
		}
		isolating = append(isolating, said{key: isolationKey(key, in), policy: key})
	}
	for _, s := range isolating {
		say(tierNetworkPolicy, s)
	}
	all := slices.Collect(t.world.ClusterNetworkPolicies.Sorted())
	slices.SortStableFunc(all, func(a, b model.ClusterNetworkPolicy) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, p := range all {
		rules := p.Egress
		if in {
			rules = p.Ingress
		}
		at, known := map[string]tier{model.TierAdmin: tierAdmin, model.TierBaseline: tierBaseline}[p.Tier]
		if !known || len(rules) == 0 || !p.Subject.Namespaces.Matches(namespaceLabels) || !p.Subject.Pods.Matches(labels) {
			continue
		}
		ok = true
		key := clusterNetworkPolicyText + p.Key()
		for i, r := range rules {
			isKnown := !r.Unknown && slices.Contains([]string{model.ActionAccept, model.ActionDeny, model.ActionPass}, r.Action)
			isPeer := slices.ContainsFunc(r.Peers, func(of model.ClusterNetworkPolicyPeer) bool { return t.isClusterPeer(of, in) })
			switch {
			case !isKnown && r.Action == model.ActionAccept:
			case !isKnown:
				say(at, said{key: podRuleKey(key, in, i), policy: key})
			case isPeer && t.isAtPort(r.Ports, own, in):
				say(at, said{key: podRuleKey(key, in, i), policy: key, allow: r.Action == model.ActionAccept, pass: r.Action == model.ActionPass})
			}
		}
	}
	if ok && in && t.isHomeOf(own) {
		say(tierNode, said{key: homeKey(own.Node), allow: true})
	}
	return says, ok
}

// other is who is at the other end, without an id where no endpoint has the address.
func (t tracer) other(in bool) (model.Endpoint, netip.Addr) {
	if in {
		return t.from, t.question.From
	}
	return t.to, t.question.To
}

// isHomeOf tells whether the packet comes from the node that has the endpoint: by one of its places in infra networks, or as a probe.
func (t tracer) isHomeOf(own model.Endpoint) bool {
	if t.from.ID == "" {
		return slices.Contains(model.ProbeSources(), t.question.From)
	}
	n, _ := t.world.Networks.Get(t.from.NetworkKey())
	return t.from.Node == own.Node && isHome(t.from, n)
}

func (t tracer) isPolicyPeer(p model.NetworkPolicyPeer, namespace string, in bool) bool {
	e, a := t.other(in)
	if p.Block != nil {
		return p.Block.CIDR.Contains(a) && !slices.ContainsFunc(p.Block.Except, func(e netip.Prefix) bool { return e.Contains(a) })
	}
	switch {
	case p.Namespaces == nil && p.Pods == nil:
		return false
	case p.Namespaces == nil:
		of, _, ok := e.Pod()
		return ok && of == namespace && p.Pods.Matches(e.PodLabels())
	}
	return t.isPod(e, model.NamespacedPods{Namespaces: *p.Namespaces, Pods: selectorOf(p.Pods)})
}

func (t tracer) isClusterPeer(p model.ClusterNetworkPolicyPeer, in bool) bool {
	e, a := t.other(in)
	return p.Pods != nil && t.isPod(e, *p.Pods) || slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

func (t tracer) isPod(e model.Endpoint, of model.NamespacedPods) bool {
	namespace, _, ok := e.Pod()
	return ok && of.Namespaces.Matches(namespaceLabels(t.world, namespace)) && of.Pods.Matches(e.PodLabels())
}

// isAtPort tells whether the packet goes to one of the ports. A name is one of the receiver's, who must be a pod.
func (t tracer) isAtPort(ports []model.PolicyPort, own model.Endpoint, in bool) bool {
	receiver := t.to
	if in {
		receiver = own
	}
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p model.PolicyPort) bool {
		n, any, ok := model.ProtocolNumber(p.Protocol)
		if p.Name != "" {
			_, _, isPod := receiver.Pod()
			return isPod && slices.ContainsFunc(receiver.NamedPorts(), func(has model.NamedPort) bool {
				of, _, _ := model.ProtocolNumber(has.Protocol)
				return has.Name == p.Name && has.Port == t.question.Port && of == t.question.Protocol && ok && (any || n == of)
			})
		}
		if !ok || any || n != t.question.Protocol || !model.HasPorts(n) {
			return false
		}
		return p.Port == 0 && p.End == 0 || p.Port != 0 && p.Port <= t.question.Port && t.question.Port <= max(p.Port, p.End) && (p.End == 0 || p.End >= p.Port)
	})
}
