// SPDX-License-Identifier: Apache-2.0

package api

// Link points to another object, by v1's type name and its key.
type Link struct {
	Type string `json:"type"` // v1's name of the type, as endpointGroup
	Key  string `json:"key"`  // the other's key
}

// LinkSets are an object's links to many, by the set's name and the other's key; Links those to one.
type (
	LinkSets map[string]map[string]Link
	Links    map[string]Link
)

// Inspect is an object as it was asked for, and what has become of it.
type Inspect[C, O any] struct {
	Config C `json:"Config"`
	Oper   O `json:"Oper"`
}
