// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	// mark is on every packet that we send in a container, so that the redirect lets our questions to Docker pass.
	mark = 0x6377
	// tableName is our nftables table in a container, of family ip.
	tableName = "contiv-dns"
	port      = 5399 // ours
	dnsPort   = 53   // Docker's

	// lifetime is how long the redirect outlives the last heartbeat. It is the time that a restart may take: until then
	// questions wait for us, afterwards they go to Docker.
	lifetime = 10 * time.Second
)

// resolver is where Docker tells every container to ask.
var resolver = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// installRedirect makes our table in the namespace of the calling thread, in one transaction with the end of any table
// that an earlier run left. This is it:
//
//	table ip contiv-dns {
//	  set alive { type inet_service; flags dynamic,timeout; timeout 10s; elements = { 5399 } }
//	  chain heartbeat { type filter hook output priority -300
//	    meta mark 0x6377 ip daddr 127.0.0.11 udp dport 5399 update @alive { udp dport } drop }
//	  chain unreachable { type filter hook output priority -150
//	    icmp type 3 code 3, the lost packet's port 5399, 5399 in @alive: drop }
//	  chain redirect { type nat hook output priority -110
//	    meta mark 0x6377 return
//	    ip daddr 127.0.0.11 {udp,tcp} dport 53, 5399 in @alive: dnat to 127.0.0.11:5399 }
//	}
//
// A packet renews the set, not a netlink transaction: that is one system call a heartbeat on a socket that is
// open anyway, and its being dropped (EPERM) proves that the table is still there.
//
// Chain unreachable keeps a question that comes while we restart from being refused: the client asks again.
func installRedirect(life time.Duration) error {
	c, err := openNftables()
	if err != nil {
		return err
	}
	defer closeLater(c)
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}
	c.AddTable(t) // or deleting it would fail where there is none
	c.DelTable(t)
	c.AddTable(t)
	alive := &nftables.Set{
		// Unique in the transaction; the library's own numbering is not safe for concurrent use.
		ID:    1,
		Table: t, Name: "alive", KeyType: nftables.TypeInetService, Dynamic: true, HasTimeout: true, Timeout: life, Size: 16,
	}
	if err := c.AddSet(alive, []nftables.SetElement{{Key: be16(port)}}); err != nil {
		return fmt.Errorf("make nftables set: %w", err)
	}
	output := func(name string, kind nftables.ChainType, priority nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{
			Table: t, Name: name, Type: kind, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRef(priority),
		})
	}
	rule := func(ch *nftables.Chain, parts ...[]expr.Any) {
		r := &nftables.Rule{Table: t, Chain: ch}
		for _, p := range parts {
			r.Exprs = append(r.Exprs, p...)
		}
		c.AddRule(r)
	}
	// Before conntrack, which then never sees it.
	heartbeat := output("heartbeat", nftables.ChainTypeFilter, *nftables.ChainPriorityRaw)
	rule(heartbeat, marked(), toResolver(), protocol(unix.IPPROTO_UDP), destination(port), []expr.Any{
		&expr.Dynset{SrcRegKey: 1, SetName: alive.Name, SetID: alive.ID, Operation: unix.NFT_DYNSET_OP_UPDATE},
		&expr.Verdict{Kind: expr.VerdictDrop},
	})
	// Before NAT, which would put the old port into the lost packet.
	unreachable := output("unreachable", nftables.ChainTypeFilter, *nftables.ChainPriorityMangle)
	rule(unreachable, protocol(unix.IPPROTO_ICMP), []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{3, 3}}, // destination unreachable, port unreachable
		// The ICMP header of 8 bytes, the lost IPv4 header of 20, its source port of 2.
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 30, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: be16(port)},
		&expr.Lookup{SourceRegister: 1, SetName: alive.Name, SetID: alive.ID},
		&expr.Verdict{Kind: expr.VerdictDrop},
	})
	// Docker's chain is at -100.
	redirect := output("redirect", nftables.ChainTypeNAT, -110)
	rule(redirect, marked(), []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}})
	for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		rule(redirect, toResolver(), protocol(proto), destination(dnsPort), []expr.Any{
			&expr.Immediate{Register: 1, Data: resolver.AsSlice()},
			&expr.Immediate{Register: 2, Data: be16(port)},
			&expr.Lookup{SourceRegister: 2, SetName: alive.Name, SetID: alive.ID},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
		})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("load nftables table %s: %w", tableName, err)
	}
	return nil
}

// removeRedirect deletes our table from the namespace of the calling thread. None to delete is fine.
func removeRedirect() error {
	c, err := openNftables()
	if err != nil {
		return err
	}
	defer closeLater(c)
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName})
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete nftables table %s: %w", tableName, err)
	}
	return nil
}

func openNftables() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return c, nil
}

// closeLater closes c without waiting. What was sent is in force, but the kernel holds the close up until it has
// freed what a transaction replaced: 4 to 16 ms, for which a container's start need not wait.
func closeLater(c *nftables.Conn) { go func() { _ = c.CloseLasting() }() }

// The conditions below leave what they loaded in register 1.

func marked() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
	}
}

func toResolver() []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: resolver.AsSlice()},
	}
}

func protocol(p byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{p}},
	}
}

func destination(p uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: be16(p)},
	}
}

func be16(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }
