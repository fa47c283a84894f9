// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

const (
	// agentPatience is how long a node may take to answer.
	agentPatience = 2 * time.Second
	// agentsPatience is how long all of them may take where so many hang that they are not all asked at once. Clients wait 6 s.
	agentsPatience = 5 * time.Second
	// agentsAtOnce is how many nodes are asked side by side.
	agentsAtOnce = 64
	// maxCounts bounds what a node may answer, in bytes. 10,000 rules are 1 MB.
	maxCounts = 16 << 20
)

func (m *Master) observeRoutes() []route {
	return []route{
		{http.MethodGet, split(api.DropsPath), nil, m.observeDrops},
		{http.MethodGet, split(api.RulesPath), []string{"tenant", "policy"}, m.observeRules},
		{http.MethodGet, split(api.ServicesPath), []string{"tenant", "service"}, m.observeServices},
		{http.MethodGet, split(api.FlowsPath), []string{"tenant", "group", "verdict", "last", "follow"}, m.observeFlows},
		{http.MethodGet, split(api.TracePath), []string{"from", "to", "tenant", "proto", "port"}, m.observeTrace},
	}
}

// agentsClient asks agents. They are on the underlay, so no proxy is.
func agentsClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: agentPatience, KeepAlive: 15 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     20 * time.Second, // agents close idle ones a little later
	}}
}

// silence says why a node is not even asked; "" when it is.
func silence(w model.World, n model.Node) string {
	switch {
	case nodeState(w, n.Name) != api.NodeUp:
		return fmt.Sprintf("it is down: its netplugin has said nothing for %d s", model.AliveSeconds)
	case n.StatusPort == 0:
		return "its netplugin is older and does not tell what it has seen; update it"
	}
	return ""
}

// agentURL is where a node's agent answers.
func agentURL(n model.Node, path string) string {
	at := n.Ctrl
	if !at.IsValid() {
		at = n.VTEP
	}
	return "http://" + netip.AddrPortFrom(at, n.StatusPort).String() + path
}

// openAgent begins a request to a node's agent. The reason of ctx's end is told as such.
func (m *Master) openAgent(ctx context.Context, n model.Node, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, agentURL(n, path), nil)
	if err != nil {
		return nil, err
	}
	resp, err := m.agents.Do(req)
	if err != nil {
		return nil, agentError(ctx, n, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		e := api.Error{Text: "its netplugin answers " + resp.Status}
		_ = json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&e) // where it is no refusal of ours the status must do
		return nil, &e
	}
	return resp.Body, nil
}

var errNoTurn = errors.New("too many others did not answer for it to be asked in time")

var errSlowAgent = fmt.Errorf("its netplugin does not answer within %v", agentPatience)

func agentError(ctx context.Context, n model.Node, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	// The request's method and URL are of no use to an operator.
	if request := (*url.Error)(nil); errors.As(err, &request) {
		err = request.Err
	}
	return fmt.Errorf("its netplugin does not answer at %s: %w", agentURL(n, ""), err)
}

// answer is what a node tells at once. whose is the name of the node that it is of.
type answer interface{ whose() string }

type countsAnswer struct{ api.NodeCounts }

func (c countsAnswer) whose() string { return c.Node }

// askNodes asks all nodes side by side for what is at a path. Both answers are in the order of the nodes' names.
func askNodes[T answer](ctx context.Context, m *Master, w model.World, path string) (answers []T, silent []api.Silent) {
	ctx, cancel := context.WithTimeoutCause(ctx, agentsPatience, errNoTurn)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	turns := make(chan struct{}, agentsAtOnce)
	for n := range w.Nodes.Sorted() {
		if why := silence(w, n); why != "" {
			mu.Lock()
			silent = append(silent, api.Silent{Node: n.Name, Error: why})
			mu.Unlock()
			continue
		}
		turns <- struct{}{}
		asked.Go(func() {
			defer func() { <-turns }()
			c, err := askNode[T](ctx, m, n, path)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent = append(silent, api.Silent{Node: n.Name, Error: err.Error()})
				return
			}
			answers = append(answers, c)
		})
	}
	asked.Wait()
	slices.SortFunc(answers, func(a, b T) int { return cmp.Compare(a.whose(), b.whose()) })
	slices.SortFunc(silent, func(a, b api.Silent) int { return cmp.Compare(a.Node, b.Node) })
	return answers, silent
}

func askNode[T answer](ctx context.Context, m *Master, n model.Node, path string) (c T, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, agentPatience, errSlowAgent)
	defer cancel()
	body, err := m.openAgent(ctx, n, path)
	if err != nil {
		return c, err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxCounts)).Decode(&c); err != nil {
		return c, agentError(ctx, n, err)
	}
	if c.whose() != n.Name {
		return c, fmt.Errorf("node %q answers at its address %s; give each node its own --ctrl-ip and --status-port", c.whose(), agentURL(n, ""))
	}
	return c, nil
}

func (m *Master) observeDrops(w http.ResponseWriter, r *http.Request, _ []string) error {
	counts, silent := askNodes[countsAnswer](r.Context(), m, m.ledger.current(), api.AgentCountsPath)
	out := api.Drops{Drops: []api.DropCount{}, Silent: silent}
	for _, c := range counts {
		for _, d := range c.Drops {
			d.Node = c.Node
			out.Drops = append(out.Drops, d)
		}
	}
	slices.SortFunc(out.Drops, api.DropCount.Compare)
	return reply(w, out, 0)
}

func (m *Master) observeRules(w http.ResponseWriter, r *http.Request, _ []string) error {
	world := m.ledger.current()
	ofTenant, ofPolicy := r.URL.Query().Get("tenant"), r.URL.Query().Get("policy")
	if ofTenant != "" {
		if _, err := tenant(world, ofTenant); err != nil {
			return err
		}
	}
	index := map[string]int{}
	out := api.RuleCounts{Rules: []api.RuleCount{}}
	for rule := range world.Rules.Sorted() {
		if (ofTenant == "" || rule.Tenant == ofTenant) && (ofPolicy == "" || rule.Policy == ofPolicy) {
			index[rule.Key()] = len(out.Rules)
			out.Rules = append(out.Rules, api.RuleCount{Rule: rule.Key()})
		}
	}
	counts, silent := askNodes[countsAnswer](r.Context(), m, world, api.AgentCountsPath)
	for _, c := range counts {
		for _, n := range c.Rules {
			i, ok := index[n.Rule]
			if !ok && ofTenant == "" && ofPolicy == "" && compile.IsOfKubernetes(n.Rule) {
				i, ok = len(out.Rules), true
				index[n.Rule], out.Rules = i, append(out.Rules, api.RuleCount{Rule: n.Rule})
			}
			if ok {
				sum := &out.Rules[i]
				sum.Packets, sum.Connections, sum.Audited = sum.Packets+n.Packets, sum.Connections+n.Connections, sum.Audited+n.Audited
			}
		}
	}
	slices.SortStableFunc(out.Rules, func(a, b api.RuleCount) int { return cmp.Compare(a.Rule, b.Rule) })
	out.Nodes, out.Silent = len(counts), silent
	return reply(w, out, 0)
}
