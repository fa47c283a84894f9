// SPDX-License-Identifier: Apache-2.0

package master

import "github.com/contivnet/contiv/api"

// v1's names of types, as links have them.
const (
	typeTenant     = "tenant"
	typeNetwork    = "network"
	typeGroup      = "endpointGroup"
	typePolicy     = "policy"
	typeRule       = "rule"
	typeNetprofile = "netprofile"
	typeService    = "serviceLB"
	typeAppProfile = "appProfile"
	typeContracts  = "extContractsGroup"
)

// link adds to an object's links to many.
func link(sets api.LinkSets, name, typ, key string) {
	if sets[name] == nil {
		sets[name] = map[string]api.Link{}
	}
	sets[name][key] = api.Link{Type: typ, Key: key}
}
