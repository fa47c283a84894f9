// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	gobgp "github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

const (
	port = 179 // RFC 4271, 8.2.1.1
	// restartTime is how long neighbors keep what a node has announced when its netplugin goes without a word.
	restartTime = 120 * time.Second
	// deferral is how long a restarted node waits for a neighbor that is away before it tells the others all.
	deferral = 10 * time.Second
	// reading is how long neighbors have to read what is taken back before their session ends.
	reading = 250 * time.Millisecond
	// retry is the pause between attempts to connect, and after a session that was refused.
	retry = 5 * time.Second
)

// sessions are the node's with its neighbors. It is for one goroutine at a time.
type sessions struct {
	log     *slog.Logger
	changed func() // called when a session or a learnt route has changed, from any goroutine

	server *server.BgpServer // nil while the node does not speak
	cancel context.CancelFunc
	now    Speaker // what it says; its neighbors are those that it speaks with
	deaf   string  // why nobody can connect to the node; "" when one can
}

// apply moves the sessions to want. Those about which nothing changes stay. With restarting set, neighbors are told that the node
// was away for a moment and that its packets passed meanwhile.
func (s *sessions) apply(want Speaker, restarting bool) error {
	ctx := context.Background()
	if s.server != nil && !s.now.sameSessions(want) {
		s.stop(false)
	}
	if s.server == nil {
		if err := s.start(want); err != nil {
			return err
		}
	}
	var failed []error
	keep := []model.Neighbor{}
	for _, n := range s.now.Neighbors {
		if slices.Contains(want.Neighbors, n) && s.now.sameTimers(want) {
			keep = append(keep, n)
		} else if err := s.forget(ctx, n); err != nil {
			failed = append(failed, err)
		}
	}
	s.now.Password, s.now.Hold, s.now.Keepalive, s.now.Idle = want.Password, want.Hold, want.Keepalive, want.Idle
	s.now.Neighbors = keep
	// First what is to be said, then to whom: a neighbor that waits for a restarted node hears all at once.
	if err := s.announce(want.Announced); err != nil {
		failed = append(failed, err)
	}
	for _, n := range want.Neighbors {
		if slices.Contains(keep, n) {
			continue
		}
		if err := s.server.AddPeer(ctx, &gobgp.AddPeerRequest{Peer: s.peer(n, s.now.Password, restarting)}); err != nil {
			failed = append(failed, fmt.Errorf("speak with neighbor %s: %w", n.Addr, err))
			continue
		}
		s.now.Neighbors = append(s.now.Neighbors, n)
	}
	return errors.Join(failed...)
}

// start begins to speak, with nobody yet.
func (s *sessions) start(want Speaker) error {
	s.deaf = ""
	err := s.open(want, port)
	if errors.Is(err, syscall.EADDRINUSE) || err != nil && strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
		// A routing daemon of the host has it. The node connects to its neighbors all the same.
		s.deaf = fmt.Sprintf("port %d is taken by another program, so neighbors cannot connect to the node; it connects to them", port)
		s.log.Warn(s.deaf)
		err = s.open(want, -1)
	}
	return err
}

func (s *sessions) open(want Speaker, port int32) error {
	level := &slog.LevelVar{}
	b := server.NewBgpServer(server.LoggerOption(slog.New(quieter{s.log.Handler()}), level))
	go b.Serve()
	ctx, cancel := context.WithCancel(context.Background())
	g := &gobgp.Global{Asn: want.AS, RouterId: want.ID.String(), ListenPort: port, UseMultiplePaths: true}
	for _, own := range want.Own {
		g.ListenAddresses = append(g.ListenAddresses, own.Addr().String())
	}
	err := b.StartBgp(ctx, &gobgp.StartBgpRequest{Global: g})
	if err == nil {
		err = tellOwnOnly(ctx, b)
	}
	if err == nil {
		err = b.WatchEvent(ctx, server.WatchEventMessageCallbacks{
			OnBestPath:   func([]*apiutil.Path, time.Time) { s.changed() },
			OnPathEor:    func(*apiutil.Path, time.Time) { s.changed() },
			OnPeerUpdate: func(*apiutil.WatchEventMessage_PeerEvent, time.Time) { s.changed() },
		}, server.WatchBestPath(false), server.WatchEor(false), server.WatchPeer())
	}
	if err != nil {
		cancel()
		b.Stop()
		return fmt.Errorf("speak BGP as %s, AS %d: %w", want.ID, want.AS, err)
	}
	s.server, s.cancel = b, cancel
	s.now = Speaker{AS: want.AS, ID: want.ID, Own: want.Own, Password: want.Password, Hold: want.Hold, Keepalive: want.Keepalive}
	return nil
}

// tellOwnOnly keeps the node from being a way between its routers: what one of them tells, the others are not told.
func tellOwnOnly(ctx context.Context, b *server.BgpServer) error {
	own := &gobgp.Policy{Name: "own", Statements: []*gobgp.Statement{{
		Name:       "own",
		Conditions: &gobgp.Conditions{RouteType: gobgp.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &gobgp.Actions{RouteAction: gobgp.RouteAction_ROUTE_ACTION_ACCEPT},
	}}}
	if err := b.AddPolicy(ctx, &gobgp.AddPolicyRequest{Policy: own}); err != nil {
		return err
	}
	return b.SetPolicyAssignment(ctx, &gobgp.SetPolicyAssignmentRequest{Assignment: &gobgp.PolicyAssignment{
		Name: "global", Direction: gobgp.PolicyDirection_POLICY_DIRECTION_EXPORT, Policies: []*gobgp.Policy{{Name: own.Name}},
		DefaultAction: gobgp.RouteAction_ROUTE_ACTION_REJECT,
	}})
}

// takeBack has neighbors forget all that was announced, and gives them a moment to read it. A router that sees a session end without having read why
// keeps what it was told, as if the node were about to come back: FRR did so on a busy machine.
func (s *sessions) takeBack() {
	if s.server == nil || len(s.now.Announced) == 0 {
		return
	}
	if err := s.announce(nil); err != nil {
		s.log.Warn("neighbors may keep what was announced for a while", "error", err)
	}
	time.Sleep(reading)
}

// stop ends all sessions. With graceful set, neighbors that agreed to it keep what was announced for a while.
func (s *sessions) stop(graceful bool) {
	if s.server == nil {
		return
	}
	s.cancel()
	if graceful { // the process ends, and what the library leaves running with it
		if err := s.server.StopBgp(context.Background(), &gobgp.StopBgpRequest{AllowGracefulRestart: true}); err != nil {
			s.log.Warn("BGP was not ended in order", "error", err)
		}
	} else {
		s.server.Stop()
	}
	s.server, s.now = nil, Speaker{}
}

// peer is how gobgp should speak with a neighbor.
func (s *sessions) peer(n model.Neighbor, password string, restarting bool) *gobgp.Peer {
	own, _ := s.now.own(n.Addr) // each neighbor is in the subnet of one
	family := gobgp.Family{Afi: gobgp.Family_AFI_IP, Safi: gobgp.Family_SAFI_UNICAST}
	if n.Addr.Is6() {
		family.Afi = gobgp.Family_AFI_IP6
	}
	p := &gobgp.Peer{
		Conf: &gobgp.PeerConf{NeighborAddress: n.Addr.String(), PeerAsn: n.AS, AuthPassword: password},
		Timers: &gobgp.Timers{Config: &gobgp.TimersConfig{
			HoldTime: uint64(s.now.Hold), KeepaliveInterval: uint64(s.now.Keepalive), ConnectRetry: uint64(retry.Seconds()), IdleHoldTimeAfterReset: uint64(retry.Seconds()),
		}},
		Transport: &gobgp.Transport{LocalAddress: own.String()},
		GracefulRestart: &gobgp.GracefulRestart{
			Enabled: true, RestartTime: uint32(restartTime.Seconds()), DeferralTime: uint32(deferral.Seconds()), LocalRestarting: restarting,
		},
		AfiSafis: []*gobgp.AfiSafi{{
			Config:            &gobgp.AfiSafiConfig{Family: &family, Enabled: true},
			MpGracefulRestart: &gobgp.MpGracefulRestart{Config: &gobgp.MpGracefulRestartConfig{Enabled: true}},
		}},
	}
	if n.AS != s.now.AS {
		// Nodes of one AS learn of each other from their routers. There is no loop: no node tells what it was told.
		p.Conf.AllowOwnAsn = 1
	}
	return p
}

// forget ends the session with a neighbor.
func (s *sessions) forget(ctx context.Context, n model.Neighbor) error {
	if s.now.Password != "" {
		// Else the socket that others connect to would still want the neighbor's segments signed.
		if _, err := s.server.UpdatePeer(ctx, &gobgp.UpdatePeerRequest{Peer: s.peer(n, "", false)}); err != nil {
			s.log.Debug("a neighbor's password was not forgotten", "neighbor", n.Addr, "error", err)
		}
	}
	if err := s.server.DeletePeer(ctx, &gobgp.DeletePeerRequest{Address: n.Addr.String()}); err != nil {
		return fmt.Errorf("end the session with neighbor %s: %w", n.Addr, err)
	}
	return nil
}

// announce moves what is announced to want, sorted.
func (s *sessions) announce(want []netip.Prefix) error {
	var add, remove []*apiutil.Path
	collect := func(to *[]*apiutil.Path, from, without []netip.Prefix) error {
		for _, p := range from {
			if _, there := slices.BinarySearchFunc(without, p, netip.Prefix.Compare); there {
				continue
			}
			path, err := s.path(p)
			if err != nil {
				return fmt.Errorf("announce %s: %w", p, err)
			}
			*to = append(*to, path)
		}
		return nil
	}
	if err := errors.Join(collect(&add, want, s.now.Announced), collect(&remove, s.now.Announced, want)); err != nil {
		return err
	}
	if len(remove) > 0 {
		if err := s.server.DeletePath(apiutil.DeletePathRequest{Paths: remove}); err != nil {
			return fmt.Errorf("withdraw %d prefixes: %w", len(remove), err)
		}
	}
	if len(add) > 0 {
		if _, err := s.server.AddPath(apiutil.AddPathRequest{Paths: add}); err != nil {
			return fmt.Errorf("announce %d prefixes: %w", len(add), err)
		}
	}
	s.now.Announced = want
	return nil
}

// path is an announcement of the prefix, with the node itself as the next hop.
func (s *sessions) path(p netip.Prefix) (*apiutil.Path, error) {
	own, ok := s.now.own(p.Addr())
	if !ok {
		return nil, errors.New("the node has no router address of its family")
	}
	nlri, err := bgp.NewIPAddrPrefix(p)
	if err != nil {
		return nil, err
	}
	hop, err := bgp.NewPathAttributeNextHop(own)
	if err != nil {
		return nil, err
	}
	return &apiutil.Path{
		Family: familyOf(p.Addr()), Nlri: nlri, Age: time.Now().Unix(),
		Attrs: []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP), hop},
	}, nil
}

func familyOf(a netip.Addr) bgp.Family {
	if a.Is4() {
		return bgp.RF_IPv4_UC
	}
	return bgp.RF_IPv6_UC
}

// learnt are the best paths to each prefix that neighbors have told of and the node does not announce itself.
func (s *sessions) learnt() ([]path, error) {
	if s.server == nil {
		return nil, nil
	}
	var out []path
	for _, own := range s.now.Own {
		err := s.server.ListPath(apiutil.ListPathRequest{TableType: gobgp.TableType_TABLE_TYPE_GLOBAL, Family: familyOf(own.Addr())}, func(nlri bgp.NLRI, known []*apiutil.Path) {
			prefix, err := netip.ParsePrefix(nlri.String())
			if err != nil {
				return
			}
			for _, p := range known {
				if !p.PeerAddress.IsValid() { // its own, which is the first
					return
				}
				if p.Best && !p.IsNexthopInvalid {
					out = append(out, path{prefix, nextHop(p.Attrs), p.PeerAddress})
				}
			}
		})
		if err != nil {
			return nil, fmt.Errorf("list what neighbors have told: %w", err)
		}
	}
	return out, nil
}

func nextHop(attrs []bgp.PathAttributeInterface) netip.Addr {
	for _, a := range attrs {
		switch a := a.(type) {
		case *bgp.PathAttributeNextHop:
			return a.Value
		case *bgp.PathAttributeMpReachNLRI:
			return a.Nexthop
		}
	}
	return netip.Addr{}
}

// state is what the sessions are in, in the order of the neighbors; told is whether every neighbor has told all that it knows.
func (s *sessions) state() (out []api.BGPSession, told bool) {
	if s.server == nil {
		return nil, false
	}
	told = true
	known := map[netip.Addr]*gobgp.Peer{}
	err := s.server.ListPeer(context.Background(), &gobgp.ListPeerRequest{EnableAdvertised: true}, func(p *gobgp.Peer) {
		if a, err := netip.ParseAddr(p.GetConf().GetNeighborAddress()); err == nil {
			known[a] = p
		}
	})
	if err != nil {
		s.log.Warn("the sessions cannot be told", "error", err)
	}
	for _, n := range s.now.Neighbors {
		session := api.BGPSession{Neighbor: n.Addr.String(), AS: n.AS, State: "idle"}
		p, ok := known[n.Addr]
		if !ok {
			out, told = append(out, session), false
			continue
		}
		session.State = strings.ToLower(strings.TrimPrefix(p.GetState().GetSessionState().String(), "SESSION_STATE_"))
		established := p.GetState().GetSessionState() == gobgp.PeerState_SESSION_STATE_ESTABLISHED
		if established {
			if up := p.GetTimers().GetState().GetUptime(); up != nil {
				session.Since = up.AsTime()
			}
		} else {
			session.Error = disconnected(p.GetState())
		}
		told = told && established
		for _, f := range p.GetAfiSafis() {
			session.Received += int(f.GetState().GetReceived())
			session.Sent += int(f.GetState().GetAdvertised())
			if r := f.GetMpGracefulRestart().GetState(); r.GetReceived() && !r.GetEndOfRibReceived() {
				told = false
			}
		}
		out = append(out, session)
	}
	return out, told
}

// disconnected is why a session ended last; "" where it never was there.
func disconnected(p *gobgp.PeerState) string {
	if m := p.GetDisconnectMessage(); m != "" {
		return m
	}
	if r := p.GetDisconnectReason(); r != gobgp.PeerState_DISCONNECT_REASON_UNSPECIFIED {
		return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(r.String(), "DISCONNECT_REASON_"), "_", " "))
	}
	return ""
}

// quieter hands the library's lines on one level lower: its Info is our Debug.
type quieter struct{ slog.Handler }

func (q quieter) Enabled(ctx context.Context, l slog.Level) bool { return q.Handler.Enabled(ctx, l-4) }
func (q quieter) Handle(ctx context.Context, r slog.Record) error {
	r.Level -= 4
	return q.Handler.Handle(ctx, r)
}
func (q quieter) WithAttrs(a []slog.Attr) slog.Handler { return quieter{q.Handler.WithAttrs(a)} }
func (q quieter) WithGroup(g string) slog.Handler      { return quieter{q.Handler.WithGroup(g)} }
