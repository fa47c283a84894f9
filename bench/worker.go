// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// counters is a page that all workers of one contestant share: what the server received, read by the client at
// the edges of its window. So received, not sent, is what counts, and no query disturbs the path.
type counters struct {
	bytes     atomic.Uint64
	_         [56]byte // a cache line each
	datagrams atomic.Uint64
}

const counterPage = 4096

// job is what a worker is asked to do, its command line as a value.
type job struct {
	role       string // serve, probe or a trial's name
	namespace  string // path of the network namespace to work in
	to         netip.Addr
	shift      int // of a client: the server's ports are seen under ones that are less by this
	warm, secs float64
	streams    int
	cpu        int // both ends' CPU; -1 does not pin
}

func (j job) arguments() []string {
	return []string{
		"worker", "-role", j.role, "-netns", j.namespace, "-to", j.to.String(), "-shift", fmt.Sprint(j.shift),
		"-warm", fmt.Sprint(j.warm), "-secs", fmt.Sprint(j.secs), "-streams", fmt.Sprint(j.streams), "-cpu", fmt.Sprint(j.cpu),
	}
}

// environment keeps the runtime from interrupting blocked raw calls and gives every goroutine in one a processor.
func (j job) environment() []string {
	return []string{"GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=16", "GOGC=off"}
}

func parseJob(arguments []string) (job, error) {
	var j job
	f := flag.NewFlagSet("worker", flag.ContinueOnError)
	f.StringVar(&j.role, "role", "", "")
	f.StringVar(&j.namespace, "netns", "", "")
	f.TextVar(&j.to, "to", netip.Addr{}, "")
	f.IntVar(&j.shift, "shift", 0, "")
	f.Float64Var(&j.warm, "warm", 0, "")
	f.Float64Var(&j.secs, "secs", 0, "")
	f.IntVar(&j.streams, "streams", 0, "")
	f.IntVar(&j.cpu, "cpu", -1, "")
	if err := f.Parse(arguments); err != nil {
		return j, err
	}
	return j, nil
}

// work is a worker's whole life. All its sockets are opened by this one thread, which enters the namespace;
// descriptor 3 is the contestant's counters. A client prints one JSON sample; a server prints "ready" and stays until
// its standard input ends, which is when whoever started it ends, however that happens.
func work(arguments []string) error {
	j, err := parseJob(arguments)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	if err := enter(j.namespace); err != nil {
		return err
	}
	page, err := unix.Mmap(3, 0, counterPage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the counters: %w", err)
	}
	received := (*counters)(unsafe.Pointer(&page[0]))
	switch j.role {
	case "serve":
		return serve(j, received)
	case "probe":
		return probe(j)
	}
	s, err := j.load(received)
	if err != nil {
		return fmt.Errorf("%s to %s: %w", j.role, j.to, err)
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

func (j job) load(received *counters) (sample, error) {
	switch j.role {
	case "tput1", "tput4":
		return throughput(j, received)
	case "rr":
		return roundTrips(j)
	case "crr":
		return connections(j)
	case "pps":
		return smallPackets(j, received)
	}
	return sample{}, errors.New("no such test")
}

func enter(namespace string) error {
	fd, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", namespace, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", namespace, err)
	}
	return nil
}

// pin keeps the calling thread on one CPU; -1 leaves it where the scheduler puts it.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return nil
}

// clock counts seconds from when it was made, with one reading of the monotonic clock.
type clock struct{ start time.Time }

func newClock() clock            { return clock{time.Now()} }
func (c clock) seconds() float64 { return time.Since(c.start).Seconds() }
