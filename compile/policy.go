// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"slices"

	"github.com/contivnet/contiv/model"
)

// domain is what a tenant's rules come to. Rules never reach into another tenant.
type domain struct {
	tenant    model.Tenant
	policies  map[string]*policy  // by name
	groups    map[string]*group   // by name
	dual      bool                // some network has IPv4 and IPv6
	selectors map[selector]*named // those that any rule of the tenant names, also where its policy is on no group
	renamed   bool                // selectors came or went since settle

	pods        map[string]*podPolicy   // those of Kubernetes that may concern its pods, by their keys
	ofNamespace map[string][]*podPolicy // the same by the namespace of their pods; "": of any
	home        *rule                   // lets the node come to its own pods; nil where there is no policy of Kubernetes
}

// group is what holds for its endpoints.
type group struct {
	policies []*policy // those that exist
	text     string    // what they are
}

// policy is one with its rules.
type policy struct {
	model.Policy
	holders int    // how many groups name it
	holder  string // the key of one of them
	rules   []*rule
	own     []*rule // those that name their own address
	left    bool    // some of the rules have left
}

// settle ends a reading of rules. It tells whether selectors came or went in it.
func (d *domain) settle() (renamed bool) {
	for _, p := range d.policies {
		if p.left {
			gone := func(r *rule) bool { return r.left }
			p.rules, p.own = slices.DeleteFunc(p.rules, gone), slices.DeleteFunc(p.own, gone)
			p.left = false
		}
	}
	renamed, d.renamed = d.renamed, false
	return renamed
}
