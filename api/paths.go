// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"
	"net/url"
	"strings"
)

// Fixed paths.
const (
	Root        = "/api/v1/"
	InspectRoot = "/api/v1/inspect/"
	WatchPath   = "/api/v1/watch"
	VersionPath = "/version"
	InfoPath    = "/info"
	// OpenAPIPath describes all of this in OpenAPI 3.1.
	OpenAPIPath = "/api/v1/openapi.json"
)

// Plurals: the collections under Root, spelled as in v1.
const (
	Tenants   = "tenants"
	Networks  = "networks"
	Endpoints = "endpoints"
	Globals   = "globals"
	Nodes     = "nodes"
	Addresses = "addresses"

	EndpointGroups     = "endpointGroups"
	Policies           = "policys"
	Rules              = "rules"
	Netprofiles        = "netprofiles"
	ServiceLBs         = "serviceLBs"
	BGPs               = "Bgps"
	AppProfiles        = "appProfiles"
	ExtContractsGroups = "extContractsGroups"
	ACIGateways        = "aciGws"
)

// RevisionHeader carries the store's revision that a write made, in decimal.
const RevisionHeader = "Contiv-Revision"

// MaxBody is the largest request body in bytes that a master reads, and MaxApply that of ApplyPath, which takes many objects.
const (
	MaxBody  = 1 << 20
	MaxApply = 8 << 20
)

// DefaultMaster is where netctl looks when neither --netmaster nor NETMASTER is given.
const DefaultMaster = "http://netmaster:9999"

// DefaultPort is the port at which a netmaster listens.
const DefaultPort = 9999

// ListPath is the path of a collection.
func ListPath(plural string) string { return Root + plural + "/" }

// ObjectPath is the path of one object of a collection.
func ObjectPath(plural, key string) string { return Root + plural + "/" + escape(key) + "/" }

// InspectPath is the path of one object with what is known of its operation.
func InspectPath(plural, key string) string { return InspectRoot + plural + "/" + escape(key) + "/" }

// AddressesPath is where addresses of a network are asked for.
func AddressesPath(network string) string { return Root + Addresses + "/" + escape(network) + "/" }

// AddressPath is one address of a network.
func AddressPath(network string, a netip.Addr) string {
	return AddressesPath(network) + escape(a.String()) + "/"
}

// AlivePath is where a node's agent says that it lives.
func AlivePath(node string) string { return ObjectPath(Nodes, node) + "alive/" }

// A key's colon stands as it is, as v1 clients write it.
func escape(key string) string { return strings.ReplaceAll(url.PathEscape(key), "%3A", ":") }
