// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/contivnet/contiv/model"
)

// networkPolicyOf is a NetworkPolicy. What cannot be read of one that an API server took, because it is newer than we are, allows nothing: the rest
// of it has to hold.
func networkPolicyOf(p *networkingv1.NetworkPolicy) (model.NetworkPolicy, bool, error) {
	types := p.Spec.PolicyTypes
	out := model.NetworkPolicy{
		Namespace: p.Namespace, Name: p.Name, Pods: selectorOf(p.Spec.PodSelector),
		IsolatesIngress: len(types) == 0 || slices.Contains(types, networkingv1.PolicyTypeIngress),
		IsolatesEgress:  len(types) == 0 && len(p.Spec.Egress) > 0 || slices.Contains(types, networkingv1.PolicyTypeEgress),
	}
	for _, r := range p.Spec.Ingress {
		out.Ingress = append(out.Ingress, model.NetworkPolicyRule{Peers: peersOf(r.From), Ports: portsOf(r.Ports)})
	}
	for _, r := range p.Spec.Egress {
		out.Egress = append(out.Egress, model.NetworkPolicyRule{Peers: peersOf(r.To), Ports: portsOf(r.Ports)})
	}
	return out, true, nil
}

func selectorOf(s metav1.LabelSelector) model.Selector {
	out := model.Selector{Labels: s.MatchLabels}
	for _, r := range s.MatchExpressions {
		out.Requirements = append(out.Requirements, model.Requirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values})
	}
	return out
}

// someSelector is one that may not be there, which is another thing than one that says nothing.
func someSelector(s *metav1.LabelSelector) *model.Selector {
	if s == nil {
		return nil
	}
	out := selectorOf(*s)
	return &out
}

// peersOf has a peer for each, also for one that cannot be read: it is nobody, whereas no peer at all is everybody.
func peersOf(list []networkingv1.NetworkPolicyPeer) (out []model.NetworkPolicyPeer) {
	for _, p := range list {
		peer := model.NetworkPolicyPeer{Namespaces: someSelector(p.NamespaceSelector), Pods: someSelector(p.PodSelector)}
		if p.IPBlock != nil {
			peer = model.NetworkPolicyPeer{Block: blockOf(*p.IPBlock)}
		}
		out = append(out, peer)
	}
	return out
}

// blockOf is nil for one that cannot be read.
func blockOf(b networkingv1.IPBlock) *model.IPBlock {
	of, ok := cidr(b.CIDR)
	if !ok {
		return nil
	}
	out := model.IPBlock{CIDR: of}
	for _, e := range b.Except {
		but, ok := cidr(e)
		if !ok {
			return nil
		}
		out.Except = append(out.Except, but)
	}
	return &out
}

func cidr(text string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(strings.TrimSpace(text))
	return p.Masked(), err == nil && !p.Addr().Is4In6()
}

// portsOf has a port for each, also for one that cannot be read: it is none, whereas no port at all is every one.
func portsOf(list []networkingv1.NetworkPolicyPort) (out []model.PolicyPort) {
	for _, p := range list {
		out = append(out, portOf(p))
	}
	return out
}

func portOf(p networkingv1.NetworkPolicyPort) model.PolicyPort {
	none := model.PolicyPort{}
	protocol, err := protocol("ports.protocol", value(p.Protocol))
	if err != nil {
		return none
	}
	out := model.PolicyPort{Protocol: protocol}
	switch {
	case p.Port == nil:
		return out
	case p.Port.Type == intstr.String:
		out.Name = p.Port.StrVal
		if out.Name == "" {
			return none
		}
		return out
	}
	if out.Port, err = portNumber("ports.port", p.Port.IntVal, false); err != nil {
		return none
	}
	if out.End, err = portNumber("ports.endPort", value(p.EndPort), true); err != nil || out.End != 0 && out.End < out.Port {
		return none
	}
	return out
}
