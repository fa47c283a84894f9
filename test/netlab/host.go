// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Host is one machine of the lab, on or off. Its methods may be called concurrently.
type Host struct {
	lab   *Lab
	state *hostState

	mu      sync.Mutex
	machine machine // zero when the host is off
}

// ErrOff is wrapped by what fails because the host is off: Boot it.
var ErrOff = errors.New("the host is off")

// Name is the host name.
func (h *Host) Name() string { return h.state.Name }

// Addr is the host's address on the underlay.
func (h *Host) Addr() netip.Addr { return h.state.Addr.Addr() }

// Prefix is the host's address with the length of the underlay's subnet.
func (h *Host) Prefix() netip.Prefix { return h.state.Addr }

// On tells whether the host runs.
func (h *Host) On() bool { return h.current().on() }

// Pid is the host's pid 1 as the machine sees it, and 0 when the host is off. It changes with each Boot.
func (h *Host) Pid() int {
	if m := h.current(); m.on() {
		return m.Init.Pid
	}
	return 0
}

// Netns is the path of the host's network namespace, for programs outside. It changes with each Boot.
func (h *Host) Netns() string { return filepath.Join(h.current().proc(), "ns/net") }

// Root is the host's root directory as the machine sees it: Root()+"/run/docker.sock" is the engine's socket. It
// changes with each Boot.
func (h *Host) Root() string { return filepath.Join(h.current().proc(), "root") }

func (h *Host) current() machine {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.machine
}

func (h *Host) port() string { return fmt.Sprintf("port%d", h.state.Index) }

// path is in the host's directory, which the machine sees.
func (h *Host) path(elem ...string) string {
	return filepath.Join(append([]string{h.lab.state.Dir, h.Name()}, elem...)...)
}

// Enter runs fn on an OS thread in all namespaces of the host but the pid namespace. The thread ends with fn; sockets that
// fn opens stay in the host.
func (h *Host) Enter(fn func() error) error {
	return h.enter(namespaces&^unix.CLONE_NEWPID, fn)
}

func (h *Host) enter(which int, fn func() error) error {
	m := h.current()
	if !m.on() {
		return fmt.Errorf("enter host %s: %w", h.Name(), ErrOff)
	}
	if err := enter(m.Init, which, fn); errors.Is(err, errGone) {
		return fmt.Errorf("enter host %s: %w", h.Name(), errors.Join(ErrOff, err))
	} else {
		return err
	}
}

// Boot turns the host on with the disk as it is; a host that is on stays as it is. No daemon is started.
func (h *Host) Boot(ctx context.Context) (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.machine.on() {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("boot host %s: %w", h.Name(), err)
		}
	}()
	s := &h.lab.state
	m, err := powerOn(s.Name, namespaces, s.Ephemeral)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.powerOff(context.WithoutCancel(ctx)))
		}
	}()
	h.lab.remember(m)
	if err := ctx.Err(); err != nil {
		return err
	}
	id := sha256.Sum256([]byte(s.Name + "/" + h.Name()))
	f := furniture{
		dir: h.path(), hostname: h.Name(), disk: s.Disk,
		files: map[string]string{
			"/etc/hostname":    h.Name() + "\n",
			"/etc/hosts":       h.lab.hostsFile(),
			"/etc/resolv.conf": "",
			"/etc/machine-id":  fmt.Sprintf("%x\n", id[:16]),
		},
	}
	if s.Resolver.IsValid() {
		f.files["/etc/resolv.conf"] = fmt.Sprintf("nameserver %s\n", s.Resolver)
	}
	if err := os.MkdirAll(h.path(), 0o755); err != nil {
		return err
	}
	if err := enter(m.Init, namespaces, func() error { return furnish(f) }); err != nil {
		return err
	}
	if err := h.connect(m); err != nil {
		return err
	}
	h.machine = m
	return save(h.path("host.json"), m)
}

// WirePort is the switch's port, in the fabric's network namespace, of one of Options.Wires.
func (h *Host) WirePort(device string) string { return fmt.Sprintf("%s-%s", h.port(), device) }

// connect lays the cables from the fabric to the host.
func (h *Host) connect(m machine) error {
	s := &h.lab.state
	// Locally administered; then the lab's own number, so that two hosts of a lab differ.
	mac := [6]byte{0x0a, 0, 0, 0, byte(h.state.Index >> 8), byte(h.state.Index)}
	cables := []cable{{to: bridge, port: h.port(), device: s.Interface, addr: h.state.Addr, mtu: s.MTU, mac: mac, cut: h.state.Cut}}
	for i, device := range s.Wires {
		mac[1] = byte(i + 1)
		cables = append(cables, cable{to: wire, port: h.WirePort(device), device: device, mtu: s.MTU, mac: mac})
	}
	netns, err := os.Open(filepath.Join(m.proc(), "ns/net"))
	if err != nil {
		return err
	}
	defer netns.Close()
	for _, c := range cables {
		if err := h.lab.inFabric(func() error { return c.plug(netns) }); err != nil {
			return err
		}
		if err := enter(m.Init, unix.CLONE_NEWNET, c.configure); err != nil {
			return err
		}
	}
	return nil
}

// Kill pulls the plug: every process of the host dies at once, and what is not on its disk is gone. It waits until that is so.
// A host that is off stays off.
func (h *Host) Kill(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.machine.powerOff(ctx); err != nil {
		return fmt.Errorf("kill host %s: %w", h.Name(), err)
	}
	// Its pid 1 may linger as if it ran; see machine.dead.
	h.machine = machine{}
	if err := os.Remove(h.path("host.json")); !absent(err) {
		return fmt.Errorf("kill host %s: %w", h.Name(), err)
	}
	// The kernel removes the namespace's links when it gets round to it.
	ports := []string{h.port()}
	for _, device := range h.lab.state.Wires {
		ports = append(ports, h.WirePort(device))
	}
	for _, port := range ports {
		if err := h.lab.inFabric(func() error { return unplug(port) }); err != nil {
			return fmt.Errorf("kill host %s: %w", h.Name(), err)
		}
	}
	return nil
}
