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
	abi  string // names the layout of all maps but one; programs with the same one can share them
	// connections names the layout of the maps of connections. They have a directory of its own, so that connections outlive a
	// change of the others.
	connections string
}

// settings are written into the programs before they are loaded.
type settings struct {
	vtep              netip.Addr
	port              uint16
	wireMTU           int // of the uplinks for VLANs; 0: there are none
	decapSetsProtocol bool
	clock             clock
	flows4, flows6    uint32
	connections4      uint32
	connections6      uint32
	translations      uint32
}

// isConnections tells the maps that outlive a change of the others.
func isConnections(name string) bool {
	switch name {
	case contivMapConnections4, contivMapConnections6, contivMapTranslations, contivMapSpilled, contivMapSpilling, contivMapClients,
		contivMapProviderCounts, contivMapCollectedCounts:
		return true
	}
	return false
}

func blueprintFor(s settings) (blueprint, error) {
	spec, err := loadContiv()
	if err != nil {
		return blueprint{}, fmt.Errorf("read the built-in programs: %w", err)
	}
	for name, value := range map[string]any{
		contivVarOwnVtep:           as4(s.vtep),
		contivVarOverIpv6:          flag(s.vtep.Is6()),
		contivVarOwnVtep6:          as6(s.vtep),
		contivVarVxlanPort:         [2]byte{byte(s.port >> 8), byte(s.port)},
		contivVarWireMtu:           uint16(min(s.wireMTU, 0xffff)),
		contivVarRouterMac:         [6]byte(model.RouterMAC),
		contivVarDecapSetsProtocol: flag(s.decapSetsProtocol),
		contivVarClockShift:        uint8(s.clock.shift),
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
	if s.connections4 != 0 {
		spec.Maps[contivMapConnections4].MaxEntries = s.connections4
	}
	if s.connections6 != 0 {
		spec.Maps[contivMapConnections6].MaxEntries = s.connections6
	}
	if s.translations != 0 {
		spec.Maps[contivMapTranslations].MaxEntries = s.translations
	}
	abi, err := abiName(spec, "maps-", contivVarMapMeaning, func(name string) bool { return !isConnections(name) })
	if err != nil {
		return blueprint{}, err
	}
	connections, err := abiName(spec, "connections-", contivVarConnectionsMeaning, isConnections)
	if err != nil {
		return blueprint{}, err
	}
	return blueprint{spec, abi, connections}, nil
}

// sharedMaps are the names of the maps that outlive a program, sorted.
func sharedMaps(spec *ebpf.CollectionSpec) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(spec.Maps)), func(n string) bool { return strings.HasPrefix(n, ".") })
}

// abiName hashes the layout of the chosen maps and what their fields mean, of which the variable has the number.
func abiName(spec *ebpf.CollectionSpec, prefix, meaningVar string, chosen func(name string) bool) (string, error) {
	h := sha256.New()
	for _, name := range sharedMaps(spec) {
		if !chosen(name) {
			continue
		}
		m := spec.Maps[name]
		fmt.Fprintf(h, "%s %s %d %d %d %d\n", name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags)
		for _, t := range []btf.Type{m.Key, m.Value} {
			fmt.Fprintf(h, "%50v\n", t) // as deep as it goes
		}
	}
	var meaning uint32
	if err := spec.Variables[meaningVar].Get(&meaning); err != nil {
		return "", fmt.Errorf("read the number of the map layout: %w", err)
	}
	fmt.Fprintln(h, meaning)
	return prefix + hex.EncodeToString(h.Sum(nil)[:8]), nil
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

// load puts the programs into the kernel, with the maps that are pinned in the directories or new ones.
func (b blueprint) load(dir, connectionsDir string) (*contivObjects, error) {
	for _, name := range sharedMaps(b.spec) {
		b.spec.Maps[name].Pinning = ebpf.PinByName
	}
	connections := map[string]*ebpf.Map{}
	for _, name := range slices.DeleteFunc(sharedMaps(b.spec), func(name string) bool { return !isConnections(name) }) {
		m, err := ebpf.NewMapWithOptions(b.spec.Maps[name], ebpf.MapOptions{PinPath: connectionsDir})
		if err != nil {
			return nil, fmt.Errorf("make the table of connections: %w", err)
		}
		defer m.Close() // the programs keep it
		b.spec.Maps[name].Pinning = ebpf.PinNone
		connections[name] = m
	}
	var objects contivObjects
	err := b.spec.LoadAndAssign(&objects, &ebpf.CollectionOptions{
		Maps: ebpf.MapOptions{PinPath: dir}, MapReplacements: connections,
	})
	var refused *ebpf.VerifierError
	switch {
	case errors.As(err, &refused):
		return nil, fmt.Errorf("load the programs: the kernel's verifier refused them, which is a bug: %+v", refused)
	case err != nil:
		return nil, fmt.Errorf("load the programs: %w", err)
	}
	return &objects, nil
}
