// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// What the control plane is to reach.
const (
	rateFloor  = 0.5                    // of bare etcd's puts
	tailLimit  = 4.0                    // times a bare put's p99
	watchLimit = 250 * time.Millisecond // from the acknowledgement to an agent, p99
	watchers   = 1000
)

// crowds are how many clients write at once; the floors are for the second.
var crowds = []int{1, 16, 64}

const floorCrowd = 16

// names of what the load writes.
const (
	controlNetwork = "bench"
	controlNode    = "bench-node1"
)

// putResult is one measurement of writes.
type putResult struct {
	Clients int     `json:"clients"`
	Rate    float64 `json:"rate"` // writes a second
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
}

// putPair is a measurement of endpoint creates and the one of bare puts beside it.
type putPair struct {
	Round    int       `json:"round"`
	Endpoint putResult `json:"endpoint"`
	Bare     putResult `json:"bare"`
}

func (p putPair) ratio() float64 { return p.Endpoint.Rate / p.Bare.Rate }
func (p putPair) tail() float64  { return p.Endpoint.P99 / p.Bare.P99 }

// watchResult is how long written endpoints took to reach agents, in milliseconds after their acknowledgement. Some arrive
// before it; they count as 0.
type watchResult struct {
	Agents int     `json:"agents"`
	Writes int     `json:"writes"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
}

type controlResult struct {
	Puts  []putPair     `json:"puts"`
	Watch []watchResult `json:"watch"`
	World worldResult   `json:"world"`
}

// benchControl is the mode -control.
func benchControl(ctx context.Context, o options, stdout, stderr io.Writer) error {
	r, err := control(ctx, o, stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n## Masters: medians of %d rounds of %g s\n\n%s", o.rounds, o.controlSecs, r.report())
	return o.keep(r)
}

// control runs one master, as a lone one runs, and beside it an etcd of the same kind. The load is made by processes
// of their own, a connection for each client.
func control(ctx context.Context, o options, progress io.Writer) (r controlResult, err error) {
	// Not in /tmp: where that is in memory, nothing waits for a disk.
	dir, err := os.MkdirTemp("/var/tmp", "contiv-bench-")
	if err != nil {
		return r, fmt.Errorf("make a directory for the stores: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	fmt.Fprintln(progress, "Masters: starting a master and an etcd")
	master, err := startMaster(ctx, o.programs, filepath.Join(dir, "master"))
	if err != nil {
		return r, err
	}
	defer master.end()
	etcd, err := startSelf(ctx, "etcd", "-dir", filepath.Join(dir, "etcd"))
	if err != nil {
		return r, err
	}
	defer etcd.end()
	if err := prepareMaster(ctx, master.url); err != nil {
		return r, err
	}
	measure := func(kind, url string, clients int) (putResult, error) {
		var p putResult
		err := runSelf(ctx, &p, "puts", "-kind", kind, "-to", url, "-clients", fmt.Sprint(clients), "-secs", fmt.Sprint(o.controlSecs))
		return p, err
	}
	for round := range o.rounds {
		for _, clients := range crowds {
			fmt.Fprintf(progress, "Masters: round %d of %d, %d clients\n", round+1, o.rounds, clients)
			p := putPair{Round: round}
			order := []func() error{
				func() (err error) { p.Bare, err = measure("etcd", etcd.url, clients); return err },
				func() (err error) { p.Endpoint, err = measure("endpoint", master.url, clients); return err },
			}
			if round%2 == 1 {
				slices.Reverse(order) // so that nobody always follows the same one
			}
			for _, do := range order {
				if err := do(); err != nil {
					return r, err
				}
			}
			r.Puts = append(r.Puts, p)
		}
	}
	for round := range min(o.rounds, 3) {
		fmt.Fprintf(progress, "Masters: %d agents, round %d\n", watchers, round+1)
		var w watchResult
		if err := runSelf(ctx, &w, "agents", "-to", master.url, "-clients", fmt.Sprint(watchers), "-secs", "5"); err != nil {
			return r, err
		}
		r.Watch = append(r.Watch, w)
	}
	fmt.Fprintf(progress, "Masters: %d endpoints\n", o.endpoints)
	r.World, err = largeWorld(ctx, o.programs, filepath.Join(dir, "large"), o.endpoints)
	return r, err
}

// prepareMaster makes what endpoints need.
func prepareMaster(ctx context.Context, url string) error {
	c, err := api.NewClient(url)
	if err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if eventually(starting, func() bool {
		_, err = c.Put(starting, api.ObjectPath(api.Networks, model.NetworkKey(model.DefaultTenant, controlNetwork)), api.Network{Subnet: "10.0.0.0/8"}, nil)
		return err == nil
	}) != nil {
		return fmt.Errorf("make a network: %w", err)
	}
	node := api.Node{VtepIP: netip.MustParseAddr("192.0.2.1"), VXLANPort: 4789}
	if _, err := c.Put(ctx, api.ObjectPath(api.Nodes, controlNode), node, nil); err != nil {
		return fmt.Errorf("make a node: %w", err)
	}
	return nil
}

// report is the tables.
func (r controlResult) report() string {
	rows := [][]string{{"endpoints created", "bare etcd puts", "over REST", "ratio", "bare p50 / p99", "REST p50 / p99", "p99 ratio", "wanted"}}
	for _, clients := range crowds {
		pairs := slices.DeleteFunc(slices.Clone(r.Puts), func(p putPair) bool { return p.Bare.Clients != clients })
		m := func(figure func(putPair) float64) float64 { return median(series(pairs, figure)) }
		wanted := ""
		if clients == floorCrowd {
			wanted = fmt.Sprintf("at least %.2f, p99 under %.0f: %s", rateFloor, tailLimit,
				met(m(putPair.ratio) >= rateFloor && m(putPair.tail) < tailLimit))
		}
		rows = append(rows, []string{
			plural(clients, "client"),
			fmt.Sprintf("%.0f /s", m(func(p putPair) float64 { return p.Bare.Rate })),
			fmt.Sprintf("%.0f /s", m(func(p putPair) float64 { return p.Endpoint.Rate })),
			ratioCell(series(pairs, putPair.ratio)),
			fmt.Sprintf("%.2f / %.2f ms", m(func(p putPair) float64 { return p.Bare.P50 }), m(func(p putPair) float64 { return p.Bare.P99 })),
			fmt.Sprintf("%.2f / %.2f ms", m(func(p putPair) float64 { return p.Endpoint.P50 }), m(func(p putPair) float64 { return p.Endpoint.P99 })),
			ratioCell(series(pairs, putPair.tail)),
			wanted,
		})
	}
	text := table(rows)
	if len(r.Watch) == 0 {
		return text
	}
	w := func(figure func(watchResult) float64) float64 { return median(series(r.Watch, figure)) }
	p99 := w(func(w watchResult) float64 { return w.P99 })
	text += "\n" + table([][]string{
		{"acknowledged write to agents", "p50", "p99", "last", "wanted"},
		{
			fmt.Sprintf("%d agents", r.Watch[0].Agents),
			fmt.Sprintf("%.0f ms", w(func(w watchResult) float64 { return w.P50 })),
			fmt.Sprintf("%.0f ms", p99),
			fmt.Sprintf("%.0f ms", w(func(w watchResult) float64 { return w.Max })),
			fmt.Sprintf("p99 at most %d ms: %s", watchLimit.Milliseconds(), met(p99 <= float64(watchLimit.Milliseconds()))),
		},
	})
	if r.World.Endpoints > 0 {
		text += "\n" + table(r.World.rows())
	}
	return text
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "not met"
}

// series is one figure of each.
func series[T any](all []T, figure func(T) float64) (v []float64) {
	for _, x := range all {
		v = append(v, figure(x))
	}
	return v
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
