// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/contivnet/contiv/cmd/internal/flags"
)

// doctor asks the running agent where intent, kernel and engine differ. It exits with 0 when they agree, 3 when they
// do not or no master answers, 2 when no agent runs.
func doctor(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f := flags.New("netplugin doctor", "CONTIV_NETPLUGIN_")
	runDir := f.String("run-dir", defaultRunDir, "the run directory of the agent")
	repair := f.Bool("repair", false, "mend what differs, then look again")
	_, help, err := f.Parse(args, os.Getenv)
	if help {
		fmt.Fprintf(stdout, "Compares what this node should do (the intent), what its kernel holds and what its container engine has.\n\nUsage: netplugin doctor [--repair]\n\n%s", f.FlagUsages())
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "netplugin doctor:", err)
		return 1
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	d, err := ask(ctx, statusSocket(*runDir), *repair)
	if err != nil {
		fmt.Fprintln(stderr, "netplugin doctor:", err)
		return 2
	}
	fmt.Fprintf(stdout, "node %s: the kernel holds revision %d of %d\n", d.Node, d.Revision, d.World)
	if d.Alone != "" {
		fmt.Fprintf(stdout, "%s: containers go on, but none starts and no change arrives before one does\n", d.Alone)
	}
	if !d.Fresh {
		fmt.Fprintln(stdout, "the intent is the last that this node knew, not what the masters have now")
	}
	for _, reason := range slices.Sorted(maps.Keys(d.Drops)) {
		if d.Drops[reason] > 0 {
			fmt.Fprintf(stdout, "dropped %d packets: %s\n", d.Drops[reason], reason)
		}
	}
	if len(d.Differences) == 0 {
		fmt.Fprintln(stdout, "intent, kernel and engine agree")
		if d.Alone != "" {
			return 3
		}
		return 0
	}
	for _, line := range d.Differences {
		fmt.Fprintln(stdout, "differs:", line)
	}
	if !*repair {
		fmt.Fprintln(stdout, "netplugin doctor --repair mends what can be mended from here")
	}
	return 3
}

func ask(ctx context.Context, socket string, repair bool) (d diagnosis, err error) {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	url := "http://agent/doctor"
	if repair {
		url += "?repair=yes"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return d, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return d, fmt.Errorf("no netplugin answers at %s, so nothing new reaches the kernel (containers go on with what it holds): start it. %w", socket, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return d, fmt.Errorf("the agent cannot tell: %s", strings.TrimSpace(string(b)))
	}
	if err := json.NewDecoder(resp.Body).Decode(&d); err != nil {
		return d, fmt.Errorf("read the agent's answer: %w", err)
	}
	return d, nil
}
