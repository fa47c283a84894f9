// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// outside is this node's end of its containers' way to the world outside their tenants: a device, a firewall, and the node's own
// forwarding. All of it outlives the process, as the data path does.
type outside struct {
	mu sync.Mutex
	// What applyLoop asked for last; before it did, what the snapshot does. Agent.Tables are older while newer ones are applied.
	end    compile.Outside // as the device should be
	tables compile.Tables  // what netfilter should be for
	asked  bool            // by applyLoop, for netfilter

	tried           bool // to make the device
	opened, opened6 bool // whether the node forwards what goes that way, of each family
	loaded          *netdev.Firewall
	device          error // why containers have no way out
	filter          error // why the firewall is not as it should be
}

// OutsideTrouble tells why containers of this node have no way to the outside, or may do what they should not; nil where all is well.
func (a *Agent) OutsideTrouble() error {
	o := &a.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.loaded == nil {
		return errors.Join(o.device, o.filter)
	}
	there, err := o.loaded.Loaded()
	if err == nil && !there {
		err = errors.New("nftables table inet contiv is not whole, so containers may send VXLAN under this node's address, and have no way out: netplugin makes it again at its next sweep")
	}
	return errors.Join(o.device, o.filter, err)
}

// makeOutside makes the device, so that the tables that are applied next find it.
func (a *Agent) makeOutside(t compile.Tables) {
	o := &a.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tried && o.end == t.Outside && o.device == nil {
		return
	}
	o.end = t.Outside
	a.makeOutsideDevice()
}

// makeOutsideDevice is called with mu held. made tells that the device is new, so that the data path does not know of it.
func (a *Agent) makeOutsideDevice() (made bool) {
	o := &a.outside
	was := o.device
	want := netdev.Outside{Addrs: []netip.Prefix{o.end.IPv4, o.end.IPv6}, MAC: o.end.MAC, MTU: a.Node.MTU}
	if made, o.device = netdev.MakeOutside(want); o.device == nil {
		o.device = a.Datapath.AttachOutside()
	}
	o.tried = true
	if o.device != nil && (was == nil || was.Error() != o.device.Error()) {
		a.Log.Error("containers in networks with a gateway have no way to the outside", "error", o.device)
	}
	return made
}

// openOutside has the node's netfilter do what tables that are being applied need.
func (a *Agent) openOutside(t compile.Tables) {
	o := &a.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tables, o.asked = t, true
	a.filterOutside(false)
}

// mendOutside makes again what is missing.
func (a *Agent) mendOutside() {
	o := &a.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	if a.makeOutsideDevice() {
		a.applyAgain(errors.New("this node's device of the way to the outside was made again"))
	}
	a.filterOutside(true)
}

// filterOutside is called with mu held. again: also where it was done before.
func (a *Agent) filterOutside(again bool) {
	o := &a.outside
	was := o.filter
	o.filter = a.tryFilter(again)
	if o.filter != nil && (was == nil || was.Error() != o.filter.Error()) {
		a.Log.Warn("not all packets of containers are filtered and translated as they should be: is nf_tables, with fib and nat, in the kernel?", "error", o.filter)
	}
}

func (a *Agent) tryFilter(again bool) error {
	o := &a.outside
	t := o.tables
	uses := slices.ContainsFunc(t.Ports, func(p compile.Port) bool { return p.Private4.IsValid() })
	uses6 := slices.ContainsFunc(t.Ports, func(p compile.Port) bool { return p.Private6.IsValid() })
	devices, mark := []string{model.OutsideDevice}, uint32(0)
	if len(t.Entrances) > 0 { // what comes to services goes on to pods of other nodes, by host access, whoever brings it there
		is6 := func(e compile.Entrance) bool { return e.Addr.Is6() }
		uses6 = uses6 || slices.ContainsFunc(t.Entrances, is6)
		uses = uses || !is6(t.Entrances[0]) // sorted
		if slices.ContainsFunc(t.Infra, func(i compile.Infra) bool { return i.Network == model.HostAccess }) {
			devices = append(devices, model.HostAccess)
		}
		if !a.KubeProxy {
			mark = datapath.OwnMark // and to machines, by whatever device
		}
	}
	if o.loaded != nil && !again && (o.opened || !uses) && (o.opened6 || !uses6) && reflect.DeepEqual(a.firewall(t, o.loaded.Uplinks), *o.loaded) {
		return nil
	}
	uplinks, err := netdev.FindUplinks(a.Underlay)
	if err != nil {
		return err
	}
	// Nothing is forwarded that is not filtered.
	if err := a.loadFirewall(a.firewall(t, uplinks.Bridges)); err != nil {
		return err
	}
	if uses {
		err = errors.Join(netdev.Forward(append(devices, uplinks.Devices...)), netdev.PassForwarding("iptables", devices, mark))
		o.opened = err == nil
	}
	if uses6 {
		err6 := errors.Join(netdev.Forward6(uplinks.Devices), netdev.PassForwarding("ip6tables", devices, mark))
		o.opened6 = err6 == nil
		err = errors.Join(err, err6)
	}
	return err
}

// loadFirewall puts the rules in force that are not.
func (a *Agent) loadFirewall(want netdev.Firewall) error {
	o := &a.outside
	known := o.loaded != nil && reflect.DeepEqual(want, *o.loaded)
	if o.loaded == nil && !o.asked { // what the last run loaded is newer than the snapshot, by minutes maybe
		if stands, err := netdev.FirewallStands(); stands || err != nil {
			return err
		}
	}
	if known {
		if there, err := want.Loaded(); there || err != nil {
			return err
		}
		a.Log.Warn("somebody removed rules of nftables table inet contiv: put back")
	}
	load, anew := want.Load, true
	if o.loaded != nil && !known {
		was := *o.loaded
		load, anew = func() error { return want.Change(was) }, false
	}
	if err := load(); err != nil {
		// What keeps tenants apart does not wait for what cannot be made for services.
		if rest := want; len(want.Entrances) > 0 {
			rest.Entrances = nil
			if rest.Load() == nil {
				o.loaded = &rest
			}
		}
		return err
	}
	o.loaded = &want
	a.datagrams.follow(want.Entrances, anew)
	return nil
}

// guards tells whether the firewall that was loaded lets nobody but the node by its own device in a network.
func (a *Agent) guards(device string) bool {
	o := &a.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.loaded != nil && slices.Contains(o.loaded.Inside, device)
}

// firewall is what the tables need of netfilter.
func (a *Agent) firewall(t compile.Tables, bridges []string) netdev.Firewall {
	f := netdev.Firewall{
		VTEP: a.Node.VTEP, VXLANPort: a.Node.VXLANPort, Uplinks: bridges, OwnMark: datapath.OwnMark,
		Private: []netip.Prefix{t.Outside.IPv4.Masked(), t.Outside.IPv6.Masked()},
	}
	for _, i := range t.Infra {
		f.Inside = append(f.Inside, i.Network)
		for _, a := range i.Addrs {
			f.Homes = append(f.Homes, a.Addr())
		}
	}
	for _, p := range t.Published {
		f.Published = append(f.Published, netdev.Published(p))
	}
	for _, m := range t.Machines {
		f.Machines = append(f.Machines, netdev.Machine(m))
	}
	for _, p := range t.Probed {
		f.Probed = append(f.Probed, netdev.Probed(p))
	}
	var err error
	if f.Probed, err = netdev.Reached(f.Probed); err != nil {
		a.Log.Warn("probes of pods outside the default tenant do not pass", "error", err)
	}
	if !a.KubeProxy {
		for _, e := range t.Entrances {
			f.Entrances = append(f.Entrances, netdev.Entrance{
				Addr: e.Addr, Protocol: e.Protocol, Port: e.Port, Affinity: e.Affinity, Sources: e.Sources, Insiders: e.Insiders,
				Outer: e.Outer, Inner: e.Inner, Elsewhere: e.Elsewhere,
			})
		}
	}
	return f
}

// outsideLoop puts back what somebody has removed. Before a master is heard, it makes what is not there by the last World that this node
// knew.
func (a *Agent) outsideLoop(ctx context.Context) error {
	tick := time.NewTicker(a.SweepEvery)
	defer tick.Stop()
	for {
		a.mendOutside()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
