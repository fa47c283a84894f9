// SPDX-License-Identifier: Apache-2.0

package master

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// told is what the reader of one node has to say.
type told struct {
	node  string
	line  api.FlowLine // empty when past or ended
	past  bool         // all that was there has been told
	ended bool
	err   error // why it ended; nil when it was to
}

// observeFlows joins what nodes tell: first what was there, in the order of time, then what comes. Nothing is kept for a client
// that reads slowly: nodes wait for it, and tell it what it missed.
func (m *Master) observeFlows(w http.ResponseWriter, r *http.Request, _ []string) error {
	q, err := api.FlowQueryOf(r.URL.Query())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	j := &joint{
		master: m, query: q, told: make(chan told), begin: make(chan struct{}), turns: make(chan struct{}, agentsAtOnce),
		reading: map[string]bool{}, silent: map[string]bool{}, until: map[string]time.Time{},
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &lineWriter{flow: &flow{w: w, rc: http.NewResponseController(w)}}
	out.buffer = bufio.NewWriter(out.flow)
	// The client shall not take a master for hung that waits for nodes.
	if err := out.flow.flush(nil); err != nil {
		return nil
	}
	began := time.Now()
	if err := out.write(j.history(ctx)...); err != nil || !q.Follow {
		return nil // the client has gone, or has what it wants
	}
	close(j.begin)
	pulse, look := time.NewTicker(api.FlowPulse*4/5), time.NewTicker(agentPatience)
	defer pulse.Stop()
	defer look.Stop()
	for {
		var lines []api.FlowLine
		select {
		case t := <-j.told:
			lines = j.line(t)
		case <-look.C:
			lines = j.look(ctx, api.MaxLastFlows, began)
		case <-pulse.C:
			lines = []api.FlowLine{{}}
		case <-ctx.Done():
			return nil
		case <-m.done:
			return nil
		}
		if len(lines) > 0 {
			if err := out.write(lines...); err != nil {
				return nil
			}
		}
	}
}

// lineWriter sends lines at once.
type lineWriter struct {
	flow   *flow
	buffer *bufio.Writer
}

func (l *lineWriter) write(lines ...api.FlowLine) error {
	e := json.NewEncoder(l.buffer)
	for _, line := range lines {
		if err := e.Encode(line); err != nil {
			return err
		}
	}
	return l.flow.flush(l.buffer.Flush())
}

// joint is one client's view of all nodes. Its readers are goroutines; all else is used by one.
type joint struct {
	master *Master
	query  api.FlowQuery
	told   chan told
	begin  chan struct{} // closed when readers may tell what is new
	turns  chan struct{} // held by readers that have not come past what was there

	reading map[string]bool      // nodes that have a reader
	silent  map[string]bool      // nodes of which the client knows that they do not tell
	until   map[string]time.Time // what nodes have told, by their clocks
}

// look begins to read nodes that are not read, and says which cannot be. Of what was there, each node is asked for the last. One that has
// told something before goes on from there; another begins at a time.
func (j *joint) look(ctx context.Context, last int, begin time.Time) (lines []api.FlowLine) {
	w := j.master.ledger.current()
	for n := range w.Nodes.Sorted() {
		if j.reading[n.Name] {
			continue
		}
		if why := silence(w, n); why != "" {
			lines = append(lines, j.silence(n.Name, why)...)
			continue
		}
		j.reading[n.Name] = true
		q := j.query
		q.Last = last
		after := begin
		if until, ok := j.until[n.Name]; ok {
			after = until
		}
		go func() {
			past, err := j.read(ctx, n, q, after)
			if err == nil && !past {
				err = errors.New("its netplugin broke off")
			}
			j.tell(ctx, told{node: n.Name, ended: true, err: err})
		}()
	}
	return lines
}

// silence tells once that a node is silent.
func (j *joint) silence(node, why string) []api.FlowLine {
	if j.silent[node] {
		return nil
	}
	j.silent[node] = true
	return []api.FlowLine{{Silent: &api.Silent{Node: node, Error: why}}}
}

// line is what the client is told of a node's word.
func (j *joint) line(t told) []api.FlowLine {
	switch {
	case t.past:
		delete(j.silent, t.node)
		return nil
	case t.ended:
		delete(j.reading, t.node)
		if t.err == nil {
			return nil
		}
		return j.silence(t.node, t.err.Error())
	}
	if f := t.line.Flow; f != nil && f.Time.After(j.until[t.node]) {
		j.until[t.node] = f.Time
	}
	return []api.FlowLine{t.line}
}

// history is what was there, and an empty line. It returns when each node has told it or been silent for too long.
func (j *joint) history(ctx context.Context) []api.FlowLine {
	lines := j.look(ctx, j.query.Last, time.Time{})
	left := map[string]bool{}
	for node := range j.reading {
		left[node] = true
	}
	var flows []api.FlowLine
	trim := func() {
		slices.SortStableFunc(flows, func(a, b api.FlowLine) int { return a.Flow.Time.Compare(b.Flow.Time) })
		flows = slices.Delete(flows, 0, max(0, len(flows)-max(0, j.query.Last)))
	}
	for len(left) > 0 {
		select {
		case <-ctx.Done():
			return nil
		case t := <-j.told:
			if t.past || t.ended {
				delete(left, t.node)
			}
			said := j.line(t)
			if t.line.Flow == nil {
				lines = append(lines, said...)
				continue
			}
			// Each node tells as many as all of them should, so that they are never more than twice that.
			if flows = append(flows, t.line); len(flows) > 2*api.MaxLastFlows {
				trim()
			}
		}
	}
	trim()
	return append(append(lines, flows...), api.FlowLine{})
}

func (j *joint) tell(ctx context.Context, t told) {
	select {
	case j.told <- t:
	case <-ctx.Done():
	}
}

// read tells what a node tells that came after a time, until it ends.
func (j *joint) read(ctx context.Context, n model.Node, q api.FlowQuery, after time.Time) (past bool, err error) {
	select {
	case j.turns <- struct{}{}:
	case <-ctx.Done():
		return false, nil
	}
	giveBack := func() {
		if !past {
			<-j.turns
		}
	}
	defer func() { giveBack() }()

	waiting := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(agentPatience, func() { cancel(errSlowAgent) })
	defer patience.Stop()
	body, err := j.master.openAgent(ctx, n, api.AgentFlowsPath+"?"+q.Values().Encode())
	if err != nil {
		return past, err
	}
	defer body.Close()
	err = api.ReadFlowLines(body, func(l api.FlowLine) error {
		patience.Stop() // what takes time now is the client's reading
		switch {
		case !past && l.Flow != nil && !l.Flow.Time.After(after): // told before, or before anybody asked
		case l != (api.FlowLine{}):
			j.tell(waiting, told{node: n.Name, line: l})
		case !past:
			giveBack()
			past = true
			j.tell(waiting, told{node: n.Name, past: true})
			if !q.Follow {
				break
			}
			select {
			case <-j.begin:
			case <-waiting.Done():
			}
		}
		if past {
			patience.Reset(3 * api.FlowPulse)
		} else {
			patience.Reset(agentPatience)
		}
		return waiting.Err()
	})
	switch {
	case waiting.Err() != nil:
		return past, nil
	case err != nil:
		return past, agentError(ctx, n, err)
	case q.Follow:
		return past, errors.New("its netplugin has stopped")
	}
	return past, nil
}
