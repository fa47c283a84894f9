// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// probes are what a kubelet asks of a container, and what it tells it, over the network among other ways.
type probes struct {
	Liveness  *handler `json:"livenessProbe,omitempty"`
	Readiness *handler `json:"readinessProbe,omitempty"`
	Startup   *handler `json:"startupProbe,omitempty"`
	Lifecycle struct {
		PostStart *handler `json:"postStart,omitempty"`
		PreStop   *handler `json:"preStop,omitempty"`
	} `json:"lifecycle,omitempty"`
}

// handler is one of them; at most one way is set, and none for a command.
type handler struct {
	HTTPGet   *probedPort `json:"httpGet,omitempty"`
	TCPSocket *probedPort `json:"tcpSocket,omitempty"`
	GRPC      *probedPort `json:"grpc,omitempty"`
}

// probedPort is a port of the pod, or of the host that is named.
type probedPort struct {
	Host string             `json:"host,omitempty"`
	Port intstr.IntOrString `json:"port"`
}

// probed are the TCP ports of the pod at which its kubelet asks, sorted.
func (s podSpec) probed() (out []uint16) {
	add := func(c container) {
		for _, h := range []*handler{c.Liveness, c.Readiness, c.Startup, c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h == nil {
				continue
			}
			for _, p := range []*probedPort{h.HTTPGet, h.TCPSocket, h.GRPC} {
				if p == nil || p.Host != "" {
					continue
				}
				if port := c.numbered(p.Port); port != 0 {
					out = append(out, port)
				}
			}
		}
	}
	for _, c := range s.Containers {
		add(c)
	}
	for _, c := range s.InitContainers { // those that run before the others are not asked
		if c.RestartPolicy == "Always" {
			add(c)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// numbered is the number of a port that a kubelet knows by it or by the name that the container gives it; 0 for none.
func (c container) numbered(p intstr.IntOrString) uint16 {
	if p.Type == intstr.Int {
		if p.IntVal < 1 || p.IntVal > 65535 {
			return 0
		}
		return uint16(p.IntVal)
	}
	for _, has := range c.Ports {
		if has.Name == p.StrVal {
			return has.ContainerPort
		}
	}
	return 0
}
