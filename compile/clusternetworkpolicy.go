// SPDX-License-Identifier: Apache-2.0

package compile

import "github.com/contivnet/contiv/model"

// clusterNetworkPolicy reads a ClusterNetworkPolicy.
func (d *domain) clusterNetworkPolicy(o model.ClusterNetworkPolicy, here *tenantPods) *podPolicy {
	p := d.podPolicy(clusterNetworkPolicyText+o.Key(), o, selectPods("", o.Subject))
	in := tierAdmin
	switch o.Tier {
	case model.TierAdmin:
	case model.TierBaseline:
		in = tierBaseline
	default:
		return p // of a newer version
	}
	p.ingress, p.egress = len(o.Ingress) > 0, len(o.Egress) > 0
	for _, side := range []struct {
		in    bool
		rules []model.ClusterNetworkPolicyRule
	}{{true, o.Ingress}, {false, o.Egress}} {
		for i, r := range side.rules {
			action, peers, ports := r.Action, clusterPeersOf(r.Peers), r.Ports
			if r.Unknown || action != model.ActionAccept && action != model.ActionDeny && action != model.ActionPass {
				if action == model.ActionAccept {
					continue
				}
				action, peers, ports = model.ActionDeny, nil, nil
			}
			p.add(d, here, rule{
				key: podRuleKey(p.key, side.in, i), tier: in, in: side.in, allow: action == model.ActionAccept, pass: action == model.ActionPass,
				rank: rank{o.Priority, p.key, i},
			}, peers, ports)
		}
	}
	return p
}

// clusterPeersOf are whom a rule of a ClusterNetworkPolicy names.
func clusterPeersOf(peers []model.ClusterNetworkPolicyPeer) []whom {
	out := []whom{}
	for _, p := range peers {
		if p.Pods != nil {
			out = append(out, whom{pods: selectPods("", *p.Pods)})
		}
		for _, n := range p.Networks {
			if n.IsValid() {
				out = append(out, whom{block: n.Masked()})
			}
		}
	}
	return out
}
