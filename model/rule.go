// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"strconv"
	"strings"
)

// What a rule does, and to packets in which direction, seen from the group that owns its policy.
const (
	Allow = "allow"
	Deny  = "deny"

	In  = "in"
	Out = "out"
)

// Priorities of rules: the higher one wins, deny wins a tie.
const (
	MinPriority = 1
	MaxPriority = 100
)

// Rule is one rule of a policy. An empty selector matches everything; several must all match.
type Rule struct {
	Tenant    string `json:"tenant"`
	Policy    string `json:"policy"`
	ID        string `json:"id"`        // unique in its policy
	Direction string `json:"direction"` // In or Out
	Action    string `json:"action"`    // Allow or Deny
	Priority  int    `json:"priority"`  // MinPriority to MaxPriority
	// Protocol is tcp, udp, sctp or icmp (of either family), an IP protocol number in decimal, or "" for every one.
	Protocol string `json:"protocol,omitempty"`
	// Port is the destination's, 0 for every one. Only tcp, udp and sctp have ports.
	Port uint16 `json:"port,omitempty"`

	// From selects the sender of incoming packets, To the receiver of outgoing ones. Groups and networks are of the rule's tenant.
	FromGroup   string       `json:"fromGroup,omitempty"`
	FromNetwork string       `json:"fromNetwork,omitempty"` // the sender is in this network
	From        netip.Prefix `json:"from,omitzero"`         // the sender, one address or a subnet
	ToGroup     string       `json:"toGroup,omitempty"`     // the receiver is in this group
	ToNetwork   string       `json:"toNetwork,omitempty"`   // the receiver is in this network
	// To may be given in an incoming rule too: then it holds only for those of the group's endpoints.
	To netip.Prefix `json:"to,omitzero"`
}

func (Rule) Kind() Kind    { return KindRule }
func (r Rule) Key() string { return RuleKey(r.Tenant, r.Policy, r.ID) }

// RuleKey is how a rule is named in the store and in the v1 API: tenant:policy:rule.
func RuleKey(tenant, policy, id string) string { return tenant + ":" + policy + ":" + id }

// PolicyKey is the key of the policy that it is in.
func (r Rule) PolicyKey() string { return PolicyKey(r.Tenant, r.Policy) }

// Check refuses a rule that could never be right, whatever else exists.
func (r Rule) Check() error {
	if err := CheckPolicyName("policyName", r.Policy, 64); err != nil {
		return err
	}
	for _, f := range []struct{ field, name string }{{"tenantName", r.Tenant}, {"ruleId", r.ID}} {
		if err := CheckName(f.field, f.name, 64); err != nil {
			return err
		}
	}
	for _, f := range []struct{ field, name string }{
		{"fromEndpointGroup", r.FromGroup}, {"fromNetwork", r.FromNetwork}, {"toEndpointGroup", r.ToGroup}, {"toNetwork", r.ToNetwork},
	} {
		if f.name == "" {
			continue
		}
		if err := CheckName(f.field, f.name, 64); err != nil {
			return err
		}
	}
	if r.Action != Allow && r.Action != Deny {
		return Invalid("action", "action %q is unknown; use allow or deny", r.Action)
	}
	if r.Priority < MinPriority || r.Priority > MaxPriority {
		return Invalid("priority", "priority %d is out of bounds; use %d to %d, the highest wins", r.Priority, MinPriority, MaxPriority)
	}
	if err := r.checkDirection(); err != nil {
		return err
	}
	return r.checkPort()
}

func (r Rule) checkDirection() error {
	switch {
	case r.Direction == In && (r.ToGroup != "" || r.ToNetwork != ""):
		return Invalid("direction", "can not specify 'to' parameters in incoming rule: leave toEndpointGroup and toNetwork out, or use direction out")
	case r.Direction == In && r.FromNetwork != "" && r.From.IsValid():
		return Invalid("fromIpAddress", "can not specify both from network and from ip address; leave one out")
	case r.Direction == In && r.FromNetwork != "" && r.FromGroup != "":
		return Invalid("fromNetwork", "can not specify both from network and from EndpointGroup; leave one out (a group is in one network)")
	case r.Direction == Out && (r.FromGroup != "" || r.FromNetwork != "" || r.From.IsValid()):
		return Invalid("direction", "can not specify 'from' parameters in outgoing rule: leave fromEndpointGroup, fromNetwork and fromIpAddress out, or use direction in")
	case r.Direction == Out && r.ToNetwork != "" && r.To.IsValid():
		return Invalid("toIpAddress", "can not specify both to-network and to-ip address; leave one out")
	case r.Direction == Out && r.ToNetwork != "" && r.ToGroup != "":
		return Invalid("toNetwork", "can not specify both to-network and to-EndpointGroup; leave one out (a group is in one network)")
	case r.Direction != In && r.Direction != Out:
		return Invalid("direction", "invalid direction for the rule: direction %q is unknown; use in or out", r.Direction)
	case r.From.IsValid() && r.To.IsValid() && r.From.Addr().BitLen() != r.To.Addr().BitLen():
		return Invalid("toIpAddress", "toIpAddress %s and fromIpAddress %s are of different families: nothing could match", r.To, r.From)
	}
	return nil
}

func (r Rule) checkPort() error {
	number, any, ok := ProtocolNumber(r.Protocol)
	switch {
	case !ok:
		return Invalid("protocol", "protocol %q is unknown; use tcp, udp, sctp, icmp, a number from 0 to 255, or leave it out for all", r.Protocol)
	case r.Port != 0 && (any || !HasPorts(number)):
		return Invalid("port", "port %d is given, but protocol %q has no ports; use protocol tcp, udp or sctp", r.Port, r.Protocol)
	}
	return nil
}

// IP protocol numbers (IANA).
const (
	ProtocolICMP   = 1
	ProtocolTCP    = 6
	ProtocolUDP    = 17
	ProtocolICMPv6 = 58
	ProtocolSCTP   = 132
)

// ProtocolNumber reads a rule's protocol. any means every one. "icmp" gives ICMP's number and is meant for ICMPv6 too.
func ProtocolNumber(text string) (number uint8, any, ok bool) {
	switch strings.ToLower(text) {
	case "":
		return 0, true, true
	case "tcp":
		return ProtocolTCP, false, true
	case "udp":
		return ProtocolUDP, false, true
	case "sctp":
		return ProtocolSCTP, false, true
	case "icmp":
		return ProtocolICMP, false, true
	}
	n, err := strconv.ParseUint(text, 10, 8)
	return uint8(n), false, err == nil
}

// HasPorts tells whether packets of the protocol carry ports.
func HasPorts(protocol uint8) bool {
	return protocol == ProtocolTCP || protocol == ProtocolUDP || protocol == ProtocolSCTP
}

// ParsePeer reads an address or a subnet of either family, as rules name their peers; "" is none. Host bits are masked.
func ParsePeer(field, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(text)
	if a, wrong := netip.ParseAddr(text); wrong == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if first, _, isRange := strings.Cut(text, "-"); err != nil && isRange {
		if _, wrong := netip.ParseAddr(first); wrong == nil { // v1 took these and then enforced nothing
			return netip.Prefix{}, Invalid(field, "%s %q is a range, which no rule can have; write a subnet, as 10.1.1.0/24, or a rule for each address", field, text)
		}
	}
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, Invalid(field, "%s %q is neither an address nor a subnet; write it as 10.1.1.5 or 10.1.1.0/24", field, text)
	}
	return p.Masked(), nil
}

// PeerText is what ParsePeer reads: a single address without its length.
func PeerText(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}
