// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// finder gives the addresses of a name of the outside world, as net.Resolver's LookupNetIP: by the node's own servers. A service of
// Kubernetes may be another name for one, and not every tenant reaches a server that would say its addresses.
type finder func(ctx context.Context, network, host string) ([]netip.Addr, error)

const (
	// maxFinding bounds a container's datagrams that wait for a name at the same time.
	maxFinding = 32
	// findTimeout is how long one waits; its client asks again after 5 s.
	findTimeout = 4 * time.Second
)

// replyWith answers a query once the name is found that it wants.
func (s *sandbox) replyWith(wanted string, query []byte, over transport) []byte {
	ctx, cancel := context.WithTimeout(s.ctx, findTimeout)
	defer cancel()
	o := outer{name: wanted}
	var err error
	o.addrs, err = s.find(ctx, "ip", wanted+".") // no search list
	var none *net.DNSError
	o.failed = err != nil && !(errors.As(err, &none) && none.IsNotFound)
	if o.failed {
		s.log.Debug("a name that a service stands for cannot be found", "name", wanted, "err", err)
	}
	if answer, again := s.reply(*s.endpoints.Load(), query, over, o); again == "" {
		return answer
	}
	return failure(query) // the service stands for another by now
}
