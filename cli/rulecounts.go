// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// ruleCounts is what nodes have counted for rules, by key; nil where none tells.
type ruleCounts map[string]api.RuleCount

// ruleCounts asks what a policy's rules have done. That nobody can tell is no failure: the rules are what was asked for.
func (p *program) ruleCounts(ctx context.Context, c *api.Client, tenant, policy string, rules int) (ruleCounts, error) {
	if rules == 0 {
		return nil, nil
	}
	q := url.Values{"tenant": {tenant}, "policy": {policy}}
	var answer api.RuleCounts
	switch err := c.Get(ctx, api.RulesPath+"?"+q.Encode(), &answer); {
	case errors.Is(err, model.ErrNotFound): // a master that is older; or the tenant was deleted just now
		return nil, nil
	case err != nil:
		return nil, err
	case answer.Nodes == 0:
		return nil, nil
	}
	p.tellSilent(answer.Silent)
	out := ruleCounts{}
	for _, r := range answer.Rules {
		out[r.Rule] = r
	}
	return out, nil
}

// audited tells whether there are any connections that audited rules would have refused.
func (c ruleCounts) audited() bool {
	for _, r := range c {
		if r.Audited > 0 {
			return true
		}
	}
	return false
}

// head is the columns that are shown, none where there are no counts. Scripts know those before them by their places.
func (c ruleCounts) head() []string {
	switch {
	case c == nil:
		return nil
	case c.audited():
		return []string{"Packets", "Connections", "Audited"}
	}
	return []string{"Packets", "Connections"}
}

// cells are a rule's counts, in the columns of head.
func (c ruleCounts) cells(key string) []string {
	r := c[key]
	all := []string{strconv.FormatUint(r.Packets, 10), strconv.FormatUint(r.Connections, 10), strconv.FormatUint(r.Audited, 10)}
	return all[:len(c.head())]
}

// join adds a rule's counts to what the master wrote of it.
func (c ruleCounts) join(written json.RawMessage, key string) (json.RawMessage, error) {
	if c == nil {
		return written, nil
	}
	r := c[key]
	var counts struct {
		Packets     uint64 `json:"packets"`
		Connections uint64 `json:"connections"`
		Audited     uint64 `json:"audited"`
	}
	counts.Packets, counts.Connections, counts.Audited = r.Packets, r.Connections, r.Audited
	return withField(written, "counts", counts)
}
