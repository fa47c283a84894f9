// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"reflect"
	"slices"
	"strings"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// kind is a sort of object that files of intent hold.
type kind struct {
	name   string // netctl's word for it
	plural string
	shape  reflect.Type
	owned  bool // by a tenant: default, where a file does not say
}

// kinds are all of them, each after those that it refers to.
func kinds() []kind {
	return []kind{
		{"global", api.Globals, reflect.TypeFor[api.Global](), false},
		{"aci-gw", api.ACIGateways, reflect.TypeFor[api.ACIGateway](), false},
		{"tenant", api.Tenants, reflect.TypeFor[api.Tenant](), false},
		{"network", api.Networks, reflect.TypeFor[api.Network](), true},
		{"netprofile", api.Netprofiles, reflect.TypeFor[api.Netprofile](), true},
		{"external-contracts", api.ExtContractsGroups, reflect.TypeFor[api.ExtContractsGroup](), true},
		{"policy", api.Policies, reflect.TypeFor[api.Policy](), true},
		{"group", api.EndpointGroups, reflect.TypeFor[api.EndpointGroup](), true},
		{"rule", api.Rules, reflect.TypeFor[api.Rule](), true},
		{"service", api.ServiceLBs, reflect.TypeFor[api.ServiceLB](), true},
		{"app-profile", api.AppProfiles, reflect.TypeFor[api.AppProfile](), true},
		{"bgp", api.BGPs, reflect.TypeFor[api.BGP](), false},
	}
}

func kindNames() string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return strings.Join(names, ", ")
}

func kindWhere(is func(kind) bool) (kind, bool) {
	all := kinds()
	i := slices.IndexFunc(all, is)
	if i < 0 {
		return kind{}, false
	}
	return all[i], true
}

func kindNamed(name string) (kind, bool) {
	return kindWhere(func(k kind) bool { return k.name == name })
}

// kindOf is the kind of a collection; one that this netctl does not know goes by the collection's name.
func kindOf(plural string) kind {
	k, ok := kindWhere(func(k kind) bool { return k.plural == plural })
	if !ok {
		return kind{name: plural, plural: plural}
	}
	return k
}

// fields are the JSON names of what a file may say of an object, in the order in which they are shown.
func (k kind) fields() []string {
	var names []string
	for i := range k.shape.NumField() {
		if name := jsonName(k.shape.Field(i)); !derived(name) {
			names = append(names, name)
		}
	}
	return names
}

// derived tells whether a field follows from the others. What ls and inspect print has it too, so files may.
func derived(name string) bool { return name == "key" || name == "links" || name == "link-sets" }

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// tenantField is the JSON name of the field that says whose an object is.
const tenantField = "tenantName"

// ownTenant is whose an object is when its file does not say.
const ownTenant = model.DefaultTenant
