// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Connections that end are removed by the programs that see it. What is idle is collected here.
const (
	collectEvery = 30 * time.Second

	idleTCP    = 24 * time.Hour
	idleEnding = 2 * time.Minute // TCP after a FIN
	idleOther  = 3 * time.Minute
)

// isIdle tells whether a connection is over, at a moment of the clock.
func (c clock) isIdle(proto uint32, x contivConnection, now uint16) bool {
	limit := idleOther
	if proto == unix.IPPROTO_TCP {
		limit = idleTCP
		if x.State&uint8(contivConnectionStateSTATE_FIN) != 0 {
			limit = idleEnding
		}
	}
	return c.between(x.Seen, now) > limit
}

// packetCounts are packets of connections that were removed before they were counted with their rules.
type packetCounts struct {
	mu     sync.Mutex
	byRule map[uint32]uint64
}

func (p *packetCounts) add(c contivConnection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byRule == nil {
		p.byRule = map[uint32]uint64{}
	}
	p.byRule[c.OutRule] += uint64(c.Packets)
	p.byRule[c.InRule] += uint64(c.Packets)
}

func (p *packetCounts) of(rule uint32) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byRule[rule]
}

// collector collects idle connections until it is stopped.
type collector struct {
	stop context.CancelFunc
	done chan struct{}
}

func (d *Datapath) startCollecting() {
	ctx, stop := context.WithCancel(context.Background())
	d.collector = &collector{stop, make(chan struct{})}
	go func() {
		defer close(d.collector.done)
		tick := time.NewTicker(collectEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := d.collectIdle(); err != nil {
				d.opts.Log.Warn("idle connections were not collected, and will be tried again", "error", err)
			}
		}
	}()
}

func (c *collector) close() {
	c.stop()
	<-c.done
}

func (d *Datapath) collectIdle() error {
	now, err := d.now()
	if err != nil {
		return err
	}
	return errors.Join(
		d.forget(func(k contivConnectionKey, c contivConnection) bool { return d.clock.isIdle(k.Proto, c, now) }),
		d.collectTranslations(now),
		d.forgetCounts(),
	)
}

// forgetConnections ends the connections of addresses whose endpoint is gone: another may get the address.
func (d *Datapath) forgetConnections(gone map[contivEndpointKey]bool) error {
	if len(gone) == 0 {
		return nil
	}
	return d.forget(func(k contivConnectionKey, _ contivConnection) bool {
		return gone[contivEndpointKey{Tenant: k.Tenant, Address: k.Low}] || gone[contivEndpointKey{Tenant: k.Tenant, Address: k.High}]
	})
}

// forget removes the connections that over tells of.
func (d *Datapath) forget(over func(contivConnectionKey, contivConnection) bool) error {
	return errors.Join(
		forgetIn(d, d.objects.Connections4, func(k contivConnection4Key, c contivConnection) bool { return over(widened(k), c) }),
		forgetIn(d, d.objects.Connections6, over),
	)
}

// widened is an IPv4 connection's key in the form of all others.
func widened(k contivConnection4Key) contivConnectionKey {
	wide := func(a uint32) [16]byte { // its bytes are in wire order
		return netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, a))).As16()
	}
	return contivConnectionKey{Tenant: k.Tenant, Proto: k.Proto, Low: wide(k.Low), High: wide(k.High), Ports: k.Ports}
}

func forgetIn[K any](d *Datapath, m *ebpf.Map, over func(K, contivConnection) bool) error {
	return eachRow(m, func(k K, c contivConnection) error {
		if !over(k, c) {
			return nil
		}
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget a connection: %w", err)
		}
		d.forgotten.add(c)
		return nil
	})
}

// eachRow reads a table in batches, while it changes. What comes meanwhile may be left out.
func eachRow[K, V any](m *ebpf.Map, take func(K, V) error) error {
	batch := max(64, min(4096, 1<<20/m.ValueSize()))
	keys, values := make([]K, batch), make([]V, batch)
	var cursor ebpf.MapBatchCursor
	for range 2 * (m.MaxEntries()/batch + 64) {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if errors.Is(err, unix.ENOSPC) { // a bucket has more than fit
			keys, values = make([]K, 2*len(keys)), make([]V, 2*len(values))
			continue
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read a table of connections: %w", err)
		}
		for i := range n {
			if err := take(keys[i], values[i]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
	return nil
}
