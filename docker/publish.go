// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"

	"github.com/contivnet/contiv/model"
)

// publishRequest is ProgramExternalConnectivity's, which an engine sends for the endpoint that has its container's gateway.
type publishRequest struct {
	NetworkID, EndpointID string
	Options               struct {
		Portmap []any `json:"com.docker.network.portmap"`
	}
}

// publish refuses what this version cannot do, which is better than a port on which nobody answers. In networks without a
// gateway the engine publishes ports itself and does not ask.
func (d *Driver) publish(_ context.Context, req publishRequest) (nothing, error) {
	if len(req.Options.Portmap) == 0 {
		return nothing{}, nil
	}
	return nothing{}, model.Invalid("portmap",
		"ports of containers cannot be published in a network with a gateway yet: leave -p out, or use a network without a gateway")
}
