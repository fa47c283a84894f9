// SPDX-License-Identifier: Apache-2.0

package model

// Namespace is a namespace of Kubernetes. Masters take it over from the API server; nobody else writes it.
type Namespace struct {
	Name string `json:"name"`
	// Labels are what selectors of namespaces look at. Kubernetes gives each the label kubernetes.io/metadata.name.
	Labels map[string]string `json:"labels,omitempty"`
}

func (Namespace) Kind() Kind    { return KindNamespace }
func (n Namespace) Key() string { return n.Name }
