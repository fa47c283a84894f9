// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"runtime"
)

// turns are how many containers are attached at once; others wait in the order in which they came. More at once would all be done later: they share the
// same processors, and each has the others' work to look at.
type turns chan struct{}

// newTurns has as many as keep the processors busy while some wait for a master.
func newTurns() turns { return make(turns, 2*runtime.GOMAXPROCS(0)) }

// Turn waits until it is the caller's turn to attach a container. done gives the turn to the next.
func (a *Agent) Turn(ctx context.Context) (done func(), err error) {
	select {
	case a.turns <- struct{}{}:
		return func() { <-a.turns }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait until the containers that came before are attached: %w", ctx.Err())
	}
}
