// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Settings, written by the loader before the programs are loaded; the verifier treats them as constants.
#pragma once

const volatile __be32 own_vtep = 0;      // the outer address of what we send and accept, on an IPv4 underlay
const volatile __u8 over_ipv6 = 0;       // the underlay is IPv6
const volatile __u64 own_vtep6[2] = {};  // the outer address then, in wire order
const volatile __be16 vxlan_port = 0;    // UDP
const volatile __u8 router_mac[6] = {};  // the node's, towards containers; the same on all nodes
const volatile __u8 decap_sets_protocol = 0; // kernel 6.3: BPF_F_ADJ_ROOM_DECAP_L3_IPV6 is known
const volatile __u8 clock_shift = 0;     // see clock; by how many ticks a second the kernel has
const volatile __u16 wire_mtu = 0;         // largest IP packet in bytes that the uplinks for VLANs take; 0: there are none
