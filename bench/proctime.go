// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is USER_HZ, the unit of /proc: 100 on every architecture that Linux gives Go.
const ticksPerSecond = 100

// cpuTime is time summed over all CPUs since boot, in seconds. busy leaves out idling, waiting for disks and what the
// hypervisor gave to others; stolen is the last of these.
type cpuTime struct{ busy, stolen, all float64 }

func machineTime() (cpuTime, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuTime{}, fmt.Errorf("read the machine's CPU time: %w", err)
	}
	return parseMachineTime(b)
}

// parseMachineTime reads the first line of /proc/stat: user nice system idle iowait irq softirq steal guest guest_nice.
func parseMachineTime(stat []byte) (cpuTime, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	f := strings.Fields(string(line))
	if len(f) < 9 || f[0] != "cpu" {
		return cpuTime{}, fmt.Errorf("no CPU line in /proc/stat: %q", line)
	}
	var t cpuTime
	for i, s := range f[1:9] { // guest time is in user's
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return cpuTime{}, fmt.Errorf("read /proc/stat: %w", err)
		}
		v /= ticksPerSecond
		t.all += v
		switch i {
		case 3, 4:
		case 7:
			t.stolen += v
		default:
			t.busy += v
		}
	}
	return t, nil
}

// processTime is the CPU time of a process, with the softirqs that it served, in seconds.
func processTime(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read a process' CPU time: %w", err)
	}
	return parseProcessTime(b)
}

// parseProcessTime reads utime and stime of /proc/PID/stat, whose second field may hold any character.
func parseProcessTime(stat []byte) (float64, error) {
	end := bytes.LastIndexByte(stat, ')')
	f := strings.Fields(string(stat[end+1:]))
	if end < 0 || len(f) < 13 {
		return 0, fmt.Errorf("not a process' stat: %q", stat)
	}
	user, err1 := strconv.ParseFloat(f[11], 64)
	system, err2 := strconv.ParseFloat(f[12], 64)
	return (user + system) / ticksPerSecond, errors.Join(err1, err2)
}

// softirqThreads are the pids of ksoftirqd/N, which carry the path's work when there is much of it.
func softirqThreads() []int {
	var pids []int
	comms, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is right: no error
	for _, c := range comms {
		b, err := os.ReadFile(c)
		if err != nil || !bytes.HasPrefix(b, []byte("ksoftirqd/")) {
			continue // others come and go
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(c))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// timeOf sums the CPU time of processes; one that has ended counts nothing.
func timeOf(pids []int) float64 {
	sum := 0.0
	for _, pid := range pids {
		if t, err := processTime(pid); err == nil {
			sum += t
		}
	}
	return sum
}

// settle waits until the machine is less busy than share (0..1), 1 s at most.
func settle(share float64) error {
	for range 10 {
		a, err := machineTime()
		if err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
		b, err := machineTime()
		if err != nil {
			return err
		}
		if (b.busy-a.busy)/max(b.all-a.all, 0.01) < share {
			break
		}
	}
	return nil
}
