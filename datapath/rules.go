// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// RuleCount is what a rule did on this node since it came.
type RuleCount struct {
	Packets uint64 // of connections that it allowed
	Allowed uint64 // connections
	Denied  uint64 // attempts
	Audited uint64 // attempts that it would have denied, were its policy not only audited
}

// RuleCounts are the counts of the rules of this node, by compile.Rule's number.
func (d *Datapath) RuleCounts() (map[uint32]RuleCount, error) {
	out := map[uint32]RuleCount{}
	var number uint32
	var perCPU []contivRuleCount
	all := d.objects.Rules.Iterate()
	for all.Next(&number, &perCPU) {
		var sum RuleCount
		for _, c := range perCPU {
			sum.Packets += c.Packets
			sum.Allowed += c.Allowed
			sum.Denied += c.Denied
			sum.Audited += c.Audited
		}
		sum.Packets += d.forgotten.of(number)
		out[number] = sum
	}
	if err := all.Err(); err != nil {
		return nil, fmt.Errorf("read the counts of rules: %w", err)
	}
	add := func(c contivConnection) {
		for _, number := range []uint32{c.OutRule, c.InRule} {
			if sum, ok := out[number]; ok {
				sum.Packets += uint64(c.Packets)
				out[number] = sum
			}
		}
	}
	err := errors.Join(
		eachRow(d.objects.Connections4, func(_ contivConnection4Key, c contivConnection) error { add(c); return nil }),
		eachRow(d.objects.Connections6, func(_ contivConnectionKey, c contivConnection) error { add(c); return nil }),
		eachRow(d.objects.Openings, func(_ contivConnectionKey, c contivConnection) error { add(c); return nil }),
	)
	return out, err
}

// addRules makes the counters of rules that are new.
func (d *Datapath) addRules(rules difference[uint32, ruleRow]) error {
	if len(rules.keys) == 0 {
		return nil
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count the processors: %w", err)
	}
	zero := make([]contivRuleCount, cpus)
	for _, number := range rules.keys {
		if err := d.objects.Rules.Put(number, zero); err != nil {
			return fmt.Errorf("make the counter of a rule: %w", err)
		}
	}
	return nil
}

func (d *Datapath) readRules() (table[uint32, ruleRow], error) {
	var out table[uint32, ruleRow]
	var number uint32
	var perCPU []contivRuleCount
	all := d.objects.Rules.Iterate()
	for all.Next(&number, &perCPU) {
		out = append(out, row[uint32, ruleRow]{key: number})
	}
	if err := all.Err(); err != nil {
		return nil, fmt.Errorf("read which rules are counted: %w", err)
	}
	return out.sorted(cmp.Compare[uint32]), nil
}
