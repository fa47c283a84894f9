// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"time"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

// batch is how many endpoints are removed at once: each is an operation of its own and up to two addresses'.
const batch = store.MaxOps / 4

// removeNode removes a node. It goes before its endpoints, so that none comes to it meanwhile; where that is all that
// happens before a master dies, the others' sweep does the rest.
func removeNode(p *plan, key string) error {
	n, err := node(p.world(), "nodeName", key)
	if err != nil {
		if len(endpointsAt(p.world(), key)) > 0 {
			return nil // removeOrphans has to finish
		}
		return err
	}
	p.removeNode(n)
	return nil
}

func (p *plan) removeNode(n model.Node) {
	p.unchanged(n)
	p.remove(n)
	for _, o := range []model.Object{model.Alive{Node: n.Name}, model.Known{Node: n.Name}} {
		p.remove(o)
	}
}

// removeOrphans removes the endpoints of a node that is not there, and what is held for it, a batch at a time.
func (m *Master) removeOrphans(ctx context.Context, node string) (revision int64, err error) {
	for more := true; more && err == nil; {
		revision, err = m.transact(ctx, func(p *plan) error {
			more = false
			if _, back := p.world().Nodes.Get(node); back {
				return nil // it has come again and wants them
			}
			endpoints, held := endpointsAt(p.world(), node), heldFor(p.world(), node)
			if len(endpoints)+len(held) == 0 {
				return nil
			}
			p.absent(model.Node{Name: node})
			for _, e := range endpoints[:min(len(endpoints), batch)] {
				p.removeEndpoint(e)
			}
			room := batch - min(len(endpoints), batch)
			for _, a := range held[:min(len(held), room)] {
				p.unchanged(a)
				p.remove(a)
			}
			more = len(endpoints)+len(held) > batch
			return nil
		})
	}
	return revision, err
}

func heldFor(w model.World, node string) (out []model.Address) {
	for _, a := range w.Addresses.All() {
		if a.Held && a.Owner == node {
			out = append(out, a)
		}
	}
	return out
}

// sweepLoop gives up nodes that were silent for NodeGC, and removes what a master left behind that died while it did so.
// All masters do it; the transactions let one succeed.
func (m *Master) sweepLoop(ctx context.Context) {
	missing := map[string]int{} // node → how often in a row it was seen not to be known
	tick := time.NewTicker(m.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.sweep(ctx, missing)
	}
}

func (m *Master) sweep(ctx context.Context, missing map[string]int) {
	w := m.ledger.current()
	for name := range missing {
		if _, there := w.Nodes.Get(name); !there {
			delete(missing, name)
		}
	}
	for name, n := range w.Nodes.All() {
		_, known := w.Known.Get(name)
		_, alive := w.Alive.Get(name)
		if known || alive {
			delete(missing, name)
			continue
		}
		// After an outage of all masters every node looks so, until it has been heard again.
		if missing[name]++; missing[name] < 4 {
			continue
		}
		_, err := m.transact(ctx, func(p *plan) error {
			now, there := p.world().Nodes.Get(name)
			if !there || now != n {
				return nil
			}
			p.absent(model.Known{Node: name})
			p.absent(model.Alive{Node: name})
			if _, known := p.world().Known.Get(name); known {
				return nil
			}
			p.removeNode(n)
			return nil
		})
		if err != nil {
			m.Log.Warn("a node that has been silent for long cannot be removed yet", "node", name, "error", err)
			continue
		}
		m.Log.Info("gave up a node that has been silent for long", "node", name, "vtep", n.VTEP)
	}
	m.sweepOrphans(ctx)
}

func (m *Master) sweepOrphans(ctx context.Context) {
	w := m.ledger.current()
	orphaned := map[string]bool{}
	for _, e := range w.Endpoints.All() {
		if _, there := w.Nodes.Get(e.Node); !there {
			orphaned[e.Node] = true
		}
	}
	for node := range orphaned {
		if _, err := m.removeOrphans(ctx, node); err != nil {
			m.Log.Warn("endpoints of a removed node cannot be removed yet", "node", node, "error", err)
			continue
		}
		m.Log.Info("removed the endpoints of a removed node", "node", node)
	}
}
