// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// ProbeSources are the addresses, one of a family, under which the probes of a pod's own kubelet come where they come by the way to the outside: one
// that RFC 7335 keeps for what stays in a machine, and one beside the private IPv6 subnet. Nobody else sends by that way under them, also not the node for
// others (netdev.Firewall), and what comes from a wire under them the data path drops (is_probe_source).
func ProbeSources() []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 0, 7}), netip.MustParseAddr("fd63:6f6e:7469:7601::8")}
}
