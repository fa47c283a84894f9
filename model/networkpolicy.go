// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// NetworkPolicy is a NetworkPolicy of Kubernetes (https://kubernetes.io/docs/concepts/services-networking/network-policies/). Masters take it
// over from the API server; nobody else writes it. In each direction that it isolates, the pods that it selects get and send only
// what one of its rules, or one of another's that selects them, allows.
type NetworkPolicy struct {
	Namespace string   `json:"namespace"`     // Kubernetes'
	Name      string   `json:"name"`          // unique there
	Pods      Selector `json:"pods,omitzero"` // those of its namespace for which it holds
	// IsolatesIngress and IsolatesEgress are its policyTypes.
	IsolatesIngress bool `json:"isolatesIngress,omitempty"`
	// IsolatesEgress says that it is about what its pods send.
	IsolatesEgress bool                `json:"isolatesEgress,omitempty"`
	Ingress        []NetworkPolicyRule `json:"ingress,omitempty"` // what comes in
	Egress         []NetworkPolicyRule `json:"egress,omitempty"`  // what is sent
}

// NetworkPolicyRule allows packets.
type NetworkPolicyRule struct {
	Peers []NetworkPolicyPeer `json:"peers,omitempty"` // any of them; none: everybody
	Ports []PolicyPort        `json:"ports,omitempty"` // any of them; none: every protocol and port
}

// NetworkPolicyPeer is who sends what comes in, or receives what goes out.
type NetworkPolicyPeer struct {
	// Namespaces selects pods by their namespaces' labels; without it those of the policy's namespace are meant.
	Namespaces *Selector `json:"namespaces,omitempty"`
	Pods       *Selector `json:"pods,omitempty"`  // selects them by their own; without it all are
	Block      *IPBlock  `json:"block,omitempty"` // is there alone
}

// IPBlock is the addresses of a prefix, whoever has them.
type IPBlock struct {
	CIDR   netip.Prefix   `json:"cidr"`             // of either family
	Except []netip.Prefix `json:"except,omitempty"` // less those in any of these
}

// PolicyPort is where packets go.
type PolicyPort struct {
	// Protocol is TCP, UDP or SCTP; "" for each of them, where a ClusterNetworkPolicy names a port.
	Protocol string `json:"protocol,omitempty"`
	Port     uint16 `json:"port,omitempty"` // 0: every one, unless there is a name
	End      uint16 `json:"end,omitempty"`  // the last of those that begin with Port; 0: that alone
	Name     string `json:"name,omitempty"` // of a port that the receiver's containers name
}

func (NetworkPolicy) Kind() Kind    { return KindNetworkPolicy }
func (p NetworkPolicy) Key() string { return p.Namespace + "/" + p.Name }
