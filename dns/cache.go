// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"sync"
	"time"

	"github.com/contivnet/contiv/model"
)

// maxStale bounds how old the index may be that answers.
const maxStale = 250 * time.Millisecond

// zoneCache keeps the Zones of the newest World.
//
// In a cluster of 100,000 endpoints an index takes some 70 ms to make, and endpoints come and go all the time. So a
// new one is made after four times the time that the last one took, maxStale at most, which leaves most of a core
// to others. With 1,000 endpoints that is about a millisecond.
type zoneCache struct {
	mu    sync.Mutex
	zones *Zones
	made  time.Time
}

func (c *zoneCache) of(w model.World) *Zones {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.zones != nil && (c.zones.current(w) || time.Since(c.made) < min(4*c.zones.cost(), maxStale)) {
		return c.zones
	}
	c.zones, c.made = ZonesOf(w), time.Now()
	return c.zones
}
