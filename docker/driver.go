// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// Times. An engine waits without limit for an answer, so these bound what a user sees.
const (
	// patience is how long a call waits for a master, or for the keeper: within the 15 s that an engine itself would
	// have tried a plugin that does not answer.
	patience = 12 * time.Second
	// attachTimeout bounds Join.
	attachTimeout = 20 * time.Second
	// peekTimeout bounds each question to the engine that a call of the engine itself asks.
	peekTimeout = 300 * time.Millisecond
	// briefly bounds what a container's end waits for.
	briefly = time.Second
)

// Runtime is what endpoints of Docker have as their runtime.
const Runtime = "docker"

// Options say what the driver works with.
type Options struct {
	Agent  Agent
	Engine *Engine
	// Socket is the plugin's, in PluginDir; its name without .sock is the drivers' name.
	Socket   string
	StateDir string // for what stays, as /var/lib/contiv/netplugin
	Log      *slog.Logger
}

// Driver is the network and IPAM driver of one node's engine, and the keeper of its networks.
type Driver struct {
	Options
	name     string
	record   *record
	nudge    chan struct{}
	learners chan struct{} // as many as may read containers at once

	mu       sync.Mutex
	creating map[string]place     // of the keeper's own networks on their way into the engine, by key
	removing map[string]bool      // and out of it, by the engine's id
	gone     map[string]time.Time // networks that an engine was told are gone, since when; it may still list them
	held     map[string]bool      // addresses given and not attached yet, by key
	problems map[string]string    // what the keeper cannot do, by subject
	yields   map[string]string    // which of groups' second names others have
	learning map[string]bool      // containers that are being read; true: again after that
	keeping  sync.Mutex           // one round of the keeper at a time
}

// New makes the driver from what the last run left on disk.
func New(o Options) (*Driver, error) {
	r, err := openRecord(o.StateDir)
	if err != nil {
		return nil, err
	}
	return &Driver{
		Options: o, name: strings.TrimSuffix(filepath.Base(o.Socket), ".sock"), record: r,
		nudge: make(chan struct{}, 1), learners: make(chan struct{}, 8),
		creating: map[string]place{}, removing: map[string]bool{}, gone: map[string]time.Time{}, held: map[string]bool{},
		problems: map[string]string{}, learning: map[string]bool{},
	}, nil
}

// Run serves the engine and keeps its networks until ctx ends. It fails at once when the socket is taken.
func (d *Driver) Run(ctx context.Context) error {
	l, err := listen(d.Socket)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler: handler(d.methods(), d.Log), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(d.Log.Handler(), slog.LevelWarn),
	}
	d.Log.Info("serving the Docker engine", "socket", d.Socket, "engine", d.Engine.socket)
	var wg sync.WaitGroup
	wg.Go(func() { d.keep(ctx) })
	wg.Go(func() { d.watch(ctx) })
	stopped := make(chan error, 1)
	wg.Go(func() { stopped <- server.Serve(l) })
	select {
	case <-ctx.Done():
	case err = <-stopped:
		err = fmt.Errorf("serve the Docker engine: %w", err)
	}
	cancel()
	// Calls on their way get an answer: an engine would repeat them, but for up to 15 s nobody hears it.
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	if server.Shutdown(closing) != nil {
		_ = server.Close() // its error would be that of the listener, which is closed
	}
	wg.Wait()
	return err
}

type activation struct{ Implements []string }

func activate(context.Context, nothing) (activation, error) {
	return activation{[]string{"NetworkDriver", "IpamDriver"}}, nil
}

type networkCapabilities struct {
	Scope          string
	GwAllocChecker bool
}

// Each engine has networks of its own; it is the keeper who makes them the same. In scope global engines want
// swarm's manager for each network. GwAllocChecker has engines since 28 ask gatewayCheck; older ones do not know it.
func capabilities(context.Context, nothing) (networkCapabilities, error) {
	return networkCapabilities{Scope: "local", GwAllocChecker: true}, nil
}

type gatewayCheckResponse struct{ SkipIPv4, SkipIPv6 bool }

// gatewayCheck tells an engine not to make a gateway up where none was asked for.
func gatewayCheck(context.Context, nothing) (gatewayCheckResponse, error) {
	return gatewayCheckResponse{SkipIPv4: true, SkipIPv6: true}, nil
}

type ipamData struct {
	AddressSpace string
	Pool         string
	Gateway      string // address/length
}

type createNetworkRequest struct {
	NetworkID string
	Options   map[string]any
	IPv4Data  []ipamData
	IPv6Data  []ipamData
}

// Keys of CreateNetwork's options.
const (
	optionGeneric  = "com.docker.network.generic" // what was given with -o
	optionInternal = "com.docker.network.internal"
)

// createNetwork takes note of a network. The keeper's own is known already; a user's is tried at a
// master, and put there when the engine says what its name is.
func (d *Driver) createNetwork(ctx context.Context, req createNetworkRequest) (nothing, error) {
	if req.NetworkID == "" {
		return nothing{}, model.Invalid("", "the engine named no network")
	}
	asked, err := askedOptions(req.Options)
	if err != nil {
		return nothing{}, err
	}
	for _, data := range [][]ipamData{req.IPv4Data, req.IPv6Data} {
		if len(data) > 1 {
			return nothing{}, model.Invalid("subnet", "a network has one subnet of each family; make a network for each of %s and %s", data[0].Pool, data[1].Pool)
		}
		if len(data) == 1 && data[0].AddressSpace != addressSpace {
			return nothing{}, model.Invalid("", "driver %s gives addresses itself; add --ipam-driver %s", d.name, d.name)
		}
	}
	if p, ok := d.ownCreation(asked, req); ok {
		return nothing{}, d.record.change(func(l *ledger) { l.Networks[req.NetworkID] = knownOf(p) })
	}
	pools, err := d.takePools(&asked, req)
	if err != nil {
		return nothing{}, err
	}
	if err := d.try(ctx, req.NetworkID, asked); err != nil {
		return nothing{}, err
	}
	err = d.record.change(func(l *ledger) {
		l.Networks[req.NetworkID] = known{Asked: &asked, Since: time.Now()}
		for _, id := range pools {
			p := l.Pools[id]
			p.Network = req.NetworkID
			l.Pools[id] = p
		}
	})
	return nothing{}, err
}

// askedOptions reads what was given with -o, and refuses what is not known by its name.
func askedOptions(options map[string]any) (api.Network, error) {
	n := api.Network{TenantName: model.DefaultTenant, Origin: model.OriginDocker}
	n.Internal, _ = options[optionInternal].(bool)
	generic, _ := options[optionGeneric].(map[string]any)
	text := make(map[string]string, len(generic))
	for k, v := range generic {
		s, ok := v.(string)
		if !ok {
			return n, model.Invalid("", "option %s is not text", k)
		}
		text[k] = s
	}
	return n, setOptions(&n, text)
}

// Names of -o options.
const (
	optionTenant = "tenant"
	optionEncap  = "encap"
	optionTag    = "pkt-tag"
)

func setOptions(n *api.Network, options map[string]string) error {
	for k, v := range options {
		switch k {
		case optionTenant:
			n.TenantName = cmp.Or(v, model.DefaultTenant)
		case optionEncap:
			n.Encap = v
		case optionTag:
			tag, err := strconv.ParseUint(v, 10, 24)
			if err != nil {
				return model.Invalid("pktTag", "option pkt-tag=%s is not a number; write it as -o pkt-tag=112", v)
			}
			n.PktTag = uint32(tag)
		default:
			// The engine's own, as com.docker.network.driver.mtu, are not about us.
			if !strings.HasPrefix(k, "com.docker.") {
				return model.Invalid("", "option %q is unknown; known are tenant, encap and pkt-tag", k)
			}
		}
	}
	return nil
}

// ownCreation finds for which place the keeper is just making a network in the engine by this call. The tags of networks are
// unique, and the keeper makes one network after the other, so that those of a network and its groups are not confused. Where
// the engine is so late that they are, their labels put it right.
func (d *Driver) ownCreation(asked api.Network, req createNetworkRequest) (place, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.creating {
		n := p.network
		if n.Tenant == asked.TenantName && n.Encap == asked.Encap && n.Tag == asked.PktTag && samePool(n.IPv4, req.IPv4Data) && samePool(n.IPv6, req.IPv6Data) {
			return p, true
		}
	}
	return place{}, false
}

func samePool(p model.Pool, data []ipamData) bool {
	if p.IsZero() || len(data) == 0 {
		return p.IsZero() && len(data) == 0
	}
	return data[0].Pool == p.Subnet().String()
}

// takePools fills in the addresses of a user's network from what was asked of the IPAM driver just before.
func (d *Driver) takePools(asked *api.Network, req createNetworkRequest) (ids []string, err error) {
	l, _ := d.record.read()
	take := func(data []ipamData) (pool, error) {
		for id, p := range l.Pools {
			// A call that is repeated finds the pools that it has taken already.
			if p.Subnet.String() == data[0].Pool && (p.Network == "" || p.Network == req.NetworkID) {
				ids = append(ids, id)
				asked.Reserved = append(asked.Reserved, p.Aux...)
				return p, nil
			}
		}
		return pool{}, model.Invalid("subnet", "subnet %s was not asked of this IPAM driver; remove the network and make it again", data[0].Pool)
	}
	if len(req.IPv4Data) == 1 {
		p, err := take(req.IPv4Data)
		if err != nil {
			return nil, err
		}
		asked.Subnet, asked.Gateway = p.text()
	}
	if len(req.IPv6Data) == 1 {
		p, err := take(req.IPv6Data)
		if err != nil {
			return nil, err
		}
		asked.IPv6Subnet, asked.IPv6Gateway = p.text()
	}
	return ids, nil
}

// try has a master check a user's network of which the name is not known yet.
func (d *Driver) try(ctx context.Context, id string, asked api.Network) error {
	asked.NetworkName = "docker-" + short(id)
	asked.Key = model.NetworkKey(asked.TenantName, asked.NetworkName)
	if _, err := asked.Model(); err != nil {
		return err
	}
	path := api.ObjectPath(api.Networks, asked.Key) + "?dry-run=true"
	err := d.withMaster(ctx, func(ctx context.Context) error {
		_, err := d.Agent.Masters().Put(ctx, path, asked, nil)
		return err
	})
	var refusal *api.Error
	if errors.As(err, &refusal) {
		text := strings.ReplaceAll(refusal.Text, asked.Key, "the new network")
		if asked.TenantName == model.DefaultTenant && errors.Is(err, model.ErrExists) {
			text += "; for a network of another tenant give -o tenant=NAME"
		}
		return errors.New(text)
	}
	if err != nil {
		return fmt.Errorf("the network cannot be made now: %w", err)
	}
	return nil
}

// withMaster calls fn until a master has answered it, for as long as patience lasts. A refusal is an answer.
func (d *Driver) withMaster(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		call, done := context.WithTimeout(ctx, 5*time.Second)
		err := fn(call)
		done()
		if !noMaster(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// noMaster tells whether no master could do it: none answers, or their store is away.
func noMaster(err error) bool {
	var unreachable *api.UnreachableError
	var refusal *api.Error
	return errors.As(err, &unreachable) || errors.As(err, &refusal) && refusal.Status == http.StatusServiceUnavailable
}

type deleteNetworkRequest struct{ NetworkID string }

// deleteNetwork is a user's `docker network rm`, the keeper's own, or the end of a creation that failed.
func (d *Driver) deleteNetwork(ctx context.Context, req deleteNetworkRequest) (nothing, error) {
	l, _ := d.record.read()
	k, ok := l.Networks[req.NetworkID]
	d.mu.Lock()
	own := d.removing[req.NetworkID]
	d.mu.Unlock()
	if !ok || own {
		return nothing{}, d.leave(req.NetworkID)
	}
	p, exists := placeIn(d.Agent.World(), k.Key, k.Group)
	if !exists || !k.is(p) {
		return nothing{}, d.leave(req.NetworkID)
	}
	d.mu.Lock()
	_, unfinished := d.creating[p.key()]
	d.mu.Unlock()
	if unfinished {
		return nothing{}, d.leave(req.NetworkID) // the engine undoes what the keeper asked for
	}
	if p.group != "" || p.network.Origin != model.OriginDocker {
		return nothing{}, model.InUse("", "%s belongs to netctl: use %s. Until then every engine has it", p, p.removal())
	}
	call, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	revision, err := d.Agent.Masters().Delete(call, api.ObjectPath(api.Networks, k.Key))
	if noMaster(err) {
		d.Log.Warn("a network that was removed with docker network rm will be removed everywhere when a master answers", "network", k.Key, "error", err)
		if err := d.record.change(func(l *ledger) { l.Removed[k.Key] = k }); err != nil {
			return nothing{}, err
		}
		return nothing{}, d.leave(req.NetworkID)
	}
	if err != nil {
		return nothing{}, fmt.Errorf("remove %s: %w", p, err)
	}
	// The keeper would make it again if it saw the engine without it and the World with it.
	if err := d.Agent.WaitWorld(call, revision); err != nil {
		d.Log.Debug("a removed network is still in this node's World", "network", k.Key, "error", err)
	}
	return nothing{}, d.leave(req.NetworkID)
}

// leave forgets a network that the engine is about to forget. Until it has, the keeper must not take it for a user's new one.
func (d *Driver) leave(id string) error {
	d.mu.Lock()
	d.gone[id] = time.Now()
	d.mu.Unlock()
	return d.forget(id)
}

// forget drops what is recorded about a network of the engine.
func (d *Driver) forget(id string) error {
	return d.record.change(func(l *ledger) { drop(l, id) })
}

func drop(l *ledger, id string) {
	delete(l.Networks, id)
	for pid, p := range l.Pools {
		if p.Network == id {
			delete(l.Pools, pid)
		}
	}
}

// placeOf finds the place for the engine's network of that id. A user's that was made just now is waited for.
func (d *Driver) placeOf(ctx context.Context, id string) (place, error) {
	var k known
	err := d.await(ctx, func(l ledger) bool {
		k = l.Networks[id]
		return k.Key != ""
	})
	if err != nil {
		return place{}, fmt.Errorf("network %s of the engine is not one that netplugin on %s knows; see its log, or remove the network and make it again", short(id), d.Agent.NodeName())
	}
	return d.inWorld(ctx, k.Key, k.Group)
}

// inWorld is the place of that network's key and group, of which this node may be about to hear.
func (d *Driver) inWorld(ctx context.Context, key, group string) (place, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		changed := d.Agent.Changed()
		if p, ok := placeIn(d.Agent.World(), key, group); ok {
			return p, nil
		}
		if d.Agent.Fresh() {
			what := "network " + key
			if group != "" {
				what = fmt.Sprintf("group %s of network %s", group, key)
			}
			return place{}, model.NotFound("", "%s does not exist any more", what)
		}
		select {
		case <-ctx.Done():
			return place{}, fmt.Errorf("network %s is not known on %s before it has heard a netmaster (%s)", key, d.Agent.NodeName(), strings.Join(d.Agent.Masters().Masters(), ", "))
		case <-changed:
		}
	}
}

// await returns when ok holds for the record, or with an error when patience ends.
func (d *Driver) await(ctx context.Context, ok func(ledger) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for first := true; ; first = false {
		l, changed := d.record.read()
		if ok(l) {
			return nil
		}
		if first {
			d.wake()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// endpointInterface is an endpoint's addresses, with their lengths, and MAC. What is not asked for is "".
type endpointInterface struct {
	Address     string `json:",omitempty"`
	AddressIPv6 string `json:",omitempty"`
	MacAddress  string `json:",omitempty"`
}

type createEndpointRequest struct {
	NetworkID, EndpointID string
	Interface             *endpointInterface
	Options               map[string]any
}

type createEndpointResponse struct{ Interface *endpointInterface }

// optionGroup is set with --network name=NET,driver-opt=group=GROUP. Networks of groups say it by themselves.
const optionGroup = "group"

// createEndpoint remembers an endpoint until Join. The MAC is answered only when none was asked for:
// engines take any other answer for an error.
func (d *Driver) createEndpoint(ctx context.Context, req createEndpointRequest) (createEndpointResponse, error) {
	var resp createEndpointResponse
	at, err := d.placeOf(ctx, req.NetworkID)
	if err != nil {
		return resp, err
	}
	n := at.network
	if req.Interface == nil {
		return resp, model.Invalid("ipAddress", "the engine gave endpoint %s no address", short(req.EndpointID))
	}
	e := model.Endpoint{ID: req.EndpointID, Tenant: n.Tenant, Network: n.Name, Node: d.Agent.NodeName(), Runtime: Runtime, Group: at.group}
	if asked, _ := req.Options[optionGroup].(string); asked != "" {
		if at.group != "" && asked != at.group {
			return resp, model.Invalid("groupName", "driver option group=%s is not the group of this Docker network, which is %s; leave the option out", asked, at.group)
		}
		e.Group = asked
	}
	if e.IPv4, err = addressIn(n.IPv4, req.Interface.Address); err != nil {
		return resp, err
	}
	if e.IPv6, err = addressIn(n.IPv6, req.Interface.AddressIPv6); err != nil {
		return resp, err
	}
	if len(e.Addrs()) == 0 {
		return resp, model.Invalid("ipAddress", "the engine gave endpoint %s no address", short(req.EndpointID))
	}
	if req.Interface.MacAddress != "" {
		if e.MAC, err = model.ParseMAC(req.Interface.MacAddress); err != nil {
			return resp, err
		}
	} else {
		e.MAC = model.MACOf(e.Addrs()[0])
		resp.Interface = &endpointInterface{MacAddress: e.MAC.String()}
	}
	if err := e.Check(); err != nil {
		return resp, err
	}
	if err := d.Agent.Prepare(ctx, e); err != nil {
		return resp, fmt.Errorf("note endpoint %s: %w", short(e.ID), err)
	}
	return resp, nil
}

// addressIn reads address/length, which must be in the pool; "" is none.
func addressIn(p model.Pool, text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Addr{}, model.Invalid("ipAddress", "address %q is not one of the form 10.1.2.3/24", text)
	}
	if err := p.Usable(a.Addr()); err != nil {
		return netip.Addr{}, err
	}
	return a.Addr(), nil
}

type joinRequest struct {
	NetworkID, EndpointID, SandboxKey string
}

type joinResponse struct {
	InterfaceName interfaceName
	Gateway       string
	GatewayIPv6   string
}

type interfaceName struct{ SrcName, DstPrefix string }

// join attaches the container. Without a gateway the engine adds its own way out: eth1 in docker_gwbridge, the default
// route and published ports. Routes to the tenant's other networks are the agent's, as they change.
func (d *Driver) join(ctx context.Context, req joinRequest) (joinResponse, error) {
	var resp joinResponse
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	at, err := d.placeOf(ctx, req.NetworkID)
	if err != nil {
		return resp, err
	}
	n := at.network
	e, ok := d.Agent.Prepared(req.EndpointID)
	if !ok {
		return resp, model.NotFound("", "endpoint %s was never announced to netplugin on %s; start the container again", short(req.EndpointID), d.Agent.NodeName())
	}
	// Two devices of one subnet would answer for each other, with addresses that the data path takes for spoofed. Engines
	// refuse it too, later and with less to say. 20.10 keeps what was refused as a wish of the container.
	for _, other := range d.Agent.InSandbox(req.SandboxKey) {
		if other.ID != e.ID && other.NetworkKey() == e.NetworkKey() {
			return resp, model.InUse("", "the container is in %s already, with address %s: a container can be in a network, or in one of its groups, once. Disconnect it from one of the two with docker network disconnect; engines of version 20.10 want it stopped for that",
				place{n, other.Group}, other.Addrs()[0])
		}
	}
	if e.Name == "" {
		d.introduce(ctx, req.NetworkID, &e)
	}
	if e, err = d.Agent.Attach(ctx, e, req.SandboxKey); err != nil {
		return resp, fmt.Errorf("attach to %s: %w", at, err)
	}
	d.mu.Lock()
	for _, a := range e.Addrs() {
		delete(d.held, model.AddressKey(n.Key(), a))
	}
	d.mu.Unlock()
	resp.InterfaceName = interfaceName{SrcName: d.Agent.PeerOf(e.Port), DstPrefix: "eth"}
	if e.IPv4.IsValid() && n.IPv4.Gateway.IsValid() {
		resp.Gateway = n.IPv4.Gateway.String()
	}
	if e.IPv6.IsValid() && n.IPv6.Gateway.IsValid() {
		resp.GatewayIPv6 = n.IPv6.Gateway.String()
	}
	return resp, nil
}

// introduce finds the container's name and id as far as the engine tells them by now. What it does not is learnt after its
// event, and so are its labels: they make it a provider of services, which it cannot be before its program runs.
func (d *Driver) introduce(ctx context.Context, network string, e *model.Endpoint) {
	peek, cancel := context.WithTimeout(ctx, peekTimeout)
	defer cancel()
	n, err := d.Engine.network(peek, network)
	if err != nil {
		d.Log.Debug("the engine does not say whose an endpoint is", "endpoint", short(e.ID), "error", err)
		return
	}
	e.Name = n.Containers["ep-"+e.ID].Name
	if e.Name == "" {
		return
	}
	peek, cancel = context.WithTimeout(ctx, peekTimeout)
	defer cancel()
	list, err := d.Engine.containers(peek, e.Name)
	if err != nil || len(list) != 1 {
		d.Log.Debug("the engine does not say more about a container", "container", e.Name, "found", len(list), "error", err)
		return
	}
	e.Container = list[0].ID
	e.Aliases = []string{short(e.Container)}
}

func operInfo(context.Context, nothing) (struct{ Value map[string]any }, error) {
	return struct{ Value map[string]any }{map[string]any{}}, nil
}

type deleteEndpointRequest struct{ EndpointID string }

// deleteEndpoint takes the container's device away. It never waits for a master.
func (d *Driver) deleteEndpoint(ctx context.Context, req deleteEndpointRequest) (nothing, error) {
	if err := d.Agent.Detach(ctx, req.EndpointID); err != nil {
		return nothing{}, fmt.Errorf("detach endpoint %s: %w", short(req.EndpointID), err)
	}
	return nothing{}, nil
}
