// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/contivnet/contiv/model"
)

// What nodes have seen is in no store: a master asks the agents when a user asks it. An answer names the nodes that did not
// answer, so that what is missing is never taken for nothing.

// Paths of what nodes have seen, at a master. All are GET.
const (
	DropsPath    = Root + "observe/drops"    // Drops
	RulesPath    = Root + "observe/rules"    // RuleCounts; ?tenant= and ?policy= choose
	ServicesPath = Root + "observe/services" // ObservedServices; ?tenant= and ?service= choose
	FlowsPath    = Root + "observe/flows"    // FlowLine, a JSON object a line; a FlowQuery chooses
	TracePath    = Root + "observe/trace"    // Trace; ?from= ?to= ?tenant= ?proto= ?port=
)

// Paths at an agent. All are GET and without credentials: they tell counts and names, and change nothing.
const (
	AgentCountsPath   = "/v1/counts"   // NodeCounts
	AgentServicesPath = "/v1/services" // NodeServices
	AgentFlowsPath    = "/v1/flows"    // FlowLine, a JSON object a line; a FlowQuery chooses
	AgentRoutePath    = "/v1/route"    // NodeRoute; ?into= is a prefix
)

// DefaultAgentPort is the TCP port at which an agent tells masters what it has seen, on its control address.
const DefaultAgentPort = 9998

// NodeRoute is a route of a node's own that overlaps a prefix, the way to the outside excepted.
type NodeRoute struct {
	Node   string `json:"node"`             // its name
	To     string `json:"to,omitempty"`     // its destination, as 172.19.4.0/24; "" where there is no such route
	Device string `json:"device,omitempty"` // by which it leads there
}

// Silent is a node that did not answer in time, and why.
type Silent struct {
	Node  string `json:"node"`  // its name
	Error string `json:"error"` // why
}

// NodeCounts is what one agent has counted since its maps were made; a restart of the agent does not end that.
type NodeCounts struct {
	Node     string      `json:"node"`     // its name
	Revision int64       `json:"revision"` // that its kernel holds
	Drops    []DropCount `json:"drops"`    // by reason, network and group
	Rules    []RuleCount `json:"rules"`    // by rule, of those that the node holds
	// LostFlows counts connections of which no Flow could be told, as more came than the ring holds; since the agent's start.
	LostFlows uint64 `json:"lostFlows,omitempty"`
}

// DropCount is how many packets were dropped for a reason.
type DropCount struct {
	Node   string `json:"node"`   // where
	Reason string `json:"reason"` // as spoofed_mac
	// Network is the key of the network of the container that sent them; where a rule refused them, of the group whose rule it is.
	// "" for what came from outside, or where it is not known.
	Network string `json:"network,omitempty"`
	Group   string `json:"group,omitempty"` // key of the group likewise; "" for none
	Packets uint64 `json:"packets"`         // how many
}

// Compare is the order by node, reason, network and group.
func (d DropCount) Compare(e DropCount) int {
	return cmp.Or(cmp.Compare(d.Node, e.Node), cmp.Compare(d.Reason, e.Reason), cmp.Compare(d.Network, e.Network), cmp.Compare(d.Group, e.Group))
}

// Drops is the answer of DropsPath.
type Drops struct {
	Drops  []DropCount `json:"drops"`            // by node, reason, network and group
	Silent []Silent    `json:"silent,omitempty"` // nodes that did not answer
}

// RuleCount is how often a rule has decided, on all nodes that answered or on one.
type RuleCount struct {
	Rule        string `json:"rule"`              // tenant:policy:rule, or one of Kubernetes by its object: networkpolicy shop/web ingress[0]
	Packets     uint64 `json:"packets"`           // of the connections that it let in
	Connections uint64 `json:"connections"`       // that it let in or refused
	Audited     uint64 `json:"audited,omitempty"` // connections that it would have refused, were its policy enforced
}

// RuleCounts is the answer of RulesPath.
type RuleCounts struct {
	Rules  []RuleCount `json:"rules"`            // every rule, by its key, also those that have not decided anything; of Kubernetes, those that have, where all are asked for
	Nodes  int         `json:"nodes"`            // how many nodes answered
	Silent []Silent    `json:"silent,omitempty"` // nodes that did not
}

// Verdicts of a Flow.
const (
	FlowAllowed = "allowed"
	FlowDenied  = "denied"
	FlowAudited = "audited" // allowed, but a rule of an audited policy would have denied it
)

// Flow is a connection as it was opened or refused.
type Flow struct {
	Time     time.Time `json:"time"`             // when, by the node's clock
	Node     string    `json:"node"`             // that decided
	Verdict  string    `json:"verdict"`          // allowed, denied or audited
	Tenant   string    `json:"tenant"`           // its name
	Protocol string    `json:"protocol"`         // tcp, udp, sctp, icmp, icmpv6 or a number
	Rule     string    `json:"rule,omitempty"`   // the key of the one that decided, or would have; "" for none
	Reason   string    `json:"reason,omitempty"` // of the drop
	From     FlowEnd   `json:"from"`             // who opened it
	To       FlowEnd   `json:"to"`               // to whom
}

// RemovedRule stands for a rule that was removed before its name was asked for. No key is like it.
const RemovedRule = "(removed)"

// FlowEnd is one end of a Flow. What is not known is left out: nothing but its address is of an end that is outside.
type FlowEnd struct {
	Address   netip.Addr `json:"address"`             // IPv4 or IPv6
	Port      uint16     `json:"port,omitempty"`      // where the protocol has ports
	Container string     `json:"container,omitempty"` // its name
	Endpoint  string     `json:"endpoint,omitempty"`  // its id
	Network   string     `json:"network,omitempty"`   // its name
	Group     string     `json:"group,omitempty"`     // its name
	Node      string     `json:"node,omitempty"`      // where it is
}

// FlowEndOf is the end of which e has the address.
func FlowEndOf(e model.Endpoint, address netip.Addr, port uint16) FlowEnd {
	return FlowEnd{Address: address, Port: port, Container: e.Name, Endpoint: e.ID, Network: e.Network, Group: e.Group, Node: e.Node}
}

// ProtocolName is how a Flow calls a protocol.
func ProtocolName(number uint8) string {
	switch number {
	case model.ProtocolTCP:
		return "tcp"
	case model.ProtocolUDP:
		return "udp"
	case model.ProtocolSCTP:
		return "sctp"
	case model.ProtocolICMP:
		return "icmp"
	case model.ProtocolICMPv6:
		return "icmpv6"
	}
	return strconv.Itoa(int(number))
}

// FlowLine is one line of a stream of flows. It has one of its fields; a line that has none says that the stream lives. The
// first such line comes when all has been told that had been there: what follows is new.
type FlowLine struct {
	Flow   *Flow   `json:"flow,omitempty"`   // a connection
	Lost   *Lost   `json:"lost,omitempty"`   // some that are not told
	Silent *Silent `json:"silent,omitempty"` // a node that does not tell, or not any more
}

// Lost says that flows are missing from a stream at this place.
type Lost struct {
	Node  string `json:"node"`          // that saw them
	Flows uint64 `json:"flows"`         // how many, at least
	Why   string `json:"why,omitempty"` // whose fault it was
}

// FlowPulse is the most that passes between two lines of a stream of flows that is followed.
const FlowPulse = 5 * time.Second

// MaxLastFlows is how many flows a node keeps, so that more cannot be asked for; DefaultLastFlows are told where nobody says
// how many.
const (
	MaxLastFlows     = 4096
	DefaultLastFlows = 100
)

// FlowQuery chooses flows. The zero value is all that nodes have kept and none that come.
type FlowQuery struct {
	Tenant, Group string // names; "" for every one. A group is that of either end
	Verdict       string // FlowAllowed …; "" for every one
	// Last is how many of those that were there are told, the newest; MaxLastFlows or 0: all that are kept; less than 0: none.
	Last   int
	Follow bool // go on with those that come
}

// Values are those of the URL. Follow needs a reader that waits.
func (q FlowQuery) Values() url.Values {
	v := url.Values{}
	for name, text := range map[string]string{"tenant": q.Tenant, "group": q.Group, "verdict": q.Verdict} {
		if text != "" {
			v.Set(name, text)
		}
	}
	switch {
	case q.Last < 0:
		v.Set("last", "0")
	case q.Last == 0:
		v.Set("last", strconv.Itoa(MaxLastFlows))
	default:
		v.Set("last", strconv.Itoa(q.Last))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return v
}

// FlowQueryOf reads Values. Left out, last is DefaultLastFlows.
func FlowQueryOf(v url.Values) (FlowQuery, error) {
	q := FlowQuery{Tenant: v.Get("tenant"), Group: v.Get("group"), Verdict: v.Get("verdict"), Last: DefaultLastFlows}
	switch q.Verdict {
	case "", FlowAllowed, FlowDenied, FlowAudited:
	default:
		return q, model.Invalid("verdict", "verdict %q is unknown; use %s, %s or %s", q.Verdict, FlowAllowed, FlowDenied, FlowAudited)
	}
	if text := v.Get("last"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return q, model.Invalid("last", "last %q is not a number from 0", text)
		}
		if q.Last = min(n, MaxLastFlows); n == 0 {
			q.Last = -1
		}
	}
	switch text := v.Get("follow"); text {
	case "", "false":
	case "true":
		q.Follow = true
	default:
		return q, model.Invalid("follow", "follow %q is unknown; use true or leave it out", text)
	}
	return q, nil
}

// Chooses tells whether f is one of those that are asked for.
func (q FlowQuery) Chooses(f Flow) bool {
	return (q.Tenant == "" || q.Tenant == f.Tenant) && (q.Verdict == "" || q.Verdict == f.Verdict) &&
		(q.Group == "" || q.Group == f.From.Group || q.Group == f.To.Group)
}

// ReadFlowLines calls handle with each line of a stream until the stream ends, which is no error, or handle fails.
func ReadFlowLines(r io.Reader, handle func(FlowLine) error) error {
	lines := json.NewDecoder(bufio.NewReader(r))
	for {
		var l FlowLine
		switch err := lines.Decode(&l); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read flows: %w", err)
		}
		if err := handle(l); err != nil {
			return err
		}
	}
}

// flowsGather is how long a master may take to gather what was there, from nodes of which many may hang.
const flowsGather = time.Minute

// Flows calls handle with the lines of a master's answer, until the stream ends or handle fails. A followed stream ends
// only when it breaks or ctx ends; both are errors then.
func (c *Client) Flows(ctx context.Context, q FlowQuery, handle func(FlowLine) error) error {
	var failed error
	first := int(c.last.Load())
	for i := range c.masters {
		at := (first + i) % len(c.masters)
		begun, err := c.flowsOf(ctx, c.masters[at], q, handle)
		var refusal *Error
		if errors.As(err, &refusal) && !refusal.Retry() {
			begun = true // another says the same
		}
		if begun {
			c.last.Store(int32(at))
			return err
		}
		failed = err // it starts or stops, or is away; another may not
	}
	var refusal *Error
	if errors.As(failed, &refusal) {
		return refusal
	}
	return &UnreachableError{Masters: c.masters, Err: failed}
}

// flowsOf asks one master. begun tells whether it has answered.
func (c *Client) flowsOf(ctx context.Context, master string, q FlowQuery, handle func(FlowLine) error) (begun bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(mostWait, cancel)
	defer silence.Stop()
	resp, err := c.send(ctx, http.MethodGet, master+FlowsPath+"?"+q.Values().Encode(), nil)
	if err != nil {
		return false, err
	}
	if resp.StatusCode != http.StatusOK {
		_, err := answer(resp, nil)
		return false, err
	}
	defer resp.Body.Close()
	silence.Reset(flowsGather)
	err = ReadFlowLines(resp.Body, func(l FlowLine) error {
		silence.Reset(3 * FlowPulse)
		return handle(l)
	})
	if err == nil && q.Follow {
		err = errors.New("the netmaster ended the stream of flows; begin anew")
	}
	return true, err
}

// Verdicts of a Trace.
const (
	TraceAllow = "allow"
	TraceDeny  = "deny"
)

// Trace is what would become of a connection's first packet, computed from the intent alone.
type Trace struct {
	Tenant   string      `json:"tenant"`         // of the sender
	Verdict  string      `json:"verdict"`        // allow or deny
	Protocol string      `json:"protocol"`       // as a Flow has it
	From     FlowEnd     `json:"from"`           // the sender
	To       FlowEnd     `json:"to"`             // the receiver
	Steps    []TraceStep `json:"steps"`          // where rules are asked, in the packet's order; a step that denies is the last
	Rule     string      `json:"rule,omitempty"` // the key of the one that decided; "" for none
	// Otherwise is what would come of it if Rule were not there, by OtherwiseRule; "" where no rule decided.
	Otherwise     string `json:"otherwise,omitempty"`
	OtherwiseRule string `json:"otherwiseRule,omitempty"` // the key of the one that would decide then; "" for none
	// Why is a sentence for what no rule decides, as tenants that have no path between them.
	Why string `json:"why,omitempty"`
}

// TraceStep is what one direction's rules say: out at the sender's node, then in at the receiver's.
type TraceStep struct {
	Direction string `json:"direction"`         // out or in
	Node      string `json:"node,omitempty"`    // where the rules are enforced
	Group     string `json:"group"`             // the key of the group whose policies were asked; "" where only Kubernetes' were
	Policy    string `json:"policy,omitempty"`  // the key of Rule's policy
	Verdict   string `json:"verdict"`           // allow or deny
	Rule      string `json:"rule,omitempty"`    // tenant:policy:rule, or as RuleCount has those of Kubernetes; "" when none matched
	Audited   string `json:"audited,omitempty"` // the key of a rule of an audited policy that would deny
}
