// SPDX-License-Identifier: Apache-2.0

package model

// NamedPort is a port of a container that has a name: rules and services of Kubernetes may mean it by that.
type NamedPort struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"` // TCP, UDP or SCTP
	Port     uint16 `json:"port"`     // the container's
}

// maxNamedPorts bounds what an endpoint names, so that it fits into a transaction of any etcd.
const maxNamedPorts = 1024

func checkNamedPorts(list []NamedPort) error {
	if len(list) > maxNamedPorts {
		return Invalid("ports", "%d ports have names; at most %d are possible of one container", len(list), maxNamedPorts)
	}
	for _, p := range list {
		switch {
		case p.Name == "" || len(p.Name) > 63:
			return Invalid("ports", "port name %q has %d characters; 1 to 63 are allowed", p.Name, len(p.Name))
		case p.Protocol != "TCP" && p.Protocol != "UDP" && p.Protocol != "SCTP":
			return Invalid("ports", "port %s has the protocol %q; use TCP, UDP or SCTP", p.Name, p.Protocol)
		case p.Port == 0:
			return Invalid("ports", "port %s cannot be 0; give 1 to 65535", p.Name)
		}
	}
	return nil
}
