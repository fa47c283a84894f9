// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/contivnet/contiv/model"
)

// endpointSliceOf is a slice of a Service's providers. One that is of no Service, or of names in place of addresses, is not wanted.
func endpointSliceOf(s *discoveryv1.EndpointSlice) (out model.EndpointSlice, wanted bool, err error) {
	out = model.EndpointSlice{Namespace: s.Namespace, Name: s.Name, Service: s.Labels[discoveryv1.LabelServiceName]}
	if out.Service == "" || s.AddressType == discoveryv1.AddressTypeFQDN {
		return out, false, nil
	}
	for _, p := range s.Ports {
		if p.Port == nil { // all ports: no Service means that
			continue
		}
		port := model.SlicePort{Name: value(p.Name)}
		if port.Protocol, err = protocol("ports.protocol", value(p.Protocol)); err != nil {
			return out, false, err
		}
		if port.Port, err = portNumber("ports.port", *p.Port, false); err != nil {
			return out, false, err
		}
		out.Ports = append(out.Ports, port)
	}
	for _, e := range s.Endpoints {
		if len(e.Addresses) == 0 {
			continue
		}
		a := model.SliceAddress{
			Node: value(e.NodeName), Hostname: value(e.Hostname),
			Ready: unlessDenied(e.Conditions.Ready), Serving: unlessDenied(e.Conditions.Serving), Terminating: value(e.Conditions.Terminating),
		}
		if a.Addr, err = address("endpoints.addresses", e.Addresses[0]); err != nil { // all lead to the same; the first is enough
			return out, false, err
		}
		if r := e.TargetRef; r != nil && r.Kind == "Pod" && (r.Namespace == "" || r.Namespace == s.Namespace) {
			a.Pod = r.Name
		}
		if h := e.Hints; h != nil {
			for _, n := range h.ForNodes {
				a.ForNodes = append(a.ForNodes, n.Name)
			}
			for _, z := range h.ForZones {
				a.ForZones = append(a.ForZones, z.Name)
			}
		}
		out.Endpoints = append(out.Endpoints, a)
	}
	return out, true, nil
}

// value is what p points to; nothing where it does not.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// unlessDenied is a condition that holds where nothing is said of it.
func unlessDenied(condition *bool) bool { return condition == nil || *condition }
