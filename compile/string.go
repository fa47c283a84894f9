// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"net/netip"
	"strings"
)

// String prints every table, a row a line.
func (t Tables) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s at revision %d", t.Node, t.Revision)
	if t.Recheck {
		b.WriteString(", open connections are checked again")
	}
	b.WriteByte('\n')
	for _, n := range t.Networks {
		fmt.Fprintln(&b, n)
	}
	for _, p := range t.Peers {
		fmt.Fprintln(&b, p)
	}
	for _, e := range t.Endpoints {
		fmt.Fprintln(&b, e)
	}
	for _, p := range t.Ports {
		fmt.Fprintln(&b, p)
	}
	if t.Outside.IPv4.IsValid() {
		fmt.Fprintln(&b, t.Outside)
	}
	for _, s := range t.Subnets {
		fmt.Fprintln(&b, s)
	}
	for _, p := range t.Published {
		fmt.Fprintln(&b, p)
	}
	for _, p := range t.Probed {
		fmt.Fprintln(&b, p)
	}
	for _, i := range t.Infra {
		fmt.Fprintln(&b, i)
	}
	for _, p := range t.Prefixes {
		fmt.Fprintln(&b, p)
	}
	for _, v := range t.Verdicts {
		fmt.Fprintln(&b, v)
	}
	for _, r := range t.Rules {
		fmt.Fprintln(&b, r)
	}
	for _, s := range t.Services {
		fmt.Fprintln(&b, s)
	}
	for _, p := range t.Providers {
		fmt.Fprintln(&b, p)
	}
	for _, f := range t.Foreign {
		fmt.Fprintln(&b, f)
	}
	for _, e := range t.Entrances {
		fmt.Fprintln(&b, e)
	}
	for _, m := range t.Machines {
		fmt.Fprintln(&b, m)
	}
	for _, h := range t.HealthChecks {
		fmt.Fprintln(&b, h)
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "note %s %s: %s\n", n.Object.Kind, n.Object.Key, n.Text)
	}
	return b.String()
}

func (n Network) String() string {
	flooded := ""
	if n.Flooded {
		flooded = ", flooded"
	}
	if n.Broadcast.IsValid() {
		flooded += ", broadcast " + n.Broadcast.String()
	}
	return fmt.Sprintf("network %s: tenant %d%s%s", tag(n.Number), n.Tenant, mode(n.Bridged), flooded)
}

// tag is a network's number in words.
func tag(number uint32) string {
	if number&VLAN != 0 {
		return fmt.Sprintf("vlan %d", number&^VLAN)
	}
	if number&Routed != 0 {
		return fmt.Sprintf("routed %d", number&^Routed)
	}
	return fmt.Sprint(number)
}

func (p Peer) String() string {
	mtu := ""
	if p.MTU != 0 {
		mtu = fmt.Sprintf(", mtu %d", p.MTU)
	}
	return fmt.Sprintf("peer %s: %s%s", p.VTEP, p.Name, mtu)
}

func (e Endpoint) String() string {
	at := "port " + e.Port
	switch {
	case e.Virtual:
		at = "virtual"
		if e.Beside {
			at = "virtual, beside what is outside"
		}
	case e.Port == "":
		at = "vtep " + e.VTEP.String()
	}
	provides := ""
	if e.Provides {
		provides = ", provides"
	}
	return fmt.Sprintf("endpoint %d/%s: network %s, %s, %s%s%s", e.Tenant, e.Addr, tag(e.Network), e.MAC, at, provides, numbered("class", e.Class))
}

// lasting is what an affinity of so many seconds adds to a line.
func lasting(affinity uint32) string {
	switch affinity {
	case 0:
		return ""
	case Endless:
		return ", affinity"
	}
	return fmt.Sprintf(", affinity for %d s", affinity)
}

func (s Service) String() string {
	whose := ""
	if s.Network != 0 {
		whose = " for network " + tag(s.Network)
	}
	if s.Number == 0 {
		return fmt.Sprintf("service %d/%s protocol %d port %d: by network", s.Tenant, s.Addr, s.Protocol, s.Port)
	}
	return fmt.Sprintf("service %d/%s protocol %d port %d%s: number %08x, target %d, slots %016x%s",
		s.Tenant, s.Addr, s.Protocol, s.Port, whose, s.Number, s.Target, s.SlotsNumber, lasting(s.Affinity))
}

func (p Provider) String() string {
	port := ""
	if p.Port != 0 {
		port = fmt.Sprintf(" port %d", p.Port)
	}
	return fmt.Sprintf("provider %08x of service %08x: %d/%s%s", p.Number, p.Service, p.Tenant, p.Addr, port)
}

func (e Entrance) String() string {
	sources := ""
	if len(e.Sources) > 0 {
		sources = fmt.Sprintf(", from %s and containers %s", e.Sources, e.Insiders)
	}
	return fmt.Sprintf("entrance %s/%d of service %s: %s from outside, %s from inside%s%s", netip.AddrPortFrom(e.Addr, e.Port), e.Protocol, e.Service, e.Outer, e.Inner, lasting(e.Affinity), sources)
}

func (m Machine) String() string {
	return fmt.Sprintf("machine %s/%d", netip.AddrPortFrom(m.Addr, m.Port), m.Protocol)
}

func (h HealthCheck) String() string {
	return fmt.Sprintf("health check %d of service %s/%s: %d here", h.Port, h.Namespace, h.Name, h.Here)
}

func (f Foreign) String() string { return fmt.Sprintf("foreign provider %s", f.Addr) }

func (p Port) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "port %s: tenant %d, network %s, %s", p.Name, p.Tenant, tag(p.Network), p.MAC)
	for _, a := range []netip.Addr{p.IPv4, p.IPv6} {
		if a.IsValid() {
			fmt.Fprintf(&b, ", %s", a)
		}
	}
	for _, g := range []netip.Addr{p.Gateway4, p.Gateway6} {
		if g.IsValid() {
			fmt.Fprintf(&b, ", gateway %s", g)
		}
	}
	for _, a := range []netip.Addr{p.Private4, p.Private6} {
		if a.IsValid() {
			fmt.Fprintf(&b, ", outside %s", a)
		}
	}
	for _, r := range p.Routes {
		fmt.Fprintf(&b, ", route %s", r)
	}
	b.WriteString(mode(p.Bridged))
	if p.Home {
		b.WriteString(", home")
	}
	b.WriteString(numbered("in role", p.InRole))
	b.WriteString(numbered("out role", p.OutRole))
	b.WriteString(p.Sends.text("sends"))
	b.WriteString(p.Receives.text("receives"))
	if p.DSCP != 0 {
		fmt.Fprintf(&b, ", DSCP %d", p.DSCP)
	}
	return b.String()
}

func (o Outside) String() string {
	return fmt.Sprintf("outside: %s, %s, %s", o.IPv4, o.IPv6, o.MAC)
}

func (s Subnet) String() string { return fmt.Sprintf("subnet %d/%s", s.Tenant, s.Prefix) }

func (p Published) String() string {
	return fmt.Sprintf("published %s/%d: %s", netip.AddrPortFrom(p.Host, p.Port), p.Protocol, p.To)
}

func (p Probed) String() string { return fmt.Sprintf("probed %s: %s", p.At, p.To) }

func (i Infra) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "infra %s: port %s, %s", i.Network, i.Port, i.MAC)
	for _, a := range i.Addrs {
		fmt.Fprintf(&b, ", %s", a)
	}
	for _, r := range i.Routes {
		fmt.Fprintf(&b, ", route %s", r.Prefix)
		if r.Via.IsValid() {
			fmt.Fprintf(&b, " via %s", r.Via)
		}
	}
	return b.String()
}

func (p Prefix) String() string {
	return fmt.Sprintf("prefix %d/%s: class %08x", p.Tenant, p.Prefix, p.Class)
}

func (v Verdict) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "verdict %08x", v.Role)
	if v.Class != 0 {
		fmt.Fprintf(&b, " class %08x", v.Class)
	}
	if v.Protocol != AnyProtocol {
		fmt.Fprintf(&b, " protocol %d", v.Protocol)
	}
	if v.Port != 0 {
		fmt.Fprintf(&b, " port %d", v.Port)
	}
	if v.End != 0 {
		fmt.Fprintf(&b, " to %d", v.End)
	}
	switch {
	case v.Rule == 0:
		b.WriteString(": no rule")
	case v.Allow:
		fmt.Fprintf(&b, ": allow by %08x, priority %d", v.Rule, v.Priority)
	default:
		fmt.Fprintf(&b, ": deny by %08x, priority %d", v.Rule, v.Priority)
	}
	switch {
	case v.Audit != 0:
		fmt.Fprintf(&b, ", audited deny by %08x, priority %d", v.Audit, v.AuditPriority)
	case v.AuditPriority != 0:
		fmt.Fprintf(&b, ", audited allow, priority %d", v.AuditPriority)
	}
	return b.String()
}

func (r Rule) String() string {
	if r.Group == "" {
		return fmt.Sprintf("rule %08x: %s", r.Number, r.Key)
	}
	return fmt.Sprintf("rule %08x: %s, in group %s", r.Number, r.Key, r.Group)
}

// numbered is a number that was made from what it stands for, or nothing for 0.
func numbered(name string, n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %s %08x", name, n)
}

func mode(bridged bool) string {
	if bridged {
		return ", bridged"
	}
	return ""
}
