// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

const (
	// aliveEvery is how often the masters are told that this node lives.
	aliveEvery = model.AliveSeconds * time.Second / 3
	// appearRetry is the pause when that fails: doubled each time, up to appearRetryMax. A node that nobody knows gets no
	// packets, so the first word is tried often.
	appearRetry, appearRetryMax = 250 * time.Millisecond, 2 * time.Second
)

// presenceLoop has the masters know this node, and that it lives.
func (a *Agent) presenceLoop(ctx context.Context) error {
	known, retry := false, appearRetry
	for {
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := a.appear(call, &known)
		cancel()
		if errors.Is(err, model.ErrExists) || errors.Is(err, model.ErrInvalid) {
			return err // another node has our name or address: an operator must choose
		}
		pause := aliveEvery
		if err != nil {
			a.Log.Debug("no master knows that this node lives", "error", err)
			pause, retry = retry, min(2*retry, appearRetryMax)
		} else {
			retry = appearRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		case <-a.appearNow:
		}
	}
}

// placed tells whether a World has this machine under this node's name: not another, or none.
func (a *Agent) placed(w model.World) bool {
	n, ok := w.Nodes.Get(a.Node.Name)
	return ok && n.VTEP == a.Node.VTEP
}

func (a *Agent) appear(ctx context.Context, known *bool) error {
	// Removed by `netctl node rm`, or given up while it was cut off; or another machine has come under its name, and one of the
	// two must stop: the master refuses it while the other is up.
	if !*known || a.Fresh() && !a.placed(a.World()) {
		if _, err := a.Client.Put(ctx, api.ObjectPath(api.Nodes, a.Node.Name), api.NodeOf(a.Node), nil); err != nil {
			return err
		}
		*known = true
		nudge(a.sweepNow) // its endpoints, too, may have to come back
	}
	_, err := a.Client.Post(ctx, api.AlivePath(a.Node.Name), nil, nil)
	if errors.Is(err, model.ErrNotFound) {
		*known = false
	}
	return err
}
