// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/model"
)

// What rules cost the agent is measured on a World of so many groups, each with a policy of its own on the measured node.
const (
	ruledGroups    = 200
	rulesOfGroup   = 50
	membersOfGroup = 50 // one on the measured node, the others elsewhere
	ruleChanges    = 200
)

// What is wanted, in milliseconds.
const (
	compileLimit = 100
	oneRuleLimit = 20
)

// rulesResult is in milliseconds.
type rulesResult struct {
	Compile  float64   `json:"compile_ms"`           // all of the World
	Compiled []float64 `json:"one_rule_compiled_ms"` // a World with one rule more or less
	Held     []float64 `json:"one_rule_held_ms"`     // the same until the kernel holds it
	Written  []float64 `json:"one_rule_rows"`        // rows that differ for it
}

// changeRules is a process's whole life: in a network namespace of its own it gives a data path a World of 10,000 rules and
// changes one after another. It prints a rulesResult.
func changeRules([]string) error {
	runtime.LockOSThread() // never unlocked: the namespaces are this thread's
	path, err := ruledPath()
	if err != nil {
		return err
	}
	defer path.Close()
	world := ruledWorld()
	var memo compile.Memo
	began := time.Now()
	tables := memo.For(world, "n0")
	r := rulesResult{Compile: milliseconds(time.Since(began))[0]}
	if err := path.Apply(tables); err != nil {
		return err
	}
	for i := range ruleChanges {
		time.Sleep(50 * time.Millisecond) // until nothing of the change before is under way
		change := model.Change{Revision: world.Revision + 1}
		if rule := extraRule(i / 2); i%2 == 0 {
			change.Put = []model.Object{rule}
		} else {
			change.Delete = []model.Ref{model.RefOf(rule)}
		}
		world = world.With(change)
		before := tables
		began := time.Now()
		tables = memo.For(world, "n0")
		compiled := time.Now()
		if err := path.Apply(tables); err != nil {
			return err
		}
		held := time.Now()
		r.Compiled = append(r.Compiled, milliseconds(compiled.Sub(began))...)
		r.Held = append(r.Held, milliseconds(held.Sub(began))...)
		r.Written = append(r.Written, float64(differing(before.Verdicts, tables.Verdicts)))
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// differing counts the rows that only one of the two has.
func differing(a, b []compile.Verdict) int {
	seen := make(map[compile.Verdict]int, len(a))
	for _, v := range a {
		seen[v]++
	}
	for _, v := range b {
		seen[v]--
	}
	n := 0
	for _, count := range seen {
		n += max(count, -count)
	}
	return n
}

// ruledPath is a data path in namespaces of the calling thread, which end with it, and the devices of the node's containers.
func ruledPath() (*datapath.Datapath, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("make namespaces (this needs root): %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("keep mounts to this process: %w", err)
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
		return nil, fmt.Errorf("mount a bpffs: %w", err)
	}
	vtep := netip.MustParsePrefix("192.168.2.10/24")
	for i := range ruledGroups + 1 {
		name := fmt.Sprintf("vvport%d", i)
		if i == ruledGroups {
			name = "uplink"
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "x"}); err != nil {
			return nil, fmt.Errorf("make device %s: %w", name, err)
		}
	}
	uplink, err := netlink.LinkByName("uplink")
	if err != nil {
		return nil, fmt.Errorf("find the uplink: %w", err)
	}
	address, err := netlink.ParseAddr(vtep.String())
	if err != nil {
		return nil, fmt.Errorf("read the VTEP address: %w", err)
	}
	if err := netlink.AddrAdd(uplink, address); err != nil {
		return nil, fmt.Errorf("give the uplink its address: %w", err)
	}
	if err := netlink.LinkSetUp(uplink); err != nil {
		return nil, fmt.Errorf("put the uplink up: %w", err)
	}
	return datapath.Open(datapath.Options{Uplink: "uplink", VTEP: vtep.Addr()})
}

// ruledWorld has groups that are all alike but for their rules' peers.
func ruledWorld() model.World {
	subnet := model.Pool{Prefix: netip.MustParsePrefix("10.0.0.0/16")}
	put := []model.Object{
		model.Tenant{Name: model.DefaultTenant, Number: 1},
		model.Network{Tenant: model.DefaultTenant, Name: "net", Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: 1, IPv4: subnet},
		model.Node{Name: "n0", VTEP: netip.MustParseAddr("192.168.2.10")}, model.Node{Name: "n1", VTEP: netip.MustParseAddr("192.168.2.11")},
	}
	address := subnet.Prefix.Addr()
	for g := range ruledGroups {
		group := fmt.Sprintf("g%d", g)
		put = append(put, model.Policy{Tenant: model.DefaultTenant, Name: group},
			model.Group{Tenant: model.DefaultTenant, Name: group, Network: "net", Number: uint32(g + 1), Policies: []string{group}})
		for i := range membersOfGroup {
			address = address.Next()
			e := model.Endpoint{
				ID: fmt.Sprintf("%s-%d", group, i), Tenant: model.DefaultTenant, Network: "net", Group: group, Node: "n1",
				IPv4: address, MAC: model.MACOf(address),
			}
			if i == 0 {
				e.Node, e.Port = "n0", fmt.Sprintf("vvport%d", g)
			}
			put = append(put, e)
		}
		for i := range rulesOfGroup {
			put = append(put, peerRule(g, i))
		}
	}
	return model.World{}.With(model.Change{Revision: 1, Reset: true, Put: put})
}

// peerRule is a rule of a group: ports by themselves, ports for another group, and ports for an address outside, in turn.
func peerRule(group, i int) model.Rule {
	r := model.Rule{
		Tenant: model.DefaultTenant, Policy: fmt.Sprintf("g%d", group), ID: fmt.Sprint(i), Direction: model.In, Action: model.Allow,
		Priority: 10, Protocol: "tcp", Port: uint16(1000 + i),
	}
	switch i % 3 {
	case 1:
		r.FromGroup = fmt.Sprintf("g%d", (group+i)%ruledGroups)
	case 2:
		r.From = netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(group), byte(i)}), 32)
	}
	return r
}

// extraRule is one that ruledWorld does not have; of three, one names an address that no other names.
func extraRule(i int) model.Rule {
	r := peerRule(i%ruledGroups, rulesOfGroup+i%3)
	r.ID, r.Port = "extra", uint16(2000+i)
	return r
}

// rows are the table of the result.
func (r rulesResult) rows() [][]string {
	ms := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	held := quantile(r.Held, 0.99)
	return [][]string{
		{fmt.Sprintf("%d rules, %d groups, ms", ruledGroups*rulesOfGroup, ruledGroups), "p50", "p99", "slowest", "wanted"},
		{"compiled whole", ms(r.Compile), "", "", fmt.Sprintf("at most %d: %s", compileLimit, met(r.Compile <= compileLimit))},
		{"one rule more or less, compiled", ms(median(r.Compiled)), ms(quantile(r.Compiled, 0.99)), ms(quantile(r.Compiled, 1)), ""},
		{"the same until the kernel holds it", ms(median(r.Held)), ms(held), ms(quantile(r.Held, 1)), fmt.Sprintf("at most %d: %s", oneRuleLimit, met(held <= oneRuleLimit))},
		{"rows that differ for it", fmt.Sprint(median(r.Written)), fmt.Sprint(quantile(r.Written, 0.99)), fmt.Sprint(quantile(r.Written, 1)), ""},
	}
}
