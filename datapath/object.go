// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/contivnet/contiv/model"
)

// blueprint is the programs and maps as they will be loaded.
type blueprint struct {
	spec *ebpf.CollectionSpec
	abi  string // names the layout of all maps; programs with the same one can share them
}

// settings are written into the programs before they are loaded.
type settings struct {
	vtep              netip.Addr
	port              uint16
	mtu               int // of the underlay
	decapSetsProtocol bool
	flows4, flows6    uint32
}

func blueprintFor(s settings) (blueprint, error) {
	spec, err := loadContiv()
	if err != nil {
		return blueprint{}, fmt.Errorf("read the built-in programs: %w", err)
	}
	for name, value := range map[string]any{
		contivVarOwnVtep:           s.vtep.As4(),
		contivVarVxlanPort:         [2]byte{byte(s.port >> 8), byte(s.port)},
		contivVarTunnelMtu:         uint16(min(s.mtu-Overhead, 0xffff)),
		contivVarRouterMac:         [6]byte(model.RouterMAC),
		contivVarDecapSetsProtocol: flag(s.decapSetsProtocol),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return blueprint{}, fmt.Errorf("set %s: %w", name, err)
		}
	}
	if s.flows4 != 0 {
		spec.Maps[contivMapFlows4].MaxEntries = s.flows4
	}
	if s.flows6 != 0 {
		spec.Maps[contivMapFlows6].MaxEntries = s.flows6
	}
	abi, err := abiName(spec)
	if err != nil {
		return blueprint{}, err
	}
	return blueprint{spec, abi}, nil
}

// sharedMaps are the names of the maps that outlive a program, sorted.
func sharedMaps(spec *ebpf.CollectionSpec) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(spec.Maps)), func(n string) bool { return strings.HasPrefix(n, ".") })
}

// abiName hashes the layout of all maps and what their fields mean.
func abiName(spec *ebpf.CollectionSpec) (string, error) {
	h := sha256.New()
	for _, name := range sharedMaps(spec) {
		m := spec.Maps[name]
		fmt.Fprintf(h, "%s %s %d %d %d %d\n", name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags)
		for _, t := range []btf.Type{m.Key, m.Value} {
			fmt.Fprintf(h, "%50v\n", t) // as deep as it goes
		}
	}
	var meaning uint32
	if err := spec.Variables[contivVarMapMeaning].Get(&meaning); err != nil {
		return "", fmt.Errorf("read the number of the map layout: %w", err)
	}
	fmt.Fprintln(h, meaning)
	return "maps-" + hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// dropReasons are the names of enum drop_reason by number; number 0 is no reason.
func dropReasons(spec *ebpf.CollectionSpec) ([]string, error) {
	var reasons *btf.Enum
	if err := spec.Types.TypeByName("drop_reason", &reasons); err != nil {
		return nil, fmt.Errorf("read the names of drop reasons: %w", err)
	}
	out := make([]string, len(reasons.Values)-1)
	for _, v := range reasons.Values {
		if v.Value < uint64(len(out)) {
			out[v.Value] = strings.ToLower(strings.TrimPrefix(v.Name, "DROP_"))
		}
	}
	return out, nil
}

// load puts the programs into the kernel, with the maps that are pinned in the directory or new ones.
func (b blueprint) load(dir string) (*contivObjects, error) {
	for _, name := range sharedMaps(b.spec) {
		b.spec.Maps[name].Pinning = ebpf.PinByName
	}
	var objects contivObjects
	err := b.spec.LoadAndAssign(&objects, &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: dir}})
	var refused *ebpf.VerifierError
	switch {
	case errors.As(err, &refused):
		return nil, fmt.Errorf("load the programs: the kernel's verifier refused them, which is a bug: %+v", refused)
	case err != nil:
		return nil, fmt.Errorf("load the programs: %w", err)
	}
	return &objects, nil
}
