// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

const (
	// maxFollowers is how many may follow flows at once. A master follows once for each user who does.
	maxFollowers = 32
	// stalled is how long a reader may take nothing of what it is sent.
	stalled = 10 * time.Second
	// batch is how many lines are taken from the ring at once.
	batch = 256
)

// Handler serves AgentCountsPath, AgentServicesPath, AgentBGPPath, AgentRoutePath and AgentFlowsPath. It reads no bodies and changes nothing.
func (o *Observer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.AgentCountsPath, func(w http.ResponseWriter, _ *http.Request) {
		counts, err := o.Counts()
		tell(w, counts, err)
	})
	mux.HandleFunc("GET "+api.AgentServicesPath, func(w http.ResponseWriter, _ *http.Request) {
		counts, err := o.Services()
		tell(w, counts, err)
	})
	mux.HandleFunc("GET "+api.AgentBGPPath, func(w http.ResponseWriter, _ *http.Request) {
		tell(w, api.NodeBGP{Node: o.Node, Oper: o.BGP()}, nil)
	})
	mux.HandleFunc("GET "+api.AgentRoutePath, func(w http.ResponseWriter, r *http.Request) {
		route, err := o.route(r.URL.Query().Get("into"))
		tell(w, route, err)
	})
	followers := make(chan struct{}, maxFollowers)
	mux.HandleFunc("GET "+api.AgentFlowsPath, func(w http.ResponseWriter, r *http.Request) {
		q, err := api.FlowQueryOf(r.URL.Query())
		if err != nil {
			refuse(w, err)
			return
		}
		if q.Follow {
			select {
			case followers <- struct{}{}:
				defer func() { <-followers }()
			default:
				refuse(w, errors.New("as many follow this node's flows as can at once; end another, or ask without following"))
				return
			}
		}
		o.serveFlows(w, r, q)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Now().Add(stalled)) // also lest that of the connection's last request holds
		if r.ContentLength != 0 {                        // the server would wait for what is left of it
			_ = rc.SetReadDeadline(time.Now())
			refuse(w, model.Invalid("", "nothing can be changed here, so send no body"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func tell(w http.ResponseWriter, counts any, err error) {
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(counts) // the reader has gone if it fails
}

func refuse(w http.ResponseWriter, err error) {
	e := api.ErrorOf(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(e) // the reader has gone if it fails
}

// Counts are the node's.
func (o *Observer) Counts() (api.NodeCounts, error) {
	world, tables := o.Names()
	n := naming{world: world, tables: tables}
	out := api.NodeCounts{Node: o.Node, Revision: o.Applied(), LostFlows: o.lost.Load()}
	drops, err := o.Source.Drops()
	if err != nil {
		return out, err
	}
	rules, err := o.Source.Rules()
	out.Drops, out.Rules = n.drops(o.Node, drops, rules), n.rules(rules)
	return out, err
}

// route is the node's own route that overlaps the prefix in the text.
func (o *Observer) route(into string) (api.NodeRoute, error) {
	out := api.NodeRoute{Node: o.Node}
	p, err := netip.ParsePrefix(into)
	if err != nil {
		return out, model.Invalid("into", "into %q is not a prefix; write it as 172.19.0.0/16", into)
	}
	to, device, ok, err := o.Route(p.Masked())
	if ok {
		out.To, out.Device = to.String(), device
	}
	return out, err
}

// serveFlows tells those that are kept, then those that come.
func (o *Observer) serveFlows(w http.ResponseWriter, r *http.Request, q api.FlowQuery) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	rc, out := http.NewResponseController(w), json.NewEncoder(w)
	// write returns when the reader has taken all but what the kernel buffers for it.
	write := func(lines ...api.FlowLine) error {
		_ = rc.SetWriteDeadline(time.Now().Add(stalled)) // without it, one that stalls stays until its connection breaks
		for _, l := range lines {
			if err := out.Encode(l); err != nil {
				return err
			}
		}
		return rc.Flush()
	}
	lines, at := o.ring.last(q)
	if err := write(append(lines, api.FlowLine{})...); err != nil || !q.Follow {
		return // the reader has gone, or has what it wants
	}
	pulse := time.NewTicker(api.FlowPulse * 4 / 5)
	defer pulse.Stop()
	for {
		lines, missed, to, moved := o.ring.from(at, batch)
		if len(lines) > 0 || missed > 0 {
			if err := write(chosenOf(q, lines, missed, o.Node)...); err != nil {
				return
			}
			at = to
			continue
		}
		select {
		case <-moved:
		case <-pulse.C:
			if err := write(api.FlowLine{}); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-o.done:
			return
		}
	}
}

// chosenOf are the lines that q chooses, after what was missed before them.
func chosenOf(q api.FlowQuery, lines []api.FlowLine, missed uint64, node string) []api.FlowLine {
	var out []api.FlowLine
	if missed > 0 {
		out = append(out, api.FlowLine{Lost: &api.Lost{Node: node, Flows: missed, Why: "the reader was too slow"}})
	}
	for _, l := range lines {
		if chosen(q, l) {
			out = append(out, l)
		}
	}
	return out
}
