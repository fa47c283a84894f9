// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

func (m *Master) nodes() noun {
	return noun{
		plural: api.Nodes,
		list: func(w model.World) any {
			count := map[string]int{}
			for _, e := range w.Endpoints.All() {
				count[e.Node]++
			}
			out := []api.Node{}
			for n := range w.Nodes.Sorted() {
				out = append(out, nodeOf(w, n, count[n.Name]))
			}
			return out
		},
		get: func(w model.World, key string) (any, error) {
			n, err := node(w, "nodeName", key)
			return nodeOf(w, n, len(endpointsAt(w, key))), err
		},
		inspect: func(w model.World, key string) (any, error) {
			n, err := node(w, "nodeName", key)
			if err != nil {
				return nil, err
			}
			return api.Inspect[api.Node, nodeOper]{Config: api.NodeOf(n), Oper: nodeOperOf(w, n)}, nil
		},
		put:     puts(func(n *api.Node) []part { return []part{{"nodeName", &n.NodeName}} }, m.askNode),
		remove:  removeNode,
		removed: m.removeOrphans,
	}
}

// nodeOper is what is known of a node.
type nodeOper struct {
	State        string             `json:"state"`                  // up or down
	NumEndpoints int                `json:"numEndpoints,omitempty"` // how many
	Endpoints    []api.EndpointOper `json:"endpoints,omitempty"`    // those on it
}

func nodeOperOf(w model.World, n model.Node) nodeOper {
	out := nodeOper{State: nodeState(w, n.Name)}
	for _, e := range endpointsAt(w, n.Name) {
		out.Endpoints = append(out.Endpoints, endpointOper(w, e))
	}
	out.NumEndpoints = len(out.Endpoints)
	return out
}

// node finds a node by its name, which a request has in the field.
func node(w model.World, field, name string) (model.Node, error) {
	n, ok := w.Nodes.Get(name)
	if !ok {
		return n, model.NotFound(field, "node %s not found: the masters know it once its netplugin runs; netctl node ls lists those there are", name)
	}
	return n, nil
}

func nodeOf(w model.World, n model.Node, endpoints int) api.Node {
	out := api.NodeOf(n)
	out.State, out.NumEndpoints = nodeState(w, n.Name), endpoints
	return out
}

func nodeState(w model.World, name string) string {
	if _, alive := w.Alive.Get(name); alive {
		return api.NodeUp
	}
	return api.NodeDown
}

// endpointsAt are a node's endpoints in the order of their ids.
func endpointsAt(w model.World, node string) (out []model.Endpoint) {
	for _, e := range w.Endpoints.All() {
		if e.Node == node {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b model.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// askNode has the masters know a node. It is not up before it says that it is alive.
func (m *Master) askNode(asked api.Node) (write, error) {
	n, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		answer := nodeOf(p.world(), n, len(endpointsAt(p.world(), n.Name)))
		old, exists := p.world().Nodes.Get(n.Name)
		if exists && old == n {
			return answer, nil
		}
		if err := mayBeNode(p.world(), old, n); err != nil {
			return nil, err
		}
		p.noneNewer(model.KindNode, "")
		p.put(n)
		// In the same transaction, lest a sweep finds a node that was never heard of.
		p.lend(model.Known{Node: n.Name}, m.knownSeconds())
		return answer, nil
	}}, err
}

// mayBeNode refuses a machine that would take another's name while that one lives, or another's address: packets for the one would
// go to the other. And one that could not meet those that live, as tunnels are over IPv4 or over IPv6. Those that are down are not
// asked, so that a cluster can go from one to the other.
func mayBeNode(w model.World, old, n model.Node) error {
	if old.VTEP.IsValid() && old.VTEP != n.VTEP && nodeState(w, n.Name) == api.NodeUp {
		return model.Exists("nodeName", "node %s is up at %s: give this one at %s another --host-label, or stop the other and wait %d s",
			n.Name, old.VTEP, n.VTEP, model.AliveSeconds)
	}
	for other := range w.Nodes.Sorted() {
		switch {
		case other.Name == n.Name:
		case other.VTEP.Is4() != n.VTEP.Is4() && nodeState(w, other.Name) == api.NodeUp:
			return model.Exists("vtepIP", "VTEP address %s of node %s is %s, and node %s, which is up, has %s: no tunnel joins the two. Give this one an %s address of the underlay with --vtep-ip, or stop the netplugins of all nodes and start them with %s ones",
				n.VTEP, n.Name, family(n.VTEP), other.Name, other.VTEP, family(other.VTEP), family(n.VTEP))
		case other.VTEP != n.VTEP:
		case nodeState(w, other.Name) == api.NodeUp:
			return model.Exists("vtepIP", "VTEP address %s belongs to node %s, which is up: give node %s an address of its own with --vtep-ip, or stop the other and remove it with netctl node rm %s",
				n.VTEP, other.Name, n.Name, other.Name)
		default:
			return model.Exists("vtepIP", "VTEP address %s belongs to node %s, which is down: if that machine is no more or has become %s, remove it with netctl node rm %s; else give this one an address of its own with --vtep-ip",
				n.VTEP, other.Name, n.Name, other.Name)
		}
	}
	return nil
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// knownSeconds is how long a node is known after its last word.
func (m *Master) knownSeconds() int64 { return int64((m.NodeGC + time.Second - 1) / time.Second) }

// nodeAlive is a node's word that it lives. It writes only when the node was taken for dead.
func (m *Master) nodeAlive(w http.ResponseWriter, r *http.Request, args []string) error {
	if _, err := body[struct{}](r, api.MaxBody); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), m.Patience)
	defer cancel()
	away := func(err error) error {
		return fmt.Errorf("the store (etcd) is away, so node %s cannot be marked alive: %w", model.Short(args[0]), err)
	}
	world := m.ledger.current()
	for range 3 { // the second time on what another master may have written; then it is being changed all the time
		if n, known := world.Nodes.Get(args[0]); known {
			ok, err := m.keepAlive(ctx, n, world.Revision)
			if err != nil {
				return away(err)
			}
			if ok {
				return reply(w, n.Name, world.Revision)
			}
		}
		var err error
		if world, err = m.catchUp(ctx); err != nil {
			return away(err)
		}
		if _, err := node(world, "nodeName", args[0]); err != nil {
			return err
		}
	}
	return errBusy
}

// keepAlive refreshes what says that a node lives. ok is false when the node is not as it was at the revision.
func (m *Master) keepAlive(ctx context.Context, n model.Node, revision int64) (ok bool, err error) {
	guard := store.Unchanged(model.RefOf(n), revision)
	if ok, err = m.Store.KeepAlive(ctx, model.Alive{Node: n.Name}, model.AliveSeconds, guard); !ok || err != nil {
		return ok, err
	}
	return m.Store.KeepAlive(ctx, model.Known{Node: n.Name}, m.knownSeconds(), guard)
}
