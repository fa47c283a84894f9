// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// Global is v1's global: what holds for the whole cluster. There is one, with key "global".
type Global struct {
	Key              string       `json:"key"`
	Name             string       `json:"name"`
	NetworkInfraType string       `json:"networkInfraType,omitempty"`
	FwdMode          string       `json:"fwdMode,omitempty"`
	ArpMode          string       `json:"arpMode,omitempty"`
	Vlans            string       `json:"vlans,omitempty"`  // lowest-highest
	Vxlans           string       `json:"vxlans,omitempty"` // lowest-highest
	PvtSubnet        netip.Prefix `json:"pvtSubnet,omitzero"`
	// Established is keep (default) or recheck: whether a new deny ends connections that are open. New since v1.
	Established string `json:"established,omitempty"`
}

// GlobalOf is how v1 shows g.
func GlobalOf(g model.Global) Global {
	return Global{
		Key: g.Key(), Name: g.Key(), NetworkInfraType: g.FabricMode, FwdMode: g.ForwardMode, ArpMode: g.ARPMode,
		Vlans: g.VLANs, Vxlans: g.VXLANs, PvtSubnet: g.PrivateSubnet, Established: g.Established,
	}
}
