// SPDX-License-Identifier: Apache-2.0

package model

import "errors"

// Spec is what a runtime says of few containers. Nobody writes to one that an endpoint has.
type Spec struct {
	// Ports are those of its own that have names, as a pod's containers name them. No two have one name and protocol.
	Ports []NamedPort `json:"ports,omitempty"`
	// Sends and Receives bound what it sends and receives, beside its group's netprofile: the tighter one holds.
	Sends    Rate `json:"sends,omitzero"`
	Receives Rate `json:"receives,omitzero"`
}

// WithPorts is s, which may be nil, with these ports; nil where nothing is said.
func (s *Spec) WithPorts(ports []NamedPort) *Spec {
	var out Spec
	if s != nil {
		out = *s
	}
	out.Ports = ports
	if len(ports) == 0 && out.Sends == (Rate{}) && out.Receives == (Rate{}) {
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
