// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"slices"
	"strings"
)

// Group is a set of a network's endpoints that share policies, a netprofile and, where it has one, a pool of addresses. The
// v1 API calls it endpointGroup.
type Group struct {
	Tenant  string `json:"tenant"`
	Name    string `json:"name"`
	Network string `json:"network"`
	// Number is what the data plane knows the group by, in the whole cluster: 1 or more, the lowest that was free.
	Number uint32 `json:"number"`
	// Policies, in the order in which they were given. The order means nothing: priorities decide.
	Policies   []string `json:"policies,omitempty"`
	Netprofile string   `json:"netprofile,omitempty"`
	// Pool is the part of the network's IPv4 subnet from which its endpoints get their addresses; nobody else
	// does. Zero: what the network has left.
	Pool      Range    `json:"pool,omitzero"`
	Contracts []string `json:"contracts,omitempty"` // names of external contracts; kept, not enforced
	Label     string   `json:"label,omitempty"`     // the v1 API's cfgdTag
}

func (Group) Kind() Kind    { return KindGroup }
func (g Group) Key() string { return GroupKey(g.Tenant, g.Name) }

// GroupKey is how a group is named in the store and in the v1 API: tenant:group. The network is not in it.
func GroupKey(tenant, name string) string { return tenant + ":" + name }

// NetworkKey is the key of the network that it is in.
func (g Group) NetworkKey() string { return NetworkKey(g.Tenant, g.Network) }

// Check refuses a group that could never be right, whatever else exists.
func (g Group) Check() error {
	for _, f := range []struct{ field, name string }{{"tenantName", g.Tenant}, {"groupName", g.Name}, {"networkName", g.Network}} {
		if err := CheckName(f.field, f.name, 64); err != nil {
			return err
		}
	}
	if err := checkNames("policies", g.Policies, CheckPolicyName); err != nil {
		return err
	}
	if err := checkNames("extContractsGrps", g.Contracts, CheckName); err != nil {
		return err
	}
	if g.Netprofile != "" {
		if err := CheckName("netProfile", g.Netprofile, 64); err != nil {
			return err
		}
	}
	if g.Label != "" {
		return CheckName("cfgdTag", g.Label, 128)
	}
	return nil
}

// checkNames refuses a list with what is no name, or with one twice.
func checkNames(field string, names []string, check func(field, name string, max int) error) error {
	for i, n := range names {
		if err := check(field, n, 64); err != nil {
			return err
		}
		if slices.Contains(names[:i], n) {
			return Invalid(field, "%s has %q twice; name each once", field, n)
		}
	}
	return nil
}

// Range is addresses of one family from First to Last, both in it.
type Range struct {
	First netip.Addr `json:"first,omitzero"` // the lowest
	Last  netip.Addr `json:"last,omitzero"`  // the highest
}

// IsZero tells whether there is no range.
func (r Range) IsZero() bool { return r == Range{} }

// Contains tells whether a is in the range.
func (r Range) Contains(a netip.Addr) bool {
	return r.First.IsValid() && r.First.BitLen() == a.BitLen() && !a.Less(r.First) && !r.Last.Less(a)
}

// Overlaps tells whether two ranges share an address.
func (r Range) Overlaps(q Range) bool { return r.Contains(q.First) || q.Contains(r.First) }

// String is what ParseRange reads.
func (r Range) String() string {
	if r.IsZero() {
		return ""
	}
	return r.First.String() + "-" + r.Last.String()
}

// ParseRange reads first-last, or a single address as a range of one; "" is the zero range. field is its JSON name.
func ParseRange(field, text string) (Range, error) {
	if text == "" {
		return Range{}, nil
	}
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	var r Range
	var err1, err2 error
	r.First, err1 = netip.ParseAddr(first)
	r.Last, err2 = netip.ParseAddr(last)
	switch {
	case err1 != nil || err2 != nil || r.First.BitLen() != r.Last.BitLen() || r.First.Zone() != "" || r.Last.Zone() != "" || r.First.Is4In6() || r.Last.Is4In6():
		return Range{}, Invalid(field, "%s %q is not a range of addresses; write it as 10.1.1.10-10.1.1.20", field, text)
	case r.Last.Less(r.First):
		return Range{}, Invalid(field, "%s %q ends before it begins; write it as %s-%s", field, text, last, first)
	}
	return r, nil
}
