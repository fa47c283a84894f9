// SPDX-License-Identifier: Apache-2.0

package model

// ClusterNode is a node of Kubernetes. Masters take it over from the API server; nobody else writes it. A Node is what Contiv has on a
// machine of that name.
type ClusterNode struct {
	Name string `json:"name"`
	Zone string `json:"zone,omitempty"` // where it is: its label topology.kubernetes.io/zone; "" where that is not said
}

func (ClusterNode) Kind() Kind    { return KindClusterNode }
func (n ClusterNode) Key() string { return n.Name }
