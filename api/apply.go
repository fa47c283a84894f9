// SPDX-License-Identifier: Apache-2.0

package api

import "encoding/json"

// ApplyPath takes many objects at once: POST ApplyRequest. With ?dry-run=true nothing is written.
const ApplyPath = Root + "apply"

// ApplySeconds is how long a master may take for an apply.
const ApplySeconds = 30

// ExportPath gives the whole intent, in an order in which each object comes after those that it refers to: GET ApplyRequest.
const ExportPath = Root + "export"

// ApplyRequest is objects that are to be, all of them or, when one is refused, none. They are created or updated in the
// order that their references need, whatever order they are given in.
type ApplyRequest struct {
	Objects []ApplyObject `json:"objects"` // in any order
}

// ApplyObject is one object by its collection and in its v1 shape, as networks and Network.
type ApplyObject struct {
	Collection string          `json:"collection"` // a plural of paths.go
	Object     json.RawMessage `json:"object"`     // as it would be put alone
}

// ApplyAnswer tells what was done, or what would be, in the order in which it was.
type ApplyAnswer struct {
	Results []ApplyResult `json:"results"` // one for each object
}

// ApplyResult is what came of one object.
type ApplyResult struct {
	Collection string `json:"collection"` // a plural, as networks
	Key        string `json:"key"`        // the object's
	Result     string `json:"result"`     // created, updated or unchanged
}

// Results of an applied object.
const (
	ApplyCreated   = "created"
	ApplyUpdated   = "updated"
	ApplyUnchanged = "unchanged"
)
