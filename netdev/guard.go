// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// guardTable is our nftables table in the node's namespace, of family ip.
const guardTable = "contiv"

// guardChains are its chains, each of one rule.
const (
	guardForged    = "forged"
	guardBorrowed  = "borrowed"
	afterSourceNAT = 110 // source NAT is at 100
)

// GuardTunnels keeps everybody but the data path from sending tunnels' packets under the address of a node. Containers that have a way out
// through a bridge (Docker gives them one) leave under the node's address, vtep (IPv4), so their packets to UDP port would be taken
// by other nodes for its own. Loaded in one transaction in the calling thread's namespace, in place of what was there:
//
//	table ip contiv {
//	  chain forged { type filter hook forward priority -1
//	    udp dport 4789 fib saddr . iif oif missing drop }
//	  chain borrowed { type filter hook postrouting priority 110
//	    ip saddr 192.168.2.10 udp dport 4789 drop }
//	}
//
// The first is for the address of a third node, written into a packet: no NAT is done for it. What the data path sends does not pass
// netfilter, so it pays nothing.
func GuardTunnels(vtep netip.Addr, port uint16) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: guardTable}
	c.AddTable(t) // or deleting it would fail where there is none
	c.DelTable(t)
	c.AddTable(t)
	rule := func(chain string, hook *nftables.ChainHook, priority nftables.ChainPriority, more ...expr.Any) {
		ch := c.AddChain(&nftables.Chain{Table: t, Name: chain, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority})
		exprs := []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, // destination port
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
		}
		exprs = append(exprs, more...)
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: append(exprs, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})})
	}
	rule(guardForged, nftables.ChainHookForward, -1,
		&expr.Fib{Register: 1, FlagSADDR: true, FlagIIF: true, ResultOIF: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)}) // no device: the way back is another
	rule(guardBorrowed, nftables.ChainHookPostrouting, afterSourceNAT,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}, // source address
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: vtep.AsSlice()})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("load nftables table %s, which keeps containers from sending VXLAN under the node's address: %w", guardTable, err)
	}
	return nil
}

// TunnelsGuarded tells whether GuardTunnels' rules are still in the calling thread's namespace: a firewall that is loaded anew often
// clears everybody's.
func TunnelsGuarded() (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: guardTable}
	for _, chain := range []string{guardForged, guardBorrowed} {
		rules, err := c.GetRules(t, &nftables.Chain{Table: t, Name: chain})
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read nftables table %s: %w", guardTable, err)
		}
		if len(rules) != 1 {
			return false, nil
		}
	}
	return true, nil
}
