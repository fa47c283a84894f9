// SPDX-License-Identifier: Apache-2.0

package model

// Leader is the master that does what one of all may do at a time. The store forgets it some seconds after it has fallen silent.
type Leader struct {
	Of     string `json:"of"`               // what it does
	Turn   string `json:"turn"`             // at it: a word of its own, each time that a master begins
	Master string `json:"master,omitempty"` // where it is reached, host:port
}

// LeadMirror is to take over what Kubernetes' API server says.
const LeadMirror = "mirror"

func (Leader) Kind() Kind    { return KindLeader }
func (l Leader) Key() string { return l.Of }
