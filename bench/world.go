// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// What a large World may cost.
const (
	startLimit100k = 5 * time.Second // until a master serves 100,000 endpoints
	memoryLimit    = 1024            // bytes an endpoint
)

// worldResult is what a World costs.
type worldResult struct {
	Endpoints int `json:"endpoints"`
	// Start is how long a master took from its start until it served, in seconds.
	Start float64 `json:"start_s"`
	// Listed is how long an agent took to have the World, in seconds.
	Listed float64 `json:"listed_s"`
	// Heap is what an agent's World has in use, in bytes; it is of the same type as a master's.
	Heap int64 `json:"heap"`
	// AgentRSS and MasterRSS are what the processes occupy, in bytes: with garbage, without files that are mapped.
	AgentRSS  int64 `json:"agent_rss"`
	MasterRSS int64 `json:"master_rss"`
}

// largeWorld has a master store so many endpoints, ends it, starts it again and asks for the World.
func largeWorld(ctx context.Context, programs, dir string, endpoints int) (r worldResult, err error) {
	master, err := startMaster(ctx, programs, dir)
	if err != nil {
		return r, err
	}
	defer func() { master.end() }() // the one that runs by then
	if err := prepareMaster(ctx, master.url); err != nil {
		return r, err
	}
	var filled int
	if err := runSelf(ctx, &filled, "fill", "-to", master.url, "-clients", "64", "-count", strconv.Itoa(endpoints)); err != nil {
		return r, err
	}
	master.end()
	began := time.Now()
	again, err := startMaster(ctx, programs, dir)
	if err != nil {
		return r, err
	}
	master = again
	if err := served(ctx, master.url); err != nil {
		return r, err
	}
	start := time.Since(began).Seconds()
	if err := runSelf(ctx, &r, "world", "-to", master.url); err != nil {
		return r, err
	}
	r.Start = start
	r.MasterRSS, err = anonymous(master.cmd.Process.Pid)
	return r, err
}

// served waits until the master answers for a network.
func served(ctx context.Context, url string) error {
	c, err := api.NewClient(url)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return eventually(ctx, func() bool {
		var n api.Network
		return c.Get(ctx, api.ObjectPath(api.Networks, model.NetworkKey(model.DefaultTenant, controlNetwork)), &n) == nil
	})
}

// anonymous is the memory of a process that is no mapped file's, in bytes.
func anonymous(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read a process's memory: %w", err)
	}
	return parseAnonymous(b)
}

func parseAnonymous(status []byte) (int64, error) {
	for line := range bytes.Lines(status) {
		if rest, ok := strings.CutPrefix(string(line), "RssAnon:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read a process's memory: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("read a process's memory: its status has no RssAnon")
}

// holdWorld is a process's whole life: it follows a master as an agent does until it has the World, and prints a worldResult.
func holdWorld(arguments []string) error {
	l, err := parseLoad("world", arguments)
	if err != nil {
		return err
	}
	c, err := api.NewClient(l.to)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	before, began := liveHeap(), time.Now()
	var w model.World
	whole := errors.New("the World is there")
	if err := c.Follow(ctx, 0, func(ch model.Change) error {
		w = w.With(ch)
		return whole
	}, nil); !errors.Is(err, whole) {
		return fmt.Errorf("list the World: %w", err)
	}
	r := worldResult{Endpoints: w.Endpoints.Len(), Listed: time.Since(began).Seconds()}
	if r.AgentRSS, err = anonymous(os.Getpid()); err != nil {
		return err
	}
	r.Heap = liveHeap() - before
	runtime.KeepAlive(w)
	return json.NewEncoder(os.Stdout).Encode(r)
}

// liveHeap is what is in use, in bytes.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// fill is a process's whole life: it creates so many endpoints and prints how many.
func fill(arguments []string) error {
	f := flag.NewFlagSet("fill", flag.ContinueOnError)
	var l load
	f.StringVar(&l.to, "to", "", "")
	f.IntVar(&l.clients, "clients", 1, "")
	count := f.Int64("count", 0, "")
	if err := f.Parse(arguments); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var begun atomic.Int64
	failed := make([]error, l.clients)
	var all sync.WaitGroup
	for i := range failed {
		write, err := l.writer()
		if err != nil {
			return err
		}
		all.Go(func() {
			for failed[i] == nil && begun.Add(1) <= *count {
				failed[i] = write(ctx, newNames())
			}
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(*count)
}

// rows are what a World costs, as a table.
func (r worldResult) rows() [][]string {
	each := func(bytes int64) string { return fmt.Sprintf("%d bytes", bytes/int64(max(r.Endpoints, 1))) }
	return [][]string{
		{fmt.Sprintf("%d endpoints", r.Endpoints), "", "wanted"},
		{"a master serves after", fmt.Sprintf("%.1f s", r.Start), fmt.Sprintf("at most %.0f s: %s", startLimit100k.Seconds(), met(r.Start <= startLimit100k.Seconds()))},
		{"an agent has listed them after", fmt.Sprintf("%.1f s", r.Listed), ""},
		{"World, an endpoint", each(r.Heap), fmt.Sprintf("at most %d: %s", memoryLimit, met(r.Heap <= memoryLimit*int64(r.Endpoints)))},
		{"RSS of an agent that lists, an endpoint", each(r.AgentRSS), ""},
		{"RSS of the master with its etcd, an endpoint", each(r.MasterRSS), ""},
	}
}
