// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// Node is a machine with a netplugin. New since v1.
type Node struct {
	Key       string     `json:"key"`             // nodeName
	NodeName  string     `json:"nodeName"`        // its host label
	VtepIP    netip.Addr `json:"vtepIP"`          // where tunnels to it end
	CtrlIP    netip.Addr `json:"ctrlIP,omitzero"` // where its agent can be asked
	VXLANPort uint16     `json:"vxlanPort"`       // the UDP port at which tunnels end
	// StatusPort is the TCP port at which its agent tells what it has seen; 0: it does not.
	StatusPort uint16 `json:"statusPort,omitempty"`
	MTU        int    `json:"mtu,omitempty"`     // bytes, of the underlay: 1280 to 65535; 0: not known
	Version    string `json:"version,omitempty"` // its netplugin's
	// State is up or down, and NumEndpoints how many it has. Both only in answers.
	State        string `json:"state,omitempty"`
	NumEndpoints int    `json:"numEndpoints,omitempty"`
}

// States of a node.
const (
	NodeUp   = "up"
	NodeDown = "down"
)

// NodeOf is how the API shows n.
func NodeOf(n model.Node) Node {
	return Node{Key: n.Name, NodeName: n.Name, VtepIP: n.VTEP, CtrlIP: n.Ctrl, VXLANPort: n.VXLANPort, StatusPort: n.StatusPort, MTU: n.MTU, Version: n.Version}
}

// Model is the node that n describes.
func (n Node) Model() (model.Node, error) {
	m := model.Node{Name: n.NodeName, VTEP: n.VtepIP.Unmap(), Ctrl: n.CtrlIP, VXLANPort: n.VXLANPort, StatusPort: n.StatusPort, MTU: n.MTU, Version: n.Version}
	return m, m.Check()
}
