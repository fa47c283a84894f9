// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// ClusterNetworkPolicy is a ClusterNetworkPolicy of Kubernetes (policy.networking.k8s.io/v1alpha2,
// https://network-policy-api.sigs.k8s.io). Masters take it over from the API server; nobody else writes it. Of the rules of a tier that
// match, the first one decides: of the policy with the lowest priority number, then of the first by name, then the first in it.
type ClusterNetworkPolicy struct {
	Name     string         `json:"name"`     // unique
	Tier     string         `json:"tier"`     // TierAdmin or TierBaseline
	Priority int            `json:"priority"` // 0 to 1000, the lowest first
	Subject  NamespacedPods `json:"subject"`  // the pods for which it holds

	Ingress []ClusterNetworkPolicyRule `json:"ingress,omitempty"` // about what comes in
	Egress  []ClusterNetworkPolicyRule `json:"egress,omitempty"`  // about what is sent
}

// Tiers of ClusterNetworkPolicies: one before, the other after all other policies.
const (
	TierAdmin    = "Admin"
	TierBaseline = "Baseline"
)

// What a rule of a ClusterNetworkPolicy does.
const (
	ActionAccept = "Accept"
	ActionDeny   = "Deny"
	ActionPass   = "Pass" // no further rule of the tier is asked
)

// NamespacedPods are the pods that a selector selects, of the namespaces that another does.
type NamespacedPods struct {
	Namespaces Selector `json:"namespaces,omitzero"` // by their labels
	Pods       Selector `json:"pods,omitzero"`       // the same
}

// ClusterNetworkPolicyRule decides about packets.
type ClusterNetworkPolicyRule struct {
	Name   string                     `json:"name,omitempty"`  // for people
	Action string                     `json:"action"`          // ActionAccept, ActionDeny or ActionPass
	Peers  []ClusterNetworkPolicyPeer `json:"peers,omitempty"` // any of them
	Ports  []PolicyPort               `json:"ports,omitempty"` // any of them; none: every protocol and port
	// Unknown says that a peer or a port is of a kind that this version does not know. Then the rule must not open anything: Accept matches
	// nobody, and Deny and Pass deny everybody.
	Unknown bool `json:"unknown,omitempty"`
}

// ClusterNetworkPolicyPeer is who sends what comes in, or receives what goes out; one field is set.
type ClusterNetworkPolicyPeer struct {
	Pods     *NamespacedPods `json:"pods,omitempty"`     // any of them
	Networks []netip.Prefix  `json:"networks,omitempty"` // an address in any of them, whoever has it
}

func (ClusterNetworkPolicy) Kind() Kind    { return KindClusterNetworkPolicy }
func (p ClusterNetworkPolicy) Key() string { return p.Name }
