// SPDX-License-Identifier: Apache-2.0

// Package model holds the nouns of Contiv Network (tenant, network, endpoint, node …), their names,
// their checks, and World: all of them at one revision of the store.
//
// Everything here is a plain value without I/O, clock or goroutine. The same types are stored in
// etcd, sent to the agents and read by compile, so there is one struct a noun and no copies of it.
// The outward spellings of the v1 REST API are not here but in package api.
//
// What bites: a World is immutable. Its tables are shared between revisions, so a value that is
// taken out of one must not have its slices changed in place.
package model
