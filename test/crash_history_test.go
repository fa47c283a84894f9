// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// history reads along everything that is ever written to etcd and finds what is given to two at any moment. It knows the
// keys and the JSON, and nothing of the masters' code.
type history struct {
	t    *testing.T
	etcd *clientv3.Client
	stop context.CancelFunc
	done chan struct{}

	mu       sync.Mutex
	revision int64
	now      map[string]record // by key
	owners   map[string]string // what is given → the key of who has it
	faults   []string
	events   int
}

// record is what the history needs of an object.
type record struct {
	ID      string `json:"id"`
	Tenant  string `json:"tenant"`
	Network string `json:"network"`
	Name    string `json:"name"`
	IPv4    word   `json:"ipv4"` // an endpoint's; a network has more to say
	MAC     string `json:"mac"`
	Addr    string `json:"addr"`
	Owner   string `json:"owner"`
	Encap   string `json:"encap"`
	Tag     int    `json:"tag"`
	Number  int    `json:"number"`
}

// word is text; what is more than that is left out.
type word string

func (w *word) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*w = word(text)
	}
	return nil
}

const keysRoot = "/contiv/v1/"

// gives are the things of which each may be one's only.
func (r record) gives(key string) (out []string) {
	kind, _, _ := strings.Cut(strings.TrimPrefix(key, keysRoot), "/")
	switch kind {
	case "endpoint":
		return []string{"address " + r.Tenant + ":" + r.Network + " " + string(r.IPv4), "mac " + r.Tenant + ":" + r.Network + " " + r.MAC}
	case "network":
		return []string{fmt.Sprint("tag ", r.Encap, " ", r.Tag)}
	case "tenant", "group":
		return []string{fmt.Sprint(kind, " number ", r.Number)}
	}
	return nil
}

func follow(t *testing.T, etcd *clientv3.Client) *history {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	h := &history{t: t, etcd: etcd, stop: stop, done: make(chan struct{}), now: map[string]record{}, owners: map[string]string{}}
	go func() {
		defer close(h.done)
		h.run(ctx)
	}()
	t.Cleanup(func() { stop(); <-h.done })
	return h
}

// run watches from the first revision on, and goes on where it was when a member dies.
func (h *history) run(ctx context.Context) {
	for ctx.Err() == nil {
		h.mu.Lock()
		from := h.revision + 1
		h.mu.Unlock()
		watching, end := context.WithCancel(clientv3.WithRequireLeader(ctx))
		for resp := range h.etcd.Watch(watching, keysRoot, clientv3.WithPrefix(), clientv3.WithRev(from)) {
			if err := resp.Err(); err != nil {
				if resp.CompactRevision != 0 {
					h.fault("etcd has forgotten revision %d: the history has a gap", from)
				}
				break
			}
			h.read(resp.Events)
		}
		end()
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (h *history) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, fmt.Sprintf(format, args...))
}

// read takes the events of whole revisions.
func (h *history) read(events []*clientv3.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(events) > 0 {
		at := events[0].Kv.ModRevision
		n := slices.IndexFunc(events, func(e *clientv3.Event) bool { return e.Kv.ModRevision != at })
		if n < 0 {
			n = len(events)
		}
		if at > h.revision {
			h.apply(at, events[:n])
		}
		events = events[n:]
	}
}

func (h *history) apply(revision int64, events []*clientv3.Event) {
	bad := func(format string, args ...any) {
		h.faults = append(h.faults, fmt.Sprintf("at revision %d: ", revision)+fmt.Sprintf(format, args...))
	}
	was := map[string]record{}
	for _, e := range events { // what goes and what changes gives back first
		key := string(e.Kv.Key)
		if old, ok := h.now[key]; ok {
			was[key] = old
			for _, g := range old.gives(key) {
				delete(h.owners, g)
			}
			delete(h.now, key)
		}
	}
	for _, e := range events {
		key := string(e.Kv.Key)
		h.events++
		if e.Type == clientv3.EventTypeDelete {
			continue
		}
		var r record
		if err := json.Unmarshal(e.Kv.Value, &r); err != nil {
			bad("%s cannot be read: %v", key, err)
			continue
		}
		if old, ok := was[key]; ok && old.Owner != r.Owner {
			bad("%s of %s is given to %s", key, old.Owner, r.Owner)
		}
		for _, g := range r.gives(key) {
			if other, taken := h.owners[g]; taken {
				bad("%s has %s, which is also given to %s", key, g, other)
			}
			h.owners[g] = key
		}
		h.now[key] = r
	}
	// An endpoint and its address come and go together.
	for _, e := range events {
		key := string(e.Kv.Key)
		rest := strings.TrimPrefix(key, keysRoot)
		switch {
		case strings.HasPrefix(rest, "endpoint/"):
			r, there := h.now[key]
			if !there {
				r = was[key]
			}
			address, given := h.now[addressKey(r)]
			if there && (!given || address.Owner != r.ID) {
				bad("endpoint %s has no address", r.ID)
			}
			if !there && given && address.Owner == r.ID {
				bad("endpoint %s is gone and its address is not", r.ID)
			}
		case strings.HasPrefix(rest, "address/"):
			if r, there := h.now[key]; there && r.Owner != "gateway" {
				if _, has := h.now[keysRoot+"endpoint/"+r.Owner]; !has {
					bad("%s belongs to %s, which is not there", key, r.Owner)
				}
			}
		}
	}
	h.revision = revision
}

func addressKey(r record) string {
	return keysRoot + "address/" + r.Tenant + ":" + r.Network + "/" + string(r.IPv4)
}

// whole waits until the history has come to what etcd has now, compares, and gives the keys.
func (h *history) whole() map[string]record {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	resp, err := h.etcd.Get(ctx, keysRoot, clientv3.WithPrefix())
	if err != nil {
		h.t.Fatal(err)
	}
	var newest int64
	there := map[string]record{}
	for _, kv := range resp.Kvs {
		newest = max(newest, kv.ModRevision)
		var r record
		if err := json.Unmarshal(kv.Value, &r); err != nil {
			h.t.Errorf("%s: %v", kv.Key, err)
		}
		there[string(kv.Key)] = r
	}
	for {
		h.mu.Lock()
		at, now := h.revision, maps.Clone(h.now)
		h.mu.Unlock()
		if at >= newest {
			if at == newest && !maps.Equal(now, there) {
				h.t.Errorf("what was watched is not what is there: %d keys, %d keys", len(now), len(there))
			}
			break
		}
		select {
		case <-ctx.Done():
			h.t.Fatalf("the history is at revision %d, etcd at %d", at, newest)
		case <-time.After(20 * time.Millisecond):
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.faults[:min(len(h.faults), 20)] {
		h.t.Error(f)
	}
	h.faults = nil
	return there
}
