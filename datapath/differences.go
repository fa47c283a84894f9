// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"slices"

	"github.com/contivnet/contiv/compile"
)

// Differences are the rows that the kernel should hold and does not, holds and should not, or holds otherwise,
// a line each, sorted. None: both are the same in all that the kernel can hold.
func Differences(want, held compile.Tables) []string {
	var out []string
	out = append(out, rowDifferences(want.Networks, held.Networks, func(n compile.Network) any { return n.Number })...)
	out = append(out, rowDifferences(plainPeers(want), plainPeers(held), func(p compile.Peer) any { return p.VTEP })...)
	out = append(out, rowDifferences(plainPorts(want), plainPorts(held), func(p compile.Port) any { return p.Name })...)
	type place struct {
		tenant  uint32
		address any
	}
	out = append(out, rowDifferences(want.Endpoints, held.Endpoints, func(e compile.Endpoint) any { return place{e.Tenant, e.Addr} })...)
	out = append(out, rowDifferences(want.Subnets, held.Subnets, func(s compile.Subnet) any { return s })...)
	out = append(out, rowDifferences(want.Prefixes, held.Prefixes, func(p compile.Prefix) any { return compile.Prefix{Tenant: p.Tenant, Prefix: p.Prefix} })...)
	// Where it has no device, the agent tells.
	if want.Outside != held.Outside && held.Outside.IPv4.IsValid() {
		out = append(out, fmt.Sprintf("the kernel holds %s, which should be %s", held.Outside, want.Outside))
	}
	out = append(out, rowDifferences(want.Verdicts, held.Verdicts, func(v compile.Verdict) any { return verdictKey(v) })...)
	out = append(out, rowDifferences(want.Services, held.Services, func(s compile.Service) any {
		return [...]any{s.Tenant, s.Network, s.Addr, s.Protocol, s.Port}
	})...)
	out = append(out, rowDifferences(want.Providers, held.Providers, func(p compile.Provider) any { return [...]any{p.Service, p.Number} })...)
	out = append(out, rowDifferences(want.Foreign, held.Foreign, func(f compile.Foreign) any { return f })...)
	if want.Recheck != held.Recheck {
		out = append(out, fmt.Sprintf("the kernel asks again about open connections: %t, which should be %t", held.Recheck, want.Recheck))
	}
	slices.Sort(out)
	return out
}

func rowDifferences[R fmt.Stringer](want, held []R, key func(R) any) []string {
	var out []string
	have := make(map[any]string, len(held))
	for _, r := range held {
		have[key(r)] = r.String()
	}
	for _, r := range want {
		k, line := key(r), r.String()
		switch h, ok := have[k]; {
		case !ok:
			out = append(out, "the kernel lacks "+line)
		case h != line:
			out = append(out, fmt.Sprintf("the kernel holds %s, which should be %s", h, line))
		}
		delete(have, k)
	}
	for _, line := range have {
		out = append(out, "the kernel holds "+line+", which should not be")
	}
	return out
}

// The names of nodes and their MTUs, the ids of endpoints and containers' routes are not in the kernel's tables.

func plainPeers(t compile.Tables) []compile.Peer {
	out := slices.Clone(t.Peers)
	for i := range out {
		out[i].Name, out[i].MTU = "", 0
	}
	return out
}

func plainPorts(t compile.Tables) []compile.Port {
	out := slices.Clone(t.Ports)
	for i := range out {
		out[i].Endpoint, out[i].Routes = "", nil
	}
	return out
}
