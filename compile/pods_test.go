// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"maps"
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// makePod makes an endpoint a pod's, whose labels and names of ports others have too.
func (s *scene) makePod(e *model.Endpoint) {
	e.Runtime = model.RuntimeCNI
	e.Labels = map[string]string{model.LabelPodNamespace: one(*s, "x", "x", "y", "z"), model.LabelPodName: e.ID, model.LabelPodUID: e.ID}
	maps.Copy(e.Labels, s.labels())
	for _, name := range []string{"http", "dns"} {
		if s.IntN(2) == 0 {
			e.Spec = e.Spec.WithPorts(append(e.NamedPorts(), model.NamedPort{Name: name, Protocol: one(*s, "TCP", "TCP", "UDP"), Port: one[uint16](*s, 80, 81, 8080)}), e.Probed())
		}
	}
}

func (s *scene) labels() map[string]string {
	out := map[string]string{}
	for _, k := range []string{"app", "tier"} {
		if s.IntN(3) > 0 {
			out[k] = one(*s, "a", "b")
		}
	}
	return out
}

func (s *scene) namespace() model.Namespace {
	name := one(*s, "x", "y", "z")
	labels := s.labels()
	labels["kubernetes.io/metadata.name"] = name
	return model.Namespace{Name: name, Labels: labels}
}

func (s *scene) selector() (out model.Selector) {
	if s.IntN(3) == 0 {
		return out
	}
	if s.IntN(2) == 0 {
		out.Labels = map[string]string{one(*s, "app", "tier"): one(*s, "a", "b")}
	}
	if s.IntN(2) == 0 {
		out.Requirements = append(out.Requirements, model.Requirement{
			Key:      one(*s, "app", "tier", "gone", "kubernetes.io/metadata.name"),
			Operator: one(*s, model.SelectIn, model.SelectNotIn, model.SelectExists, model.SelectMissing), Values: []string{one(*s, "a", "b", "x", "y")},
		})
	}
	return out
}

// maybe is nil now and then.
func maybe[T any](s *scene, v T) *T {
	if s.IntN(3) == 0 {
		return nil
	}
	return &v
}

// several are some of what one makes.
func several[T any](s *scene, one func() T) (out []T) {
	for range s.IntN(4) {
		out = append(out, one())
	}
	return out
}

func (s *scene) policyPort() model.PolicyPort {
	p := model.PolicyPort{Protocol: one(*s, "TCP", "TCP", "TCP", "UDP", "SCTP", "bad")}
	switch s.IntN(5) {
	case 0:
	case 1:
		p.Name, p.Protocol = one(*s, "http", "dns", "gone"), one(*s, "TCP", "TCP", "UDP", "")
	case 2:
		p.Port, p.End = one[uint16](*s, 1, 79, 80, 81, 82), one[uint16](*s, 80, 81, 100, 9000, 65535)
	default:
		p.Port = one[uint16](*s, 80, 81, 82, 65535)
	}
	return p
}

func (s *scene) networkPolicy() model.NetworkPolicy {
	rule := func() model.NetworkPolicyRule {
		return model.NetworkPolicyRule{Ports: several(s, s.policyPort), Peers: several(s, func() model.NetworkPolicyPeer {
			if s.IntN(3) > 0 {
				return model.NetworkPolicyPeer{Namespaces: maybe(s, s.selector()), Pods: maybe(s, s.selector())}
			}
			return model.NetworkPolicyPeer{Block: &model.IPBlock{CIDR: s.prefix(), Except: several(s, s.prefix)}}
		})}
	}
	return model.NetworkPolicy{
		Namespace: one(*s, "x", "y", "z"), Name: fmt.Sprint("p", s.IntN(4)), Pods: s.selector(), IsolatesIngress: s.IntN(3) > 0, IsolatesEgress: s.IntN(2) == 0,
		Ingress: several(s, rule), Egress: several(s, rule),
	}
}

func (s *scene) clusterNetworkPolicy() model.ClusterNetworkPolicy {
	rule := func() model.ClusterNetworkPolicyRule {
		return model.ClusterNetworkPolicyRule{
			Action: one(*s, model.ActionAccept, model.ActionDeny, model.ActionPass, model.ActionPass), Ports: several(s, s.policyPort), Unknown: s.IntN(12) == 0,
			Peers: several(s, func() model.ClusterNetworkPolicyPeer {
				if s.IntN(3) > 0 {
					return model.ClusterNetworkPolicyPeer{Pods: &model.NamespacedPods{Namespaces: s.selector(), Pods: s.selector()}}
				}
				return model.ClusterNetworkPolicyPeer{Networks: several(s, func() netip.Prefix { return s.prefix() })}
			}),
		}
	}
	return model.ClusterNetworkPolicy{
		Name: fmt.Sprint("c", s.IntN(4)), Tier: one(*s, model.TierAdmin, model.TierAdmin, model.TierBaseline), Priority: s.IntN(3),
		Subject: model.NamespacedPods{Namespaces: s.selector(), Pods: s.selector()}, Ingress: several(s, rule), Egress: several(s, rule),
	}
}
