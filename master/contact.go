// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// contact is when this master last knew that its World was the store's. A master that is cut off from the others' majority hears
// of no change, which looks like there being none: it may answer, but must not have agents believe that they are up to date.
type contact struct {
	at atomic.Pointer[time.Time]
}

// errCutOff ends watches, so that their agents go to another master.
var errCutOff = errors.New("this netmaster has not reached its store (etcd) for a while, so what it knows may be old; ask another, or try again later")

// ask is how often the store is asked.
const ask = time.Second

func (c *contact) made() {
	now := time.Now()
	c.at.Store(&now)
}

// keepContact asks until ctx ends.
func (m *Master) keepContact(ctx context.Context) {
	tick := time.NewTicker(ask)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asking, asked := context.WithTimeout(ctx, m.CutOff/2)
		if _, err := m.catchUp(asking); err == nil {
			m.contact.made()
		}
		asked()
	}
}

func (m *Master) cutOff() bool {
	at := m.contact.at.Load()
	return at != nil && time.Since(*at) > m.CutOff
}
