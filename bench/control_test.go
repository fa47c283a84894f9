// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMastersVerdictNeedsRateAndTail(t *testing.T) {
	t.Parallel()
	pair := func(rate, p99 float64) putPair {
		return putPair{Bare: putResult{Clients: floorCrowd, Rate: 1000, P99: 10}, Endpoint: putResult{Clients: floorCrowd, Rate: rate, P99: p99}}
	}
	for _, c := range []struct {
		rate, p99 float64
		want      string
	}{{500, 39, ": met"}, {499, 39, "not met"}, {500, 40, "not met"}} {
		got := controlResult{Puts: []putPair{pair(c.rate, c.p99)}}.report()
		if !strings.Contains(got, c.want) {
			t.Errorf("%v /s and p99 %v ms: want %q in\n%s", c.rate, c.p99, c.want, got)
		}
	}
}

func TestLateWatchIsNotMet(t *testing.T) {
	t.Parallel()
	for p99, want := range map[float64]string{250: "250 ms: met", 251: "not met"} {
		got := controlResult{Watch: []watchResult{{Agents: watchers, P99: p99}}}.report()
		if !strings.Contains(got, want) {
			t.Errorf("p99 %v ms: want %q in\n%s", p99, want, got)
		}
	}
}

// Whatever the benchmark measures is measured once, on a real master and a real etcd.
func TestMastersAreMeasured(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds and runs netmaster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	programs := t.TempDir()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(programs, "netmaster"), "../cmd/netmaster").CombinedOutput(); err != nil {
		t.Fatalf("build netmaster: %v\n%s", err, out)
	}
	r, err := control(ctx, options{programs: programs, rounds: 1, controlSecs: 0.2, endpoints: 3000}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Puts) != len(crowds) || len(r.Watch) != 1 {
		t.Fatalf("%d measurements of writes and %d of the watch, want %d and 1", len(r.Puts), len(r.Watch), len(crowds))
	}
	for _, p := range r.Puts {
		if p.Endpoint.Clients != p.Bare.Clients || p.Endpoint.Rate <= 0 || p.Bare.Rate <= 0 || p.Endpoint.P99 <= 0 {
			t.Errorf("nothing measured: %+v", p)
		}
	}
	if w := r.Watch[0]; w.Writes == 0 || w.P99 <= 0 || w.Max < w.P99 {
		t.Errorf("nothing measured: %+v", w)
	}
	if w := r.World; w.Endpoints != 3000 || w.Start <= 0 || w.Heap <= 0 || w.AgentRSS < w.Heap || w.MasterRSS < w.Heap {
		t.Errorf("nothing measured: %+v", w)
	}
}

func TestAnonymousMemoryIsRead(t *testing.T) {
	t.Parallel()
	got, err := parseAnonymous([]byte("Name:\tx\nVmRSS:\t 500 kB\nRssAnon:\t  300 kB\nRssFile:\t 200 kB\n"))
	if err != nil || got != 300<<10 {
		t.Errorf("got %d, %v, want 307200", got, err)
	}
	for _, bad := range []string{"", "RssFile:\t1 kB\n", "RssAnon:\tmuch kB\n"} {
		if _, err := parseAnonymous([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestHeavyOrSlowWorldIsNotMet(t *testing.T) {
	t.Parallel()
	good := worldResult{Endpoints: 1000, Start: 5, Heap: 1000 * memoryLimit}
	slow, heavy := good, good
	slow.Start, heavy.Heap = 5.1, 1000*memoryLimit+1
	if text := table(good.rows()); strings.Contains(text, "not met") {
		t.Errorf("within the limits:\n%s", text)
	}
	for _, r := range []worldResult{slow, heavy} {
		if text := table(r.rows()); strings.Count(text, "not met") != 1 {
			t.Errorf("%+v:\n%s", r, text)
		}
	}
}
