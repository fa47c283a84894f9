// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// presenceLoop has the masters know this node, and that it lives.
func (a *Agent) presenceLoop(ctx context.Context) error {
	tick := time.NewTicker(model.AliveSeconds * time.Second / 3)
	defer tick.Stop()
	known := false
	for {
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := a.appear(call, &known)
		cancel()
		if errors.Is(err, model.ErrExists) || errors.Is(err, model.ErrInvalid) {
			return err // another node has our name or address: an operator must choose
		}
		pause := tick.C
		if err != nil {
			a.Log.Debug("no master knows that this node lives", "error", err)
			// A node that nobody knows gets no packets, so the first word is tried often.
			pause = time.After(500 * time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-pause:
		}
	}
}

func (a *Agent) appear(ctx context.Context, known *bool) error {
	if !*known {
		if _, err := a.Client.Put(ctx, api.ObjectPath(api.Nodes, a.Node.Name), api.NodeOf(a.Node), nil); err != nil {
			return err
		}
		*known = true
	}
	_, err := a.Client.Post(ctx, api.AlivePath(a.Node.Name), nil, nil)
	if errors.Is(err, model.ErrNotFound) {
		// Removed by `netctl node rm`, or given up while it was cut off. It lives: its endpoints come back too.
		*known = false
		nudge(a.sweepNow)
	}
	return err
}
