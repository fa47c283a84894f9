// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/contivnet/contiv/model"
)

// networkPolicyOf is a NetworkPolicy. What cannot be read of one that an API server took, because it is newer than we are or older than what the server
// asks of it now, allows nothing: the rest of it has to hold. One of which it cannot be read whom it selects is none.
func networkPolicyOf(p *networkingv1.NetworkPolicy) (out model.NetworkPolicy, wanted bool, unread error) {
	pods, err := selectorOf("spec.podSelector", p.Spec.PodSelector)
	if err != nil {
		return out, false, err
	}
	types := p.Spec.PolicyTypes
	out = model.NetworkPolicy{
		Namespace: p.Namespace, Name: p.Name, Pods: pods,
		IsolatesIngress: len(types) == 0 || slices.Contains(types, networkingv1.PolicyTypeIngress),
		IsolatesEgress:  len(types) == 0 && len(p.Spec.Egress) > 0 || slices.Contains(types, networkingv1.PolicyTypeEgress),
	}
	rule := func(direction string, place int, peers string, who []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) (r model.NetworkPolicyRule) {
		field := fmt.Sprintf("spec.%s[%d].", direction, place)
		var noPeer, noPort error
		r.Peers, noPeer = peersOf(field+peers, who)
		r.Ports, noPort = portsOf(field+"ports", ports)
		unread = errors.Join(unread, noPeer, noPort)
		return r
	}
	for i, r := range p.Spec.Ingress {
		out.Ingress = append(out.Ingress, rule("ingress", i, "from", r.From, r.Ports))
	}
	for i, r := range p.Spec.Egress {
		out.Egress = append(out.Egress, rule("egress", i, "to", r.To, r.Ports))
	}
	return out, true, unread
}

// selectorOf reads a selector. One that can be meant in no way, as In without values, does not select nobody: who denies by it would let pass, and who
// denies all but those whom it selects would not.
func selectorOf(field string, s metav1.LabelSelector) (out model.Selector, err error) {
	if _, err := metav1.LabelSelectorAsSelector(&s); err != nil {
		return out, fmt.Errorf("%s: %w", field, err)
	}
	out.Labels = s.MatchLabels
	for _, r := range s.MatchExpressions {
		out.Requirements = append(out.Requirements, model.Requirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values})
	}
	return out, nil
}

// someSelector is one that may not be there, which is another thing than one that says nothing.
func someSelector(field string, s *metav1.LabelSelector) (*model.Selector, error) {
	if s == nil {
		return nil, nil
	}
	out, err := selectorOf(field, *s)
	return &out, err
}

// peersOf has a peer for each, also for one that cannot be read: it is nobody, whereas no peer at all is everybody.
func peersOf(field string, list []networkingv1.NetworkPolicyPeer) (out []model.NetworkPolicyPeer, unread error) {
	for i, p := range list {
		peer, err := peerOf(fmt.Sprintf("%s[%d]", field, i), p)
		if err != nil {
			peer, unread = model.NetworkPolicyPeer{}, errors.Join(unread, err)
		}
		out = append(out, peer)
	}
	return out, unread
}

func peerOf(field string, p networkingv1.NetworkPolicyPeer) (out model.NetworkPolicyPeer, err error) {
	if p.IPBlock != nil {
		block, err := blockOf(field+".ipBlock", *p.IPBlock)
		return model.NetworkPolicyPeer{Block: &block}, err
	}
	if p.NamespaceSelector == nil && p.PodSelector == nil {
		return out, fmt.Errorf("%s: it is neither podSelector, namespaceSelector nor ipBlock", field)
	}
	if out.Namespaces, err = someSelector(field+".namespaceSelector", p.NamespaceSelector); err != nil {
		return out, err
	}
	out.Pods, err = someSelector(field+".podSelector", p.PodSelector)
	return out, err
}

func blockOf(field string, b networkingv1.IPBlock) (out model.IPBlock, err error) {
	if out.CIDR, err = cidr(field+".cidr", b.CIDR); err != nil {
		return out, err
	}
	for i, text := range b.Except {
		field := fmt.Sprintf("%s.except[%d]", field, i)
		but, err := cidr(field, text)
		if err != nil {
			return out, err
		}
		if but.Bits() <= out.CIDR.Bits() || !out.CIDR.Contains(but.Addr()) {
			return out, fmt.Errorf("%s: %s is no part of %s", field, but, out.CIDR)
		}
		out.Except = append(out.Except, but)
	}
	return out, nil
}

// cidr reads a range of addresses, around which there may be spaces.
func cidr(field, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%s: %q is no range of addresses", field, model.Short(text))
	}
	return p.Masked(), nil
}

// portsOf has a port for each, also for one that cannot be read: it is none, whereas no port at all is every one.
func portsOf(field string, list []networkingv1.NetworkPolicyPort) (out []model.PolicyPort, unread error) {
	for i, p := range list {
		port, err := portOf(fmt.Sprintf("%s[%d]", field, i), p)
		if err != nil {
			port, unread = model.PolicyPort{}, errors.Join(unread, err)
		}
		out = append(out, port)
	}
	return out, unread
}

func portOf(field string, p networkingv1.NetworkPolicyPort) (out model.PolicyPort, err error) {
	if out.Protocol, err = protocol(field+".protocol", value(p.Protocol)); err != nil || p.Port == nil {
		return out, err
	}
	if p.Port.Type == intstr.String {
		if out.Name = p.Port.StrVal; out.Name == "" {
			return out, fmt.Errorf("%s.port: a port has a number or a name", field)
		}
		return out, nil
	}
	if out.Port, err = portNumber(field+".port", p.Port.IntVal, false); err != nil {
		return out, err
	}
	if out.End, err = portNumber(field+".endPort", value(p.EndPort), true); err == nil && out.End != 0 && out.End < out.Port {
		err = fmt.Errorf("%s.endPort: %d comes before %d", field, out.End, out.Port)
	}
	return out, err
}
