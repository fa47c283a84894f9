// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
)

// admission lets members in: those that are listed but not there yet, and those that have lost their data, once they say
// that they are vacant. Such a member comes as a learner, which counts in no majority, and votes when it has caught up.
// A member that is not listed any more is removed only to make room for a vacant one, and only when it is not
// heard: while lists are changed one master after another, the old ones must not undo what the new ones do.
type admission struct {
	peers  *Peers
	server *etcdserver.EtcdServer
	client *clientv3.Client
	rt     http.RoundTripper
	log    *slog.Logger
}

// admitEvery is how often the list is compared with the members.
const admitEvery = time.Second

// admit runs until ctx ends.
func (e *Embedded) admit(ctx context.Context, p *Peers) error {
	rt, err := transport.NewTransport(p.tls(), askTimeout)
	if err != nil {
		return fmt.Errorf("read the certificates for the other masters: %w", err)
	}
	defer rt.CloseIdleConnections()
	a := admission{p, e.server.Server, e.client, rt, e.log}
	tick := time.NewTicker(admitEvery)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		what, err := a.step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && err.Error() != said: // the next round tries again
			said = err.Error()
			a.log.Warn("the masters' members cannot be changed yet; trying on", "change", what, "reason", err)
		case err == nil && what != "":
			said = ""
			a.log.Info("the masters' members have changed", "change", what)
		}
	}
}

// step makes one change, if one is due. Each is one on which a majority agrees, and the next step looks anew.
func (a admission) step(ctx context.Context) (what string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	id := uint64(a.server.MemberID())
	if a.server.Leader() == 0 {
		return "", nil
	}
	resp, err := a.client.MemberList(ctx)
	if err != nil {
		return "", nil // there is no majority now; those who want to write say so
	}
	self := a.peers.urlsOf([]string{a.peers.Self})
	for _, m := range resp.Members {
		// A lone master's etcd that gets peers, or one whose address has changed.
		if m.ID == id && !slices.Equal(m.PeerURLs, self) {
			_, err := a.client.MemberUpdate(ctx, id, self)
			return "this one is reached at " + a.peers.Self, err
		}
	}
	if uint64(a.server.Leader()) != id {
		return "", nil
	}
	for _, m := range resp.Members {
		// A learner that has not caught up is refused.
		if m.IsLearner && len(m.ClientURLs) > 0 {
			_, err := a.client.MemberPromote(ctx, m.ID)
			return hosts(m) + " votes", err
		}
	}
	return a.letIn(ctx, resp.Members)
}

func (a admission) letIn(ctx context.Context, members []*etcdserverpb.Member) (what string, err error) {
	listed := a.peers.urlsOf(a.peers.All)
	var missing, strangers []*etcdserverpb.Member
	for _, u := range listed {
		m := &etcdserverpb.Member{PeerURLs: []string{u}}
		if i := slices.IndexFunc(members, func(m *etcdserverpb.Member) bool { return slices.Contains(m.PeerURLs, u) }); i >= 0 {
			m = members[i]
		}
		// One that was let in and has not served yet will; one with data answers as an etcd.
		if m.ID == 0 || len(m.ClientURLs) > 0 && m.ID != uint64(a.server.MemberID()) {
			missing = append(missing, m)
		}
	}
	for _, m := range members {
		if !slices.ContainsFunc(m.PeerURLs, func(u string) bool { return slices.Contains(listed, u) }) {
			strangers = append(strangers, m)
		}
	}
	for _, m := range missing {
		// What etcd says of it was read before, so it is not one that has only now begun.
		n := askOne(ctx, a.rt, m.PeerURLs[0])
		if m.ID == 0 && len(n.members) > 0 {
			// Two stores would give the same things to different users.
			return "let in " + hosts(m), errors.New("it has a state of its own: stop it, move its data directory away, and start it again")
		}
		if !n.vacancy.Vacant {
			continue
		}
		if m.ID != 0 {
			_, err := a.client.MemberRemove(ctx, m.ID)
			return hosts(m) + " has lost its data and is to come anew", err
		}
		for _, s := range strangers {
			if askOne(ctx, a.rt, s.PeerURLs[0]).err != nil {
				_, err := a.client.MemberRemove(ctx, s.ID)
				return hosts(s) + " is in no list and does not answer: removed, for " + hosts(m), err
			}
		}
		_, err := a.client.MemberAddAsLearner(ctx, m.PeerURLs)
		return hosts(m) + " may come in", err
	}
	return "", nil
}

func hosts(m *etcdserverpb.Member) string {
	var out []string
	for _, s := range m.PeerURLs {
		if u, err := url.Parse(s); err == nil {
			s = u.Host
		}
		out = append(out, s)
	}
	return strings.Join(out, ",")
}
