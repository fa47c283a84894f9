// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"
	"time"
)

// What nodes have seen is in no store: a master asks the agents when a user asks it. An answer names the nodes that did not
// answer, so that what is missing is never taken for nothing.

// Paths of what nodes have seen, at a master. All are GET.
const (
	DropsPath = Root + "observe/drops" // Drops
	RulesPath = Root + "observe/rules" // RuleCounts; ?tenant= and ?policy= choose
	FlowsPath = Root + "observe/flows" // Flow, a JSON object a line; ?tenant= ?group= ?verdict= ?last= ?follow=true choose
	TracePath = Root + "observe/trace" // Trace; ?from= ?to= ?tenant= ?proto= ?port=
)

// Paths at an agent. Both are GET and without credentials: they tell counts and names, and change nothing.
const (
	AgentCountsPath = "/v1/counts" // NodeCounts
	AgentFlowsPath  = "/v1/flows"  // Flow, a JSON object a line; ?last= and ?follow=true choose
)

// DefaultAgentPort is the TCP port at which an agent tells masters what it has seen, on its control address.
const DefaultAgentPort = 9998

// Silent is a node that did not answer in time, and why.
type Silent struct {
	Node  string `json:"node"`
	Error string `json:"error"`
}

// NodeCounts is what one agent has counted since its maps were made; a restart of the agent does not end that.
type NodeCounts struct {
	Node     string      `json:"node"`
	Revision int64       `json:"revision"` // that its kernel holds
	Drops    []DropCount `json:"drops"`
	Rules    []RuleCount `json:"rules"`
	// LostFlows counts connections of which no Flow could be told, as more came than the ring holds.
	LostFlows uint64 `json:"lostFlows,omitempty"`
}

// DropCount is how many packets were dropped for a reason.
type DropCount struct {
	Node    string `json:"node"`
	Reason  string `json:"reason"`
	Group   string `json:"group,omitempty"`   // key of the group of the container that sent them; "" for none or unknown
	Network string `json:"network,omitempty"` // key of its network; "" for what came from outside
	Packets uint64 `json:"packets"`
}

// Drops is the answer of DropsPath, by node, reason, network and group.
type Drops struct {
	Drops  []DropCount `json:"drops"`
	Silent []Silent    `json:"silent,omitempty"`
}

// RuleCount is how often a rule has decided, on all nodes that answered or on one.
type RuleCount struct {
	Rule        string `json:"rule"` // tenant:policy:rule
	Packets     uint64 `json:"packets"`
	Connections uint64 `json:"connections"`       // that it let in or refused
	Audited     uint64 `json:"audited,omitempty"` // that it would have refused, were its policy enforced
}

// RuleCounts is the answer of RulesPath, by rule.
type RuleCounts struct {
	Rules  []RuleCount `json:"rules"`
	Silent []Silent    `json:"silent,omitempty"`
}

// Verdicts of a Flow.
const (
	FlowAllowed = "allowed"
	FlowDenied  = "denied"
	FlowAudited = "audited" // allowed, but a rule of an audited policy would have denied it
)

// Flow is a connection as it was opened or refused.
type Flow struct {
	Time     time.Time `json:"time"`
	Node     string    `json:"node"` // that decided
	Verdict  string    `json:"verdict"`
	Tenant   string    `json:"tenant"`
	Protocol string    `json:"protocol"`         // tcp, udp, icmp … or a number
	Rule     string    `json:"rule,omitempty"`   // the key of the one that decided; "" for none
	Reason   string    `json:"reason,omitempty"` // of the drop
	From     FlowEnd   `json:"from"`
	To       FlowEnd   `json:"to"`
}

// FlowEnd is one end of a Flow. What is not known is left out.
type FlowEnd struct {
	Address   netip.Addr `json:"address"`
	Port      uint16     `json:"port,omitempty"`
	Container string     `json:"container,omitempty"` // its name
	Network   string     `json:"network,omitempty"`
	Group     string     `json:"group,omitempty"`
	Node      string     `json:"node,omitempty"`
}

// Trace is what would become of a packet, computed from the intent alone.
type Trace struct {
	Verdict string      `json:"verdict"` // allow or deny
	From    FlowEnd     `json:"from"`
	To      FlowEnd     `json:"to"`
	Steps   []TraceStep `json:"steps"`
	// Why is a sentence for what no rule decides, as tenants that have no path between them.
	Why string `json:"why,omitempty"`
}

// TraceStep is what one direction's rules say: out at the sender's node, then in at the receiver's.
type TraceStep struct {
	Direction string `json:"direction"`
	Node      string `json:"node,omitempty"`
	Group     string `json:"group,omitempty"` // the key of the group whose policies were asked; "" for none
	Verdict   string `json:"verdict"`
	Rule      string `json:"rule,omitempty"` // tenant:policy:rule; "" when none matched
	// Otherwise is what would decide if Rule were not there.
	Otherwise     string   `json:"otherwise"`
	OtherwiseRule string   `json:"otherwiseRule,omitempty"`
	Audited       []string `json:"audited,omitempty"` // rules of audited policies that would deny
}
