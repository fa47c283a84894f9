// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/contivnet/contiv/model"
)

// BGP is how one node speaks BGP with its routers: v1's Bgp, which had one neighbor. The node need not be there yet. What v1 had not is
// left as it is where it is left out, and at first not there.
type BGP struct {
	Key           string      `json:"key"`                      // the node's host label
	Hostname      string      `json:"hostname"`                 // the node's host label
	RouterIP      string      `json:"routerip,omitempty"`       // address/length
	RouterIP6     *string     `json:"routerip6,omitempty"`      // address/length in IPv6, beside a routerip in IPv4; "" for none
	AS            string      `json:"as,omitempty"`             // 1 to 4294967295, or as 65535.1 (RFC 5396)
	Neighbor      string      `json:"neighbor,omitempty"`       // an address
	NeighborAS    string      `json:"neighbor-as,omitempty"`    // the neighbor's, as as
	MoreNeighbors *[]Neighbor `json:"more-neighbors,omitempty"` // those beside neighbor
	Password      *string     `json:"password,omitempty"`       // signs all sessions (TCP MD5, RFC 2385), "" for none; whoever may read this object reads it
	HoldTime      *uint16     `json:"hold-time,omitempty"`      // seconds of silence after which a neighbor counts as dead; 0: 90
	Keepalive     *uint16     `json:"keepalive,omitempty"`      // seconds between signs of life; 0: a third of hold-time
	Announce      *string     `json:"announce,omitempty"`       // endpoints ("" too): each address; subnets: those of networks in which the node has endpoints
	LinkSets      LinkSets    `json:"link-sets"`
	Links         Links       `json:"links"`
}

// Neighbor is one more router of a node.
type Neighbor struct {
	Neighbor   string `json:"neighbor"`    // an address
	NeighborAS string `json:"neighbor-as"` // the neighbor's, as as
}

// BGPOper is what has become of a node's BGP. The first four fields are v1's.
type BGPOper struct {
	AdminStatus    string       `json:"adminStatus,omitempty"`    // up: the node speaks; else why it does not
	NeighborStatus string       `json:"neighborStatus,omitempty"` // of the session with the first neighbor, as established
	NumRoutes      int          `json:"numRoutes,omitempty"`      // how many
	Routes         []string     `json:"routes,omitempty"`         // learnt, as 60.1.1.0/24 via 50.1.1.2
	Neighbors      []BGPSession `json:"neighbors,omitempty"`      // the sessions
	Announced      []string     `json:"announced,omitempty"`      // prefixes that the neighbors hear of
	Device         string       `json:"device,omitempty"`         // which has the node's router address
}

// BGPSession is what a node has with one neighbor.
type BGPSession struct {
	Neighbor string    `json:"neighbor"`        // its address
	AS       uint32    `json:"neighbor-as"`     // its autonomous system, as it should be
	State    string    `json:"state"`           // idle, connect, active, opensent, openconfirm or established
	Since    time.Time `json:"since,omitzero"`  // when it was established, by the node's clock
	Received int       `json:"received"`        // prefixes that it has announced
	Sent     int       `json:"sent"`            // prefixes that it was told
	Error    string    `json:"error,omitempty"` // why the session is down or ended last
}

// BGPInspect is the answer of inspect.
type BGPInspect = Inspect[BGP, BGPOper]

// NodeBGP is what an agent tells of its node's BGP.
type NodeBGP struct {
	Node string  `json:"node"` // its name
	Oper BGPOper `json:"oper"` // the zero value where it should not speak
}

// AgentBGPPath is where an agent answers a GET with NodeBGP, without credentials.
const AgentBGPPath = "/v1/bgp"

// BGPOf is how v1 shows b, and what v1 had not.
func BGPOf(b model.BGP) BGP {
	routerIP6, more := "", []Neighbor{}
	out := BGP{
		Key: b.Key(), Hostname: b.Node, RouterIP: b.RouterIP.String(), RouterIP6: &routerIP6, AS: asText(b.AS), MoreNeighbors: &more, Password: &b.Password,
		HoldTime: &b.HoldTime, Keepalive: &b.Keepalive, Announce: &b.Announce, LinkSets: LinkSets{}, Links: Links{},
	}
	if b.RouterIP6.IsValid() {
		routerIP6 = b.RouterIP6.String()
	}
	for i, n := range b.Neighbors {
		if i == 0 {
			out.Neighbor, out.NeighborAS = n.Addr.String(), asText(n.AS)
			continue
		}
		more = append(more, Neighbor{Neighbor: n.Addr.String(), NeighborAS: asText(n.AS)})
	}
	return out
}

// Model is the configuration that b asks for. What b leaves out is the master's to keep.
func (b BGP) Model() (model.BGP, error) {
	m := model.BGP{Node: b.Hostname, Password: valueOf(b.Password), HoldTime: valueOf(b.HoldTime), Keepalive: valueOf(b.Keepalive), Announce: valueOf(b.Announce)}
	var err error
	if m.RouterIP, err = netip.ParsePrefix(b.RouterIP); err != nil {
		return m, model.Invalid("routerip", "routerip %q is not an address with its length; write it as 50.1.1.1/24", b.RouterIP)
	}
	if text := valueOf(b.RouterIP6); text != "" {
		if m.RouterIP6, err = netip.ParsePrefix(text); err != nil {
			return m, model.Invalid("routerip6", "routerip6 %q is not an address with its length; write it as 2001:db8::1/64", text)
		}
	}
	if m.AS, err = parseAS("as", b.AS); err != nil {
		return m, err
	}
	if first := (Neighbor{b.Neighbor, b.NeighborAS}); first != (Neighbor{}) {
		n, err := first.model("neighbor", "neighbor-as")
		if err != nil {
			return m, err
		}
		m.Neighbors = append(m.Neighbors, n)
	}
	for _, more := range valueOf(b.MoreNeighbors) {
		if more.Neighbor == "" || more.NeighborAS == "" {
			return m, model.Invalid("more-neighbors", "each of more-neighbors has a neighbor and a neighbor-as, and one lacks them; give both, or leave it out")
		}
		n, err := more.model("more-neighbors", "more-neighbors")
		if err != nil {
			return m, err
		}
		m.Neighbors = append(m.Neighbors, n)
	}
	if m.Announce == model.AnnounceEndpoints { // which is the same as nothing
		m.Announce = ""
	}
	return m, m.Check()
}

// valueOf is what a field says; what is left out is zero.
func valueOf[T any](field *T) (v T) {
	if field != nil {
		v = *field
	}
	return v
}

// model reads a neighbor. Errors name the fields that it is of.
func (n Neighbor) model(field, fieldAS string) (m model.Neighbor, err error) {
	if m.AS, err = parseAS(fieldAS, n.NeighborAS); err != nil || n.Neighbor == "" {
		return m, err
	}
	if m.Addr, err = netip.ParseAddr(n.Neighbor); err != nil || m.Addr.Zone() != "" {
		return m, model.Invalid(field, "%s %q is not an address; write it as 50.1.1.2 or 2001:db8::2", field, n.Neighbor)
	}
	return m, nil
}

func asText(as uint32) string {
	if as == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(as), 10)
}

// parseAS reads an autonomous system's number, plain or as high.low; "" is 0.
func parseAS(field, text string) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	wrong := model.Invalid(field, "%s %q is not an autonomous system; use 1 to 4294967295", field, text)
	high, low, dotted := strings.Cut(text, ".")
	if !dotted {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n == 0 {
			return 0, wrong
		}
		return uint32(n), nil
	}
	h, err1 := strconv.ParseUint(high, 10, 16)
	l, err2 := strconv.ParseUint(low, 10, 16)
	if err1 != nil || err2 != nil || h<<16|l == 0 {
		return 0, wrong
	}
	return uint32(h<<16 | l), nil
}
