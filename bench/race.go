// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
)

// disturbance is how many CPUs other work may take before a measurement is done again.
const disturbance = 0.12

// entry is one contestant's measurement and the limit's right before it.
type entry struct {
	Topology   topology `json:"topology"`
	Contestant string   `json:"contestant"`
	Trial      string   `json:"trial"`
	Round      int      `json:"round"`
	Sample     sample   `json:"sample"`
	Limit      sample   `json:"limit"`
}

// ratio is the contestant's rate over the limit's; 0 when the limit was not measured.
func (e entry) ratio() float64 {
	if e.Limit.Rate == 0 {
		return 0
	}
	return e.Sample.Rate / e.Limit.Rate
}

func (e entry) disturbed() bool { return max(e.Sample.Other, e.Limit.Other) > disturbance }

// race is the plan of a run.
type race struct {
	topology topology
	trials   []trial
	rounds   int
	secs     float64 // of each measurement
	tries    int     // of a disturbed measurement, while spare lasts
	spare    int     // repeated measurements that the whole race may have left; run sets it
	quiet    float64 // share of the machine (0..1) that may be busy when a measurement begins
	progress io.Writer
}

// outcome is what a race brought: entries in order of time, and what did not work.
type outcome struct {
	names    []string // contestants, the limit first
	entries  []entry
	failures []string
}

// run wires all contestants and measures them in turn. A contestant that cannot be wired or measured is reported
// in the outcome, and the others go on; only the limit is needed.
func (r *race) run(ctx context.Context, contestants []contestant) (o outcome, err error) {
	var paths []*path
	defer func() {
		for _, p := range paths {
			if err := p.remove(); err != nil {
				o.failures = append(o.failures, err.Error())
			}
		}
	}()
	for i, c := range contestants {
		fmt.Fprintf(r.progress, "%s: wiring %s\n", r.topology.title(), c.Name())
		o.names = append(o.names, c.Name())
		p, err := lay(ctx, c, r.topology)
		if err != nil && (i == 0 || ctx.Err() != nil) {
			return o, err
		}
		if err != nil {
			o.failures = append(o.failures, err.Error())
			continue
		}
		paths = append(paths, p)
	}
	// On a machine that is always busy, repeating is no use: it may double the time, not more.
	r.spare = 2 * r.rounds * len(r.trials) * len(paths)
	for round := range r.rounds {
		for _, t := range r.trials {
			fmt.Fprintf(r.progress, "%s: round %d of %d, %s\n", r.topology.title(), round+1, r.rounds, t.title)
			for k := range paths {
				p := paths[(k+round)%len(paths)] // who begins moves on, so that nobody always follows the same one
				e, err := r.pair(ctx, paths[0], p, t)
				if ctx.Err() != nil {
					return o, ctx.Err()
				}
				if err != nil {
					o.failures = append(o.failures, err.Error())
					continue
				}
				e.Round = round
				o.entries = append(o.entries, e)
			}
		}
	}
	return o, nil
}

// pair measures the limit and then the contestant. The limit as a contestant is measured once.
func (r *race) pair(ctx context.Context, limit, p *path, t trial) (entry, error) {
	e := entry{Topology: r.topology, Contestant: p.Name(), Trial: t.name}
	var err error
	if e.Limit, err = r.careful(ctx, limit, t); err != nil {
		return e, err
	}
	if p == limit {
		e.Sample = e.Limit
		return e, nil
	}
	e.Sample, err = r.careful(ctx, p, t)
	return e, err
}

// careful repeats a measurement that other work disturbed, and keeps the least disturbed one.
func (r *race) careful(ctx context.Context, p *path, t trial) (sample, error) {
	var best sample
	for try := range r.tries {
		if r.spare > 0 {
			if err := settle(r.quiet); err != nil {
				return best, err
			}
		}
		s, err := p.measure(ctx, t, r.secs)
		if err != nil {
			return best, err
		}
		if try == 0 || s.Other < best.Other {
			best = s
		}
		if best.Other <= disturbance || r.spare == 0 {
			break
		}
		r.spare--
	}
	return best, nil
}
