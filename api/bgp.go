// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/contivnet/contiv/model"
)

// BGP is how one node speaks BGP with its router: v1's Bgp. The node need not be there yet.
type BGP struct {
	Key        string   `json:"key"`                   // the node's host label
	Hostname   string   `json:"hostname"`              // the node's host label
	RouterIP   string   `json:"routerip,omitempty"`    // address/length
	AS         string   `json:"as,omitempty"`          // 1 to 4294967295, or as 65535.1 (RFC 5396)
	Neighbor   string   `json:"neighbor,omitempty"`    // an address
	NeighborAS string   `json:"neighbor-as,omitempty"` // the neighbor's, as as
	LinkSets   LinkSets `json:"link-sets"`
	Links      Links    `json:"links"`
}

// BGPOper is what has become of a node's BGP.
type BGPOper struct {
	AdminStatus    string   `json:"adminStatus,omitempty"`    // whether the node speaks, and if not why
	NeighborStatus string   `json:"neighborStatus,omitempty"` // of the session with the neighbor
	NumRoutes      int      `json:"numRoutes,omitempty"`      // how many
	Routes         []string `json:"routes,omitempty"`         // learnt from the neighbor
}

// BGPInspect is the answer of inspect.
type BGPInspect = Inspect[BGP, BGPOper]

// BGPOf is how v1 shows b.
func BGPOf(b model.BGP) BGP {
	out := BGP{Key: b.Key(), Hostname: b.Node, RouterIP: b.RouterIP.String(), AS: asText(b.AS), NeighborAS: asText(b.NeighborAS), LinkSets: LinkSets{}, Links: Links{}}
	if b.Neighbor.IsValid() {
		out.Neighbor = b.Neighbor.String()
	}
	return out
}

// Model is the configuration that b asks for.
func (b BGP) Model() (model.BGP, error) {
	m := model.BGP{Node: b.Hostname}
	var err error
	if m.RouterIP, err = netip.ParsePrefix(b.RouterIP); err != nil {
		return m, model.Invalid("routerip", "routerip %q is not an address with its length; write it as 50.1.1.1/24", b.RouterIP)
	}
	if m.AS, err = parseAS("as", b.AS); err != nil {
		return m, err
	}
	if m.NeighborAS, err = parseAS("neighbor-as", b.NeighborAS); err != nil {
		return m, err
	}
	if b.Neighbor != "" {
		if m.Neighbor, err = netip.ParseAddr(b.Neighbor); err != nil || m.Neighbor.Zone() != "" {
			return m, model.Invalid("neighbor", "neighbor %q is not an address; write it as 50.1.1.2", b.Neighbor)
		}
	}
	return m, m.Check()
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
