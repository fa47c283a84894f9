// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// observeTrace says what would become of a connection, from the intent alone: no node is asked.
func (m *Master) observeTrace(w http.ResponseWriter, r *http.Request, _ []string) error {
	t, err := traced(m.ledger.current(), r.URL.Query())
	if err != nil {
		return err
	}
	return reply(w, t, 0)
}

// side is one end of a question: an endpoint, or an address that no endpoint has.
type side struct {
	model.Endpoint            // without id where it is none
	addr           netip.Addr // that was named; invalid where another name was given
}

// at is the end at an address.
func (s side) at(a netip.Addr, port uint16) api.FlowEnd {
	if s.ID == "" {
		return api.FlowEnd{Address: a, Port: port}
	}
	return api.FlowEndOf(s.Endpoint, a, port)
}

// address is the one of a family that the side has.
func (s side) address(v6 bool) netip.Addr {
	switch {
	case s.addr.IsValid():
		if s.addr.Is6() == v6 {
			return s.addr
		}
		return netip.Addr{}
	case v6:
		return s.IPv6
	}
	return s.IPv4
}

func traced(w model.World, v url.Values) (t api.Trace, err error) {
	ofTenant := cmp.Or(v.Get("tenant"), model.DefaultTenant)
	if _, err := tenant(w, ofTenant); err != nil {
		return t, err
	}
	protocol, port, err := tracedProtocol(v.Get("proto"), v.Get("port"))
	if err != nil {
		return t, err
	}
	from, err := sideOf(w, ofTenant, "from", v.Get("from"))
	if err != nil {
		return t, err
	}
	to, err := sideOf(w, ofTenant, "to", v.Get("to"))
	if err != nil {
		return t, err
	}
	q := compile.Question{Tenant: from.Tenant, Protocol: protocol, Port: port, From: from.address(false), To: to.address(false)}
	if !q.From.IsValid() || !q.To.IsValid() || protocol == model.ProtocolICMPv6 {
		q.From, q.To = from.address(true), to.address(true)
		if protocol == model.ProtocolICMP {
			q.Protocol = model.ProtocolICMPv6 // a rule's icmp is both
		}
	}
	t = api.Trace{
		Tenant: from.Tenant, Verdict: api.TraceDeny, Protocol: api.ProtocolName(q.Protocol), From: from.at(q.From, 0), To: to.at(q.To, port), Steps: []api.TraceStep{},
	}
	switch {
	case from.Tenant != to.Tenant:
		t.From.Address, t.To.Address = from.some(), to.some()
		t.Why = fmt.Sprintf("tenants %s and %s have no path between them", from.Tenant, to.Tenant)
	case !q.From.IsValid() || !q.To.IsValid():
		t.From.Address, t.To.Address = from.some(), to.some()
		t.Why = "the two have no addresses of one family, so no packet can go from one to the other"
	case from.ID != "" && from.ID == to.ID:
		t.Verdict, t.Why = api.TraceAllow, "it is one container, whose packets to itself never leave it"
	default:
		decide(w, q, to, &t)
	}
	return t, nil
}

// some is an address of the side, for where none was chosen.
func (s side) some() netip.Addr {
	for _, a := range []netip.Addr{s.addr, s.IPv4} {
		if a.IsValid() {
			return a
		}
	}
	return s.IPv6
}

// decide asks the rules.
func decide(w model.World, q compile.Question, to side, t *api.Trace) {
	d := compile.Trace(w, q)
	for _, s := range d.Steps {
		t.Steps = append(t.Steps, api.TraceStep{
			Direction: s.Direction, Node: s.Node, Group: s.Group, Policy: s.Policy, Verdict: traceVerdict(s.Allow), Rule: s.Rule, Audited: s.Audit,
		})
	}
	if s, ok := d.Decisive(); ok {
		t.Rule = s.Rule
		t.Otherwise = traceVerdict(d.Without.Allow && d.Without.Unreachable == "")
		if o, ok := d.Without.Decisive(); ok {
			t.OtherwiseRule = o.Rule
		}
	}
	switch {
	case !d.Allow:
		return
	case d.Unreachable != "":
		t.Why = d.Unreachable
		return
	case to.ID == "":
		for n := range w.Networks.Sorted() {
			if n.Tenant == q.Tenant && n.Pool(q.To).Subnet().Contains(q.To) {
				t.Why = fmt.Sprintf("no container has address %s of network %s", q.To, n.Key())
				return
			}
		}
		t.Why = fmt.Sprintf("%s is no container's address: the rules let the packet go, and whether it arrives is not for them to say", q.To)
	}
	t.Verdict = api.TraceAllow
}

func traceVerdict(allow bool) string {
	if allow {
		return api.TraceAllow
	}
	return api.TraceDeny
}

// tracedProtocol reads a protocol, which must be one, and the port that it needs.
func tracedProtocol(text, portText string) (protocol uint8, port uint16, err error) {
	protocol, any, ok := model.ProtocolNumber(text)
	if strings.EqualFold(text, "icmpv6") {
		protocol, ok = model.ProtocolICMPv6, true
	}
	if !ok || any {
		return 0, 0, model.Invalid("proto", "protocol %q is none that a packet can have; use tcp, udp, sctp, icmp or a number from 0 to 255", text)
	}
	if portText != "" {
		n, err := strconv.ParseUint(portText, 10, 16)
		if err != nil {
			return 0, 0, model.Invalid("port", "port %q is not a number from 1 to 65535", portText)
		}
		port = uint16(n)
	}
	switch ports := model.HasPorts(protocol); {
	case ports && port == 0:
		return 0, 0, model.Invalid("port", "a port from 1 to 65535 is needed (netctl policy trace --port): rules may tell %s ports apart", api.ProtocolName(protocol))
	case !ports && port != 0:
		return 0, 0, model.Invalid("port", "port %d is given, but protocol %s has no ports; leave it out", port, api.ProtocolName(protocol))
	}
	return protocol, port, nil
}

// groupPrefix marks a group's name where a container's could stand. Neither has a colon in it.
const groupPrefix = "group:"

// sideOf finds what is meant: an address of the tenant, one of a group's containers, or an endpoint by its id, its container's id or
// name, or a part of one, first in the tenant and then in others.
func sideOf(w model.World, tenant, field, text string) (side, error) {
	name, isGroup := strings.CutPrefix(text, groupPrefix)
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return sideAt(w, tenant, a.Unmap()), nil
	}
	switch {
	case text == "":
		return side{}, model.Invalid(field, "%s is missing: name a container, its id or an endpoint's, an address, or %sNAME", field, groupPrefix)
	case isGroup:
		g, err := group(w, model.GroupKey(tenant, name))
		if err != nil {
			return side{}, err
		}
		e, ok := memberOf(w, g)
		if !ok {
			return side{}, model.NotFound(field, "group %s has no container to ask about: start one, or name an address", g.Key())
		}
		return side{Endpoint: e}, nil
	}
	var found []model.Endpoint
	exact, part := namedEndpoints(w, text)
	for _, named := range [][]model.Endpoint{exact, part} {
		own := slices.DeleteFunc(slices.Clone(named), func(e model.Endpoint) bool { return e.Tenant != tenant })
		if found = own; len(own) == 0 {
			found = named
		}
		if len(found) > 0 {
			break
		}
	}
	e, err := theEndpoint(text, found)
	return side{Endpoint: e}, err
}

func sideAt(w model.World, tenant string, a netip.Addr) side {
	for _, e := range w.Endpoints.All() {
		if e.Tenant == tenant && (e.IPv4 == a || e.IPv6 == a) {
			return side{Endpoint: e, addr: a}
		}
	}
	return side{Endpoint: model.Endpoint{Tenant: tenant}, addr: a}
}

// memberOf is the group's endpoint with the lowest address, so that the same question has the same answer.
func memberOf(w model.World, g model.Group) (lowest model.Endpoint, ok bool) {
	for _, e := range w.Endpoints.All() {
		if e.Tenant != g.Tenant || e.Group != g.Name {
			continue
		}
		if !ok || cmp.Or(e.IPv4.Compare(lowest.IPv4), e.IPv6.Compare(lowest.IPv6), cmp.Compare(e.ID, lowest.ID)) < 0 {
			lowest, ok = e, true
		}
	}
	return lowest, ok
}
