// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/netlab"
)

var two = []netlab.HostOptions{{Name: "one"}, {Name: "two"}}

func TestTwoHostsPingEachOtherByName(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two, MTU: 1400})
	ping(t, lab.Host("one"), "two")
	ping(t, lab.Host("two"), "one")
	out := output(t, lab.Host("two"), "ip", "-o", "addr", "show", "eth1")
	if !strings.Contains(out, "192.168.2.11/24") {
		t.Errorf("the second host's address: %s", out)
	}
	if out := output(t, lab.Host("one"), "cat", "/sys/class/net/eth1/mtu"); out != "1400" {
		t.Errorf("MTU %s, want 1400", out)
	}
	if out := output(t, lab.Host("one"), "hostname"); out != "one" {
		t.Errorf("host name %q, want one", out)
	}
}

func TestHostHasItsOwnProcessesMountsAndFiles(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two})
	one, two := lab.Host("one"), lab.Host("two")
	if out := output(t, one, "cat", "/proc/1/comm"); out != "tini" {
		t.Errorf("pid 1 is %q, want tini", out)
	}
	if out := output(t, one, "stat", "-f", "-c", "%T", "/sys/fs/bpf"); out != "bpf_fs" {
		t.Errorf("/sys/fs/bpf is %q, want bpf_fs", out)
	}
	for _, path := range []string{"/run/mark", "/etc/mark-of-netlab", "/var/lib/mark-of-netlab", "/var/lib/contiv/mark", "/etc/docker/mark", "/sys/fs/bpf/mark"} {
		run(t, one, "mkdir", path)
		if two.Run(t.Context(), "test", "-e", path) == nil {
			t.Errorf("the other host sees %s", path)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("the machine sees %s", path)
		}
	}
}

func TestEngineRunsAContainerAndGoesWithItsHost(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two[:1]})
	one := lab.Host("one")
	engine := startEngine(t, one)
	docker(t, one, "network", "create", "n1")
	docker(t, one, "run", "-d", "--name", "server", "--stop-timeout", "1", "--network", "n1", "alpine", "sleep", "1000")
	if out := docker(t, one, "run", "--rm", "--network", "n1", "alpine", "ping", "-c", "1", "-W", "5", "server"); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("ping between containers: %s", out)
	}
	if out := docker(t, one, "info", "--format", "{{.Name}} {{.CgroupDriver}}"); out != "one cgroupfs" {
		t.Errorf("docker info: %q", out)
	}

	// What the machine would see of a leak is seen while it is there.
	seen := strings.Join(netlab.Leftovers(lab.Name(), lab.Dir()), "\n")
	for _, what := range []string{"process", "cgroup", "directory"} {
		if !strings.Contains(seen, what) {
			t.Errorf("Leftovers of a running lab lack a %s:\n%s", what, seen)
		}
	}

	if err := engine.Kill(); err != nil {
		t.Fatal(err)
	}
	if engine.Running() {
		t.Error("the engine runs after Kill")
	}
	engine, err := one.StartEngine(t.Context(), netlab.EngineOptions{})
	if err != nil {
		t.Fatalf("start the engine after SIGKILL: %v", err)
	}
	if err := engine.Stop(t.Context(), syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if out := engine.Log(); !strings.Contains(out, "API listen on") {
		t.Errorf("the engine's log: %q", out)
	}
}

func TestImagesAndDiskOutliveAPowerCycleAndMemoryDoesNot(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two, Disk: []string{"/var/lib/other"}})
	one := lab.Host("one")
	startEngine(t, one)
	docker(t, one, "run", "-d", "--name", "always", "--restart", "always", "alpine", "sleep", "1000")
	for _, path := range []string{"/var/lib/contiv/kept", "/var/lib/other/kept", "/run/lost"} {
		run(t, one, "touch", path)
	}
	mac := output(t, one, "cat", "/sys/class/net/eth1/address")
	before := one.Pid()

	if err := one.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if one.On() || one.Pid() != 0 {
		t.Error("the host is on after Kill")
	}
	if err := lab.Host("two").Run(t.Context(), "ping", "-c", "1", "-W", "1", "one"); err == nil {
		t.Error("a host that is off answers a ping")
	}
	if err := one.Run(t.Context(), "true"); err == nil {
		t.Error("a command runs on a host that is off")
	}
	if err := one.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if one.Pid() == before {
		t.Error("the host has its old pid 1")
	}
	ping(t, lab.Host("two"), "one")
	if out := output(t, one, "cat", "/sys/class/net/eth1/address"); out != mac {
		t.Errorf("MAC address %s after the power cycle, %s before", out, mac)
	}
	run(t, one, "test", "-e", "/var/lib/contiv/kept")
	run(t, one, "test", "-e", "/var/lib/other/kept")
	run(t, one, "test", "!", "-e", "/run/lost")
	if _, err := one.StartEngine(t.Context(), netlab.EngineOptions{}); err != nil {
		t.Fatal(err)
	}
	if out := docker(t, one, "images", "-q", "alpine:latest"); out == "" {
		t.Error("the image is gone after the power cycle")
	}
	eventually(t, "a container with --restart=always runs after the power cycle", func() bool {
		out, err := one.Docker(t.Context(), "ps", "-q", "--filter", "name=always")
		return err == nil && out != ""
	})
}

func TestLabsWithEqualAddressesDoNotMeet(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"red", "blue"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			lab := netlab.New(t, netlab.Options{Hosts: two})
			server, client := lab.Host("one"), lab.Host("two")
			var l net.Listener
			err := server.Enter(func() (err error) {
				l, err = net.Listen("tcp", "192.168.2.10:7777")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Write([]byte(who + "\n"))
					c.Close()
				}
			}()
			if out := output(t, client, "busybox", "nc", "192.168.2.10", "7777"); out != who {
				t.Errorf("lab %s reached %q", who, out)
			}
		})
	}
}

func TestCutHostIsUnreachableUntilRestored(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two})
	one, two := lab.Host("one"), lab.Host("two")
	if err := two.Cut(); err != nil {
		t.Fatal(err)
	}
	unreachable := func(when string) {
		t.Helper()
		if one.Run(t.Context(), "ping", "-c", "1", "-W", "1", "two") == nil {
			t.Errorf("the host is reachable %s", when)
		}
	}
	unreachable("after Cut")
	if out := output(t, two, "cat", "/sys/class/net/eth1/operstate"); out != "up" {
		t.Errorf("the cut host's link is %s, want up", out)
	}
	if err := two.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := two.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	unreachable("after a power cycle while cut")
	if err := two.Restore(); err != nil {
		t.Fatal(err)
	}
	ping(t, one, "two")
}

func TestHostAddedLaterIsKnownToTheOthers(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two})
	stranger, err := lab.AddHost(t.Context(), netlab.HostOptions{Name: "stranger"})
	if err != nil {
		t.Fatal(err)
	}
	if stranger.Addr().String() != "192.168.2.12" {
		t.Errorf("address %s, want the next free one", stranger.Addr())
	}
	ping(t, lab.Host("one"), "stranger")
	if _, err := lab.AddHost(t.Context(), netlab.HostOptions{Name: "one"}); err == nil {
		t.Error("two hosts of one name")
	}
	if _, err := lab.AddHost(t.Context(), netlab.HostOptions{Name: "other", Addr: stranger.Prefix()}); err == nil {
		t.Error("two hosts of one address")
	}
}

func TestSignalsReachTheCommandItself(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two[:1]})
	one := lab.Host("one")
	p, err := one.Start("trap", "sh", "-c", "trap 'echo got it; exit 3' USR1; echo ready; while :; do sleep 0.01; done")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the daemon is ready", func() bool { return strings.Contains(p.Log(), "ready") })
	if _, err := one.Start("trap", "true"); err == nil {
		t.Error("two daemons of one name")
	}
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Wait says %v, want exit status 3", err)
	}
	if !strings.Contains(p.Log(), "got it") || p.Running() {
		t.Errorf("running %v, log %q", p.Running(), p.Log())
	}
}

func TestOrphansAreReapedByTheHost(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two[:1]})
	one := lab.Host("one")
	pid := output(t, one, "sh", "-c", "sleep 0.05 >/dev/null & echo $!")
	eventually(t, "the orphan is reaped", func() bool { return one.Run(t.Context(), "test", "!", "-e", "/proc/"+pid) == nil })
}

func TestHostDiesWhileACommandOfItIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two[:1]})
	one := lab.Host("one")
	cmd := one.Command(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := one.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if err := one.Boot(t.Context()); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the command outlived its host")
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two})
	startEngine(t, lab.Host("one"))
	docker(t, lab.Host("one"), "run", "-d", "-p", "80:80", "alpine", "sleep", "1000")
	if _, err := lab.Host("two").Start("sleeper", "sleep", "1000"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to close
		if err := lab.Close(); err != nil {
			t.Fatal(err)
		}
		nothingLeft(t, lab)
	}
}

func TestOtherDirectoriesAreNotDeleted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := netlab.Up(t.Context(), netlab.Options{Name: "precious", Dir: dir}); err == nil {
		t.Error("a lab started in a directory that holds other files")
	}
	if err := netlab.Remove(t.Context(), "precious", dir); err == nil {
		t.Error("a directory that is no lab's was removed")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestUnusableOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for why, o := range map[string]netlab.Options{
		"name":      {Name: "A B"},
		"directory": {Dir: "relative"},
		"disk":      {Disk: []string{"relative"}},
		"MTU":       {MTU: 100},
		"interface": {Interface: "a-name-that-is-too-long"},
	} {
		if _, err := netlab.Up(t.Context(), o); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("error %v, want one about the %s", err, why)
		}
	}
}

func startEngine(t *testing.T, h *netlab.Host) *netlab.Engine {
	t.Helper()
	e, err := h.StartEngine(t.Context(), netlab.EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LoadImage(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func docker(t *testing.T, h *netlab.Host, args ...string) string {
	t.Helper()
	out, err := h.Docker(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func output(t *testing.T, h *netlab.Host, args ...string) string {
	t.Helper()
	out, err := h.Output(t.Context(), args[0], args[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func run(t *testing.T, h *netlab.Host, args ...string) {
	t.Helper()
	if err := h.Run(t.Context(), args[0], args[1:]...); err != nil {
		t.Error(err)
	}
}

func ping(t *testing.T, h *netlab.Host, name string) {
	t.Helper()
	// One ping may fail on the memory of an address that did not answer a moment ago.
	eventually(t, h.Name()+" reaches "+name, func() bool { return h.Run(t.Context(), "ping", "-c", "1", "-W", "1", name) == nil })
}

// nothingLeft waits for the kernel, which takes a namespace down a moment after its last process.
func nothingLeft(t *testing.T, lab *netlab.Lab) {
	t.Helper()
	var left []string
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if left = lab.Leftovers(); len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("left after 20 s:\n%s", strings.Join(left, "\n"))
		}
	}
}

// eventually waits until done says yes.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so after 20 s: %s", what)
		}
	}
}

func TestNamespaceThatIsHeldOpenIsLeftOver(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two[:1]})
	held, err := os.Open(lab.Host("one").Netns())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	left := strings.Join(lab.Leftovers(), "\n")
	if !strings.Contains(left, "namespace net:[") {
		t.Errorf("Leftovers lacks the namespace that is held open: %q", left)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, lab)
}

func TestAnyEngineCanBeStarted(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two[:1]})
	one := lab.Host("one")
	first := t.TempDir()
	binary := filepath.Join(first, "other-dockerd")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho PATH begins with ${PATH%%:*}\nexec dockerd \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	engine, err := one.StartEngine(t.Context(), netlab.EngineOptions{Binary: binary, Path: first, Flags: []string{"--label", "kind=other"}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(engine.Log(), "PATH begins with "+first+"\n") {
		t.Errorf("the engine's log: %s", engine.Log())
	}
	if out := docker(t, one, "info", "--format", "{{.Labels}}"); out != "[kind=other]" {
		t.Errorf("the engine's labels: %s", out)
	}
	if _, err := one.StartEngine(t.Context(), netlab.EngineOptions{}); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Errorf("a second engine: %v", err)
	}
}

func TestEngineThatDoesNotStartSaysWhy(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: two[:1]})
	_, err := lab.Host("one").StartEngine(t.Context(), netlab.EngineOptions{Flags: []string{"--no-such-flag"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("error %v, want the engine's own words", err)
	}
}
