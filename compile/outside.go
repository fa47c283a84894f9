// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/contivnet/contiv/model"
)

// Outside is the node's end of its containers' way to the world outside their tenants, on device model.OutsideDevice. Each port
// that has that way has an address of its own there, so that tenants with equal subnets share it without meeting.
type Outside struct {
	// IPv4 and IPv6 are the node's own address in the private subnets, with the subnets' lengths. Ports' addresses are in them too.
	IPv4, IPv6 netip.Prefix
	MAC        model.MAC
}

// Subnet is one of a tenant's networks'. An address in it that no endpoint has is nobody's, and not outside.
type Subnet struct {
	Tenant uint32
	Prefix netip.Prefix
}

// Published is a port of the node, and the private address and port to which it leads.
type Published struct {
	Protocol uint8
	Host     netip.Addr // the node's; unspecified for every one of that family
	Port     uint16
	To       netip.AddrPort
}

// privateSubnet6 is where ports have their private IPv6 addresses: a unique local prefix (RFC 4193) of which the bytes spell
// "contiv". The address of a port is the same on every node, and never leaves one.
var privateSubnet6 = netip.MustParsePrefix("fd63:6f6e:7469:7600::/112")

// nodeNumber is the node's own in the private subnets, as 172.19.255.254; ports have theirs below.
const nodeNumber = 0xfffe

func (c *compiler) outside() {
	v4, v6 := c.world.Global().PrivateSubnet.Masked(), privateSubnet6
	c.out.Outside = Outside{
		IPv4: netip.PrefixFrom(numbered16(v4, nodeNumber), v4.Bits()), IPv6: netip.PrefixFrom(numbered16(v6, nodeNumber), v6.Bits()),
		MAC: model.MACOf(numbered16(v4, nodeNumber)),
	}
	for _, n := range c.world.Networks.All() {
		t, ok := c.world.Tenants.Get(n.Tenant)
		if !ok {
			continue // noted with the network
		}
		for _, p := range []model.Pool{n.IPv4, n.IPv6} {
			if !p.IsZero() {
				c.out.Subnets = append(c.out.Subnets, Subnet{t.Number, p.Subnet()})
			}
		}
	}
	slices.SortFunc(c.out.Published, comparePublished)
	slices.SortFunc(c.out.Subnets, compareSubnet)
	c.out.Subnets = slices.Compact(c.out.Subnets) // two ranges of one subnet
}

func compareSubnet(a, b Subnet) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), comparePrefix(a.Prefix, b.Prefix))
}

// private gives a port of network n its private addresses: of each family in which the network has a gateway. They are the subnet's
// address plus the port's number, so nobody has to keep them.
func (c *compiler) private(n model.Network, port string) (v4, v6 netip.Addr) {
	return Private(c.world, n, port)
}

// Private are the addresses towards the outside of a port of network n; invalid where it has no way there.
func Private(w model.World, n model.Network, port string) (v4, v6 netip.Addr) {
	number, err := strconv.ParseUint(strings.TrimLeft(port, "abcdefghijklmnopqrstuvwxyz"), 10, 16)
	if err != nil || number == 0 || number >= nodeNumber || n.Internal || n.Type != model.NetworkData || n.Encap != model.EncapVXLAN {
		return v4, v6
	}
	if n.IPv4.Gateway.IsValid() {
		v4 = numbered16(w.Global().PrivateSubnet.Masked(), uint16(number))
	}
	if n.IPv6.Gateway.IsValid() {
		v6 = numbered16(privateSubnet6, uint16(number))
	}
	return v4, v6
}

// Port is the number of the port that has, or would have, an address as its private one; 0 for none.
func (o Outside) Port(a netip.Addr) int {
	if !o.IPv4.Contains(a) && !o.IPv6.Contains(a) {
		return 0
	}
	b := a.AsSlice()
	if n := binary.BigEndian.Uint16(b[len(b)-2:]); n < nodeNumber {
		return int(n)
	}
	return 0
}

// numbered16 is the address in a subnet whose last 16 bits are the number.
func numbered16(subnet netip.Prefix, number uint16) netip.Addr {
	b := subnet.Addr().AsSlice()
	binary.BigEndian.PutUint16(b[len(b)-2:], number)
	a, _ := netip.AddrFromSlice(b)
	return a
}

// publish gives a port's published ones their rows: those of the families in which it has a private address. One that two ports
// publish is the first's, as a row leads to one.
func (c *compiler) publish(e model.Endpoint, v4, v6 netip.Addr) {
	for _, p := range e.Published {
		to := v4
		if p.Host.Is6() {
			to = v6
		}
		protocol, _, ok := model.ProtocolNumber(p.Protocol)
		if !ok || !to.IsValid() {
			continue
		}
		row := Published{Protocol: protocol, Host: p.Host, Port: p.HostPort}
		if c.published[row] {
			c.note(e, "endpoint %s publishes %s, which another does already: it does not lead there; remove one of the two containers", e.ID, p)
			continue
		}
		if c.published == nil {
			c.published = map[Published]bool{}
		}
		c.published[row] = true
		row.To = netip.AddrPortFrom(to, p.Port)
		c.out.Published = append(c.out.Published, row)
	}
}

func comparePublished(a, b Published) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), a.Host.Compare(b.Host), cmp.Compare(a.Port, b.Port), a.To.Compare(b.To))
}
