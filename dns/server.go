// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// Sandbox is a container of this node whose questions we answer.
type Sandbox struct {
	Path      string   // of its network namespace; at most one Sandbox a path
	Endpoints []string // their ids: who asks
	// Everywhere says that the container has no resolver inside and that its questions to any server are taken; else
	// those to Docker's resolver, at 127.0.0.11, are.
	Everywhere bool
	// Ports are the node's sides of the container's devices that are ours, by name. With Everywhere, questions that leave by one are
	// reflected there.
	Ports []string
	// Gateway4 and Gateway6 say that there will soon be a default route by one of them, if there is none yet.
	Gateway4, Gateway6 bool
}

// Server answers the questions of the containers that Sync named last. Run has to run meanwhile.
type Server struct {
	names *index
	dp    *datapath.Datapath
	log   *slog.Logger
	life  time.Duration // of a redirect without a heartbeat
	find  finder

	syncing sync.Mutex // one Sync at a time; comes before mu
	mu      sync.Mutex
	closed  bool
	open    map[string]*sandbox // by path
	// questions has the program on lo of containers without a resolver inside; nil until there is one.
	questions *datapath.Questions
}

// New makes a server that answers from what world returns at the time of the question. Each World must be complete: a
// server that is asked before the first one has come would tell containers that their peers do not exist. The ports of dp reflect
// questions; where it is nil, none does. Kubernetes' names are in the domain, as ClusterDomain.
func New(world func() model.World, dp *datapath.Datapath, domain string, log *slog.Logger) *Server {
	return &Server{names: newIndex(world, domain), dp: dp, log: log, life: lifetime, find: net.DefaultResolver.LookupNetIP, open: map[string]*sandbox{}}
}

// Run keeps the redirects of all containers alive until ctx ends, and then closes the sockets. The redirects stay for up to
// 10 s more: to the containers a restart within that time is a slow answer. Later their questions go where they are sent.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(s.life / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.close()
			return nil
		case <-tick.C:
			s.heartbeat()
			s.names.refresh()
		}
	}
}

func (s *Server) heartbeat() {
	s.mu.Lock()
	q := s.questions
	s.mu.Unlock()
	if q != nil {
		if err := q.Keep(s.life); err != nil {
			s.log.Warn("containers' questions will soon go where they are sent", "err", err)
		}
	}
	for _, sb := range s.sandboxes() {
		err := sb.heartbeat()
		switch {
		case errors.Is(err, errGone):
			if s.forget(sb) {
				s.end(sb)
			}
		case err != nil:
			s.log.Debug("a container's DNS redirect was not renewed", "err", err)
		}
	}
}

// end closes a sandbox that is no longer in the map.
func (s *Server) end(sb *sandbox) {
	// First, so that no question meets closed sockets.
	if err := sb.unredirect(); err != nil {
		s.log.Warn("a container's DNS redirect is left to expire", "err", err)
	}
	sb.close()
}

var errEnded = errors.New("the DNS server has ended")

// Sync makes want the containers that are served. It can be called with the same list again at any time, and after
// a restart takes over what the last run left. A namespace that is gone is skipped; other errors are returned
// when all the rest is done, and the next Sync tries again. Safe for concurrent use.
func (s *Server) Sync(ctx context.Context, want []Sandbox) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	wanted := map[string]Sandbox{}
	for _, w := range want {
		wanted[w.Path] = w
	}
	var failed []error
	for _, sb := range s.sandboxes() {
		w, ok := wanted[sb.path]
		if id, err := namespaceAt(sb.path); !ok || err != nil || id != sb.namespace {
			if s.forget(sb) {
				s.end(sb)
			}
			continue
		}
		delete(wanted, sb.path)
		if sb.want(w) {
			if err := sb.keep(); err != nil && !errors.Is(err, errGone) && !netdev.Gone(err) {
				failed = append(failed, fmt.Errorf("turn the questions of the container at %s: %w", sb.path, err))
			}
		}
	}
	for path, w := range wanted {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(failed, fmt.Errorf("open DNS for containers: %w", err))...)
		}
		if err := s.start(w); errors.Is(err, fs.ErrNotExist) {
			s.log.Debug("a container is gone before its DNS began", "netns", path)
		} else if err != nil {
			failed = append(failed, fmt.Errorf("open DNS for container at %s: %w", path, err))
		}
	}
	return errors.Join(failed...)
}

func (s *Server) start(w Sandbox) error {
	if _, err := namespaceAt(w.Path); err == nil && !netdev.IsNamespace(w.Path) {
		return fmt.Errorf("%s is not a network namespace (yet)", w.Path)
	}
	s.names.ask(w.Endpoints, false, func(view) {}) // so that its first question does not wait for an index
	questions, err := s.turner(w.Everywhere)
	if err != nil {
		return err
	}
	sb := &sandbox{questions: questions, dp: s.dp, path: w.Path, everywhere: w.Everywhere, reply: s.reply, find: s.find, finding: make(chan struct{}, maxFinding), life: s.life, log: s.log}
	sb.want(w)
	if err := sb.open(); err != nil {
		return err
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.open[w.Path] = sb
	}
	s.mu.Unlock()
	if closed {
		sb.close()
		return errEnded
	}
	return nil
}

// turner gives what turns questions where it is needed. It is called with syncing held.
func (s *Server) turner(needed bool) (*datapath.Questions, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !needed:
		return nil, nil
	case s.closed:
		return nil, errEnded
	case s.questions != nil:
		return s.questions, nil
	}
	q, err := datapath.NewQuestions()
	if err != nil {
		return nil, err
	}
	if err := q.Keep(s.life); err != nil {
		_ = q.Close()
		return nil, err
	}
	s.questions = q
	return q, nil
}

// reply answers a query from the container with the given endpoints, or is nil. See responder.
func (s *Server) reply(endpoints []string, query []byte, over transport, outer outer) (answer []byte, wanted string) {
	// A counter would give a client that asks for IPv4 and IPv6 in turn every other address only.
	return responder{names: s.names, asker: endpoints, turn: rand.Uint32(), outer: outer}.reply(query, over)
}

func (s *Server) sandboxes() []*sandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*sandbox, 0, len(s.open))
	for _, sb := range s.open {
		out = append(out, sb)
	}
	return out
}

// forget takes a sandbox out of the map and tells whether it was in it, so that only one closes it.
func (s *Server) forget(sb *sandbox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[sb.path] != sb {
		return false
	}
	delete(s.open, sb.path)
	return true
}

func (s *Server) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, sb := range s.sandboxes() {
		if s.forget(sb) {
			sb.close()
		}
	}
	s.syncing.Lock() // nobody attaches any more
	defer s.syncing.Unlock()
	if s.questions != nil {
		_ = s.questions.Close()
	}
}
