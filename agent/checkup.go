// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

const (
	// checkEvery is the pause between two checks of a provider, and checkPatience how long it may take to answer one.
	checkEvery, checkPatience = 2 * time.Second, time.Second
	// firstPause is the pause at first while it has never answered: doubled each time, up to checkEvery. A container that has just
	// been started is taken in as soon as it works.
	firstPause = 100 * time.Millisecond
	// missesToIll is how many checks in a row a provider fails before it counts as unhealthy: one may be a hiccup.
	missesToIll = 2
)

// subject is a provider of this node as one service sees it.
type subject struct{ endpoint, service string } // an id and a key

// checkup is how a subject is asked.
type checkup struct {
	sandbox string // the network namespace's path
	at      netip.AddrPort
	health  model.Health
}

// checkups are those that a World's services want of this node's endpoints.
func checkups(services []checkedService, records map[string]record) map[subject]checkup {
	out := map[subject]checkup{}
	for id, rec := range records {
		if rec.Endpoint.Port == "" || rec.Sandbox == "" {
			continue
		}
		for _, s := range services {
			if s.Provides(rec.Endpoint) {
				at := netip.AddrPortFrom(rec.Endpoint.Addrs()[0], s.port)
				out[subject{id, s.Key()}] = checkup{sandbox: rec.Sandbox, at: at, health: s.health}
			}
		}
	}
	return out
}

// checkedService is one that wants checks.
type checkedService struct {
	model.Service
	port   uint16 // at the provider
	health model.Health
}

// checked are the services that want checks of which this version knows how to make them: who cannot ask does not judge.
func checked(services model.Table[model.Service]) (out []checkedService) {
	for _, s := range services.All() {
		if s.Health == "" {
			continue
		}
		health, err := model.ParseHealth(s.Health)
		if port, ok := s.CheckedPort(); ok && err == nil {
			out = append(out, checkedService{s, port, health})
		}
	}
	return out
}

// begun is what an endpoint is unhealthy for after a change: what it was, and the checked services of which the change makes it a
// provider. A container that has just been started has to prove itself; one that ran before its service was made or got a check is
// innocent until it fails.
func begun(services model.Table[model.Service], before, after model.Endpoint) []string {
	out := slices.Clone(before.Unhealthy)
	for _, s := range checked(services) {
		if s.Provides(after) && !s.Provides(before) && !slices.Contains(out, s.Key()) {
			out = append(out, s.Key())
		}
	}
	slices.Sort(out)
	return out
}

// pulse is what the checks of a subject say of it so far.
type pulse struct {
	ill     bool
	misses  int  // in a row
	unknown bool // it has never answered
}

// after is the pulse after one more check.
func (p pulse) after(answered bool) pulse {
	if answered {
		return pulse{}
	}
	p.misses++
	p.ill = p.ill || p.misses >= missesToIll
	return p
}

// pause is how long to wait before the next check.
func (p pulse) pause() time.Duration {
	if p.unknown && p.misses < 8 {
		return min(firstPause<<p.misses, checkEvery)
	}
	return checkEvery
}

// ask fails unless the provider works. It is asked from within its own network namespace: tenants may have equal addresses, networks
// need no gateway, and no rule stands between a container and itself.
func (c checkup) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	if c.health.Path == "" {
		conn, err := c.dial(ctx)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.at.String()+c.health.Path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "contiv-health")
	transport := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableKeepAlives:      true, // it has to take a new connection each time, as clients want of it
		MaxResponseHeaderBytes: 64 << 10,
	}
	resp, err := transport.RoundTrip(req) // follows nothing: 3xx is an answer
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // nobody reads it
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("GET %s is answered with %s", c.health.Path, resp.Status)
	}
	return nil
}

func (c checkup) dial(ctx context.Context) (conn net.Conn, err error) {
	failed := netdev.Do(c.sandbox, func() error {
		// It has no way back but its own, and needs no fallback: one address. MPTCP would be another protocol than clients use.
		d := net.Dialer{}
		d.SetMultipathTCP(false)
		conn, err = d.DialContext(ctx, "tcp", c.at.String())
		return nil
	})
	return conn, errors.Join(failed, err)
}
