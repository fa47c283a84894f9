// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Options say what lab to start. The zero value of each field is a choice.
type Options struct {
	Name      string        // lower-case letters, digits, '-'; names cgroups and processes. Empty: a random one
	Dir       string        // where the lab keeps its state, disks and logs. Empty: a directory in os.TempDir named for the lab
	Hosts     []HostOptions // started together
	Subnet    netip.Prefix  // of the underlay, IPv4 or IPv6; hosts without an address get its .10, .11, ... Zero: 192.168.2.0/24
	MTU       int           // of the underlay, bytes. 0: 1500
	Interface string        // the hosts' underlay interface. Empty: eth1
	Wires     []string      // further interfaces of each host, up and without addresses, all on one more switch that carries VLANs
	Resolver  netip.Addr    // the nameserver in every /etc/resolv.conf. Zero: none, and then Docker takes 8.8.8.8
	Disk      []string      // further absolute directories that hosts have for themselves and keep through a power cycle
	Ephemeral bool          // the lab ends with this program, however that ends
}

// HostOptions say what one host is.
type HostOptions struct {
	Name string       // its host name
	Addr netip.Prefix // on the underlay. Zero: the next free one of Options.Subnet
}

// Lab is a set of hosts on one underlay. Its methods may be called concurrently.
type Lab struct {
	fabric machine
	image  func() ([]byte, error) // the test image's tar archive, made once

	mu         sync.Mutex
	state      state
	hosts      []*Host
	namespaces map[string]bool // all that the lab ever had, as /proc/<pid>/ns/* links to them
	checked    uint64          // when Leftovers was first asked, in ticks since boot
}

// state is lab.json: what another program needs to go on.
type state struct {
	Name      string       `json:"name"`
	Dir       string       `json:"dir"`
	Owner     processID    `json:"owner"` // who started it
	Subnet    netip.Prefix `json:"subnet"`
	MTU       int          `json:"mtu"`
	Interface string       `json:"interface"`
	Wires     []string     `json:"wires,omitempty"`
	Resolver  netip.Addr   `json:"resolver,omitzero"`
	Disk      []string     `json:"disk"`
	Ephemeral bool         `json:"ephemeral"`
	Hosts     []*hostState `json:"hosts"`
}

type hostState struct {
	Name  string       `json:"name"`
	Index int          `json:"index"` // from 1
	Addr  netip.Prefix `json:"addr"`
	Cut   bool         `json:"cut"`
}

const stateFile = "lab.json"

var (
	labName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	// What mount(2) takes literally in the options of an overlay.
	plainPath = regexp.MustCompile(`^/[^,:\\]+$`)
)

// Up starts a lab: the fabric and its hosts, without engines. A lab of the same name and directory that was there before, whole or
// in parts, is removed first. After an error nothing is left.
func Up(ctx context.Context, o Options) (_ *Lab, err error) {
	s, err := o.state()
	if err != nil {
		return nil, err
	}
	if o.Name == "" {
		if err := sweep(ctx); err != nil {
			return nil, err
		}
	} else if err := Remove(ctx, s.Name, s.Dir); err != nil {
		return nil, fmt.Errorf("remove the lab that was there before: %w", err)
	}
	l := newLab(s)
	if err := save(filepath.Join(s.Dir, stateFile), s); err != nil {
		return nil, fmt.Errorf("make the lab's directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if err := l.startFabric(); err != nil {
		return nil, err
	}
	var hosts []*Host
	for _, ho := range o.Hosts {
		h, err := l.define(ho)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	errs := make([]error, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() { errs[i] = h.Boot(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

// state checks the options and fills in what they leave open.
func (o Options) state() (state, error) {
	s := state{Name: o.Name, Dir: o.Dir, Subnet: o.Subnet.Masked(), MTU: o.MTU, Interface: o.Interface, Wires: o.Wires, Resolver: o.Resolver, Ephemeral: o.Ephemeral}
	if s.Name == "" {
		var random [4]byte
		rand.Read(random[:])
		s.Name = hex.EncodeToString(random[:])
	}
	if s.Dir == "" {
		s.Dir = filepath.Join(os.TempDir(), "netlab-"+s.Name)
	}
	if !o.Subnet.IsValid() {
		s.Subnet = netip.MustParsePrefix("192.168.2.0/24")
	}
	if s.MTU == 0 {
		s.MTU = 1500
	}
	if s.Interface == "" {
		s.Interface = "eth1"
	}
	for _, path := range slices.Concat(disk, o.Disk) {
		if path = filepath.Clean(path); !slices.Contains(s.Disk, path) {
			s.Disk = append(s.Disk, path)
		}
	}
	switch bad := func(path string) bool { return !plainPath.MatchString(path) }; {
	case !labName.MatchString(s.Name):
		return s, fmt.Errorf("lab name %q: use up to 32 lower-case letters, digits and '-'", s.Name)
	case bad(s.Dir) || slices.ContainsFunc(s.Disk, bad):
		return s, fmt.Errorf("lab directory %q, disk %q: use absolute paths without comma, colon and backslash", s.Dir, s.Disk)
	case s.MTU < 576 || s.MTU > 65535:
		return s, fmt.Errorf("MTU %d: use 576 to 65535", s.MTU)
	case len(s.Interface) > 15:
		return s, fmt.Errorf("interface %q: use up to 15 characters", s.Interface)
	}
	var err error
	s.Owner, err = identify(os.Getpid())
	return s, err
}

func newLab(s state) *Lab {
	return &Lab{state: s, namespaces: map[string]bool{}, image: sync.OnceValues(alpine)}
}

// Open finds a lab that another program started, by its directory.
func Open(dir string) (*Lab, error) {
	var s state
	if err := load(filepath.Join(dir, stateFile), &s); err != nil {
		return nil, fmt.Errorf("open the lab in %s (has one been started there?): %w", dir, err)
	}
	s.Dir = dir
	l := newLab(s)
	if err := load(filepath.Join(dir, "fabric.json"), &l.fabric); err != nil {
		return nil, fmt.Errorf("open the lab in %s: %w", dir, err)
	}
	l.remember(l.fabric)
	for _, hs := range l.state.Hosts {
		h := &Host{lab: l, state: hs}
		// Without the file the host was never on.
		if err := load(h.path("host.json"), &h.machine); !absent(err) {
			return nil, err
		}
		l.remember(h.machine)
		l.hosts = append(l.hosts, h)
	}
	return l, nil
}

// define adds a host that is off.
func (l *Lab) define(o HostOptions) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := map[netip.Addr]bool{}
	for _, h := range l.state.Hosts {
		taken[h.Addr.Addr()] = true
		if h.Name == o.Name {
			return nil, fmt.Errorf("host %q: the lab has one of that name", o.Name)
		}
	}
	if !labName.MatchString(o.Name) {
		return nil, fmt.Errorf("host name %q: use up to 32 lower-case letters, digits and '-'", o.Name)
	}
	if !o.Addr.IsValid() {
		a := l.state.Subnet.Addr()
		for range 10 {
			a = a.Next()
		}
		for ; taken[a] && l.state.Subnet.Contains(a); a = a.Next() {
		}
		o.Addr = netip.PrefixFrom(a, l.state.Subnet.Bits())
	}
	if !l.state.Subnet.Contains(o.Addr.Addr()) || taken[o.Addr.Addr()] {
		return nil, fmt.Errorf("host %q: address %s is taken or outside %s", o.Name, o.Addr, l.state.Subnet)
	}
	h := &Host{lab: l, state: &hostState{Name: o.Name, Index: len(l.state.Hosts) + 1, Addr: o.Addr}}
	l.state.Hosts = append(l.state.Hosts, h.state)
	l.hosts = append(l.hosts, h)
	return h, save(filepath.Join(l.state.Dir, stateFile), l.state)
}

// AddHost starts one more host: a node that comes later, or a foreign machine on the underlay.
func (l *Lab) AddHost(ctx context.Context, o HostOptions) (*Host, error) {
	h, err := l.define(o)
	if err == nil {
		err = h.Boot(ctx)
	}
	if err != nil {
		return nil, err
	}
	// The others know its name from now on.
	for _, other := range l.Hosts() {
		if other == h || !other.On() {
			continue
		}
		if err := os.WriteFile(filepath.Join(other.Root(), "etc/hosts"), []byte(l.hostsFile()), 0o644); err != nil && other.On() {
			return nil, fmt.Errorf("tell host %s of %s: %w", other.Name(), h.Name(), err)
		}
	}
	return h, nil
}

// Host gives the host of that name; a lab without it is a mistake in the caller, so it panics.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.Hosts() {
		if h.Name() == name {
			return h
		}
	}
	panic("netlab: the lab has no host " + name)
}

// Hosts gives all, in the order of their definition.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.hosts)
}

// Name is the lab's, given or random.
func (l *Lab) Name() string { return l.state.Name }

// Dir is where the lab keeps its state, disks and logs.
func (l *Lab) Dir() string { return l.state.Dir }

// FabricNetns is the path of the network namespace with the bridge "underlay", in which host i (from 1) has port<i>.
func (l *Lab) FabricNetns() string { return filepath.Join(l.fabric.proc(), "ns/net") }

// Close kills all hosts and removes every trace of the lab. It may be called again.
func (l *Lab) Close() error {
	return Remove(context.Background(), l.state.Name, l.state.Dir)
}

// update changes the state and writes it down.
func (l *Lab) update(change func(*state)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.state)
	return save(filepath.Join(l.state.Dir, stateFile), l.state)
}

// remember takes down the machine's namespaces, so that Leftovers can tell whether they are still in use.
func (l *Lab) remember(m machine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, link := range m.Namespaces {
		l.namespaces[link] = true
	}
}

// hostsFile is /etc/hosts: every host of the lab by its name.
func (l *Lab) hostsFile() string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
	for _, h := range l.Hosts() {
		fmt.Fprintf(&b, "%s %s\n", h.Addr(), h.Name())
	}
	return b.String()
}
