// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: a packet comes from where it says.
#pragma once

static __always_inline int check_mac(const struct question *q, const struct port *from)
{
	return equal_mac(mac_of_sender(q), from->mac) ? 0 : DROP_SPOOFED_MAC;
}

static __always_inline int check_address(const struct question *q, const struct port *from)
{
	if (q->ethertype == bpf_htons(ETH_P_IP)) {
		__be32 own = be32(from->ipv4);

		return own && own == ((const __be32 *)q->source)[3] ? 0 : DROP_SPOOFED_ADDRESS;
	}
	// A port without IPv6 has :: in its table, which is nobody's address.
	return !is_zero_address(from->ipv6) && equal_address(q->source, from->ipv6) ? 0 : DROP_SPOOFED_ADDRESS;
}

// An inner source must live on the very node whose outer address the packet has.
static __always_inline int check_tunnel_source(const __u8 *outer_source, const struct endpoint *from)
{
	if (!from || from->ifindex || !equal_address(from->vtep, outer_source))
		return DROP_SPOOFED_TUNNEL;
	return 0;
}

// Whether somebody on the wire of a VLAN may use an address: not one of an endpoint of that VLAN, unless it is on another node and
// its MAC sends. Endpoints of other VLANs come by a router; those of tunnels by no wire, and services' addresses only where they are of the outside.
static __always_inline bool may_claim(__u32 network, const struct endpoint *e, const void *mac)
{
	if (!e || e->virtual == VIRTUAL_BESIDE)
		return true;
	if (e->virtual)
		return false;
	if (e->network != network)
		return e->network & (NETWORK_VLAN | NETWORK_ROUTED);
	return !e->ifindex && equal_mac(e->mac, mac);
}
