// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// Address says who has an address of a network. It is a key of the store that is only created where
// it was absent, so no address is ever given twice, and a leaked one shows its owner's name.
type Address struct {
	Network string     `json:"network"` // the network's key, tenant:network
	Addr    netip.Addr `json:"addr"`    // of either family
	// Owner is the endpoint's id, or the node's name while a container that asked is not yet attached.
	Owner string `json:"owner"`
	// Held marks an address that a node asked for and no endpoint has claimed yet. The store forgets it
	// by itself after HoldSeconds, so a runtime that dies between asking and attaching leaks nothing.
	Held bool `json:"held,omitempty"`
}

// HoldSeconds is how long an address waits for its endpoint. Docker asks and attaches within a second; the
// rest is for a loaded machine and for the 15 s in which Docker retries a plugin that does not answer.
const HoldSeconds = 120

func (Address) Kind() Kind    { return KindAddress }
func (a Address) Key() string { return AddressKey(a.Network, a.Addr) }

// AddressKey is the key of an address of the network whose key is given: tenant:network/address.
func AddressKey(network string, a netip.Addr) string { return network + "/" + a.String() }
