// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"

	"github.com/contivnet/contiv/model"
)

// Limit is how fast one port's packets may pass in one direction. The zero Limit lets all pass.
type Limit struct {
	Rate  uint64 // bits per second; 0: any
	Burst uint32 // bytes that may go at once; 0: chosen by the node
}

// limits gives the ports what the netprofiles of their groups say, and what is said of themselves: of both the tighter.
func (c *compiler) limits() {
	profiles := map[string]model.Netprofile{} // by group
	for key, g := range c.world.Groups.All() {
		if g.Netprofile == "" {
			continue
		}
		p, ok := c.world.Netprofiles.Get(model.NetprofileKey(g.Tenant, g.Netprofile))
		if !ok {
			c.note(g, "group %s has netprofile %s, which does not exist: nothing is limited", key, g.Netprofile)
			continue
		}
		profiles[key] = p
	}
	for i, e := range c.local {
		at := &c.out.Ports[i]
		if p, ok := profiles[model.GroupKey(e.Tenant, e.Group)]; ok {
			// Who wrote it has checked that it can be read.
			sends, _ := p.BitsPerSecond()
			receives, _ := p.IngressBitsPerSecond()
			at.Sends, at.Receives, at.DSCP = limit(sends, p.Burst), limit(receives, p.Burst), uint8(p.DSCP)
		}
		if own := e.Spec; own != nil {
			at.Sends, at.Receives = at.Sends.or(Limit{own.Sends.BitsPerSecond, own.Sends.Burst}), at.Receives.or(Limit{own.Receives.BitsPerSecond, own.Receives.Burst})
		}
	}
}

// or is the tighter of two limits.
func (l Limit) or(other Limit) Limit {
	if other.Rate != 0 && (l.Rate == 0 || other.Rate < l.Rate) {
		return other
	}
	return l
}

// limit has no burst without a rate. The burst is in kilobytes.
func limit(rate uint64, burst int) Limit {
	if rate == 0 {
		return Limit{}
	}
	return Limit{Rate: rate, Burst: uint32(burst) << 10}
}

// text is what a port's line has of a limit; nothing where there is none.
func (l Limit) text(verb string) string {
	switch {
	case l.Rate == 0:
		return ""
	case l.Burst == 0:
		return fmt.Sprintf(", %s %d bit/s", verb, l.Rate)
	}
	return fmt.Sprintf(", %s %d bit/s in bursts of %d bytes", verb, l.Rate, l.Burst)
}
