// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// ClusterService is a Service of Kubernetes (https://kubernetes.io/docs/concepts/services-networking/service/). Masters take it over from
// the API server; nobody else writes it. Who provides it is in its EndpointSlices.
type ClusterService struct {
	Namespace string `json:"namespace"` // Kubernetes'
	Name      string `json:"name"`      // unique there
	// ClusterIPs are its one or two virtual addresses; none for a headless service and for one that is another name.
	ClusterIPs []netip.Addr `json:"clusterIPs,omitempty"`
	// ExternalIPs lead to it from outside too, where something brings their packets to a node.
	ExternalIPs []netip.Addr `json:"externalIPs,omitempty"`
	// LoadBalancers are the addresses of its load balancer, which are like ExternalIPs.
	LoadBalancers []netip.Addr `json:"loadBalancers,omitempty"`
	// SourceRanges bound who may come by a LoadBalancer; none: everybody.
	SourceRanges []netip.Prefix `json:"sourceRanges,omitempty"`
	ExternalName string         `json:"externalName,omitempty"` // it is another name for this one
	Ports        []ClusterPort  `json:"ports,omitempty"`        // at which it listens
	// Unproxied says that nobody, or somebody else, is to bring connections to its addresses to providers: the labels
	// service.kubernetes.io/headless and service.kubernetes.io/service-proxy-name. Its name is answered all the same.
	Unproxied bool `json:"unproxied,omitempty"`
	// Affinity is for how many seconds a client meets the provider again that it met last; 0: each connection is on its own.
	Affinity int `json:"affinity,omitempty"`
	// InternalLocal keeps those who come by a cluster IP to providers on their own node.
	InternalLocal bool `json:"internalLocal,omitempty"`
	// ExternalLocal keeps those from outside to providers on the node at which they arrive, and their addresses as they are.
	ExternalLocal bool `json:"externalLocal,omitempty"`
	// HealthCheck is the TCP port at which nodes tell load balancers whether they have providers, for ExternalLocal ones; 0: none.
	HealthCheck uint16 `json:"healthCheck,omitempty"`
}

// ClusterPort is one at which a ClusterService listens. Where its providers do is in the EndpointSlices, under its name.
type ClusterPort struct {
	Name     string `json:"name,omitempty"`
	Protocol string `json:"protocol"`       // TCP, UDP or SCTP
	Port     uint16 `json:"port"`           // at the virtual addresses
	Node     uint16 `json:"node,omitempty"` // at every node's own; 0: none
}

func (ClusterService) Kind() Kind    { return KindClusterService }
func (s ClusterService) Key() string { return s.Namespace + "/" + s.Name }

// EndpointSlice is some of the providers of a ClusterService, all of one family
// (https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/).
type EndpointSlice struct {
	Namespace string         `json:"namespace"`           // Kubernetes'
	Name      string         `json:"name"`                // unique there
	Service   string         `json:"service"`             // its name, in the same namespace
	Ports     []SlicePort    `json:"ports,omitempty"`     // of all of them
	Endpoints []SliceAddress `json:"endpoints,omitempty"` // the providers
}

// SlicePort is where the providers of a slice listen.
type SlicePort struct {
	Name     string `json:"name,omitempty"` // of the ClusterPort
	Protocol string `json:"protocol"`       // TCP, UDP or SCTP
	Port     uint16 `json:"port"`           // of the providers
}

// SliceAddress is a provider.
type SliceAddress struct {
	Addr netip.Addr `json:"addr"` // as Kubernetes knows it: of a pod, a node or a machine elsewhere
	// Pod is the name of the pod that it is, in the same namespace; "" for none. Addresses of tenants may be equal; a pod's name tells which is meant.
	Pod         string `json:"pod,omitempty"`
	Node        string `json:"node,omitempty"`        // on which it runs, by its name in Kubernetes
	Hostname    string `json:"hostname,omitempty"`    // by which it has a name of its own in a headless service
	Ready       bool   `json:"ready,omitempty"`       // it is to get new connections
	Serving     bool   `json:"serving,omitempty"`     // it works, though it may be about to end
	Terminating bool   `json:"terminating,omitempty"` // it was told to end
	// ForNodes and ForZones name whose clients are to meet it rather than others; none: all are.
	ForNodes []string `json:"forNodes,omitempty"`
	ForZones []string `json:"forZones,omitempty"` // the same, by the zones of nodes
}

func (EndpointSlice) Kind() Kind    { return KindEndpointSlice }
func (s EndpointSlice) Key() string { return s.Namespace + "/" + s.Name }

// ServiceKey is the key of the ClusterService that it is a part of.
func (s EndpointSlice) ServiceKey() string { return s.Namespace + "/" + s.Service }
