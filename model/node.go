// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// Node is a machine on which a netplugin runs.
type Node struct {
	Name string     `json:"name"`          // its host label
	VTEP netip.Addr `json:"vtep"`          // where VXLAN packets for it go: its VXLAN tunnel endpoint, IPv4 or IPv6
	Ctrl netip.Addr `json:"ctrl,omitzero"` // where its agent can be asked for its status
	// VXLANPort is the UDP port at which it listens, equal on all nodes.
	VXLANPort uint16 `json:"vxlanPort"`
	// StatusPort is the TCP port on Ctrl at which its agent tells what it has seen; 0: it does not.
	StatusPort uint16 `json:"statusPort,omitempty"`
	MTU        int    `json:"mtu,omitempty"`     // bytes, of its underlay
	Version    string `json:"version,omitempty"` // its netplugin's
}

func (Node) Kind() Kind    { return KindNode }
func (n Node) Key() string { return n.Name }

// Check refuses a node that could never be right, whatever else exists.
func (n Node) Check() error {
	if err := CheckName("nodeName", n.Name, 253); err != nil {
		return err
	}
	if !n.VTEP.IsValid() || n.VTEP.IsUnspecified() || n.VTEP.IsLoopback() || n.VTEP.IsMulticast() {
		return Invalid("vtepIP", "VTEP address %s of node %s cannot carry tunnels; start netplugin with --vtep-ip and an address of the underlay", n.VTEP, n.Name)
	}
	if n.VTEP.Is6() && n.VTEP.IsLinkLocalUnicast() || n.VTEP.Zone() != "" {
		return Invalid("vtepIP", "VTEP address %s of node %s means something on one link only; start netplugin with --vtep-ip and a global or unique local address (fd00::/8)", n.VTEP, n.Name)
	}
	if n.VXLANPort == 0 {
		return Invalid("vxlanPort", "vxlanPort 0 of node %s is not a UDP port; use 1 to 65535 (default 4789)", n.Name)
	}
	if n.MTU != 0 && (n.MTU < MinMTU || n.MTU > MaxMTU) {
		return Invalid("mtu", "mtu %d of node %s is not one of an underlay; use %d to %d, or leave it out where it is not known", n.MTU, n.Name, MinMTU, MaxMTU)
	}
	return nil
}

// An underlay's MTU in bytes: what IPv6 needs of every link (RFC 8200 5), and as much as a packet's length can say.
const (
	MinMTU = 1280
	MaxMTU = 65535
)

// Alive exists while a node's agent is heard of: the store forgets it AliveSeconds after the last word.
type Alive struct {
	Node string `json:"node"`
}

// AliveSeconds is how long a node counts as up after its last word, which comes every AliveSeconds/3.
const AliveSeconds = 15

func (Alive) Kind() Kind    { return KindAlive }
func (a Alive) Key() string { return a.Node }

// Known exists until a node has been silent for so long that its endpoints are given up (netmaster --node-gc).
type Known struct {
	Node string `json:"node"`
}

func (Known) Kind() Kind    { return KindKnown }
func (k Known) Key() string { return k.Node }
