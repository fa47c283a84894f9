// SPDX-License-Identifier: Apache-2.0

// Package api is the v1 REST API of netmaster as its clients see it: URL paths, JSON shapes, errors
// and the Go client. The outward spellings (networkName, pktTag, endpointGroup …) are those that v1
// clients have always used and live here alone; inside, package model's words are used.
//
//	GET                      /api/v1/networks/              a list, sorted by key
//	GET POST PUT DELETE      /api/v1/networks/{key}/        POST and PUT both create or update
//	GET                      /api/v1/inspect/networks/{key}/  {"Config": …, "Oper": …}
//	POST                     /api/v1/apply/           many objects at once, all or none
//	GET                      /api/v1/export/          the whole intent, as apply takes it
//	GET                      /api/v1/watch?revision=R       the World and its changes, a JSON object a line
//
// The trailing slash may be left out. With ?dry-run=true a write is checked and nothing is written. A successful write
// carries the store's revision in the header Contiv-Revision, which an agent can wait for. A failure is {"error": …, "field": …} with 400, 404, 405,
// 409, 413 or 503.
//
// What bites: a write whose answer was lost may have happened. Every write but the reservation of
// an address can be sent again without harm; such a reservation is forgotten after model.HoldSeconds.
package api
