// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"errors"
	"fmt"
	"net/netip"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/contivnet/contiv/model"
)

// clusterNetworkPolicy is what we look at of a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2). What is not here is unknown.
type clusterNetworkPolicy struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Tier     string        `json:"tier"`
		Priority int           `json:"priority"`
		Subject  clusterPeer   `json:"subject"`
		Ingress  []clusterRule `json:"ingress"`
		Egress   []clusterRule `json:"egress"`
	} `json:"spec"`
}

type clusterRule struct {
	Name      string            `json:"name"`
	Action    string            `json:"action"`
	From      []clusterPeer     `json:"from"`
	To        []clusterPeer     `json:"to"`
	Protocols []clusterProtocol `json:"protocols"`
}

// clusterPeer has one field that is there, or none that is known.
type clusterPeer struct {
	Namespaces *metav1.LabelSelector `json:"namespaces"`
	Pods       *struct {
		Namespaces metav1.LabelSelector `json:"namespaceSelector"`
		Pods       metav1.LabelSelector `json:"podSelector"`
	} `json:"pods"`
	Networks []string `json:"networks"`
}

// clusterProtocol has one field that is there, or none that is known.
type clusterProtocol struct {
	TCP   *clusterPorts `json:"tcp"`
	UDP   *clusterPorts `json:"udp"`
	SCTP  *clusterPorts `json:"sctp"`
	Named string        `json:"destinationNamedPort"`
}

// clusterPorts are all where no destination is there.
type clusterPorts struct {
	Destination *struct {
		Number int32 `json:"number"`
		Range  *struct {
			Start int32 `json:"start"`
			End   int32 `json:"end"`
		} `json:"range"`
	} `json:"destinationPort"`
}

// clusterNetworkPolicyOf is a ClusterNetworkPolicy. Of a rule that cannot be read it says so, and then it opens nothing. One of which it cannot be read for
// whom it holds, or when, is none.
func clusterNetworkPolicyOf(p *clusterNetworkPolicy) (out model.ClusterNetworkPolicy, wanted bool, unread error) {
	subject, err := p.Spec.Subject.pods("spec.subject")
	if err != nil {
		return out, false, err
	}
	if p.Spec.Tier != model.TierAdmin && p.Spec.Tier != model.TierBaseline {
		return out, false, fmt.Errorf("spec.tier: %q is not %s or %s", model.Short(p.Spec.Tier), model.TierAdmin, model.TierBaseline)
	}
	out = model.ClusterNetworkPolicy{Name: p.Metadata.Name, Tier: p.Spec.Tier, Priority: p.Spec.Priority, Subject: subject}
	for i, r := range p.Spec.Ingress {
		rule, err := r.with(fmt.Sprintf("spec.ingress[%d].", i), "from", r.From)
		out.Ingress, unread = append(out.Ingress, rule), errors.Join(unread, err)
	}
	for i, r := range p.Spec.Egress {
		rule, err := r.with(fmt.Sprintf("spec.egress[%d].", i), "to", r.To)
		out.Egress, unread = append(out.Egress, rule), errors.Join(unread, err)
	}
	return out, true, unread
}

func (r clusterRule) with(field, who string, peers []clusterPeer) (out model.ClusterNetworkPolicyRule, unread error) {
	out = model.ClusterNetworkPolicyRule{Name: r.Name, Action: r.Action}
	if r.Action != model.ActionAccept && r.Action != model.ActionDeny && r.Action != model.ActionPass {
		unread = fmt.Errorf("%saction: %q is not %s, %s or %s", field, model.Short(r.Action), model.ActionAccept, model.ActionDeny, model.ActionPass)
	}
	for i, p := range peers {
		peer, err := p.peer(fmt.Sprintf("%s%s[%d]", field, who, i))
		out.Peers, unread = append(out.Peers, peer), errors.Join(unread, err)
	}
	for i, p := range r.Protocols {
		port, err := p.port(fmt.Sprintf("%sprotocols[%d]", field, i))
		out.Ports, unread = append(out.Ports, port), errors.Join(unread, err)
	}
	out.Unknown = unread != nil
	return out, unread
}

// pods are those that are selected, where pods are.
func (p clusterPeer) pods(field string) (out model.NamespacedPods, err error) {
	switch {
	case p.Namespaces != nil:
		out.Namespaces, err = selectorOf(field+".namespaces", *p.Namespaces)
		return out, err
	case p.Pods != nil:
		if out.Namespaces, err = selectorOf(field+".pods.namespaceSelector", p.Pods.Namespaces); err != nil {
			return out, err
		}
		out.Pods, err = selectorOf(field+".pods.podSelector", p.Pods.Pods)
		return out, err
	}
	return out, fmt.Errorf("%s: it is neither namespaces nor pods", field)
}

// peer is nobody where it cannot be read.
func (p clusterPeer) peer(field string) (out model.ClusterNetworkPolicyPeer, err error) {
	if p.Namespaces != nil || p.Pods != nil {
		pods, err := p.pods(field)
		if err != nil {
			return out, err
		}
		return model.ClusterNetworkPolicyPeer{Pods: &pods}, nil
	}
	if len(p.Networks) == 0 {
		return out, fmt.Errorf("%s: it is neither namespaces, pods nor networks", field)
	}
	var all []netip.Prefix
	for i, text := range p.Networks {
		n, err := cidr(fmt.Sprintf("%s.networks[%d]", field, i), text)
		if err != nil {
			return out, err
		}
		all = append(all, n)
	}
	return model.ClusterNetworkPolicyPeer{Networks: all}, nil
}

// port is none where it cannot be read.
func (p clusterProtocol) port(field string) (none model.PolicyPort, err error) {
	if p.Named != "" {
		return model.PolicyPort{Name: p.Named}, nil
	}
	for _, of := range []struct {
		name, field string
		ports       *clusterPorts
	}{{"TCP", "tcp", p.TCP}, {"UDP", "udp", p.UDP}, {"SCTP", "sctp", p.SCTP}} {
		if of.ports == nil {
			continue
		}
		out, to := model.PolicyPort{Protocol: of.name}, of.ports.Destination
		if to == nil {
			return out, nil
		}
		field += "." + of.field + ".destinationPort"
		first, last := to.Number, int32(0)
		if to.Range != nil {
			first, last = to.Range.Start, to.Range.End
		}
		if out.Port, err = portNumber(field, first, false); err != nil {
			return none, err
		}
		if out.End, err = portNumber(field+".range.end", last, true); err != nil {
			return none, err
		}
		if last != 0 && last < first {
			return none, fmt.Errorf("%s.range.end: %d comes before %d", field, last, first)
		}
		return out, nil
	}
	return none, fmt.Errorf("%s: it is neither tcp, udp, sctp nor destinationNamedPort", field)
}
