// SPDX-License-Identifier: Apache-2.0

package model

// Forwarding says which networks of a tenant are joined.
type Forwarding struct {
	Bridged bool // none: only one's own is reached
	Routing bool // routes lead to VLANs that are Routable, because nodes tell routers of them
}

// Forwarding is what is in force.
func (w World) Forwarding() Forwarding {
	mode := w.Global().ForwardMode
	return Forwarding{Bridged: mode == ForwardBridge, Routing: mode == ForwardRouting && w.BGPs.Len() > 0}
}

// Routed tells whether a network's packets are between nodes without a tag, by routes.
func (f Forwarding) Routed(n Network) bool { return f.Routing && n.Routable() }

// KeepsToItself tells whether a network's endpoints reach no other network of their tenant by us. What leads out of a VLAN is
// a router in it.
func (f Forwarding) KeepsToItself(n Network) bool {
	return f.Bridged || n.Internal || n.Encap == EncapVLAN && !f.Routed(n)
}

// Reaches tells whether endpoints of one network may talk to those of the other.
func (f Forwarding) Reaches(a, b Network) bool {
	return a.Tenant == b.Tenant && f.Circle(a) == f.Circle(b)
}

// Circle is the same text for networks of one tenant that reach each other, and for no others.
func (f Forwarding) Circle(n Network) string {
	if f.KeepsToItself(n) {
		return "network " + n.Name
	}
	return n.Encap
}

// Routable tells whether a network's addresses may be known outside: those of VLANs of the default tenant, as other tenants may have
// the same ones.
func (n Network) Routable() bool {
	return n.Encap == EncapVLAN && n.Tenant == DefaultTenant && !n.Internal
}
