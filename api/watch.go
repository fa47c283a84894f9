// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"

	"github.com/contivnet/contiv/model"
)

// WatchEvent is a line of the watch: model.Change as JSON. The first line of a watch from revision 0,
// or from one that the store has forgotten, has reset and holds the whole World. A line without
// changes comes every WatchPulse seconds or sooner, so a silent connection is a dead one.
type WatchEvent struct {
	Revision int64         `json:"revision"`         // of the World after this line
	Reset    bool          `json:"reset,omitempty"`  // put is the whole World, not a difference
	Put      []WatchObject `json:"put,omitempty"`    // what is new or changed
	Delete   []model.Ref   `json:"delete,omitempty"` // what is gone
}

// WatchPulse is how often a watch says something, in seconds.
const WatchPulse = 5

// WatchObject is one object with its kind.
type WatchObject struct {
	Kind  model.Kind      `json:"kind"`
	Value json.RawMessage `json:"value"` // in the words of package model, not of v1
}
