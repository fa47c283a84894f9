// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/contivnet/contiv/model"
)

// page is how many objects are listed at a time, to bound the size of an answer. For each page etcd counts all that come
// after it, so many small ones would take long.
const page = 20_000

// errForgotten says that etcd has compacted what a follower needed.
var errForgotten = errors.New("etcd has forgotten the revisions in between")

type handlerError struct{ error }

// Follow is the Store's.
func (s *Etcd) Follow(ctx context.Context, handle func(model.Change) error) error {
	stop := func(c model.Change) error {
		if err := handle(c); err != nil {
			return handlerError{err}
		}
		return nil
	}
	var at int64 // the last revision handed on; 0 when all must be listed
	for failed := false; ; {
		before := at
		err := s.followFrom(ctx, &at, stop)
		if at != before {
			failed = false // an outage is told once
		}
		var broken handlerError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &broken):
			return broken.error
		case errors.Is(err, errForgotten):
			s.log.Info("list all of etcd again", "reason", err)
			at = 0
			continue
		}
		if !failed {
			failed = true
			s.log.Warn("etcd cannot be followed; trying on", "revision", at, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// followFrom lists when at is 0 and watches from there until the watch breaks.
func (s *Etcd) followFrom(ctx context.Context, at *int64, handle func(model.Change) error) error {
	if *at == 0 {
		c, err := s.list(ctx)
		if err != nil {
			return err
		}
		if err := handle(c); err != nil {
			return err
		}
		*at = c.Revision
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := s.client.Watch(clientv3.WithRequireLeader(ctx), root, clientv3.WithPrefix(), clientv3.WithRev(*at+1), clientv3.WithProgressNotify())
	for resp := range watch {
		if err := resp.Err(); err != nil {
			if errors.Is(err, rpctypes.ErrCompacted) {
				return errForgotten
			}
			return fmt.Errorf("watch etcd: %w", err)
		}
		for _, c := range s.changes(resp) {
			if c.Revision <= *at {
				continue
			}
			if err := handle(c); err != nil {
				return err
			}
			*at = c.Revision
		}
	}
	return errors.New("the watch ended")
}

// changes are what a watch response says, one for each revision. etcd never splits a revision over two responses.
func (s *Etcd) changes(resp clientv3.WatchResponse) []model.Change {
	if resp.IsProgressNotify() {
		return []model.Change{{Revision: resp.Header.Revision}}
	}
	var out []model.Change
	for _, e := range resp.Events {
		if len(out) == 0 || out[len(out)-1].Revision != e.Kv.ModRevision {
			out = append(out, model.Change{Revision: e.Kv.ModRevision})
		}
		c := &out[len(out)-1]
		ref, ok := refOf(string(e.Kv.Key))
		if !ok || !model.Knows(ref.Kind) {
			continue
		}
		if e.Type == clientv3.EventTypeDelete {
			c.Delete = append(c.Delete, ref)
		} else if o, ok := s.decode(ref, e.Kv.Value); ok {
			c.Put = append(c.Put, o)
		}
	}
	return out
}

// decode passes over what cannot be read: one broken object must not keep all others from the World.
func (s *Etcd) decode(ref model.Ref, value []byte) (model.Object, bool) {
	o, err := model.Decode(ref.Kind, value)
	if err == nil && model.RefOf(o) != ref {
		err = fmt.Errorf("it says that it is %s", o.Key())
	}
	if err != nil {
		s.log.Error("an object in etcd cannot be read and is passed over", "key", keyOf(ref), "error", err)
		return nil, false
	}
	return o, true
}

// list reads all objects at one revision.
func (s *Etcd) list(ctx context.Context) (model.Change, error) {
	c := model.Change{Reset: true}
	end := clientv3.GetPrefixRangeEnd(root)
	for from := root; ; {
		resp, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(c.Revision))
		if errors.Is(err, rpctypes.ErrCompacted) {
			return c, errForgotten
		}
		if err != nil {
			return c, fmt.Errorf("list etcd: %w", err)
		}
		if c.Revision == 0 {
			c.Revision = resp.Header.Revision // the rest is read as of now too
		}
		for _, kv := range resp.Kvs {
			ref, ok := refOf(string(kv.Key))
			if !ok || !model.Knows(ref.Kind) {
				continue
			}
			if o, ok := s.decode(ref, kv.Value); ok {
				c.Put = append(c.Put, o)
			}
		}
		if !resp.More {
			return c, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}
