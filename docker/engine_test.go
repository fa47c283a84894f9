// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/netlab"
)

// vethAgent makes real devices and nothing that forwards their packets.
type vethAgent struct{ *fakeAgent }

func (a vethAgent) Attach(ctx context.Context, e model.Endpoint, sandbox string) (model.Endpoint, error) {
	e, err := a.fakeAgent.Attach(ctx, e, sandbox)
	if err != nil {
		return e, err
	}
	return e, netdev.CreatePort(e.Port, e.ID, e.MAC, 1450)
}

func (a vethAgent) PeerOf(port string) string { return netdev.PeerName(port) }

func (a vethAgent) Detach(ctx context.Context, id string) error {
	if e, ok := a.Prepared(id); ok && e.Port != "" {
		if err := netdev.RemovePort(e.Port); err != nil {
			return err
		}
	}
	return a.fakeAgent.Detach(ctx, id)
}

// command is the docker command: Debian's where there are two, as a newer one does not send --mac-address to its engine.
func command() string {
	const debians = "/usr/bin/docker"
	if _, err := os.Stat(debians); err == nil {
		return debians
	}
	return "docker"
}

// docker runs the docker command and gives what it printed, on both its outputs.
func docker(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, command(), args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustDocker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := docker(t, args...)
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// onRealEngine runs inside a host with an engine and the image alpine.
func onRealEngine(t *testing.T) {
	m := newFakeMaster(t)
	n := &node{t: t, dir: shortDir(t)}
	n.agent = &fakeAgent{node: "node1", master: m, client: newClient(t, m), prepared: map[string]model.Endpoint{}, sandbox: map[string]string{}}
	// The engine finds the driver by its socket's name, so two tests in one host need two.
	socket := filepath.Join(PluginDir, "netplugin.sock")
	engine := NewEngine(DefaultEngine, "netplugin")
	// start runs the driver until stop.
	start := func() (d *Driver, stop func()) {
		d, err := New(Options{Agent: vethAgent{n.agent}, Engine: engine, Socket: socket, StateDir: n.dir, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		return d, func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	d, stop := start()
	defer func() { stop() }()

	t.Run("a network of netctl is there within 2 s", func(t *testing.T) {
		began := time.Now()
		m.create(t, network4("default", "contiv-net", "10.1.2.0/24", ""))
		m.create(t, network4("blue", "contiv-net", "10.1.2.0/24", "10.1.2.254"))
		eventually(t, "docker network ls shows both", func() bool {
			out := mustDocker(t, "network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}")
			return strings.Contains(out, "contiv-net netplugin local\n") && strings.Contains(out, "contiv-net/blue netplugin local")
		})
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		out := mustDocker(t, "network", "inspect", "contiv-net/blue", "--format", "{{json .Options}} {{json .IPAM}} {{json .Labels}} {{.Attachable}} {{.EnableIPv6}} {{.Internal}}")
		want := `{"encap":"vxlan","pkt-tag":"2","tenant":"blue"} {"Driver":"netplugin","Options":{"network":"contiv-net","tenant":"blue"},"Config":[{"Subnet":"10.1.2.0/24","Gateway":"10.1.2.254"}]} {"io.contiv.network":"blue:contiv-net"} true false false`
		if out != want {
			t.Errorf("inspect %s\nwant    %s", out, want)
		}
	})

	t.Run("a container has its address, MAC, MTU, and the engine's way out", func(t *testing.T) {
		mustDocker(t, "run", "-d", "--name", "c1", "--network", "contiv-net", "--network-alias", "www", "--label", "a=b", "alpine", "sleep", "1000")
		out := mustDocker(t, "exec", "c1", "ip", "address")
		for _, want := range []string{"02:02:0a:01:02:01", "mtu 1450", "inet 10.1.2.1/24", "eth1"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %s in\n%s", want, out)
			}
		}
		if out := mustDocker(t, "inspect", "c1", "--format", `{{(index .NetworkSettings.Networks "contiv-net").IPAddress}}`); out != "10.1.2.1" {
			t.Errorf("docker inspect shows %s", out)
		}
		id := mustDocker(t, "inspect", "c1", "--format", "{{.Id}}")
		eventually(t, "the endpoint has names and labels", func() bool {
			for _, e := range m.now().Endpoints.All() {
				if e.Name == "c1" && e.Container == id && e.Labels["a"] == "b" && strings.Join(e.Aliases, " ") == strings.Join(aliasesOf(id, "c1", []string{"www"}), " ") {
					return true
				}
			}
			return false
		})
		ids, known := engine.Live(t.Context())
		if !known || len(ids) != 1 {
			t.Errorf("live %v, known %v", ids, known)
		}
	})

	t.Run("with a gateway that is the way out", func(t *testing.T) {
		mustDocker(t, "run", "-d", "--name", "b1", "--network", "contiv-net/blue", "--mac-address", "0a:00:00:00:00:01", "--ip", "10.1.2.9", "alpine", "sleep", "1000")
		out := mustDocker(t, "exec", "b1", "ip", "address") + mustDocker(t, "exec", "b1", "ip", "route")
		if !strings.Contains(out, "inet 10.1.2.9/24") || !strings.Contains(out, "0a:00:00:00:00:01") || !strings.Contains(out, "default via 10.1.2.254") || strings.Contains(out, "eth1") {
			t.Errorf("in the container:\n%s", out)
		}
		if out, err := docker(t, "run", "--rm", "--name", "b2", "--network", "contiv-net/blue", "--ip", "10.1.2.9", "alpine", "true"); err == nil || !strings.Contains(out, "10.1.2.9 is in use by") {
			t.Errorf("a second container with one address: %v\n%s", err, out)
		}
	})

	t.Run("restart, rename, connect and disconnect", func(t *testing.T) {
		mustDocker(t, "restart", "-t", "0", "c1")
		mustDocker(t, "rename", "c1", "c9")
		m.create(t, network4("default", "second", "10.2.0.0/16", ""))
		eventually(t, "the second network is there", func() bool { _, err := docker(t, "network", "inspect", "second"); return err == nil })
		mustDocker(t, "network", "connect", "second", "c9")
		if out := mustDocker(t, "exec", "c9", "ip", "address"); !strings.Contains(out, "inet 10.1.2.") || !strings.Contains(out, "inet 10.2.0.1/16") {
			t.Errorf("in the container:\n%s", out)
		}
		eventually(t, "both endpoints have the new name", func() bool {
			count := 0
			for _, e := range m.now().Endpoints.All() {
				if e.Name == "c9" {
					count++
				}
			}
			return count == 2
		})
		mustDocker(t, "network", "disconnect", "second", "c9")
		if m.now().Endpoints.Len() != 2 {
			t.Errorf("%d endpoints", m.now().Endpoints.Len())
		}
	})

	t.Run("a group is there under two names within 2 s", func(t *testing.T) {
		began := time.Now()
		m.group(t, group("default", "db", "contiv-net", "10.1.2.100-10.1.2.110"))
		m.group(t, group("blue", "db", "contiv-net", ""))
		eventually(t, "docker network ls shows all", func() bool {
			out := mustDocker(t, "network", "ls", "--filter", "driver=netplugin", "--format", "{{.Name}}") + "\n"
			for _, name := range []string{"db", "db.contiv-net", "db/blue", "db.contiv-net/blue"} {
				if !strings.Contains(out, name+"\n") {
					return false
				}
			}
			return true
		})
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		out := mustDocker(t, "network", "inspect", "db.contiv-net/blue", "--format", "{{json .Options}} {{json .IPAM}} {{json .Labels}}")
		want := `{"encap":"vxlan","pkt-tag":"2","tenant":"blue"} {"Driver":"netplugin","Options":{"group":"db","network":"contiv-net","tenant":"blue"},"Config":[{"Subnet":"10.1.2.0/24","Gateway":"10.1.2.254"}]} {"io.contiv.group":"db","io.contiv.network":"blue:contiv-net"}`
		if out != want {
			t.Errorf("inspect %s\nwant    %s", out, want)
		}
	})

	t.Run("containers join a group by run, by connect and after a restart", func(t *testing.T) {
		endpoint := func(container, network string) model.Endpoint {
			id := mustDocker(t, "inspect", container, "--format", fmt.Sprintf("{{(index .NetworkSettings.Networks %q).EndpointID}}", network))
			e, ok := m.now().Endpoints.Get(id)
			if !ok || e.Network != "contiv-net" || e.Group != "db" {
				t.Errorf("%s on %s has endpoint %+v", container, network, e)
			}
			return e
		}
		mustDocker(t, "run", "-d", "--name", "g1", "--network", "db.contiv-net", "alpine", "sleep", "1000")
		mustDocker(t, "run", "-d", "--name", "g2", "--network", "db", "--ip", "10.1.2.105", "alpine", "sleep", "1000")
		mustDocker(t, "run", "-d", "--name", "g3", "--network", "bridge", "alpine", "sleep", "1000")
		mustDocker(t, "network", "connect", "db/blue", "g3")
		mustDocker(t, "restart", "-t", "0", "g2")
		got := fmt.Sprintln(endpoint("g1", "db.contiv-net").IPv4, endpoint("g2", "db").IPv4, endpoint("g3", "db/blue").Tenant)
		if got != "10.1.2.100 10.1.2.105 blue\n" {
			t.Errorf("endpoints %s", got)
		}
		if ids, known := engine.Live(t.Context()); !known || !ids[endpoint("g1", "db.contiv-net").ID] || !ids[endpoint("g2", "db").ID] {
			t.Errorf("live %v, known %v", ids, known)
		}
		// In two groups of a network at once, which a connection makes, or a start.
		if out, err := docker(t, "network", "connect", "contiv-net", "g1"); err == nil || !strings.Contains(out, "the container is in group db of network contiv-net already, with address 10.1.2.100") {
			t.Errorf("a second time in the network: %v\n%s", err, out)
		}
		mustDocker(t, "create", "--name", "g4", "--network", "contiv-net", "alpine", "sleep", "1000")
		mustDocker(t, "network", "connect", "db", "g4")
		if out, err := docker(t, "start", "g4"); err == nil || !strings.Contains(out, "of network contiv-net already") && !strings.Contains(out, "is in network contiv-net already") {
			t.Errorf("started twice in the network: %v\n%s", err, out)
		}
		endpoint("g1", "db.contiv-net")
		mustDocker(t, "rm", "-f", "g1", "g2", "g3", "g4")
	})

	t.Run("networks of groups go with them", func(t *testing.T) {
		before := mustDocker(t, "network", "inspect", "db", "--format", "{{.ID}}")
		if out, err := docker(t, "network", "rm", "db"); err == nil {
			t.Logf("the engine removed it: %s", out)
			eventually(t, "it is back", func() bool {
				out, err := docker(t, "network", "inspect", "db", "--format", "{{.ID}}")
				return err == nil && out != before
			})
		} else {
			t.Logf("the engine refused: %s", out)
		}
		mustDocker(t, "run", "--rm", "--network", "db", "alpine", "true")
		m.removeGroup("default:db")
		m.removeGroup("blue:db")
		eventually(t, "they are gone", func() bool {
			return !strings.Contains(mustDocker(t, "network", "ls", "--format", "{{.Name}}"), "db")
		})
	})

	t.Run("a user's network", func(t *testing.T) {
		mustDocker(t, "network", "create", "-d", "netplugin", "--ipam-driver", "netplugin", "--subnet", "10.39.0.0/24", "--gateway", "10.39.0.254", "--ip-range", "10.39.0.128/25",
			"--aux-address", "a=10.39.0.130", "--internal", "--ipv6", "--subnet", "2001:db8:39::/64", "-o", "tenant=blue", "-o", "pkt-tag=1001", "db")
		mustDocker(t, "run", "-d", "--name", "d1", "--network", "db", "alpine", "sleep", "1000")
		w, ok := m.now().Networks.Get("blue:db")
		if got := fmt.Sprintln(ok, w.IPv4, w.IPv4.Gateway, w.IPv6, w.IPv6.Gateway, w.Reserved, w.Internal, w.Tag, w.Origin); got != "true 10.39.0.128-10.39.0.255/24 10.39.0.254 2001:db8:39::/64 invalid IP [10.39.0.130] true 1001 docker\n" {
			t.Errorf("network %s", got)
		}
		if out := mustDocker(t, "exec", "d1", "ip", "address"); !strings.Contains(out, "10.39.0.128/24") || !strings.Contains(out, "2001:db8:39::1/64") {
			t.Errorf("in the container:\n%s", out)
		}
		different, err := d.Differences(t.Context())
		if err != nil || len(different) != 0 {
			t.Errorf("differences %q, error %v", different, err)
		}
		stop()
		d, stop = start()
		mustDocker(t, "restart", "-t", "0", "d1") // with another process that knows the network from its record
		mustDocker(t, "rm", "-f", "d1")
		mustDocker(t, "network", "rm", "db")
		if _, ok := m.now().Networks.Get("blue:db"); ok {
			t.Error("the network is in the World")
		}
	})

	t.Run("a container may follow its network at once", func(t *testing.T) {
		for i := range 5 {
			mustDocker(t, "network", "create", "-d", "netplugin", "--ipam-driver", "netplugin", "--subnet", fmt.Sprintf("10.8.%d.0/24", i), "quick/blue")
			mustDocker(t, "run", "--rm", "--network", "quick/blue", "alpine", "true")
			mustDocker(t, "network", "rm", "quick/blue")
			if _, ok := m.now().Networks.Get("blue:quick"); ok {
				t.Fatal("the network is in the World")
			}
		}
	})

	t.Run("IPv6 alone, where the engine can", func(t *testing.T) {
		six := model.Network{Tenant: "default", Name: "six"}
		var err error
		if six.IPv6, err = model.ParsePool("2001:db8:6::/64", "", true); err != nil {
			t.Fatal(err)
		}
		m.create(t, six)
		told := false
		eventually(t, "it is there, or the operator is told why not", func() bool {
			_, err := docker(t, "network", "inspect", "six")
			told = strings.Contains(strings.Join(d.Problems(), "\n"), "network default:six has IPv6 alone; Docker engines before 28")
			return err == nil || told
		})
		if !told {
			mustDocker(t, "run", "-d", "--name", "s1", "--network", "six", "alpine", "sleep", "1000")
			if out := mustDocker(t, "exec", "s1", "ip", "address", "show", "eth0"); !strings.Contains(out, "2001:db8:6::1/64") || strings.Contains(out, "inet 1") {
				t.Errorf("in the container:\n%s", out)
			}
			mustDocker(t, "rm", "-f", "s1")
		}
		m.remove("default:six")
	})

	t.Run("twenty containers at once", func(t *testing.T) {
		errs := make(chan error, 20)
		for i := range 20 {
			go func() {
				out, err := docker(t, "run", "-d", "--name", fmt.Sprintf("many%d", i), "--network", "contiv-net", "alpine", "sleep", "1000")
				if err != nil {
					err = fmt.Errorf("%w: %s", err, out)
				}
				errs <- err
			}()
		}
		names := []string{"rm", "-f"}
		for i := range 20 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
			names = append(names, fmt.Sprintf("many%d", i))
		}
		eventually(t, "each has its id", func() bool {
			count := 0
			for _, e := range m.now().Endpoints.All() {
				if strings.HasPrefix(e.Name, "many") && e.Container != "" {
					count++
				}
			}
			return count == 20
		})
		mustDocker(t, names...)
	})

	t.Run("refusals reach the terminal", func(t *testing.T) {
		for want, args := range map[string][]string{
			"conflicts with subnet 10.1.2.0/24": {"--ipam-driver", "netplugin", "--subnet", "10.1.2.0/24"},
			"tenant green does not exist":       {"--ipam-driver", "netplugin", "--subnet", "10.5.0.0/24", "-o", "tenant=green"},
			`option "color" is unknown`:         {"--ipam-driver", "netplugin", "--subnet", "10.5.0.0/24", "-o", "color=red"},
			"add --ipam-driver netplugin":       {"--subnet", "10.5.0.0/24"},
			"no subnet of IPv4 is given":        {"--ipam-driver", "netplugin"},
		} {
			if out, err := docker(t, append([]string{"network", "create", "-d", "netplugin", "bad"}, args...)...); err == nil || !strings.Contains(out, want) {
				t.Errorf("docker network create %v: %v\n%s\nwant %s", args, err, out, want)
			}
		}
	})

	t.Run("docker network rm of netctl's network does not last", func(t *testing.T) {
		m.create(t, network4("default", "web", "10.6.0.0/24", ""))
		eventually(t, "it is there", func() bool { _, err := docker(t, "network", "inspect", "web"); return err == nil })
		before := mustDocker(t, "network", "inspect", "web", "--format", "{{.ID}}")
		if out, err := docker(t, "network", "rm", "web"); err == nil {
			t.Logf("the engine removed it: %s", out)
			eventually(t, "it is back", func() bool {
				out, err := docker(t, "network", "inspect", "web", "--format", "{{.ID}}")
				return err == nil && out != before
			})
		} else {
			t.Logf("the engine refused: %s", out)
		}
		mustDocker(t, "run", "--rm", "--network", "web", "alpine", "true")
		m.remove("default:web")
		eventually(t, "it is gone", func() bool { _, err := docker(t, "network", "inspect", "web"); return err != nil })
	})

	t.Run("an engine that was killed catches up", func(t *testing.T) {
		mustDocker(t, "rm", "-f", "c9", "b1") // the next engine would wait 10 s for these to end
		m.create(t, network4("default", "before", "10.6.1.0/24", ""))
		eventually(t, "it is there", func() bool { _, err := docker(t, "network", "inspect", "before"); return err == nil })
		mustDocker(t, "run", "-d", "--name", "always", "--restart", "always", "--stop-signal", "KILL", "--network", "contiv-net", "alpine", "sleep", "1000")
		endpoint := mustDocker(t, "inspect", "always", "--format", `{{(index .NetworkSettings.Networks "contiv-net").EndpointID}}`)
		text, err := os.ReadFile("/run/docker.pid")
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil { // whoever started this test starts another engine
			t.Fatal(err)
		}
		m.remove("default:before")
		m.create(t, network4("default", "after", "10.6.2.0/24", ""))
		for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			out, err := docker(t, "network", "ls", "--format", "{{.Name}}")
			if err == nil && strings.Contains(out, "after") && !strings.Contains(out, "before") {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("the engine has %s (%v)", out, err)
			}
		}
		eventually(t, "the container runs again, with a new endpoint alone", func() bool {
			out, err := docker(t, "inspect", "always", "--format", `{{.State.Running}} {{(index .NetworkSettings.Networks "contiv-net").EndpointID}}`)
			running, id, _ := strings.Cut(out, " ")
			_, stale := m.now().Endpoints.Get(endpoint)
			_, known := m.now().Endpoints.Get(id)
			return err == nil && running == "true" && id != endpoint && known && !stale
		})
		mustDocker(t, "rm", "-f", "always")
		m.remove("default:after")
	})

	t.Run("nothing is left", func(t *testing.T) {
		w := m.now()
		if w.Endpoints.Len() != 0 || w.Addresses.Len() != 0 {
			t.Errorf("%d endpoints and %d addresses are left", w.Endpoints.Len(), w.Addresses.Len())
		}
		ports, err := netdev.Ports()
		if err != nil || len(ports) != 0 {
			t.Errorf("ports %v, error %v", ports, err)
		}
		m.remove("default:contiv-net")
		m.remove("blue:contiv-net")
		m.remove("default:second")
		eventually(t, "no network of ours is in the engine", func() bool {
			return mustDocker(t, "network", "ls", "-q", "--filter", "driver=netplugin") == ""
		})
		eventually(t, "nothing is written down", func() bool {
			l, _ := d.record.read()
			return len(l.Networks)+len(l.Pools)+len(l.Removed) == 0
		})
	})
}

// insideHost is set where the test runs inside the host that it has made.
const insideHost = "CONTIV_TEST_INSIDE_HOST"

func TestRealEngine(t *testing.T) {
	if os.Getenv(insideHost) != "" {
		onRealEngine(t)
		return
	}
	t.Parallel()
	lab := netlab.New(t, netlab.Options{Hosts: []netlab.HostOptions{{Name: "node1"}}})
	host := lab.Hosts()[0]
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var options netlab.EngineOptions // Debian's engine, or another one in the directory that is named
	if dir := os.Getenv("CONTIV_TEST_ENGINE_PATH"); dir != "" {
		options = netlab.EngineOptions{Binary: filepath.Join(dir, "dockerd"), Path: dir}
	}
	engine, err := host.StartEngine(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := host.LoadImage(ctx); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	watching, stopWatching := context.WithCancel(ctx)
	watched := make(chan error, 1)
	go func() {
		for { // ends with watching
			_ = engine.Wait(watching) // it was killed, as it says
			if watching.Err() != nil {
				watched <- nil
				return
			}
			again, err := host.StartEngine(ctx, options)
			if err != nil {
				watched <- err
				return
			}
			engine = again
		}
	}()
	defer func() {
		stopWatching()
		if err := <-watched; err != nil {
			t.Error(err)
		}
	}()
	cmd := host.Command(ctx, program, "-test.run=^TestRealEngine$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(cmd.Env, insideHost+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("inside the host: %v\n%s", err, out)
	}
	t.Logf("inside the host:\n%s", out)
}
