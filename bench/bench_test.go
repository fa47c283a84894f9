// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/contivnet/contiv/test/netlab"
)

// TestMain lets this binary be its own worker, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && roles()[os.Args[1]] != nil {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestMedianAndSpreadLieBetweenNeighbours(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values         []float64
		median, spread float64
	}{
		{nil, 0, 0},
		{[]float64{3}, 3, 0},
		{[]float64{4, 1, 3, 2}, 2.5, 0.75},
		{[]float64{5, 1, 4, 2, 3}, 3, 1},
	} {
		before := append([]float64(nil), c.values...)
		if got := median(c.values); got != c.median {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.median)
		}
		if got := spread(c.values); got != c.spread {
			t.Errorf("spread(%v) = %v, want %v", c.values, got, c.spread)
		}
		if !reflect.DeepEqual(before, c.values) {
			t.Errorf("the values were reordered: %v", c.values)
		}
	}
}

func TestMachineTimeLeavesOutIdleAndStolen(t *testing.T) {
	t.Parallel()
	got, err := parseMachineTime([]byte("cpu  100 20 300 4000 50 6 70 8 900 10\ncpu0 1 2 3\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (cpuTime{busy: 4.96, stolen: 0.08, all: 45.54}); !near(got.busy, want.busy) || !near(got.stolen, want.stolen) || !near(got.all, want.all) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "cpu 1 2", "cpux 1 2 3 4 5 6 7 8", "cpu a b c d e f g h"} {
		if _, err := parseMachineTime([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestProcessTimeIsReadBehindAnyName(t *testing.T) {
	t.Parallel()
	got, err := parseProcessTime([]byte("7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 250 9 9 20 0 1 0 1"))
	if err != nil || !near(got, 4) {
		t.Errorf("got %v, %v, want 4", got, err)
	}
	for _, bad := range []string{"", "7 (a) S 1", "no parenthesis at all 1 2 3 4 5 6 7 8 9 10 11 12 13"} {
		if _, err := parseProcessTime([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func near(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

func TestJobSurvivesItsCommandLine(t *testing.T) {
	t.Parallel()
	want := job{role: "rr", namespace: "/proc/1/ns/net", to: netip.MustParseAddr("10.1.2.3"), shift: 100, warm: 0.15, secs: 0.3, streams: 4, cpu: -1}
	got, err := parseJob(want.arguments()[1:])
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestPortIsInNetworkByteOrder(t *testing.T) {
	t.Parallel()
	a := rawAddress(netip.MustParseAddrPort("10.1.2.3:258"))
	if a.Port != 0x0201 && a.Port != 0x0102 { // as this machine reads the bytes 1, 2
		t.Errorf("port is %#x", a.Port)
	}
	if a.Addr != [4]byte{10, 1, 2, 3} {
		t.Errorf("address is %v", a.Addr)
	}
}

func TestRatioIsToTheLimitRightBefore(t *testing.T) {
	t.Parallel()
	e := entry{Sample: sample{Rate: 30}, Limit: sample{Rate: 40}}
	if e.ratio() != 0.75 {
		t.Errorf("ratio is %v", e.ratio())
	}
	if (entry{Sample: sample{Rate: 30}}).ratio() != 0 {
		t.Error("a ratio to nothing")
	}
}

func TestReportSaysWhatIsMet(t *testing.T) {
	t.Parallel()
	o := outcome{names: []string{limitName, "slow", oursName}}
	for round := range 3 {
		for _, tr := range trials() {
			add := func(name string, rate float64) {
				o.entries = append(o.entries, entry{
					Topology: same, Contestant: name, Trial: tr.name, Round: round,
					Sample: sample{Rate: rate, P50: 14.5, P99: 16.7, CPUPerGB: 0.2}, Limit: sample{Rate: 1000},
				})
			}
			add(limitName, 1000)
			add(oursName, 955+4*float64(round))
		}
	}
	o.entries[0].Sample.Other = 1 // the limit's first stream
	got := o.report(same)
	want := strings.TrimPrefix(`
| ratio to bare veth  | 1 stream      | 4 streams     | round trips  | connections  | small packets | round trip p50 / p99 | connection p50 / p99 | CPU s/GB, 1 / 4 streams |
| ------------------- | ------------- | ------------- | ------------ | ------------ | ------------- | -------------------- | -------------------- | ----------------------- |
| bare veth, absolute | 1000.0 Gbit/s | 1000.0 Gbit/s | 1.0 k/s      | 1.0 k/s      | 1.0 k/s       | 14.5 / 16.7 µs       | 14 / 17 µs           | 0.200 / 0.200           |
| slow                | -             | -             | -            | -            | -             | -                    | -                    | - / -                   |
| contiv              | 0.959 ±0.002  | 0.959 ±0.002  | 0.959 ±0.002 | 0.959 ±0.002 | 0.959 ±0.002  | 14.5 / 16.7 µs       | 14 / 17 µs           | 0.200 / 0.200           |
| wanted, at least    | 0.97          | 0.97          | 0.95         | 0.94         | 0.93          |                      |                      |                         |
| contiv              | not met       | not met       | met          | met          | met           |                      |                      |                         |
1 of 30 measurements were disturbed: other work took over 0.12 CPUs in every try.
`, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestOnlyChoosesContestants(t *testing.T) {
	t.Parallel()
	got, err := chosen(across, "static-bridge", "bin")
	if err != nil || len(got) != 2 || got[0].Name() != limitName || got[1].Name() != "static-bridge" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := chosen(same, "static-brigde", "bin"); err == nil || !strings.Contains(err.Error(), "bridge") {
		t.Errorf("a misspelt name gave %v", err)
	}
}

func TestSandboxIsLookedUpInItsHost(t *testing.T) {
	t.Parallel()
	got, err := parseContainer("/proc/7/root", "/var/run/docker/netns/abc 172.17.0.2\n")
	want := container{"/proc/7/root/run/docker/netns/abc", netip.MustParseAddr("172.17.0.2")}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseContainer("/proc/7/root", "/var/run/docker/netns/abc "); err == nil {
		t.Error("a container without an address was accepted")
	}
}

func TestStartTableSaysWhatWeAdd(t *testing.T) {
	t.Parallel()
	got := startTable([]startResult{
		{Name: "docker-bridge", Single: []float64{300, 310, 320}, Crowd: []float64{2000, 4000}, All: 4100},
		{Name: "contiv", Single: []float64{365, 375, 385}, Crowd: []float64{0, 4000}, All: 4200, Failed: "no room"},
	})
	want := strings.TrimPrefix(`
| start to running, ms | p50 | p99 | 50 at once: p50 | p99  | all  | errors    |
| -------------------- | --- | --- | --------------- | ---- | ---- | --------- |
| docker-bridge        | 310 | 320 | 3000            | 3980 | 4100 | none      |
| contiv               | 375 | 385 | 2000            | 3960 | 4200 | see below |
contiv: +65 ms at p50; wanted, at most +60: not met
failed: contiv: no room
`, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	t.Parallel()
	for _, arguments := range [][]string{{"-rounds", "0"}, {"-secs", "0"}, {"-topo", "three"}, {"-starts", "0"}, {"same"}, {"-nothing"}} {
		if err := bench(t.Context(), arguments, io.Discard, io.Discard); err == nil {
			t.Errorf("%v was accepted", arguments)
		}
	}
}

func TestBareVethAndBridgeCarryEveryTrial(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	for _, where := range []topology{same, across} {
		contestants := []contestant{&bareVeth{name: limitName}, &staticBridge{}}
		r := &race{topology: where, trials: trials(), rounds: 1, secs: 0.2, tries: 1, quiet: 1, progress: io.Discard}
		o, err := r.run(t.Context(), contestants)
		if err != nil || len(o.failures) > 0 {
			t.Fatalf("%s: %v %v", where, err, o.failures)
		}
		for _, name := range o.names {
			for _, tr := range trials() {
				rates := o.series(name, tr.name, func(e entry) float64 { return e.Sample.Rate })
				if len(rates) != 1 || rates[0] <= 0 {
					t.Errorf("%s, %s: %s gave rates %v", where, name, tr.name, rates)
				}
			}
		}
	}
}

func TestPathWithoutServerIsReported(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	r := &race{topology: same, trials: trials(), rounds: 1, secs: 0.1, tries: 1, quiet: 1, progress: io.Discard}
	o, err := r.run(t.Context(), []contestant{&bareVeth{name: limitName}, unwired{}})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.failures) != 1 || !strings.Contains(o.failures[0], "no cable") {
		t.Errorf("failures are %v", o.failures)
	}
	if n := len(o.series(limitName, "rr", entry.ratio)); n != 1 {
		t.Errorf("the limit was measured %d times, want once", n)
	}
}

type unwired struct{}

func (unwired) Name() string                               { return "unwired" }
func (unwired) Up(context.Context, topology) (pair, error) { return pair{}, errors.New("no cable") }
func (unwired) Down() error                                { return nil }

func TestDockersOwnNetworksAreWired(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts Docker engines: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are namespaces")
	}
	if err := netlab.Missing(); err != nil {
		t.Skip(err)
	}
	for where, c := range map[topology]contestant{same: &dockerBridge{}, across: &dockerOverlay{}} {
		t.Run(c.Name(), func(t *testing.T) {
			t.Parallel()
			p, err := lay(t.Context(), c, where)
			if err != nil {
				t.Fatal(err)
			}
			s, err := p.measure(t.Context(), trials()[2], 0.1)
			if err != nil || s.Rate <= 0 || s.P50 <= 0 || s.P99 < s.P50 {
				t.Errorf("round trips: %+v, %v", s, err)
			}
			if err := p.remove(); err != nil {
				t.Error(err)
			}
		})
	}
}
