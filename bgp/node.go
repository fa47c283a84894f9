// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

const (
	// settle is how long changes are gathered: a neighbor tells its routes in many messages, a container's start changes several devices.
	settle = 50 * time.Millisecond
	// again is the pause after something failed, and how often all is looked at anyway.
	again    = 2 * time.Second
	lookOver = 30 * time.Second
	// patience is how long a start waits for the masters' word before it goes by what an earlier run has heard: neighbors wait too.
	patience = 30 * time.Second
	// belief is how long neighbors must have told all before a restarted node believes it: FRR says that it has a moment before it does.
	belief = 5 * time.Second
)

// Options are what a node speaks with. All are needed.
type Options struct {
	Node string // its name
	// Device gets the node's router address where no device has it: the uplink towards the routers.
	Device string
	RunDir string // for what goes at a reboot
	// World is the newest, and Changed is closed when there is a newer one.
	World   func() model.World
	Changed func() <-chan struct{}
	// Fresh tells whether the World is a master's. One that an earlier run has left says how to go on, but not that something is to end.
	Fresh func() bool
	Log   *slog.Logger
}

// Node has this node speak. Make one with New and Run it; Oper may be called from any goroutine.
type Node struct {
	Options
	record     record
	noted      bool          // record is written
	restarting bool          // a run before this one spoke, and neighbors may wait for it
	began      time.Time     // of this run
	toldSince  time.Time     // all neighbors have told all that they know
	silent     bool          // nothing of BGP is left on the node
	nudge      chan struct{} // something may have changed

	mu        sync.Mutex
	oper      api.BGPOper // without the next two
	announced []netip.Prefix
	learnt    []path
}

// New reads what the last run left.
func New(o Options) *Node {
	r, there, err := loadRecord(o.RunDir)
	if err != nil {
		o.Log.Warn("BGP begins as if this node had not spoken before", "error", err)
	}
	return &Node{Options: o, record: r, restarting: there, began: time.Now(), nudge: make(chan struct{}, 1)}
}

// Oper is what has become of the node's BGP; the zero value where it should not speak.
func (n *Node) Oper() api.BGPOper {
	n.mu.Lock()
	out, announced, learnt := n.oper, n.announced, slices.Clone(n.learnt)
	n.mu.Unlock()
	for _, p := range announced {
		out.Announced = append(out.Announced, p.String())
	}
	slices.SortFunc(learnt, path.compare)
	for _, p := range learnt {
		out.Routes = append(out.Routes, fmt.Sprintf("%s via %s", p.prefix, p.nextHop))
	}
	out.NumRoutes = len(out.Routes)
	return out
}

// Run speaks until ctx ends. Then neighbors keep what was announced for a while, so that a restart is not felt.
func (n *Node) Run(ctx context.Context) error {
	s := &sessions{log: n.Log, changed: n.wake}
	defer s.stop(true)
	watching := make(chan error, 1)
	go func() { watching <- netdev.Watch(ctx, n.wake) }()
	failing := ""
	for {
		world := n.Changed()
		w := n.World()
		pause := lookOver
		if w.Revision > 0 && (n.Fresh() || time.Since(n.began) > patience) {
			err := n.step(s, w)
			switch {
			case err != nil && err.Error() != failing:
				failing = err.Error()
				n.Log.Error("BGP is not as it should be; trying again", "error", err)
			case err == nil:
				failing = ""
			}
			if err != nil || n.restarting {
				pause = again
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-watching:
			if ctx.Err() == nil {
				n.Log.Warn("changes of devices are seen late", "error", err)
				watching = nil
			}
		case <-world:
		case <-n.nudge:
		case <-time.After(pause):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settle):
		}
	}
}

func (n *Node) wake() {
	select {
	case n.nudge <- struct{}{}:
	default: // it is about to look already
	}
}

// step makes the node be what the World says: first its address, then the sessions, then the routes.
func (n *Node) step(s *sessions, w model.World) error {
	want, speaks := For(w, n.Node)
	if !speaks {
		if !n.Fresh() {
			return nil
		}
		return n.silence(s)
	}
	n.silent = false
	device, err := n.address(want.Own)
	var failed []error
	oper := api.BGPOper{AdminStatus: "up", Device: device}
	if err != nil {
		oper.AdminStatus = "down: " + err.Error()
		failed = append(failed, err)
	}
	down := ""
	if device != "" {
		if running, err := netdev.Running(device); err != nil || !running {
			down = fmt.Sprintf("device %s is down", device)
		}
	}
	neighbors := want.Neighbors
	if down != "" { // a session would hang until its hold time is over
		want.Neighbors = nil
	}
	if err == nil || s.server != nil {
		if err := s.apply(want, n.isRestarting()); err != nil {
			oper.AdminStatus = "down: " + err.Error()
			failed = append(failed, err)
		}
	}
	sessions, told := s.state()
	n.believe(told)
	learnt, err := s.learnt()
	if err != nil {
		failed = append(failed, err)
	}
	if down == "" && device != "" && err == nil {
		if err := netdev.SetBGPRoutes(routes(want.Own, device, learnt), n.restarting); err != nil {
			failed = append(failed, err)
		}
	}
	switch {
	case oper.AdminStatus != "up":
	case down != "":
		oper.AdminStatus = "down: " + down
	case want.Idle != "":
		oper.AdminStatus = "up; nothing is announced: " + want.Idle
	case s.deaf != "":
		oper.AdminStatus = "up; " + s.deaf
	}
	n.tell(oper, neighbors, sessions, s.now.Announced, learnt)
	return errors.Join(failed...)
}

// believe ends the time after a restart in which learnt routes stay that no neighbor has told of again.
func (n *Node) believe(told bool) {
	switch {
	case !n.isRestarting():
		n.restarting = false
	case !told:
		n.toldSince = time.Time{}
	case n.toldSince.IsZero():
		n.toldSince = time.Now()
	case time.Since(n.toldSince) >= belief:
		n.restarting = false
	}
}

// isRestarting tells whether neighbors may still wait for the node to come back.
func (n *Node) isRestarting() bool { return n.restarting && time.Since(n.began) < restartTime }

// tell keeps what Oper answers.
func (n *Node) tell(oper api.BGPOper, neighbors []model.Neighbor, sessions []api.BGPSession, announced []netip.Prefix, learnt []path) {
	for _, of := range neighbors {
		at := slices.IndexFunc(sessions, func(s api.BGPSession) bool { return s.Neighbor == of.Addr.String() })
		session := api.BGPSession{Neighbor: of.Addr.String(), AS: of.AS, State: "idle", Error: oper.AdminStatus}
		if at >= 0 {
			session = sessions[at]
		}
		oper.Neighbors = append(oper.Neighbors, session)
	}
	if len(oper.Neighbors) > 0 {
		oper.NeighborStatus = oper.Neighbors[0].State
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.oper, n.announced, n.learnt = oper, announced, learnt
}

// address sees that devices have the node's own addresses, and that none has one that is not its own any more. device is the one towards
// the routers.
func (n *Node) address(own []netip.Prefix) (device string, err error) {
	for _, g := range slices.Clone(n.record.Given) {
		if !slices.Contains(own, g.Addr) || g.Device != n.Device {
			if err := n.takeBack(g); err != nil {
				return "", err
			}
		}
	}
	for _, p := range own {
		at, err := netdev.DeviceWith(p)
		if err != nil {
			return device, err
		}
		if at == "" {
			g := given{n.Device, p}
			if !slices.Contains(n.record.Given, g) {
				n.record.Given = append(n.record.Given, g)
			}
			// Noted first: an address that is noted and not there is no harm.
			if err := n.record.save(n.RunDir); err != nil {
				return device, err
			}
			if err := netdev.GiveAddress(n.Device, p); err != nil {
				return device, err
			}
			at = n.Device
		}
		if device == "" {
			device = at
		}
		if at != device {
			return device, fmt.Errorf("router addresses are on devices %s and %s; both belong on one: take %s from %s", device, at, p, at)
		}
	}
	if n.noted {
		return device, nil
	}
	err = n.record.save(n.RunDir) // that it spoke
	n.noted = err == nil
	return device, err
}

func (n *Node) takeBack(g given) error {
	if err := netdev.TakeAddress(g.Device, g.Addr); err != nil {
		return err
	}
	n.record.Given = slices.DeleteFunc(n.record.Given, func(o given) bool { return o == g })
	return n.record.save(n.RunDir)
}

// silence ends what a node that should not speak has of BGP, from this run or one before.
func (n *Node) silence(s *sessions) error {
	if n.silent {
		return nil
	}
	s.takeBack()
	s.stop(false)
	n.tell(api.BGPOper{}, nil, nil, nil, nil)
	n.restarting = false
	if err := Remove(n.RunDir); err != nil {
		return err
	}
	n.record, n.silent, n.noted = record{}, true, false
	return nil
}

// Remove takes what BGP has put on this machine from it: addresses that were given to devices, and learnt routes. Nothing need be there.
func Remove(runDir string) error {
	r, _, unread := loadRecord(runDir) // what cannot be read today can be no better tomorrow
	for _, g := range r.Given {
		if err := netdev.TakeAddress(g.Device, g.Addr); err != nil {
			return err
		}
	}
	if err := netdev.SetBGPRoutes(nil, false); err != nil {
		return err
	}
	return errors.Join(unread, removeRecord(runDir))
}
