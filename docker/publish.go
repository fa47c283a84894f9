// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/contivnet/contiv/agent"
	"github.com/contivnet/contiv/model"
)

// publishRequest is ProgramExternalConnectivity's, which an engine sends for the endpoint that has its container's gateway.
type publishRequest struct {
	NetworkID, EndpointID string
	Options               struct {
		Portmap []portBinding `json:"com.docker.network.portmap"`
	}
}

// portBinding is a port of a container and those of the node of which one shall lead to it.
type portBinding struct {
	Proto       uint8
	Port        uint16 // the container's
	HostIP      string // "" for every address
	HostPort    uint16 // 0: any
	HostPortEnd uint16
}

// publishing is what the binding asks of the agent.
func (b portBinding) publishing() (agent.Publishing, error) {
	p := agent.Publishing{First: b.HostPort, Last: b.HostPortEnd, Port: b.Port}
	switch b.Proto {
	case model.ProtocolTCP:
		p.Protocol = "tcp"
	case model.ProtocolUDP:
		p.Protocol = "udp"
	case model.ProtocolSCTP:
		p.Protocol = "sctp"
	default:
		return p, model.Invalid("portmap", "protocol %d cannot be published; use tcp, udp or sctp", b.Proto)
	}
	if b.Port == 0 {
		return p, model.Invalid("portmap", "port 0 of a container cannot be published; give 1 to 65535")
	}
	if b.HostIP != "" {
		var err error
		if p.Host, err = netip.ParseAddr(b.HostIP); err != nil || p.Host.Zone() != "" {
			return p, model.Invalid("portmap", "%q is not an address of the node to publish at; write it as -p 192.0.2.1:8080:80", b.HostIP)
		}
		p.Host = p.Host.Unmap()
	}
	return p, nil
}

// publish has ports of the node lead to the container. In networks without a gateway the engine publishes ports itself and does not
// ask; newer ones ask with none.
func (d *Driver) publish(ctx context.Context, req publishRequest) (nothing, error) {
	if len(req.Options.Portmap) == 0 {
		return nothing{}, nil
	}
	var ask []agent.Publishing
	for _, b := range req.Options.Portmap {
		p, err := b.publishing()
		if err != nil {
			return nothing{}, err
		}
		ask = append(ask, p)
	}
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	if err := d.Agent.Publish(ctx, req.EndpointID, ask); err != nil {
		return nothing{}, fmt.Errorf("publish ports: %w", err)
	}
	return nothing{}, nil
}

type unpublishRequest struct{ EndpointID string }

// unpublish is asked before a container stops, and where another network becomes its way out. What is left at its end goes with the
// endpoint.
func (d *Driver) unpublish(ctx context.Context, req unpublishRequest) (nothing, error) {
	e, ok := d.Agent.Prepared(req.EndpointID)
	if !ok || len(e.Published) == 0 {
		return nothing{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, briefly)
	defer cancel()
	if err := d.Agent.Publish(ctx, req.EndpointID, nil); err != nil {
		d.Log.Info("ports of a container go with it", "endpoint", short(req.EndpointID), "error", err)
	}
	return nothing{}, nil
}
