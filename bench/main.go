// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) > 1 {
		if work, ok := roles()[os.Args[1]]; ok {
			if err := work(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// roles are what this program does for itself, in processes of their own, by its first argument.
func roles() map[string]func(arguments []string) error {
	return map[string]func([]string) error{"worker": work, "etcd": bareEtcd, "puts": puts, "agents": agents, "world": holdWorld, "fill": fill, "names": serveNames, "rules": changeRules}
}

// options are the command line.
type options struct {
	rounds   int
	secs     float64
	only     string
	topo     string
	json     string
	start    bool
	policy   bool
	rules    bool
	service  bool
	outside  bool
	starts   int
	programs string

	control     bool
	controlSecs float64
	endpoints   int

	names   bool
	coredns string

	cni    bool
	bridge string
}

func parseOptions(arguments []string, stderr io.Writer) (options, error) {
	var o options
	var known []string
	for _, e := range entrants("") {
		known = append(known, e.name)
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 7, "rounds; each measures every contestant once in every trial")
	f.Float64Var(&o.secs, "secs", 0.3, "seconds of each measurement, after a warm-up of 0.15")
	f.StringVar(&o.only, "only", "", "contestants, a comma list of: "+strings.Join(known, ", ")+" (the limit always runs)")
	f.StringVar(&o.topo, "topo", "both", "where the containers live: same (node), two (nodes) or both")
	f.StringVar(&o.json, "json", "", "write every sample to this file")
	f.BoolVar(&o.start, "start", false, "measure how long containers take to start instead")
	f.BoolVar(&o.policy, "policy", false, "measure what policies of many rules cost instead, beside iptables and nftables")
	f.BoolVar(&o.rules, "rules", false, "measure how soon rules hold instead; without it this comes after the policies, unless -topo or -only choose")
	f.BoolVar(&o.service, "service", false, "measure what services cost instead, beside iptables as kube-proxy writes it")
	f.BoolVar(&o.outside, "outside", false, "measure the ways to the outside and from it instead, beside Docker's masquerading and published ports")
	f.IntVar(&o.starts, "starts", 20, "starts of each network that -start measures")
	f.BoolVar(&o.control, "control", false, "measure the masters only; without it they come last, unless -topo or -only choose")
	f.Float64Var(&o.controlSecs, "control-secs", 2, "seconds of each measurement of the masters")
	f.IntVar(&o.endpoints, "endpoints", 100_000, "endpoints of the World whose cost is measured")
	f.BoolVar(&o.names, "dns", false, "measure names only; without it they come last, unless -topo or -only choose")
	f.StringVar(&o.coredns, "coredns", "", "program of CoreDNS, to be measured beside; bench/coredns builds it and prints its path")
	f.BoolVar(&o.cni, "cni", false, "measure how long CNI takes to attach pods that start at once instead; without it this comes last, unless -topo or -only choose")
	f.StringVar(&o.bridge, "bridge", "", "program of CNI's bridge, to be measured beside; bench/bridge builds it and prints its path")
	f.StringVar(&o.programs, "programs", beside(), "directory of netmaster, netplugin, netctl and contivk8s")
	if err := f.Parse(arguments); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("what is %q? Flags only, see -help", f.Arg(0))
	}
	var err error
	if o.programs, err = filepath.Abs(o.programs); err != nil {
		return o, fmt.Errorf("find the programs: %w", err)
	}
	if o.endpoints < 1 || o.endpoints > 1_000_000 {
		return o, errors.New("-endpoints is 1 to 1000000")
	}
	if o.controlSecs <= 0 || o.controlSecs > 60 {
		return o, errors.New("-control-secs is more than 0 and at most 60")
	}
	if o.starts < 1 {
		return o, errors.New("-starts is at least 1")
	}
	if o.rounds < 1 || o.secs <= 0 || o.secs > 60 {
		return o, errors.New("-rounds is at least 1, and -secs more than 0 and at most 60")
	}
	return o, nil
}

// beside is the directory of this program, or bin when it was built by go run.
func beside() string {
	path, err := os.Executable()
	if err != nil || strings.HasPrefix(path, os.TempDir()) {
		return "bin"
	}
	return filepath.Dir(path)
}

func (o options) topologies() ([]topology, error) {
	switch o.topo {
	case "both":
		return []topology{same, across}, nil
	case string(same), string(across):
		return []topology{topology(o.topo)}, nil
	}
	return nil, fmt.Errorf("-topo is same, two or both, not %q", o.topo)
}

// bench prints the tables. Slow is not an error; a contestant that does not work is.
func bench(ctx context.Context, arguments []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(arguments, stderr)
	if err != nil {
		return err
	}
	topologies, err := o.topologies()
	if err != nil {
		return err
	}
	if o.control {
		return benchControl(ctx, o, stdout, stderr)
	}
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root: run it with sudo")
	}
	if o.start {
		return benchStarts(ctx, o, stdout, stderr)
	}
	if o.policy {
		return benchPolicy(ctx, o, stdout, stderr)
	}
	if o.rules {
		return benchRules(ctx, o, stdout, stderr)
	}
	if o.service {
		return benchService(ctx, o, stdout, stderr)
	}
	if o.outside {
		return benchOutside(ctx, o, stdout, stderr)
	}
	if o.names {
		return benchNames(ctx, o, stdout, stderr)
	}
	if o.cni {
		return benchAdds(ctx, o, stdout, stderr)
	}
	var entries []entry
	var failures []string
	for _, t := range topologies {
		contestants, err := chosen(t, o.only, o.programs)
		if err != nil {
			return err
		}
		r := &race{topology: t, trials: trials(), rounds: o.rounds, secs: o.secs, tries: 3, quiet: 0.15, progress: stderr}
		result, err := r.run(ctx, contestants)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "\n## %s: medians of %d rounds of %g s, %d CPUs\n\n%s", t.title(), o.rounds, o.secs, runtime.NumCPU(), result.report(t))
		for _, f := range result.failures {
			fmt.Fprintf(stdout, "failed: %s\n", f)
		}
		entries, failures = append(entries, result.entries...), append(failures, result.failures...)
	}
	if o.json != "" {
		if err := writeEntries(o.json, entries); err != nil {
			return err
		}
	}
	if o.topo == "both" && o.only == "" { // all is asked for
		o.json = ""
		if err := benchPolicy(ctx, o, stdout, stderr); err != nil {
			return err
		}
		if err := benchRules(ctx, o, stdout, stderr); err != nil {
			return err
		}
		if err := benchService(ctx, o, stdout, stderr); err != nil {
			return err
		}
		if err := benchOutside(ctx, o, stdout, stderr); err != nil {
			return err
		}
		if err := benchControl(ctx, o, stdout, stderr); err != nil {
			return err
		}
		if err := benchNames(ctx, o, stdout, stderr); err != nil {
			return err
		}
		if err := benchAdds(ctx, o, stdout, stderr); err != nil {
			return err
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("%d failures, named under the tables", len(failures))
	}
	return nil
}

// keep writes what a mode has measured to the file that was asked for, if any.
func (o options) keep(results any) error {
	if o.json == "" {
		return nil
	}
	b, err := json.MarshalIndent(results, "", "  ")
	if err == nil {
		err = os.WriteFile(o.json, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep the figures: %w", err)
	}
	return nil
}

// writeEntries writes one JSON object a line.
func writeEntries(name string, entries []entry) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("keep the samples: %w", err)
	}
	out := json.NewEncoder(f)
	for _, e := range entries {
		err = errors.Join(err, out.Encode(e))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keep the samples in %s: %w", name, err)
	}
	return nil
}
