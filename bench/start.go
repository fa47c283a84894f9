// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// engine is the part of a Docker engine's API that starting containers takes. The docker command would add its own
// start-up to every figure.
type engine struct{ http *http.Client }

// call sends a request with a JSON body, nil for none, and reads the answer into out, nil for no interest.
func (e engine) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write a request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, body)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := e.http.Do(r)
	if err != nil {
		return fmt.Errorf("ask the engine: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	if answer.StatusCode >= 400 {
		return fmt.Errorf("the engine refused %s %s: %s: %s", method, path, answer.Status, bytes.TrimSpace(text))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	return nil
}

func (e engine) create(ctx context.Context, name, network string) error {
	return e.call(ctx, http.MethodPost, "/containers/create?name="+url.QueryEscape(name), map[string]any{
		"Image": "alpine", "Cmd": []string{"sleep", "1000000"}, "HostConfig": map[string]any{"NetworkMode": network},
	}, nil)
}

// start gives how long the engine took until the container's process ran.
func (e engine) start(ctx context.Context, name string) (time.Duration, error) {
	began := time.Now()
	if err := e.call(ctx, http.MethodPost, "/containers/"+name+"/start", nil, nil); err != nil {
		return 0, err
	}
	took := time.Since(began)
	var seen struct{ State struct{ Running bool } }
	if err := e.call(ctx, http.MethodGet, "/containers/"+name+"/json", nil, &seen); err != nil {
		return 0, err
	}
	if !seen.State.Running {
		return 0, fmt.Errorf("container %s started and does not run", name)
	}
	return took, nil
}

func (e engine) remove(ctx context.Context, name string) error {
	return e.call(ctx, http.MethodDelete, "/containers/"+name+"?force=1", nil, nil)
}

// once makes, starts and removes a container.
func (e engine) once(ctx context.Context, name, network string) (time.Duration, error) {
	if err := e.create(ctx, name, network); err != nil {
		return 0, err
	}
	took, err := e.start(ctx, name)
	return took, errors.Join(err, e.remove(ctx, name))
}

// crowd starts count containers at once. each is of those that ran; all is the time until the last one did.
func (e engine) crowd(ctx context.Context, network string, count int) (each []time.Duration, all time.Duration, err error) {
	name := func(i int) string { return fmt.Sprintf("bench-crowd-%d", i) }
	for i := range count {
		if err := e.create(ctx, name(i), network); err != nil {
			return nil, 0, err
		}
	}
	took := make([]time.Duration, count)
	failed := make([]error, count)
	var starting sync.WaitGroup
	began := time.Now()
	for i := range count {
		starting.Go(func() { took[i], failed[i] = e.start(ctx, name(i)) })
	}
	starting.Wait()
	all = time.Since(began)
	for i := range count {
		if failed[i] == nil {
			each = append(each, took[i])
		}
		err = errors.Join(err, failed[i], e.remove(ctx, name(i)))
	}
	return each, all, err
}

// startResult is what one network's containers took to start, in milliseconds.
type startResult struct {
	Name    string    `json:"name"`
	Network string    `json:"network"`
	Single  []float64 `json:"single_ms"`
	Crowd   []float64 `json:"crowd_ms"`
	All     float64   `json:"crowd_all_ms"`
	Failed  string    `json:"failed,omitempty"`
}

func milliseconds(all ...time.Duration) []float64 {
	var v []float64
	for _, d := range all {
		v = append(v, float64(d)/1e6)
	}
	return v
}

// startLimit is how much longer than with Docker's bridge a start may take, at the median, in milliseconds.
const startLimit = 60

// crowdSize is how many containers start at once.
const crowdSize = 50

// Beside contivNetwork, which has no gateway, so that the engine connects each container to a bridge of its own too, there is one that has: all of its way out is ours.
const (
	leadingNetwork = "bench-out"
	leadingSubnet  = "10.203.0.0/16"
	leadingGateway = "10.203.255.254"
)

// starts compares how long containers take to start on Docker's bridge and on Contiv, on one node, in turn.
func starts(ctx context.Context, programs string, count int, progress io.Writer) (results []startResult, err error) {
	c := &contiv{programs: programs}
	defer func() { err = errors.Join(err, c.Down()) }()
	fmt.Fprintln(progress, "Starts: wiring a node")
	if err := c.create(ctx, 1); err != nil {
		return nil, err
	}
	e := engine{c.all[0].EngineClient()}
	if err := c.addNetwork(ctx, leadingNetwork, "--subnet", leadingSubnet, "--gateway", leadingGateway); err != nil {
		return nil, err
	}
	results = []startResult{
		{Name: "docker-bridge", Network: "bridge"}, {Name: oursName + ", and the engine's bridge", Network: contivNetwork}, {Name: oursName + ", with a gateway", Network: leadingNetwork},
	}
	for _, r := range results { // the engine's first container on a network takes longer
		if _, err := e.once(ctx, "bench-first", r.Network); err != nil {
			return nil, fmt.Errorf("on network %s: %w", r.Network, err)
		}
	}
	for i := range count {
		fmt.Fprintf(progress, "Starts: %d of %d\n", i+1, count)
		for n := range results {
			r := &results[n]
			took, err := e.once(ctx, "bench-single", r.Network)
			if err != nil {
				return nil, fmt.Errorf("on network %s: %w", r.Network, err)
			}
			r.Single = append(r.Single, milliseconds(took)...)
		}
	}
	for n := range results {
		r := &results[n]
		fmt.Fprintf(progress, "Starts: %d at once on %s\n", crowdSize, r.Network)
		each, all, err := e.crowd(ctx, r.Network, crowdSize)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			r.Failed = err.Error()
		}
		r.Crowd, r.All = milliseconds(each...), milliseconds(all)[0]
	}
	return results, nil
}

// startTable shows results, Docker's first, and what ours adds at the median.
func startTable(results []startResult) string {
	rows := [][]string{{"start to running, ms", "p50", "p99", fmt.Sprintf("%d at once: p50", crowdSize), "p99", "all", "errors"}}
	for _, r := range results {
		failed := "none"
		if r.Failed != "" {
			failed = "see below"
		}
		f := func(v float64) string { return fmt.Sprintf("%.0f", v) }
		rows = append(rows, []string{
			r.Name, f(median(r.Single)), f(quantile(r.Single, 0.99)),
			f(median(r.Crowd)), f(quantile(r.Crowd, 0.99)), f(r.All), failed,
		})
	}
	text := table(rows)
	for _, r := range results[1:] {
		more := median(r.Single) - median(results[0].Single)
		text += fmt.Sprintf("%s: %+.0f ms at p50; wanted, at most +%d: %s\n", r.Name, more, startLimit, met(more <= startLimit))
	}
	for _, r := range results {
		if r.Failed != "" {
			text += fmt.Sprintf("failed: %s: %s\n", r.Name, r.Failed)
		}
	}
	return text
}

// benchStarts is the mode -start.
func benchStarts(ctx context.Context, o options, stdout, stderr io.Writer) error {
	results, err := starts(ctx, o.programs, o.starts, stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n## Container start: medians of %d\n\n%s", o.starts, startTable(results))
	if err := o.keep(results); err != nil {
		return err
	}
	for _, r := range results {
		if r.Failed != "" {
			return errors.New("not every container started, see under the table")
		}
	}
	return nil
}
