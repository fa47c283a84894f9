// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/contivnet/contiv/test/netlab"
)

// What ADDs of a node's pods that start at once may take inside netplugin, in milliseconds.
const (
	addLimit = 15.0
	addTail  = 75.0
)

// podCrowd is how many pods start at once.
const podCrowd = 100

// addResult is what ADDs of one CNI program took, in milliseconds.
type addResult struct {
	Program string    `json:"program"`
	Whole   []float64 `json:"whole_ms"`            // from its start to its end, as a runtime sees it
	Inside  []float64 `json:"inside_ms,omitempty"` // of that, in netplugin, from the call's arrival to its answer
	Spent   []float64 `json:"spent_ms,omitempty"`  // processors' time of netplugin and netmaster for each of a crowd, by round
	All     []float64 `json:"all_ms"`              // until the last of a crowd was done, by round
	Failed  string    `json:"failed,omitempty"`
}

// plugin is a CNI program and its configuration.
type plugin struct{ path, config string }

// call calls it for a pod of the node, and gives how long it ran.
func (p plugin) call(ctx context.Context, h *netlab.Host, command, pod string) (time.Duration, error) {
	cmd := h.Command(ctx, p.path)
	cmd.Env = append(cmd.Env, "CNI_COMMAND="+command, "CNI_CONTAINERID="+pod, "CNI_NETNS=/run/netns/"+pod, "CNI_IFNAME=eth0", "CNI_PATH="+filepath.Dir(p.path))
	cmd.Stdin = strings.NewReader(p.config)
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%s of %s: %w: %s", command, pod, err, bytes.TrimSpace(out))
	}
	return time.Since(began), nil
}

// crowd calls it for all pods at once. Each is of those calls that succeeded.
func (p plugin) crowd(ctx context.Context, h *netlab.Host, command string, pods []string) (each []time.Duration, all time.Duration, err error) {
	took := make([]time.Duration, len(pods))
	failed := make([]error, len(pods))
	var calling sync.WaitGroup
	began := time.Now()
	for i, pod := range pods {
		calling.Go(func() { took[i], failed[i] = p.call(ctx, h, command, pod) })
	}
	calling.Wait()
	all = time.Since(began)
	for i := range pods {
		if failed[i] == nil {
			each = append(each, took[i])
		}
	}
	return each, all, errors.Join(failed...)
}

// tookInside reads from netplugin's log how long it worked on ADDs.
func tookInside(log string) (all []time.Duration) {
	for line := range strings.Lines(log) {
		if !strings.Contains(line, `msg="a CNI call" command=ADD `) {
			continue
		}
		_, rest, _ := strings.Cut(line, " took=")
		word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if d, err := time.ParseDuration(word); err == nil {
			all = append(all, d)
		}
	}
	return all
}

// adds has pods of one node come at once and go again, by our CNI program and by others beside it, in turn.
func adds(ctx context.Context, o options, progress io.Writer) (results []addResult, err error) {
	c := &contiv{programs: o.programs, gateway: contivGateway}
	defer func() { err = errors.Join(err, c.Down()) }()
	fmt.Fprintln(progress, "Pods: wiring a node")
	if err := c.create(ctx, 1); err != nil {
		return nil, err
	}
	h := c.all[0]
	var pods []string
	for i := range podCrowd {
		pods = append(pods, fmt.Sprintf("bench-pod-%d", i))
		if err := h.Run(ctx, "ip", "netns", "add", pods[i]); err != nil {
			return nil, err
		}
	}
	plugins := []plugin{{filepath.Join(o.programs, "contivk8s"), fmt.Sprintf(`{"cniVersion":"1.0.0","name":"bench","type":"contivk8s","network":%q}`, contivNetwork)}}
	results = []addResult{{Program: oursName}}
	if o.bridge != "" {
		plugins = append(plugins, plugin{o.bridge, `{"cniVersion":"1.0.0","name":"bridged","type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,
			"ipam":{"type":"host-local","subnet":"10.202.0.0/16","routes":[{"dst":"0.0.0.0/0"}]}}`})
		results = append(results, addResult{Program: "bridge"})
	}
	servers := []int{c.cluster.Nodes[0].Agent.Pid(), c.cluster.Master.Pid()}
	log := c.cluster.Nodes[0].Agent.Log
	for round := range o.rounds {
		for i := range plugins {
			i = (i + round) % len(plugins) // so that nobody always follows the same one
			fmt.Fprintf(progress, "Pods: round %d of %d, %d at once by %s\n", round+1, o.rounds, podCrowd, results[i].Program)
			before, spent := len(log()), timeOf(servers)
			each, all, err := plugins[i].crowd(ctx, h, "ADD", pods)
			r := &results[i]
			r.Whole, r.All = append(r.Whole, milliseconds(each...)...), append(r.All, milliseconds(all)...)
			if i == 0 {
				r.Inside = append(r.Inside, milliseconds(tookInside(log()[before:])...)...)
				r.Spent = append(r.Spent, (timeOf(servers)-spent)*1000/podCrowd)
			}
			_, _, gone := plugins[i].crowd(ctx, h, "DEL", pods)
			if err = errors.Join(err, gone); ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				r.Failed = err.Error()
			}
		}
	}
	return results, nil
}

// addTable shows results, ours first.
func addTable(results []addResult) string {
	f := func(v []float64, q float64) string {
		if len(v) == 0 {
			return ""
		}
		return fmt.Sprintf("%.1f", quantile(v, q))
	}
	rows := [][]string{{fmt.Sprintf("%d ADDs at once, ms", podCrowd), "p50", "p90", "p99", "most", "in netplugin: p50", "p90", "p99", "most", "until all are done", "CPU of ours each", "errors"}}
	for _, r := range results {
		failed := "none"
		if r.Failed != "" {
			failed = "see below"
		}
		rows = append(rows, []string{
			r.Program, f(r.Whole, 0.5), f(r.Whole, 0.9), f(r.Whole, 0.99), f(r.Whole, 1),
			f(r.Inside, 0.5), f(r.Inside, 0.9), f(r.Inside, 0.99), f(r.Inside, 1), f(r.All, 0.5), f(r.Spent, 0.5), failed,
		})
	}
	ours := results[0]
	text := table(append(rows, []string{"wanted, at most", "", "", "", "", fmt.Sprintf("%.0f", addLimit), "", fmt.Sprintf("%.0f", addTail), "", "", "", "none"}))
	text += "in netplugin: " + met(quantile(ours.Inside, 0.5) <= addLimit && quantile(ours.Inside, 0.99) <= addTail && ours.Failed == "") + "\n"
	for _, r := range results {
		if r.Failed != "" {
			text += fmt.Sprintf("failed: %s: %s\n", r.Program, r.Failed)
		}
	}
	return text
}

// benchAdds is the mode -cni.
func benchAdds(ctx context.Context, o options, stdout, stderr io.Writer) error {
	results, err := adds(ctx, o, stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n## Pods that start at once: %d rounds\n\n%s", o.rounds, addTable(results))
	if o.bridge == "" {
		fmt.Fprintln(stdout, "CNI's bridge was not measured: -bridge names its program, which bench/bridge builds.")
	}
	if err := o.keep(results); err != nil {
		return err
	}
	for _, r := range results {
		if r.Failed != "" {
			return errors.New("not every pod was attached, see under the table")
		}
	}
	return nil
}
