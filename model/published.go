// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/netip"
)

// Published is a port of an endpoint's node behind which one of the endpoint's is.
type Published struct {
	Protocol string     `json:"protocol"` // tcp, udp or sctp
	Host     netip.Addr `json:"host"`     // the node's address; 0.0.0.0 or :: for every one of that family
	HostPort uint16     `json:"hostPort"` // the node's
	Port     uint16     `json:"port"`     // the container's
}

// String is the node's port, as 0.0.0.0:8080/tcp.
func (p Published) String() string {
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(p.Host, p.HostPort), p.Protocol)
}

// maxPublished bounds what an endpoint publishes, so that it fits into a transaction of any etcd.
const maxPublished = 4096

func checkPublished(list []Published) error {
	if len(list) > maxPublished {
		return Invalid("published", "%d ports are published; at most %d are possible of one container", len(list), maxPublished)
	}
	for _, p := range list {
		switch {
		case p.Protocol != "tcp" && p.Protocol != "udp" && p.Protocol != "sctp":
			return Invalid("published", "protocol %q cannot be published; use tcp, udp or sctp", p.Protocol)
		case !p.Host.IsValid() || p.Host.Is4In6() || p.Host.Zone() != "":
			return Invalid("published", "address %s cannot be one of a node; give an IPv4 or IPv6 address", p.Host)
		case p.HostPort == 0 || p.Port == 0:
			return Invalid("published", "port 0 cannot be published; give 1 to 65535")
		}
	}
	return nil
}
