// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/contivnet/contiv/model"
)

// Labels by which somebody else, or nobody, is to serve a Service's addresses.
const (
	labelProxyName = "service.kubernetes.io/service-proxy-name"
	labelHeadless  = "service.kubernetes.io/headless"
)

// defaultAffinity is Kubernetes' own, in seconds, where a Service says none.
const defaultAffinity = 3 * 60 * 60

// serviceOf is a Service. How its providers are chosen is a ClusterService's; who they are is not.
func serviceOf(s *corev1.Service) (out model.ClusterService, wanted bool, err error) {
	out = model.ClusterService{Namespace: s.Namespace, Name: s.Name}
	spec := s.Spec
	if spec.Type == corev1.ServiceTypeExternalName {
		out.ExternalName = spec.ExternalName
		return out, true, nil
	}
	ips := spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{spec.ClusterIP}
	}
	if out.ClusterIPs, err = addresses("spec.clusterIPs", ips); err != nil {
		return out, false, err
	}
	if out.ExternalIPs, err = addresses("spec.externalIPs", spec.ExternalIPs); err != nil {
		return out, false, err
	}
	outside := len(out.ExternalIPs) > 0 || spec.Type == corev1.ServiceTypeNodePort
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		outside = true
		if out.LoadBalancers, err = addresses("status.loadBalancer.ingress", balancers(s.Status.LoadBalancer.Ingress)); err != nil {
			return out, false, err
		}
		if out.SourceRanges, err = ranges("spec.loadBalancerSourceRanges", spec.LoadBalancerSourceRanges); err != nil {
			return out, false, err
		}
	}
	for _, p := range spec.Ports {
		port, err := clusterPort(p)
		if err != nil {
			return out, false, err
		}
		out.Ports = append(out.Ports, port)
	}
	if spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		out.Affinity = defaultAffinity
		if c := spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			out.Affinity = int(*c.ClientIP.TimeoutSeconds)
		}
	}
	out.InternalLocal = spec.InternalTrafficPolicy != nil && *spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	out.ExternalLocal = outside && spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	if out.ExternalLocal {
		if out.HealthCheck, err = portNumber("spec.healthCheckNodePort", spec.HealthCheckNodePort, true); err != nil {
			return out, false, err
		}
	}
	_, headless := s.Labels[labelHeadless]
	_, others := s.Labels[labelProxyName]
	out.Unproxied = headless || others
	return out, true, nil
}

func clusterPort(p corev1.ServicePort) (out model.ClusterPort, err error) {
	out.Name = p.Name
	if out.Protocol, err = protocol("spec.ports.protocol", p.Protocol); err != nil {
		return out, err
	}
	if out.Port, err = portNumber("spec.ports.port", p.Port, false); err != nil {
		return out, err
	}
	out.Node, err = portNumber("spec.ports.nodePort", p.NodePort, true)
	return out, err
}

// balancers are the addresses whose packets a load balancer brings to nodes as they are. To those of one that is a proxy, connections go
// through it.
func balancers(ingress []corev1.LoadBalancerIngress) (out []string) {
	for _, i := range ingress {
		if i.IP != "" && (i.IPMode == nil || *i.IPMode == corev1.LoadBalancerIPModeVIP) {
			out = append(out, i.IP)
		}
	}
	return out
}

// addresses reads addresses. A headless service says None, and one that will have an address says nothing.
func addresses(field string, texts []string) (out []netip.Addr, err error) {
	for _, text := range texts {
		if text == "" || text == corev1.ClusterIPNone {
			continue
		}
		a, err := address(field, text)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// address reads an address.
func address(field, text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil || a.Zone() != "" {
		return a, fmt.Errorf("%s: %q is no address", field, model.Short(text))
	}
	return a.Unmap(), nil
}

// ranges reads prefixes, around which there may be spaces.
func ranges(field string, texts []string) (out []netip.Prefix, err error) {
	for _, text := range texts {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no range of addresses", field, model.Short(text))
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// protocol reads a protocol. Where none is said it is TCP.
func protocol(field string, p corev1.Protocol) (string, error) {
	switch p {
	case "":
		return string(corev1.ProtocolTCP), nil
	case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
		return string(p), nil
	}
	return "", fmt.Errorf("%s: %q is not TCP, UDP or SCTP", field, model.Short(string(p)))
}

// portNumber reads a port, or 0 where there may be none.
func portNumber(field string, n int32, none bool) (uint16, error) {
	if n < 0 || n > 65535 || n == 0 && !none {
		return 0, fmt.Errorf("%s: %d is no port", field, n)
	}
	return uint16(n), nil
}
