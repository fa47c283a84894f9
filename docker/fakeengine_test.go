// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fakeEngine is a Docker engine as a plugin sees it: it makes the calls of the real ones in their order
// (as they were recorded), and serves the part of the API that package docker uses.
type fakeEngine struct {
	t      *testing.T
	socket string // its API
	plugin *http.Client
	// modern engines (moby v2) send more than 20.10.
	modern atomic.Bool

	mu        sync.Mutex
	down      bool
	nets      map[string]*fakeNetwork
	conts     map[string]*fakeContainer
	calls     []string
	warnings  []string // errors of the plugin that the engine only logs
	posted    []newNetwork
	listeners map[chan event]bool
}

type fakeNetwork struct {
	engineNetwork
	pool4, pool6 string // PoolIDs
	eps          map[string]string
}

type fakeContainer struct {
	engineContainer
	endpoint, network string
	address, address6 string
	mac               string
	joined            map[string]any
}

func newFakeEngine(t *testing.T, dir, pluginSocket string) *fakeEngine {
	e := &fakeEngine{t: t, socket: dir + "/engine.sock", nets: map[string]*fakeNetwork{}, conts: map[string]*fakeContainer{}, listeners: map[chan event]bool{}}
	e.plugin = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", pluginSocket)
	}}}
	l, err := net.Listen("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: e.api()}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return e
}

// call makes one call of the plugin protocol. answer may be nil.
func (e *fakeEngine) call(method string, req, answer any) error {
	e.mu.Lock()
	e.calls = append(e.calls, method)
	e.mu.Unlock()
	b, err := json.Marshal(req)
	if err != nil {
		return err
	}
	resp, err := e.plugin.Post("http://plugin/"+method, "application/json", bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var e struct{ Err string }
		if err := json.Unmarshal(body, &e); err != nil {
			return fmt.Errorf("%s: %s", resp.Status, body)
		}
		return errors.New(e.Err)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(body, answer)
}

// warn makes a call of which the engine only logs an error.
func (e *fakeEngine) warn(method string, req any) {
	if err := e.call(method, req, nil); err != nil {
		e.mu.Lock()
		e.warnings = append(e.warnings, err.Error())
		e.mu.Unlock()
	}
}

func randomID() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// createNetwork is POST /networks/create, also that of `docker network create`.
func (e *fakeEngine) createNetwork(n newNetwork) (string, error) {
	e.mu.Lock()
	for _, other := range e.nets {
		if other.Name == n.Name {
			e.mu.Unlock()
			return "", fmt.Errorf("network with name %s already exists", n.Name)
		}
	}
	e.mu.Unlock()
	f := &fakeNetwork{eps: map[string]string{}}
	f.engineNetwork = engineNetwork{ID: randomID(), Name: n.Name, Driver: n.Driver, EnableIPv6: n.EnableIPv6, Internal: n.Internal, Options: n.Options, Labels: n.Labels, IPAM: n.IPAM}
	if n.Driver == "netplugin" {
		if err := e.createPluginNetwork(f, n); err != nil {
			return "", err
		}
	}
	e.mu.Lock()
	e.nets[f.ID] = f
	e.mu.Unlock()
	e.emit("network", "create", f.ID, map[string]string{"name": f.Name, "type": f.Driver})
	return f.ID, nil
}

func (e *fakeEngine) createPluginNetwork(f *fakeNetwork, n newNetwork) (err error) {
	var undo []func()
	defer func() {
		if err != nil {
			slices.Reverse(undo)
			for _, fn := range undo {
				fn()
			}
		}
	}()
	req := map[string]any{"NetworkID": f.ID, "IPv4Data": []any{}, "IPv6Data": []any{}}
	options := map[string]any{"com.docker.network.enable_ipv6": n.EnableIPv6, "com.docker.network.generic": n.Options}
	if e.modern.Load() {
		options["com.docker.network.enable_ipv4"] = n.EnableIPv4 == nil || *n.EnableIPv4
	}
	if n.Internal {
		options["com.docker.network.internal"] = true
	}
	req["Options"] = options
	space := "LocalDefault"
	if n.IPAM.Driver == "netplugin" {
		var spaces defaultAddressSpaces
		if err := e.call("IpamDriver.GetDefaultAddressSpaces", nil, &spaces); err != nil {
			return err
		}
		space = spaces.LocalDefaultAddressSpace
	}
	family := func(v6 bool, c ipamConfig) (string, error) {
		data := map[string]any{"AddressSpace": space, "Pool": c.Subnet, "Gateway": "10.0.0.1/24"}
		id := ""
		if n.IPAM.Driver == "netplugin" {
			var pool requestPoolResponse
			if err := e.call("IpamDriver.RequestPool", requestPoolRequest{AddressSpace: space, Pool: c.Subnet, SubPool: c.IPRange, Options: n.IPAM.Options, V6: v6}, &pool); err != nil {
				return "", err
			}
			id = pool.PoolID
			undo = append(undo, func() { e.warn("IpamDriver.ReleasePool", map[string]any{"PoolID": id}) })
			data["Pool"] = pool.Pool
			var gw requestAddressResponse
			if err := e.call("IpamDriver.RequestAddress", requestAddressRequest{PoolID: id, Address: c.Gateway, Options: map[string]string{"RequestAddressType": "com.docker.network.gateway"}}, &gw); err != nil {
				return "", err
			}
			undo = append(undo, func() {
				a, _, _ := strings.Cut(gw.Address, "/")
				e.warn("IpamDriver.ReleaseAddress", map[string]any{"PoolID": id, "Address": a})
			})
			data["Gateway"] = gw.Address
			aux := map[string]string{}
			for name, a := range c.AuxiliaryAddresses {
				var given requestAddressResponse
				if err := e.call("IpamDriver.RequestAddress", requestAddressRequest{PoolID: id, Address: a}, &given); err != nil {
					return "", err
				}
				aux[name] = given.Address
			}
			if len(aux) > 0 || e.modern.Load() {
				data["AuxAddresses"] = aux
			}
		}
		key := "IPv4Data"
		if v6 {
			key = "IPv6Data"
		}
		req[key] = append(req[key].([]any), data)
		return id, nil
	}
	have4 := false
	for _, c := range n.IPAM.Config {
		if strings.Contains(c.Subnet, ":") {
			continue
		}
		have4 = true
		if f.pool4, err = family(false, c); err != nil {
			return err
		}
	}
	if !have4 && (n.EnableIPv4 == nil || *n.EnableIPv4) {
		if f.pool4, err = family(false, ipamConfig{}); err != nil {
			return err
		}
	}
	for _, c := range n.IPAM.Config {
		if !strings.Contains(c.Subnet, ":") {
			continue
		}
		if f.pool6, err = family(true, c); err != nil {
			return err
		}
	}
	return e.call("NetworkDriver.CreateNetwork", req, nil)
}

// removeNetwork is `docker network rm`, and DELETE /networks/ID.
func (e *fakeEngine) removeNetwork(id string) error {
	e.mu.Lock()
	n, ok := e.nets[id]
	for _, other := range e.nets {
		if other.Name == id {
			n, ok = other, true
		}
	}
	e.mu.Unlock()
	if !ok {
		return fmt.Errorf("network %s not found", id)
	}
	if len(n.eps) > 0 {
		return fmt.Errorf("error while removing network: network %s id %s has active endpoints", n.Name, n.ID)
	}
	if n.Driver == "netplugin" {
		for _, pool := range []string{n.pool4, n.pool6} {
			if pool != "" {
				e.warn("IpamDriver.ReleaseAddress", map[string]any{"PoolID": pool, "Address": strings.Split(n.IPAM.Config[0].Gateway, "/")[0]})
				e.warn("IpamDriver.ReleasePool", map[string]any{"PoolID": pool})
			}
		}
		e.warn("NetworkDriver.DeleteNetwork", map[string]any{"NetworkID": n.ID})
	}
	e.mu.Lock()
	delete(e.nets, n.ID)
	e.mu.Unlock()
	e.emit("network", "destroy", n.ID, map[string]string{"name": n.Name, "type": n.Driver})
	return nil
}

type runOptions struct {
	name, network   string
	ip, ip6, mac    string
	aliases, driver []string // --network-alias; --network driver-opt, as group=web
	labels          map[string]string
}

// run is docker run in one network.
func (e *fakeEngine) run(o runOptions) (c *fakeContainer, err error) {
	n := e.byName(o.network)
	if n == nil {
		return nil, fmt.Errorf("network %s not found", o.network)
	}
	c = &fakeContainer{network: n.ID, endpoint: randomID(), mac: o.mac}
	c.ID, c.Name = randomID(), "/"+o.name
	c.Config.Labels = o.labels
	var ipamOptions map[string]string
	if e.modern.Load() {
		ipamOptions = map[string]string{"com.docker.network.endpoint.name": o.name}
	}
	release := func() {
		for pool, a := range map[string]string{n.pool4: c.address, n.pool6: c.address6} {
			if pool != "" && a != "" {
				e.warn("IpamDriver.ReleaseAddress", map[string]any{"PoolID": pool, "Address": strings.Split(a, "/")[0]})
			}
		}
	}
	var given requestAddressResponse
	if n.pool4 != "" {
		if err := e.call("IpamDriver.RequestAddress", requestAddressRequest{n.pool4, o.ip, ipamOptions}, &given); err != nil {
			return nil, err
		}
		c.address = given.Address
	}
	if n.pool6 != "" {
		if err := e.call("IpamDriver.RequestAddress", requestAddressRequest{n.pool6, o.ip6, ipamOptions}, &given); err != nil {
			release()
			return nil, err
		}
		c.address6 = given.Address
	}
	options := map[string]any{"com.docker.network.endpoint.exposedports": []any{}, "com.docker.network.portmap": []any{}}
	for _, kv := range o.driver {
		k, v, _ := strings.Cut(kv, "=")
		options[k] = v
	}
	var made createEndpointResponse
	err = e.call("NetworkDriver.CreateEndpoint", map[string]any{"NetworkID": n.ID, "EndpointID": c.endpoint, "Options": options,
		"Interface": endpointInterface{Address: c.address, AddressIPv6: c.address6, MacAddress: o.mac}}, &made)
	if err != nil {
		release()
		return nil, err
	}
	switch {
	case made.Interface != nil && o.mac != "":
		return nil, errors.New("driver modified the MAC address that was asked for")
	case made.Interface != nil:
		c.mac = made.Interface.MacAddress
	}
	e.mu.Lock()
	e.conts[c.ID] = c
	n.eps["ep-"+c.endpoint] = o.name
	aliases := slices.Clone(o.aliases)
	if !e.modern.Load() {
		aliases = append(aliases, c.ID[:12])
	}
	c.NetworkSettings.Networks = map[string]containerNetwork{n.Name: {EndpointID: c.endpoint, Aliases: aliases}}
	e.mu.Unlock()
	if err := e.call("NetworkDriver.Join", map[string]any{"NetworkID": n.ID, "EndpointID": c.endpoint, "SandboxKey": "/var/run/docker/netns/" + c.ID[:12], "Options": map[string]any{}}, &c.joined); err != nil {
		e.warn("NetworkDriver.DeleteEndpoint", map[string]any{"NetworkID": n.ID, "EndpointID": c.endpoint})
		release()
		e.mu.Lock()
		delete(n.eps, "ep-"+c.endpoint)
		delete(e.conts, c.ID)
		e.mu.Unlock()
		return nil, err
	}
	if gw, _ := c.joined["Gateway"].(string); gw != "" || e.modern.Load() {
		e.warn("NetworkDriver.ProgramExternalConnectivity", map[string]any{"NetworkID": n.ID, "EndpointID": c.endpoint})
		e.warn("NetworkDriver.EndpointOperInfo", map[string]any{"NetworkID": n.ID, "EndpointID": c.endpoint})
	}
	e.emit("network", "connect", n.ID, map[string]string{"container": c.ID, "name": n.Name, "type": n.Driver})
	return c, nil
}

// stop is docker rm -f.
func (e *fakeEngine) stop(c *fakeContainer) {
	e.mu.Lock()
	n := e.nets[c.network]
	e.mu.Unlock()
	e.warn("NetworkDriver.Leave", map[string]any{"NetworkID": n.ID, "EndpointID": c.endpoint})
	e.warn("NetworkDriver.DeleteEndpoint", map[string]any{"NetworkID": n.ID, "EndpointID": c.endpoint})
	for pool, a := range map[string]string{n.pool4: c.address, n.pool6: c.address6} {
		if pool != "" && a != "" {
			e.warn("IpamDriver.ReleaseAddress", map[string]any{"PoolID": pool, "Address": strings.Split(a, "/")[0]})
		}
	}
	e.mu.Lock()
	delete(n.eps, "ep-"+c.endpoint)
	delete(e.conts, c.ID)
	e.mu.Unlock()
	e.emit("network", "disconnect", n.ID, map[string]string{"container": c.ID, "name": n.Name, "type": n.Driver})
}

func (e *fakeEngine) rename(c *fakeContainer, name string) {
	e.mu.Lock()
	c.Name = "/" + name
	e.mu.Unlock()
	e.emit("container", "rename", c.ID, map[string]string{"name": name})
}

func (e *fakeEngine) byName(name string) *fakeNetwork {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.nets {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func (e *fakeEngine) names() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, n := range e.nets {
		out = append(out, n.Name)
	}
	slices.Sort(out)
	return out
}

func (e *fakeEngine) emit(kind, action, id string, attributes map[string]string) {
	ev := event{Type: kind, Action: action}
	ev.Actor.ID, ev.Actor.Attributes = id, attributes
	e.mu.Lock()
	defer e.mu.Unlock()
	for ch := range e.listeners {
		ch <- ev
	}
}

// kill makes the API fail until revive; containers and networks stay.
func (e *fakeEngine) kill() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = true
	for ch := range e.listeners {
		close(ch)
		delete(e.listeners, ch)
	}
}

func (e *fakeEngine) revive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = false
}

// api is the part of the engine's HTTP API that is used.
func (e *fakeEngine) api() http.Handler {
	mux := http.NewServeMux()
	fail := func(w http.ResponseWriter, status int, text string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
	}
	show := func(n *fakeNetwork, containers bool) engineNetwork {
		out := n.engineNetwork
		out.Containers = nil
		if containers {
			b, err := json.Marshal(map[string]any{"Containers": func() map[string]any {
				m := map[string]any{}
				for k, name := range n.eps {
					m[k] = map[string]string{"Name": name, "EndpointID": strings.TrimPrefix(k, "ep-")}
				}
				return m
			}()})
			if err != nil || json.Unmarshal(b, &out) != nil {
				panic("the fake engine cannot show its containers")
			}
		}
		return out
	}
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, r *http.Request) {
		v := map[string]string{"ApiVersion": "1.41", "MinAPIVersion": "1.12"}
		if e.modern.Load() {
			v = map[string]string{"ApiVersion": "1.56", "MinAPIVersion": "1.40"}
		}
		_ = json.NewEncoder(w).Encode(v)
	})
	mux.HandleFunc("GET /{v}/networks", func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		out := []engineNetwork{}
		for _, n := range e.nets {
			out = append(out, show(n, false))
		}
		e.mu.Unlock()
		_ = json.NewEncoder(w).Encode(out)
	})
	mux.HandleFunc("GET /{v}/networks/{id}", func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		n, ok := e.nets[r.PathValue("id")]
		var out engineNetwork
		if ok {
			out = show(n, true)
		}
		e.mu.Unlock()
		if !ok {
			fail(w, http.StatusNotFound, "network not found")
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	})
	mux.HandleFunc("POST /{v}/networks/create", func(w http.ResponseWriter, r *http.Request) {
		var n newNetwork
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			fail(w, http.StatusBadRequest, err.Error())
			return
		}
		e.mu.Lock()
		e.posted = append(e.posted, n)
		e.mu.Unlock()
		id, err := e.createNetwork(n)
		if err != nil {
			fail(w, http.StatusConflict, err.Error())
			return
		}
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]string{"Id": id})
	})
	mux.HandleFunc("DELETE /{v}/networks/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := e.removeNetwork(r.PathValue("id")); err != nil {
			fail(w, http.StatusForbidden, err.Error())
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /{v}/containers/json", func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		filter, _ := url.QueryUnescape(r.URL.Query().Get("filters"))
		out := []listedContainer{}
		for _, c := range e.conts {
			if filter != "" && !strings.Contains(filter, `"^`+c.Name+`$"`) {
				continue
			}
			l := listedContainer{ID: c.ID, Names: []string{c.Name}, Labels: c.Config.Labels}
			l.NetworkSettings.Networks = map[string]containerNetwork{}
			for name, n := range c.NetworkSettings.Networks {
				l.NetworkSettings.Networks[name] = containerNetwork{EndpointID: n.EndpointID}
			}
			out = append(out, l)
		}
		_ = json.NewEncoder(w).Encode(out)
	})
	mux.HandleFunc("GET /{v}/containers/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		c, ok := e.conts[r.PathValue("id")]
		if !ok {
			fail(w, http.StatusNotFound, "no such container")
			return
		}
		_ = json.NewEncoder(w).Encode(c.engineContainer)
	})
	mux.HandleFunc("GET /{v}/events", func(w http.ResponseWriter, r *http.Request) {
		ch := make(chan event, 1000)
		e.mu.Lock()
		e.listeners[ch] = true
		e.mu.Unlock()
		defer func() {
			e.mu.Lock()
			delete(e.listeners, ch)
			e.mu.Unlock()
		}()
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		for {
			select {
			case <-r.Context().Done():
				return
			case ev, ok := <-ch:
				if !ok {
					return
				}
				_ = json.NewEncoder(w).Encode(ev)
				w.(http.Flusher).Flush()
			}
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		down := e.down
		e.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler) // as if nobody listened
		}
		mux.ServeHTTP(w, r)
	})
}

// sequence gives the calls that were made since the last time, without those that come only once.
func (e *fakeEngine) sequence() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := slices.DeleteFunc(e.calls, func(c string) bool { return c == "IpamDriver.GetDefaultAddressSpaces" })
	e.calls = nil
	return out
}

func (e *fakeEngine) logged() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.warnings)
}

func (e *fakeEngine) lastPosted() newNetwork {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.posted[len(e.posted)-1]
}
