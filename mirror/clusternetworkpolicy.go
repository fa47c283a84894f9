// SPDX-License-Identifier: Apache-2.0

package mirror

import (
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

// clusterNetworkPolicyOf is a ClusterNetworkPolicy. One whose subject is not known would hold for pods that we cannot tell, so it holds for none.
func clusterNetworkPolicyOf(p *clusterNetworkPolicy) (out model.ClusterNetworkPolicy, wanted bool, err error) {
	subject, ok := p.Spec.Subject.pods()
	if !ok {
		return out, false, nil
	}
	out = model.ClusterNetworkPolicy{Name: p.Metadata.Name, Tier: p.Spec.Tier, Priority: p.Spec.Priority, Subject: subject}
	for _, r := range p.Spec.Ingress {
		out.Ingress = append(out.Ingress, r.with(r.From))
	}
	for _, r := range p.Spec.Egress {
		out.Egress = append(out.Egress, r.with(r.To))
	}
	return out, true, nil
}

func (r clusterRule) with(peers []clusterPeer) model.ClusterNetworkPolicyRule {
	out := model.ClusterNetworkPolicyRule{Name: r.Name, Action: r.Action}
	for _, p := range peers {
		peer, ok := p.peer()
		out.Peers, out.Unknown = append(out.Peers, peer), out.Unknown || !ok
	}
	for _, p := range r.Protocols {
		port, ok := p.port()
		out.Ports, out.Unknown = append(out.Ports, port), out.Unknown || !ok
	}
	return out
}

// pods is ok only where pods are selected.
func (p clusterPeer) pods() (model.NamespacedPods, bool) {
	switch {
	case p.Namespaces != nil:
		return model.NamespacedPods{Namespaces: selectorOf(*p.Namespaces)}, true
	case p.Pods != nil:
		return model.NamespacedPods{Namespaces: selectorOf(p.Pods.Namespaces), Pods: selectorOf(p.Pods.Pods)}, true
	}
	return model.NamespacedPods{}, false
}

func (p clusterPeer) peer() (out model.ClusterNetworkPolicyPeer, ok bool) {
	if pods, ok := p.pods(); ok {
		return model.ClusterNetworkPolicyPeer{Pods: &pods}, true
	}
	for _, text := range p.Networks {
		n, ok := cidr(text)
		if !ok {
			return out, false
		}
		out.Networks = append(out.Networks, n)
	}
	return out, len(p.Networks) > 0
}

func (p clusterProtocol) port() (out model.PolicyPort, ok bool) {
	if p.Named != "" {
		return model.PolicyPort{Name: p.Named}, true
	}
	for _, of := range []struct {
		name  string
		ports *clusterPorts
	}{{"TCP", p.TCP}, {"UDP", p.UDP}, {"SCTP", p.SCTP}} {
		if of.ports == nil {
			continue
		}
		out.Protocol = of.name
		to := of.ports.Destination
		if to == nil {
			return out, true
		}
		first, last := to.Number, int32(0)
		if to.Range != nil {
			first, last = to.Range.Start, to.Range.End
		}
		var wrong, worse error
		out.Port, wrong = portNumber("destinationPort", first, false)
		out.End, worse = portNumber("destinationPort.range.end", last, true)
		return out, wrong == nil && worse == nil && (last == 0 || last >= first)
	}
	return out, false
}
