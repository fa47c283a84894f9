// SPDX-License-Identifier: Apache-2.0

package model

import "errors"

// Spec is what a runtime says of few containers. Nobody writes to one that an endpoint has.
type Spec struct {
	// Ports are those of its own that have names, as a pod's containers name them. No two have one name and protocol.
	Ports []NamedPort `json:"ports,omitempty"`
	// Probed are the TCP ports at which its kubelet asks whether it works, sorted.
	Probed []uint16 `json:"probed,omitempty"`
	// Sends and Receives bound what it sends and receives, beside its group's netprofile: the tighter one holds.
	Sends    Rate `json:"sends,omitzero"`
	Receives Rate `json:"receives,omitzero"`
}

// WithPorts is s, which may be nil, with these ports that have names, and these that are probed; nil where nothing is said.
func (s *Spec) WithPorts(ports []NamedPort, probed []uint16) *Spec {
	var out Spec
	if s != nil {
		out = *s
	}
	out.Ports, out.Probed = ports, probed
	if len(ports) == 0 && len(probed) == 0 && out.Sends == (Rate{}) && out.Receives == (Rate{}) {
		return nil
	}
	return &out
}

func (s *Spec) check() error {
	if s == nil {
		return nil
	}
	return errors.Join(checkNamedPorts(s.Ports), s.Sends.check("sends"), s.Receives.check("receives"))
}

// NamedPorts are the endpoint's that have names.
func (e Endpoint) NamedPorts() []NamedPort {
	if e.Spec == nil {
		return nil
	}
	return e.Spec.Ports
}

// Probed are the TCP ports at which the endpoint's kubelet asks whether it works, sorted.
func (e Endpoint) Probed() []uint16 {
	if e.Spec == nil {
		return nil
	}
	return e.Spec.Probed
}
