// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// Peers are the masters whose embedded etcds are members of one cluster.
type Peers struct {
	// All are where the members reach each other, as host:port, this one's too. The order does not matter.
	All []string
	// Self is the one of All that is this member, and Listen the address:port of this machine where it listens.
	Self, Listen string
	// CA, Cert and Key are files. With them members prove to each other who they are; without, whoever reaches
	// Listen can be a member.
	CA, Cert, Key string
	// Lost begins a new cluster with this member's data, because a majority of the old one is gone for good.
	Lost bool
}

func (p *Peers) tls() transport.TLSInfo {
	// A member may reach the others from another of its addresses than that of its certificate.
	return transport.TLSInfo{CertFile: p.Cert, KeyFile: p.Key, TrustedCAFile: p.CA, ClientCertAuth: p.CA != "", SkipClientSANVerify: true}
}

func (p *Peers) url(hostPort string) url.URL {
	scheme := "http"
	if p.Cert != "" {
		scheme = "https"
	}
	return url.URL{Scheme: scheme, Host: hostPort}
}

func (p *Peers) others() []string {
	return slices.DeleteFunc(slices.Clone(p.All), func(s string) bool { return s == p.Self })
}

// alone refuses to go on without the others where one of them has data and runs: there would be two stores.
func (p *Peers) alone(ctx context.Context) error {
	rt, err := transport.NewTransport(p.tls(), askTimeout)
	if err != nil {
		return fmt.Errorf("read the certificates for the other masters: %w", err)
	}
	defer rt.CloseIdleConnections()
	for _, n := range ask(ctx, rt, p.urlsOf(p.others())) {
		if len(n.members) > 0 {
			return fmt.Errorf("%s runs and has data, so the masters' state is not lost: start without --peers-lost", n.addr)
		}
	}
	return nil
}

// initial is the members and their URLs as etcd wants them told.
func (p *Peers) initial() string {
	var parts []string
	for _, a := range p.All {
		u := p.url(a)
		parts = append(parts, a+"="+u.String())
	}
	return strings.Join(parts, ",")
}

// A member without data must find out whether it is one of the first, or has lost its data, or is new. Guessing wrong
// loses the state of all: two that lost their data would be the majority of a new, empty cluster. So it listens where its
// etcd is going to, says that it is vacant, and asks the others until
//
//   - every one of them is vacant too: together they begin; or
//   - one has an etcd that counts this member in: it joins.
//
// An etcd that does not count it in, or that remembers it with data, belongs to masters that will let it in (admit.go).

// vacancy is what a member without data answers where etcd's peers would answer with a list of members.
type vacancy struct {
	Vacant bool     `json:"vacant"`
	Peers  []string `json:"peers"`
}

// member is what an etcd tells its peers of a member (GET /members).
type member struct {
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"` // a member that has served once has some
}

// neighbour is what is known of one of the others.
type neighbour struct {
	addr    string
	vacancy vacancy
	members []member // of its etcd
	err     error
}

const (
	membersPath = "/members" // etcd's
	// askEvery is how often the others are asked, and askTimeout how long one may take to answer.
	askEvery, askTimeout = 250 * time.Millisecond, time.Second
)

// entry is how a member without data begins.
type entry struct {
	state   string // of package embed
	initial string // cluster
}

// await waits until it is clear how this member begins, or for the end of ctx.
func (p *Peers) await(ctx context.Context, log *slog.Logger) (entry, error) {
	if len(p.All) == 1 {
		return entry{embed.ClusterStateFlagNew, p.initial()}, nil
	}
	info := p.tls()
	u := p.url(p.Listen)
	l, err := transport.NewListener(u.Host, u.Scheme, &info)
	if err != nil {
		return entry{}, fmt.Errorf("listen for the other masters at %s: %w", p.Listen, err)
	}
	server := &http.Server{Handler: p.vacant(), ReadHeaderTimeout: askTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	go func() { _ = server.Serve(l) }() // ends with Close
	defer server.Close()
	rt, err := transport.NewTransport(info, askTimeout)
	if err != nil {
		return entry{}, fmt.Errorf("read the certificates for the other masters: %w", err)
	}
	defer rt.CloseIdleConnections()
	said := ""
	for tick := time.NewTicker(askEvery); ; {
		found := ask(ctx, rt, p.urlsOf(p.others()))
		begin, why := p.judge(found)
		if begin != (entry{}) {
			// Others may be about to ask for the last time; etcd will answer them from here.
			tick.Stop()
			return begin, nil
		}
		if why != said {
			log.Info("this master has no state yet and waits for the others", "because", why, "peers", strings.Join(p.All, ","))
			said = why
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return entry{}, fmt.Errorf("wait for the other masters (%s): %w", why, ctx.Err())
		}
	}
}

func (p *Peers) vacant() http.Handler {
	body, err := json.Marshal(vacancy{true, p.All})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != membersPath || err != nil {
			http.NotFound(w, r) // an etcd that takes this for a member tries again later
			return
		}
		_, _ = w.Write(body) // who has gone asks again
	})
}

func (p *Peers) urlsOf(addrs []string) (urls []string) {
	for _, a := range addrs {
		u := p.url(a)
		urls = append(urls, u.String())
	}
	return urls
}

// judge says how to begin; where that is not clear yet, why.
func (p *Peers) judge(found []neighbour) (begin entry, why string) {
	own := p.urlsOf([]string{p.Self})[0]
	vacant := 0
	for _, n := range found {
		for _, m := range n.members {
			if !slices.Contains(m.PeerURLs, own) {
				continue
			}
			switch {
			case len(m.ClientURLs) > 0:
				why = fmt.Sprintf("the data of %s are gone; the others let it in anew when a majority of them is up", p.Self)
			case m.Name != "": // they have just begun, and this member with them
				return entry{embed.ClusterStateFlagNew, p.initial()}, ""
			default:
				return entry{embed.ClusterStateFlagExisting, initialOf(n.members, own, p.Self)}, ""
			}
		}
		switch {
		case len(n.members) > 0 && why == "":
			why = fmt.Sprintf("%s and its peers do not have %s among them yet; they need it in their --peers", n.addr, p.Self)
		case n.vacancy.Vacant && !samePeers(n.vacancy.Peers, p.All):
			why = fmt.Sprintf("%s was started with other --peers: %s", n.addr, strings.Join(n.vacancy.Peers, ","))
		case n.vacancy.Vacant:
			vacant++
		}
	}
	if why != "" {
		return entry{}, why
	}
	if vacant == len(p.All)-1 {
		return entry{embed.ClusterStateFlagNew, p.initial()}, ""
	}
	for _, n := range found {
		if n.err != nil {
			return entry{}, fmt.Sprintf("to begin, all must be up, and %s does not answer (%v)", n.addr, errors.Unwrap(n.err))
		}
	}
	return entry{}, "the others are about to begin"
}

func samePeers(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// initialOf is the members as etcd wants them told; one that has not begun yet has no name.
func initialOf(members []member, own, name string) string {
	var parts []string
	for i, m := range members {
		switch {
		case slices.Contains(m.PeerURLs, own):
			m.Name = name
		case m.Name == "":
			m.Name = fmt.Sprint("member-", i)
		}
		for _, u := range m.PeerURLs {
			parts = append(parts, m.Name+"="+u)
		}
	}
	return strings.Join(parts, ",")
}

// ask asks all URLs at once what is there.
func ask(ctx context.Context, rt http.RoundTripper, urls []string) []neighbour {
	out := make([]neighbour, len(urls))
	var all sync.WaitGroup
	for i, u := range urls {
		all.Go(func() {
			out[i] = askOne(ctx, rt, u)
			_, out[i].addr, _ = strings.Cut(u, "://")
		})
	}
	all.Wait()
	return out
}

func askOne(ctx context.Context, rt http.RoundTripper, base string) (n neighbour) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+membersPath, nil)
	if err != nil {
		n.err = err
		return n
	}
	resp, err := (&http.Client{Transport: rt}).Do(req)
	if err != nil {
		n.err = err
		return n
	}
	defer resp.Body.Close()
	var raw json.RawMessage
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&raw); err != nil {
		n.err = fmt.Errorf("read the answer of %s: %w", base, err)
		return n
	}
	if json.Unmarshal(raw, &n.vacancy) == nil && n.vacancy.Vacant {
		return n
	}
	if err := json.Unmarshal(raw, &n.members); err != nil {
		n.err = fmt.Errorf("read the answer of %s: %w", base, err)
	}
	return n
}
