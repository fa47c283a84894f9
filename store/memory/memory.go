// SPDX-License-Identifier: Apache-2.0

// Package memory is a store in a map, for tests of what stands on a store. It behaves as etcd does, in what package
// store promises, and passes the same contract test.
//
// What bites: it keeps every change it ever saw, so that followers can begin late.
package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

// Store is a store.Store in a map.
type Store struct {
	mu       sync.Mutex
	objects  map[model.Ref]entry
	history  []model.Change
	revision int64
	ahead    time.Duration // how far Advance has moved the clock
	moved    chan struct{} // closed and replaced at each change
	away     bool
}

type entry struct {
	value    []byte
	modified int64     // revision
	expires  time.Time // zero: never
}

// ErrAway is what a store answers while it is away.
var ErrAway = errors.New("the store is away")

// New is an empty store.
func New() *Store {
	return &Store{objects: map[model.Ref]entry{}, revision: 1, moved: make(chan struct{})}
}

// Advance moves the store's clock, so that what is due by then is forgotten now.
func (s *Store) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
	s.expire()
}

// SetAway has the store fail until it is set back.
func (s *Store) SetAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// Commit is store.Store's.
func (s *Store) Commit(ctx context.Context, t store.Txn) (int64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return 0, false, ErrAway
	}
	s.expire()
	return s.commit(t)
}

func (s *Store) commit(t store.Txn) (int64, bool, error) {
	for _, g := range t.Guards {
		if !s.holds(g) {
			return s.revision, false, nil
		}
	}
	c := model.Change{Revision: s.revision + 1}
	fresh := map[model.Ref]entry{}
	for _, p := range t.Put {
		if ref := model.RefOf(p.Object); deletes(t, ref) || fresh[ref].value != nil {
			return 0, false, fmt.Errorf("%s %s is twice in one transaction, which etcd refuses", ref.Kind, ref.Key)
		}
		value, err := json.Marshal(p.Object)
		if err != nil {
			return 0, false, fmt.Errorf("encode %s %s: %w", p.Object.Kind(), p.Object.Key(), err)
		}
		o, err := model.Decode(p.Object.Kind(), value) // no follower shares memory with the writer
		if err != nil {
			return 0, false, err
		}
		e := entry{value: value, modified: c.Revision}
		if p.Seconds > 0 {
			e.expires = s.due(p.Seconds)
		}
		fresh[model.RefOf(o)] = e
		c.Put = append(c.Put, o)
	}
	for _, r := range t.Delete {
		if _, had := s.objects[r]; had {
			c.Delete = append(c.Delete, r)
		}
	}
	for _, all := range t.DeleteAll {
		for r := range s.objects {
			if r.Kind == all.Kind && strings.HasPrefix(r.Key, all.Key) {
				c.Delete = append(c.Delete, r)
			}
		}
	}
	if c.Empty() {
		return s.revision, true, nil
	}
	for _, r := range c.Delete {
		delete(s.objects, r)
	}
	for r, e := range fresh {
		s.objects[r] = e
	}
	s.append(c)
	return s.revision, true, nil
}

func deletes(t store.Txn, ref model.Ref) bool {
	return slices.Contains(t.Delete, ref) || slices.ContainsFunc(t.DeleteAll, func(all model.Ref) bool {
		return ref.Kind == all.Kind && strings.HasPrefix(ref.Key, all.Key)
	})
}

func (s *Store) append(c model.Change) {
	s.revision = c.Revision
	s.history = append(s.history, c)
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *Store) holds(g store.Guard) bool {
	e, there := s.objects[g.Ref]
	switch g.Kind {
	case store.GuardAbsent:
		return !there
	case store.GuardUnchanged:
		return there && e.modified <= g.Revision
	}
	for r, e := range s.objects {
		if r.Kind == g.Ref.Kind && strings.HasPrefix(r.Key, g.Ref.Key) && e.modified > g.Revision {
			return false
		}
	}
	return true
}

func (s *Store) now() time.Time { return time.Now().Add(s.ahead) }

// due is when something is to be forgotten, and sees to it that somebody looks then.
func (s *Store) due(seconds int64) time.Time {
	d := time.Duration(seconds) * time.Second
	time.AfterFunc(d+time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.expire()
	})
	return s.now().Add(d)
}

func (s *Store) expire() {
	c := model.Change{Revision: s.revision + 1}
	for r, e := range s.objects {
		if !e.expires.IsZero() && !s.now().Before(e.expires) {
			c.Delete = append(c.Delete, r)
			delete(s.objects, r)
		}
	}
	if !c.Empty() {
		s.append(c)
	}
}

// Revision is store.Store's.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return 0, ErrAway
	}
	return s.revision, nil
}

// KeepAlive is store.Store's.
func (s *Store) KeepAlive(ctx context.Context, o model.Object, seconds int64, guards ...store.Guard) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return false, ErrAway
	}
	s.expire()
	if e, there := s.objects[model.RefOf(o)]; there && !e.expires.IsZero() {
		e.expires = s.due(seconds)
		s.objects[model.RefOf(o)] = e
		return true, nil
	}
	_, ok, err := s.commit(store.Txn{Guards: guards, Put: []store.Put{{Object: o, Seconds: seconds}}})
	return ok, err
}

// Follow is store.Store's.
func (s *Store) Follow(ctx context.Context, handle func(model.Change) error) error {
	s.mu.Lock()
	c := model.Change{Revision: s.revision, Reset: true}
	for r, e := range s.objects {
		o, err := model.Decode(r.Kind, e.value)
		if err != nil {
			s.mu.Unlock()
			return err
		}
		c.Put = append(c.Put, o)
	}
	at := len(s.history)
	s.mu.Unlock()
	if err := handle(c); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		news, moved := s.history[at:len(s.history):len(s.history)], s.moved
		s.mu.Unlock()
		for _, c := range news {
			if err := handle(c); err != nil {
				return err
			}
		}
		at += len(news)
		if len(news) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
	}
}
