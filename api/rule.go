// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strings"

	"github.com/contivnet/contiv/model"
)

// Rule is one rule of a policy. What is left out matches everything; what is given must all match. It cannot be changed.
type Rule struct {
	Key               string   `json:"key"` // tenant:policy:rule
	TenantName        string   `json:"tenantName"`
	PolicyName        string   `json:"policyName"`
	RuleID            string   `json:"ruleId"`
	Direction         string   `json:"direction,omitempty"`         // in or out
	Priority          int      `json:"priority,omitempty"`          // 1 (default) to 100, the highest wins
	Action            string   `json:"action,omitempty"`            // allow or deny
	Protocol          string   `json:"protocol,omitempty"`          // tcp, udp, sctp, icmp or a number; left out: every one
	Port              uint16   `json:"port,omitempty"`              // the destination's
	FromEndpointGroup string   `json:"fromEndpointGroup,omitempty"` // the sender is in this group; for rules of direction in
	FromNetwork       string   `json:"fromNetwork,omitempty"`       // the sender is in this network; for rules of direction in
	FromIPAddress     string   `json:"fromIpAddress,omitempty"`     // an address or a subnet, IPv4 or IPv6
	ToEndpointGroup   string   `json:"toEndpointGroup,omitempty"`   // the receiver is in this group; for rules of direction out
	ToNetwork         string   `json:"toNetwork,omitempty"`         // the receiver is in this network; for rules of direction out
	ToIPAddress       string   `json:"toIpAddress,omitempty"`       // the receiver: an address or a subnet; for in, one of the group itself
	LinkSets          LinkSets `json:"link-sets"`
	Links             Links    `json:"links"`
}

// RuleOf is how v1 shows r. Link sets need the World and are the master's to fill.
func RuleOf(r model.Rule) Rule {
	return Rule{
		Key: r.Key(), TenantName: r.Tenant, PolicyName: r.Policy, RuleID: r.ID, Direction: r.Direction, Priority: r.Priority,
		Action: r.Action, Protocol: r.Protocol, Port: r.Port, FromEndpointGroup: r.FromGroup, FromNetwork: r.FromNetwork,
		FromIPAddress: model.PeerText(r.From), ToEndpointGroup: r.ToGroup, ToNetwork: r.ToNetwork, ToIPAddress: model.PeerText(r.To),
		LinkSets: LinkSets{}, Links: Links{},
	}
}

// Model is the rule that r asks for.
func (r Rule) Model() (model.Rule, error) {
	m := model.Rule{
		Tenant: r.TenantName, Policy: r.PolicyName, ID: r.RuleID, Direction: r.Direction, Action: r.Action, Priority: r.Priority,
		Protocol: strings.ToLower(r.Protocol), Port: r.Port, FromGroup: r.FromEndpointGroup, FromNetwork: r.FromNetwork,
		ToGroup: r.ToEndpointGroup, ToNetwork: r.ToNetwork,
	}
	if m.Priority == 0 {
		m.Priority = model.MinPriority
	}
	var err error
	if m.From, err = model.ParsePeer("fromIpAddress", r.FromIPAddress); err != nil {
		return m, err
	}
	if m.To, err = model.ParsePeer("toIpAddress", r.ToIPAddress); err != nil {
		return m, err
	}
	return m, m.Check()
}
