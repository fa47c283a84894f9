// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"net/netip"
	"time"

	"github.com/contivnet/contiv/api"
)

// Source is what a data path has seen, in its own numbers.
type Source interface {
	// Drops counts dropped packets since the data path's maps were made.
	Drops() ([]Drop, error)
	// Rules counts what rules decided since then. Those that have not decided anything may be left out.
	Rules() ([]Rule, error)
	// Services counts what this node's containers had of services, likewise.
	Services() ([]Service, error)
	// Events are the connections that were opened and refused since the last call, the oldest first. lost counts
	// those since the last call that are missing, as there was no room for them.
	Events() (events []Event, lost uint64, err error)
}

// Reasons of Drops and Events that are rules' doing.
const (
	PolicyIn  = "policy_in"
	PolicyOut = "policy_out"

	// What the node's netfilter drops for us (netdev.Firewall), which is no part of the data path.
	VXLANForged   = "vxlan_forged"
	VXLANBorrowed = "vxlan_borrowed"
	OutsideDenied = "outside_denied"
)

// Drop is how many packets of one port were dropped for a reason.
type Drop struct {
	Port    string // the host side of the sender's veth pair, as vvport3, or where rules denied it, of whose they are; "" for another device, or one that is gone
	Reason  string // as spoofed_mac
	Packets uint64
}

// Rule is what the rule with that number did.
type Rule struct {
	Number      uint32 // as compile.Rule has it
	Packets     uint64 // of the connections that it let in
	Connections uint64 // let in or refused
	Denied      uint64 // of these refused: packets, as each is asked about
	Audited     uint64 // let in, but it would have refused them
}

// Event is a connection as it was opened or refused.
type Event struct {
	Time     time.Time
	Tenant   uint32 // its number
	From, To netip.AddrPort
	Protocol uint8  // IP protocol number
	Verdict  string // api.FlowAllowed, api.FlowDenied or api.FlowAudited
	Rule     uint32 // the one that decided, or when audited would have; 0: none
	Reason   string // of the drop, as policy_in; "" for none
}

// Service is what this node's containers had of one provider of a service.
type Service struct {
	Service, Provider uint32 // by the numbers of compile.Service and compile.Provider
	api.Traffic
}
