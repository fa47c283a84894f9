// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"

	"github.com/contivnet/contiv/agent"
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// Agent is what this package needs of package agent.
type Agent interface {
	// NodeName is this node's name.
	NodeName() string
	// Masters is the client to speak to them with.
	Masters() *api.Client
	// World is the newest that this node has seen; Fresh tells whether a master sent it in this run.
	World() model.World
	Fresh() bool
	// Changed is closed at the next change of World.
	Changed() <-chan struct{}
	// WaitWorld returns when World has reached the revision.
	WaitWorld(ctx context.Context, revision int64) error
	// Prepare remembers an endpoint that was announced; Prepared gives it back, attached or not.
	Prepare(ctx context.Context, e model.Endpoint) error
	Prepared(id string) (model.Endpoint, bool)
	// Attach makes the endpoint's device, has a master know it, and returns when its packets are forwarded.
	Attach(ctx context.Context, e model.Endpoint, sandbox string) (model.Endpoint, error)
	// InSandbox are the endpoints that are attached to the container in the sandbox.
	InSandbox(sandbox string) []model.Endpoint
	// PeerOf is the device to move into the container, for an attached endpoint's port.
	PeerOf(port string) string
	// Detach undoes Attach and Prepare. Masters may hear of it later.
	Detach(ctx context.Context, id string) error
	// Publish has ports of the node lead to an attached endpoint, in place of those that did.
	Publish(ctx context.Context, id string, ask []agent.Publishing) error
	// Update changes what was learnt of an attached endpoint.
	Update(ctx context.Context, id string, change func(*model.Endpoint)) error
	// Stopping has services pass over a container that was told to stop.
	Stopping(ctx context.Context, container string) error
}
