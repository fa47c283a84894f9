// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/contivnet/contiv/api"
)

// recordFile is the record's name in the state directory.
const recordFile = "docker.json"

// known is what this node knows of one of the engine's networks, which the engine does not say again.
type known struct {
	// Key is the network's in the World, "" until the keeper has put a user's network there.
	Key string `json:"key,omitempty"`
	// Group is the group of that network into which containers come; "" for none.
	Group string `json:"group,omitempty"`
	// Tag and the subnets tell the network from a later one of the same key.
	Tag  uint32       `json:"tag,omitempty"`
	IPv4 netip.Prefix `json:"ipv4,omitzero"`
	IPv6 netip.Prefix `json:"ipv6,omitzero"`
	// Asked is what the user asked for, without the name.
	Asked *api.Network `json:"asked,omitempty"`
	Since time.Time    `json:"since"`
}

func knownOf(p place) known {
	n := p.network
	return known{Key: n.Key(), Group: p.group, Tag: n.Tag, IPv4: n.IPv4.Subnet(), IPv6: n.IPv6.Subnet(), Since: time.Now()}
}

// is tells whether k stands for p and not for a place in an earlier network of the same name.
func (k known) is(p place) bool {
	n := p.network
	return k.Key == n.Key() && k.Group == p.group && k.Tag == n.Tag && k.IPv4 == n.IPv4.Subnet() && k.IPv6 == n.IPv6.Subnet()
}

// pool is a pool of addresses that a user's `docker network create` asked for.
type pool struct {
	Subnet  netip.Prefix `json:"subnet"`
	Range   netip.Prefix `json:"range,omitzero"` // --ip-range
	Gateway netip.Addr   `json:"gateway,omitzero"`
	Aux     []netip.Addr `json:"aux,omitempty"`
	// Network is the engine's id of its network, "" until CreateNetwork.
	Network string    `json:"network,omitempty"`
	Since   time.Time `json:"since"`
}

// ledger is what the record holds.
type ledger struct {
	Networks map[string]known `json:"networks"` // by the engine's network id
	Pools    map[string]pool  `json:"pools"`    // by PoolID
	// Removed are keys of networks that a user removed with `docker network rm` while no master answered.
	Removed map[string]known `json:"removed,omitempty"`
}

func (l ledger) clone() ledger {
	l.Networks, l.Pools, l.Removed = maps.Clone(l.Networks), maps.Clone(l.Pools), maps.Clone(l.Removed)
	for id, p := range l.Pools {
		p.Aux = slices.Clone(p.Aux)
		l.Pools[id] = p
	}
	return l
}

// record keeps a ledger on disk. A network of the engine outlives the machine's power, so it is flushed.
type record struct {
	path string

	mu      sync.Mutex
	now     ledger
	changed chan struct{} // closed at the next change
}

func openRecord(dir string) (*record, error) {
	r := &record{path: filepath.Join(dir, recordFile), changed: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	b, err := os.ReadFile(r.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the record of Docker networks: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(b, &r.now); err != nil {
			return nil, fmt.Errorf("the record of Docker networks %s cannot be read: %w; move it away and start again, then make anew the networks that were made with `docker network create` on this node", r.path, err)
		}
	}
	if r.now.Networks == nil {
		r.now.Networks = map[string]known{}
	}
	if r.now.Pools == nil {
		r.now.Pools = map[string]pool{}
	}
	if r.now.Removed == nil {
		r.now.Removed = map[string]known{}
	}
	return r, nil
}

// read gives a copy, and a channel that is closed when it is out of date.
func (r *record) read() (ledger, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now.clone(), r.changed
}

// change has fn edit the ledger, and keeps what it made if that is on disk.
func (r *record) change(fn func(*ledger)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.now.clone()
	fn(&next)
	before, err := json.Marshal(r.now)
	if err != nil {
		return fmt.Errorf("encode the record of Docker networks: %w", err)
	}
	after, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode the record of Docker networks: %w", err)
	}
	if string(before) == string(after) {
		return nil
	}
	if err := replaceFile(r.path, after); err != nil {
		return fmt.Errorf("write the record of Docker networks: %w", err)
	}
	r.now = next
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// replaceFile writes the file whole or not at all, also when the machine goes down meanwhile.
func replaceFile(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
