// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// FirewallDrops counts what the chains of a Firewall in the calling thread's namespace have dropped, in packets, by the chains' names. Loading
// it anew goes on counting.
func FirewallDrops() (map[string]uint64, error) {
	c, err := openNetfilter()
	if err != nil {
		return nil, err
	}
	return firewallDrops(c)
}

func firewallDrops(c *nftables.Conn) (map[string]uint64, error) {
	out := map[string]uint64{}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: firewallTable}
	for _, name := range []string{forgedChain, borrowedChain, passingChain, enteringChain} {
		rules, err := c.GetRules(t, &nftables.Chain{Table: t, Name: name})
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read nftables table %s: %w", firewallTable, err)
		}
		for _, r := range rules {
			if at, ok := dropCounter(r); ok {
				out[name] += r.Exprs[at].(*expr.Counter).Packets
			}
		}
	}
	return out, nil
}

// dropCounter is the index of the counter of a rule that drops.
func dropCounter(r *nftables.Rule) (at int, ok bool) {
	at = -1
	for i, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Counter:
			at = i
		case *expr.Verdict:
			return at, at >= 0 && e.Kind == expr.VerdictDrop
		}
	}
	return at, false
}

// countOn has the first rule that drops go on from what its chain had counted.
func countOn(counted map[string]uint64, chain string, r *nftables.Rule) {
	if at, ok := dropCounter(r); ok {
		r.Exprs[at] = &expr.Counter{Packets: counted[chain]}
		delete(counted, chain)
	}
}
