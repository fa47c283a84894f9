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

	"github.com/contivnet/contiv/datapath"
)

const (
	// mark is on every packet that we send in a container, so that the redirect lets it pass.
	mark = 0x6377
	// asked is the mark of a question on its way to us.
	asked = datapath.NamesMark
	// tableName is our nftables table in a Docker container, of family inet.
	tableName = "contiv-dns"
	port      = datapath.NamesPort // ours
	dnsPort   = 53

	// lifetime is how long the redirect outlives the last heartbeat. It is the time that a restart may take: until then
	// questions wait for us, afterwards they go where they were sent.
	lifetime = 10 * time.Second
)

// resolver is where Docker tells every container to ask.
var resolver = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// installRedirect makes our table in the namespace of the calling thread, which is that of a Docker container, in one transaction
// with the end of any table that an earlier run left. It turns questions to Docker's resolver to us. This is it:
//
//	table inet contiv-dns {
//	  set alive { type inet_service; flags dynamic,timeout; timeout 10s; elements = { 5399 } }
//	  chain leaving { type route hook output priority -300
//	    meta mark 0x6377 goto ours
//	    ip daddr 127.0.0.11 {udp,tcp} dport 53, 5399 in @alive: notrack th dport set 5399 meta mark set 0x6378
//	  }
//	  chain ours {
//	    ip daddr 127.0.0.11 udp dport 5399 update @alive { udp dport } drop      # a heartbeat
//	    th dport 53 accept                                                       # a question that we pass on
//	    tcp sport 5399 tcp sport set 53                                          # an answer over TCP
//	    notrack                                                                  # an answer
//	  }
//	}
//
// The address is one of lo, and is not changed. Nothing is remembered of a packet: each goes to who is there when it is sent. While nobody listens, the kernel refuses in the name of port 5399, of which the
// client knows nothing: it asks again.
//
// A packet renews the set, not a netlink transaction: that is one system call a heartbeat on a socket that is
// open anyway, and its being dropped (EPERM) proves that the table is still there.
func installRedirect(life time.Duration) error {
	c, err := openNftables()
	if err != nil {
		return err
	}
	defer closeLater(c)
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
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
	rule := func(ch *nftables.Chain, parts ...[]expr.Any) {
		r := &nftables.Rule{Table: t, Chain: ch}
		for _, p := range parts {
			r.Exprs = append(r.Exprs, p...)
		}
		c.AddRule(r)
	}
	ours := c.AddChain(&nftables.Chain{Table: t, Name: "ours"})
	rule(ours, toResolver(), protocol(unix.IPPROTO_UDP), destination(port), []expr.Any{
		&expr.Dynset{SrcRegKey: 1, SetName: alive.Name, SetID: alive.ID, Operation: unix.NFT_DYNSET_OP_UPDATE},
		&expr.Verdict{Kind: expr.VerdictDrop},
	})
	rule(ours, destination(dnsPort), []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})
	rule(ours, protocol(unix.IPPROTO_TCP), source(port), setPort(unix.IPPROTO_TCP, 0, dnsPort))
	rule(ours, []expr.Any{&expr.Notrack{}})

	// Before connection tracking, which is at -200.
	leaving := c.AddChain(&nftables.Chain{
		Table: t, Name: "leaving", Type: nftables.ChainTypeRoute, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRaw,
	})
	rule(leaving, marked(), []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: ours.Name}})
	for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		rule(leaving, protocol(proto), destination(dnsPort), toResolver(), []expr.Any{
			&expr.Immediate{Register: 1, Data: be16(port)},
			&expr.Lookup{SourceRegister: 1, SetName: alive.Name, SetID: alive.ID},
			&expr.Notrack{},
		}, setPort(proto, 2, port), []expr.Any{
			&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint32(asked)},
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
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
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: tableName})
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

// setPort sets a packet's source port (offset 0) or destination port (2), and its checksum right.
func setPort(proto byte, offset uint32, p uint16) []expr.Any {
	checksum := uint32(6)
	if proto == unix.IPPROTO_TCP {
		checksum = 16
	}
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: be16(p)},
		&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2,
			CsumType: expr.CsumTypeInet, CsumOffset: checksum,
		},
	}
}

// The conditions below leave what they loaded in register 1.

func marked() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(mark)},
	}
}

func toResolver() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
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

func source(p uint16) []expr.Any { return portAt(0, p) }

func destination(p uint16) []expr.Any { return portAt(2, p) }

func portAt(offset uint32, p uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: be16(p)},
	}
}

func be16(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }
