// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// Global is what holds for the whole cluster. There is one, with key "global". What is left out of an update stays as it is.
type Global struct {
	Key              string       `json:"key"`                        // global
	Name             string       `json:"name"`                       // global
	NetworkInfraType string       `json:"networkInfraType,omitempty"` // default, aci or aci-opflex
	FwdMode          string       `json:"fwdMode,omitempty"`          // routing (default): the networks of a tenant reach each other; bridge: they do not
	ArpMode          string       `json:"arpMode,omitempty"`          // proxy (default) or flood
	Vlans            string       `json:"vlans,omitempty"`            // lowest-highest
	Vxlans           string       `json:"vxlans,omitempty"`           // lowest-highest
	PvtSubnet        netip.Prefix `json:"pvtSubnet,omitzero"`         // an IPv4 /16 for the nodes' own ports towards containers
	// Established is keep (default) or recheck: whether a new deny ends connections that are open. New since v1.
	Established string `json:"established,omitempty"`
}

// GlobalOf is how v1 shows g.
func GlobalOf(g model.Global) Global {
	return Global{
		Key: g.Key(), Name: g.Key(), NetworkInfraType: g.FabricMode, FwdMode: g.ForwardMode, ArpMode: g.ARPMode,
		Vlans: g.VLANs, Vxlans: g.VXLANs, PvtSubnet: g.PrivateSubnet, Established: cmp.Or(g.Established, model.EstablishedKeep),
	}
}
