// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Entrances with an affinity remember whom their clients met last, for as many seconds after the client's last connection began:
//
//	map clients4 { type ipv4_addr . mark . ipv4_addr . inet_proto . inet_service : mark; size 16384; flags dynamic,timeout
//	  192.0.2.9 . 60 . 10.96.0.7 . tcp . 80 timeout 60s : 0x5d3a91c4 ... }
//	map numbers4 { type ipv4_addr . inet_proto . inet_service . mark : mark
//	  10.96.0.7 . tcp . 80 . 0 : 0x5d3a91c4 ... }
//	map targets4 { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service
//	  10.96.0.7 . tcp . 80 . 0x5d3a91c4 : 172.19.0.3 . 8080 ... }
//	chain choose4-3-client-60 {
//	  the number that @clients4 has: update @clients4, dnat to what @targets4 has for it
//	  that of @numbers4 for numgen random mod 3: delete @clients4, update @clients4, dnat likewise
//	  that of @numbers4 for jhash ip saddr mod 3: dnat likewise }
//
// The number of a target is made from its address and port, so it stays when others come and go; when it goes itself, the number leads nowhere,
// and the second rule chooses anew. It deletes first because an update leaves the data of an element as it is. The last rule is for when so many
// clients are remembered that there is no room for more: those meet the same target for as long as the targets stay. The seconds are in the key, so
// that a time that is changed holds at once.

// mostClients is how many clients are remembered of each family, so that nobody outside has the node spend more on them than some 2 MB, or have it
// read them for long: what the kernel does to list so many grows with their square (0.1 s, of 65,536 two).
const mostClients = 16384

// forgetAtLast is longer than any affinity that Kubernetes knows (a day), so that whatever else comes into the map goes.
const forgetAtLast = 25 * time.Hour

func (f addresses) clients() string { return "clients" + f.suffix }

// affinitySets are what clients of a family are remembered in.
func (f addresses) affinitySets(t *nftables.Table) []*nftables.Set {
	return []*nftables.Set{{
		Table: t, Name: "numbers" + f.suffix, IsMap: true, Concatenation: true, DataType: nftables.TypeMark,
		KeyType: nftables.MustConcatSetType(f.datatype, nftables.TypeInetProto, nftables.TypeInetService, nftables.TypeMark),
	}, {
		Table: t, Name: f.clients(), IsMap: true, Concatenation: true, Dynamic: true, HasTimeout: true, Timeout: forgetAtLast, Size: mostClients,
		KeyType:  nftables.MustConcatSetType(f.datatype, nftables.TypeMark, f.datatype, nftables.TypeInetProto, nftables.TypeInetService),
		DataType: nftables.TypeMark,
	}}
}

// targetNumbers are those of an entrance's targets. outer is how many of them are for who comes from outside: one that is also for others has two
// numbers, so that nobody is led by one that was not for him.
func targetNumbers(targets []netip.AddrPort, outer int) []uint32 {
	out := make([]uint32, len(targets))
	taken := make(map[uint32]bool, len(targets))
	for i, to := range targets {
		h := fnv.New32a()
		h.Write(append(append(to.Addr().AsSlice(), word(to.Port())...), byte(min(max(i-outer+1, 0), 1))))
		n := h.Sum32()
		for taken[n] {
			n++
		}
		out[i], taken[n] = n, true
	}
	return out
}

// rememberingRules are those of a chain that chooses with affinity.
func (c choice) rememberingRules(sets map[string]*nftables.Set) []parts {
	// One after the other in the registers, so that each key is read where it is: client, seconds, what is asked for, number.
	client := uint32(register32)
	seconds := client + c.is.words()
	at := seconds + 1
	asked, number := c.is.goal(at, c.node)
	asked = append([]expr.Any{
		c.is.address(c.is.source, client),
		&expr.Immediate{Register: seconds, Data: binaryutil.NativeEndian.PutUint32(c.affinity)},
	}, asked...)
	look := func(set string, key, to uint32) expr.Any {
		s := sets[set+c.is.suffix]
		return &expr.Lookup{SourceRegister: key, DestRegister: to, IsDestRegSet: true, SetName: s.Name, SetID: s.ID}
	}
	change := func(operation uint32) expr.Any {
		s := sets[c.is.clients()]
		return &expr.Dynset{
			SrcRegKey: client, SrcRegData: number, SetName: s.Name, SetID: s.ID, Operation: operation, Timeout: time.Duration(c.affinity) * time.Second,
		}
	}
	remember := []expr.Any{change(dynsetDelete), change(unix.NFT_DYNSET_OP_UPDATE)}
	byAddress := &expr.Hash{
		SourceRegister: client, DestRegister: number, Length: c.is.length, Modulus: uint32(c.count), Offset: uint32(c.from), Seed: hashSeed, Type: expr.HashTypeJenkins,
	}
	goOn := []expr.Any{look("targets", at, register32), c.is.dnat(register32)}
	return []parts{
		{c.is.is(), asked, {look("clients", client, number)}, listable(number), {change(unix.NFT_DYNSET_OP_UPDATE)}, goOn},
		{c.is.is(), asked, {c.any(number), look("numbers", at, number)}, listable(number), remember, goOn},
		{c.is.is(), asked, {byAddress, look("numbers", at, number)}, listable(number), goOn},
	}
}

// listable leaves a register as it is. nft aborts where it is to list a key or data that came out of a map, so this comes out of the packet's mark,
// which is put back at once.
func listable(register uint32) []expr.Any {
	was := register + 1
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: was},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register, SourceRegister: true},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: was, SourceRegister: true},
	}
}

// dynsetDelete takes an element away (linux/netfilter/nf_tables.h); the library has no name for it.
const dynsetDelete = 2

// remembered are the clients that a table remembers, with the time that is left of each, by the names of their maps.
func remembered(c *nftables.Conn, t *nftables.Table, sets map[string]*nftables.Set) (map[string][]nftables.SetElement, error) {
	out := map[string][]nftables.SetElement{}
	for name, s := range sets {
		if !s.Dynamic {
			continue
		}
		was, err := c.GetSetByName(t, name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read nftables map %s: %w", name, err)
		}
		rows, err := c.GetSetElements(was)
		if err != nil {
			return nil, fmt.Errorf("read nftables map %s: %w", name, err)
		}
		seen := make(map[string]bool, len(rows)) // one is listed twice where the map grew meanwhile
		for _, e := range rows {
			if e.Expires <= 0 || len(e.Key) != int(s.KeyType.Bytes) || len(e.Val) != int(s.DataType.Bytes) || seen[string(e.Key)] {
				continue
			}
			seen[string(e.Key)] = true
			out[name] = append(out[name], nftables.SetElement{Key: e.Key, Val: e.Val, Timeout: e.Expires})
		}
	}
	return out, nil
}
