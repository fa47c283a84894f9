// SPDX-License-Identifier: Apache-2.0

package netlab_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/netlab"
)

// asProgram makes the test binary a program that starts a lab, says where, and either ends or waits to be killed.
const asProgram = "NETLAB_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if what := os.Getenv(asProgram); what != "" {
		os.Exit(program(what))
	}
	os.Exit(m.Run())
}

func program(what string) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o := netlab.Options{Hosts: two[:1], Ephemeral: what == "killed"}
	if what != "killed" {
		o.Name, o.Dir = filepath.Base(what), what
	}
	lab, err := netlab.Up(ctx, o)
	if err == nil {
		_, err = lab.Host("one").StartEngine(ctx, netlab.EngineOptions{})
	}
	if err == nil {
		err = lab.Host("one").LoadImage(ctx)
	}
	if err == nil {
		_, err = lab.Host("one").Docker(ctx, "run", "-d", "--name", "box", "alpine", "sleep", "1000")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if lab != nil {
			_ = lab.Close() // one error is enough to tell
		}
		return 1
	}
	fmt.Println(lab.Name(), lab.Dir())
	if what == "killed" {
		<-ctx.Done()
	}
	return 0
}

// startProgram gives the running program, and the name and directory of its lab.
func startProgram(t *testing.T, what, tmp string) (cmd *exec.Cmd, name, dir string) {
	t.Helper()
	needLab(t)
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asProgram+"="+what, "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the program started no lab: %v, %v", err, cmd.Wait())
	}
	name, dir, _ = strings.Cut(strings.TrimSpace(line), " ")
	return cmd, name, dir
}

func needLab(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are namespaces")
	}
	if err := netlab.Missing(); err != nil {
		t.Skip(err)
	}
}

func TestLabOutlivesItsProgramAndAnotherTakesItDown(t *testing.T) {
	t.Parallel()
	tmp := shortDir(t)
	where := filepath.Join(tmp, "n"+filepath.Base(tmp)[len("nl"):])
	cmd, name, dir := startProgram(t, where, tmp)
	t.Cleanup(func() { _ = netlab.Remove(context.Background(), name, dir) })
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	lab, err := netlab.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	one := lab.Host("one")
	if out := docker(t, one, "exec", "box", "cat", "/proc/1/cmdline"); !strings.Contains(out, "sleep") {
		t.Errorf("the container runs %q", out)
	}
	engine, err := one.Engine()
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Kill(); err != nil {
		t.Error(err)
	}
	if engine.Running() {
		t.Error("the engine runs after Kill by another program")
	}
	if err := one.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	if err := one.Boot(t.Context()); err != nil {
		t.Error(err)
	}

	// Up again, as after a crash: the old lab goes first.
	again, err := netlab.Up(t.Context(), netlab.Options{Name: name, Dir: dir, Hosts: two, Ephemeral: true})
	if err != nil {
		t.Fatal(err)
	}
	ping(t, again.Host("one"), "two")
	if err := netlab.Remove(t.Context(), name, dir); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*netlab.Lab{lab, again} {
		nothingLeft(t, l)
	}
}

func TestEphemeralLabDiesWithAProgramThatIsKilled(t *testing.T) {
	t.Parallel()
	tmp := shortDir(t)
	cmd, name, dir := startProgram(t, "killed", tmp)
	lab, err := netlab.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	var left []string
	running := func(what string) bool {
		return strings.HasPrefix(what, "process") || strings.HasPrefix(what, "namespace")
	}
	eventually(t, "no process and no namespace is left", func() bool {
		left = lab.Leftovers()
		for _, what := range left {
			if running(what) {
				return false
			}
		}
		return true
	})

	// The next program's lab removes what needs no process to exist.
	next, nextName, nextDir := startProgram(t, "killed", tmp)
	defer func() {
		_ = next.Process.Kill()
		_ = next.Wait()
		if err := netlab.Remove(context.Background(), nextName, nextDir); err != nil {
			t.Error(err)
		}
	}()
	if left = netlab.Leftovers(name, dir); len(left) > 0 {
		t.Errorf("left after the next lab's start:\n%s", strings.Join(left, "\n"))
	}
}

// shortDir is a directory for the lab of another program: t.TempDir would remove it before the lab.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
