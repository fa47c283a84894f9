// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/contivnet/contiv/agent"
	"github.com/contivnet/contiv/model"
)

// portMapping is a port of the node that is to lead to one of the container (CNI's CONVENTIONS.md, portMappings). A runtime names them where
// the configuration has "capabilities": {"portMappings": true}; for a pod its hostPorts say them.
type portMapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"` // tcp, udp or sctp, in letters of either case; "" is tcp
	HostIP        string `json:"hostIP"`   // the node's address; "" for every one
}

// published are the ports of the node that the container is to have.
func (c config) published() (out []agent.Publishing, err error) {
	for _, m := range c.RuntimeConfig.PortMappings {
		for _, port := range []int{m.HostPort, m.ContainerPort} {
			if port < 1 || port > 65535 {
				return nil, model.Invalid("portMappings", "runtimeConfig.portMappings has port %d: give 1 to 65535", port)
			}
		}
		p := agent.Publishing{Protocol: strings.ToLower(m.Protocol), First: uint16(m.HostPort), Last: uint16(m.HostPort), Port: uint16(m.ContainerPort)}
		switch p.Protocol {
		case "":
			p.Protocol = "tcp"
		case "tcp", "udp", "sctp":
		default:
			return nil, model.Invalid("portMappings", "runtimeConfig.portMappings has the protocol %q: use tcp, udp or sctp", m.Protocol)
		}
		if m.HostIP != "" {
			if p.Host, err = netip.ParseAddr(m.HostIP); err != nil || p.Host.Zone() != "" {
				return nil, model.Invalid("portMappings", "runtimeConfig.portMappings has the hostIP %q, which is no address: give one of the node, or none", m.HostIP)
			}
			p.Host = p.Host.Unmap()
		}
		out = append(out, p)
	}
	return out, nil
}

// publish has ports of the node lead to the attached endpoint. A port that somebody has is one that may come free.
func (s *Server) publish(ctx context.Context, id string, ask []agent.Publishing) error {
	if len(ask) == 0 {
		return nil
	}
	err := s.Agent.Publish(ctx, id, ask)
	if errors.Is(err, model.ErrExists) {
		return types.NewError(types.ErrTryAgainLater, "Contiv: "+err.Error(), "")
	}
	return err
}
