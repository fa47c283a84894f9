// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"

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

// WatchEventOf is c as it goes over the wire.
func WatchEventOf(c model.Change) (WatchEvent, error) {
	e := WatchEvent{Revision: c.Revision, Reset: c.Reset, Delete: c.Delete}
	for _, o := range c.Put {
		b, err := json.Marshal(o)
		if err != nil {
			return e, fmt.Errorf("encode %s %s: %w", o.Kind(), o.Key(), err)
		}
		e.Put = append(e.Put, WatchObject{o.Kind(), b})
	}
	return e, nil
}

// Change is what the line says. Objects of kinds that this version does not know are passed over: a newer
// master may have them, and an older agent has no use for them.
func (e WatchEvent) Change() (model.Change, error) {
	c := model.Change{Revision: e.Revision, Reset: e.Reset, Delete: e.Delete}
	for _, w := range e.Put {
		if !model.Knows(w.Kind) {
			continue
		}
		o, err := model.Decode(w.Kind, w.Value)
		if err != nil {
			return c, err
		}
		c.Put = append(c.Put, o)
	}
	return c, nil
}
