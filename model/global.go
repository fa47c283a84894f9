// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Forwarding and ARP modes.
const (
	ForwardRouting = "routing" // networks of one tenant reach each other
	ForwardBridge  = "bridge"  // only one's own network is reachable

	ARPProxy = "proxy" // nodes answer for the endpoints that they know; of a VLAN the others are asked on the wire
	ARPFlood = "flood" // VLANs carry broadcast and multicast to everybody
)

// GlobalName is the key of the one Global.
const GlobalName = "global"

// Global is what holds for the whole cluster.
type Global struct {
	FabricMode    string       `json:"fabricMode"`    // default, aci or aci-opflex
	ForwardMode   string       `json:"forwardMode"`   // routing or bridge
	ARPMode       string       `json:"arpMode"`       // ARPProxy or ARPFlood
	VLANs         string       `json:"vlans"`         // lowest-highest, as 1-4094
	VXLANs        string       `json:"vxlans"`        // lowest-highest, as 1-10000
	PrivateSubnet netip.Prefix `json:"privateSubnet"` // an IPv4 /16 for the nodes' own ports towards containers
	// Established says what a new deny does to connections that are open: EstablishedKeep ("" too) or EstablishedRecheck.
	Established string `json:"established,omitempty"`
}

// What becomes of open connections when a rule comes that would not let them begin.
const (
	EstablishedKeep    = "keep"
	EstablishedRecheck = "recheck"
)

func (Global) Kind() Kind  { return KindGlobal }
func (Global) Key() string { return GlobalName }

// DefaultGlobal is in force until an operator says otherwise.
func DefaultGlobal() Global {
	return Global{
		FabricMode: "default", ForwardMode: ForwardRouting, ARPMode: ARPProxy, VLANs: "1-4094", VXLANs: "1-10000",
		PrivateSubnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 19}), 16),
	}
}

var tagRange = regexp.MustCompile(`^[0-9]{1,8}-[0-9]{1,8}$`)

// TagRange reads lowest-highest. Both are at least 1 and at most max.
func TagRange(field, text string, max uint32) (low, high uint32, err error) {
	if !tagRange.MatchString(text) {
		return 0, 0, Invalid(field, "%s %q is not a range; write it as 1-%d", field, text, max)
	}
	a, b, _ := strings.Cut(text, "-")
	l, _ := strconv.ParseUint(a, 10, 32) // eight digits always fit
	h, _ := strconv.ParseUint(b, 10, 32)
	why := ""
	switch { // in v1's words
	case h < l:
		why = "min is greater than max"
	case l < 1:
		why = "values less than 1"
	case h > uint64(max):
		why = fmt.Sprintf("values exceed %d max allowed", max)
	default:
		return uint32(l), uint32(h), nil
	}
	return 0, 0, Invalid(field, "%s: invalid range %s, %s; use a part of 1-%d with its lower end first", field, text, why, max)
}

// Highest tags: the last VLAN id and, as the v1 API has it, the last VXLAN network identifier; and how far apart the ends of the
// VXLAN range may be.
const (
	MaxVLAN       = 4094
	MaxVXLAN      = 65535
	MaxVXLANRange = 16000
)

// Check refuses settings that could never be right, whatever else exists.
func (g Global) Check() error {
	if g.ForwardMode != ForwardRouting && g.ForwardMode != ForwardBridge {
		return Invalid("fwdMode", "fwdMode %q is unknown; use routing or bridge", g.ForwardMode)
	}
	if g.ARPMode != ARPProxy && g.ARPMode != ARPFlood {
		return Invalid("arpMode", "arpMode %q is unknown; use proxy or flood", g.ARPMode)
	}
	switch g.FabricMode {
	case "default", "aci", "aci-opflex":
	default:
		return Invalid("networkInfraType", "networkInfraType %q: invalid fabric mode; use default, aci or aci-opflex", g.FabricMode)
	}
	switch g.Established {
	case "", EstablishedKeep, EstablishedRecheck:
	default:
		return Invalid("established", "established %q is unknown; use keep or recheck", g.Established)
	}
	if _, _, err := TagRange("vlans", g.VLANs, MaxVLAN); err != nil {
		return err
	}
	low, high, err := TagRange("vxlans", g.VXLANs, MaxVXLAN)
	if err != nil {
		return err
	}
	if high-low > MaxVXLANRange {
		return Invalid("vxlans", "vxlans %s has ends %d apart: does not allow vxlan range to exceed %d range; use a smaller one", g.VXLANs, high-low, MaxVXLANRange)
	}
	if p := g.PrivateSubnet; !p.IsValid() || !p.Addr().Is4() || p.Bits() != 16 {
		return Invalid("pvtSubnet", "pvtSubnet %s is not an IPv4 /16; write it as 172.19.0.0/16", p)
	}
	for _, not := range notForContainers {
		if not.space.Overlaps(g.PrivateSubnet.Masked()) {
			return Invalid("pvtSubnet", "pvtSubnet %s is %s; choose another, as 172.19.0.0/16", g.PrivateSubnet, not.what)
		}
	}
	return nil
}
