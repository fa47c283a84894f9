// SPDX-License-Identifier: Apache-2.0

package compile

// tier is a step of the decision about a packet. The first that has a rule for it, which does not pass, decides; where none has, the packet is
// allowed.
type tier uint8

const (
	tierNode          tier = iota // a pod's own node, whose kubelet looks whether it works
	tierAdmin                     // ClusterNetworkPolicies of the Admin tier
	tierGroup                     // groups' rules
	tierNetworkPolicy             // NetworkPolicies, each with a deny of everything behind what it allows
	tierBaseline                  // ClusterNetworkPolicies of the Baseline tier
	tiers
)

// answer is what the rules say that match at one key: the first one of each tier, and the first among the audited. All may be nil.
type answer struct {
	first   [tiers]*rule
	audited *rule
}

func (a answer) with(r *rule) answer {
	at := &a.first[r.tier]
	if r.audit {
		at = &a.audited
	}
	if *at == nil || r.before(*at) {
		*at = r
	}
	return a
}

// outcome is what an answer comes to: the rule that decides, and the one that would among the audited. Either may be nil.
type outcome struct{ enforced, audited *rule }

// outcome of an answer that is one of two, of which the higher priority wins.
func (a answer) outcome() outcome { return outcome{a.first[tierGroup], a.audited} }

// whole is the outcome of an answer that has all that is to be said.
func (a answer) whole() outcome {
	out := outcome{enforced: a.decisive()}
	if a.audited != nil && !a.audited.allow && (out.enforced == nil || out.enforced.allow) {
		if own := a.first[tierGroup]; own == nil || a.audited.before(own) {
			a.first[tierGroup] = a.audited
		}
		if a.decisive() == a.audited {
			out.audited = a.audited
		}
	}
	return out
}

func (a answer) decisive() *rule {
	for _, r := range a.first {
		if r != nil && !r.pass {
			return r
		}
	}
	return nil
}
