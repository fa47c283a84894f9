// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// applied is one object of an apply request.
type applied struct {
	place int // in the request
	rank  int // of its noun in intent
	noun  noun
	write
}

func (a applied) String() string {
	return fmt.Sprintf("objects[%d] (%s %s)", a.place, a.noun.plural, model.Short(a.key))
}

// apply does all that it is given in one transaction, in the order that references need.
func (m *Master) apply(w http.ResponseWriter, r *http.Request, _ []string) error {
	asked, err := body[api.ApplyRequest](r, api.MaxApply)
	if err != nil {
		return err
	}
	list, err := ordered(asked.Objects)
	if err != nil {
		return err
	}
	for _, a := range list {
		if err := m.mayBePrivate(r.Context(), a.private); err != nil {
			return within(a, err)
		}
	}
	answer, revision, err := m.do(r, false, m.ApplyPatience, func(p *plan) (any, error) {
		out := api.ApplyAnswer{Results: []api.ApplyResult{}}
		for _, a := range list {
			result, err := a.apply(p)
			if err != nil {
				return nil, err
			}
			out.Results = append(out.Results, api.ApplyResult{Collection: a.noun.plural, Key: a.key, Result: result})
		}
		return out, nil
	})
	if err != nil {
		return err
	}
	return reply(w, answer, revision)
}

// ordered reads the objects and puts them into the order of intent; among equals those that want a certain tag or
// address first, or another might be given it.
func ordered(objects []api.ApplyObject) ([]applied, error) {
	nouns := intent()
	var list []applied
	for i, o := range objects {
		rank := slices.IndexFunc(nouns, func(n noun) bool { return n.plural == o.Collection })
		if rank < 0 {
			var known []string
			for _, n := range nouns {
				known = append(known, n.plural)
			}
			return nil, model.Invalid("objects", "objects[%d]: collection %q is unknown here; use one of %q", i, o.Collection, known)
		}
		a := applied{place: i, rank: rank, noun: nouns[rank]}
		var err error
		if a.write, err = a.noun.put("", o.Object); err != nil {
			return nil, within(a, err)
		}
		list = append(list, a)
	}
	slices.SortStableFunc(list, func(a, b applied) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(bit(b.picky), bit(a.picky)), cmp.Compare(a.key, b.key))
	})
	seen := map[string]applied{}
	for _, a := range list {
		name := a.noun.plural + "/" + a.key
		if first, twice := seen[name]; twice {
			return nil, model.Invalid("objects", "%s is there again as objects[%d]; give each object once", first, a.place)
		}
		seen[name] = a
	}
	return list, nil
}

func bit(is bool) int {
	if is {
		return 1
	}
	return 0
}

// apply decides one object and tells what came of it.
func (a applied) apply(p *plan) (string, error) {
	_, missing := a.noun.get(p.world(), a.key)
	before := p.puts
	if _, err := a.decide(p); err != nil {
		return "", within(a, err)
	}
	switch {
	case p.puts == before:
		return api.ApplyUnchanged, nil
	case missing != nil:
		return api.ApplyCreated, nil
	}
	return api.ApplyUpdated, nil
}

// within says which object a refusal is about.
func within(a applied, err error) error {
	var e *model.Error
	if errors.As(err, &e) {
		return &model.Error{Kind: e.Kind, Field: e.Field, Text: a.String() + ": " + e.Text}
	}
	return err
}

// export gives all that apply takes.
func (m *Master) export(w http.ResponseWriter, _ *http.Request, _ []string) error {
	out, err := exported(m.ledger.current())
	if err != nil {
		return err
	}
	return reply(w, out, 0)
}

// exported leaves out of each object what follows from the others.
func exported(w model.World) (api.ApplyRequest, error) {
	out := api.ApplyRequest{Objects: []api.ApplyObject{}}
	for _, n := range intent() {
		b, err := json.Marshal(n.list(w))
		if err != nil {
			return out, fmt.Errorf("encode %s: %w", n.plural, err)
		}
		var list []map[string]json.RawMessage
		if err := json.Unmarshal(b, &list); err != nil {
			return out, fmt.Errorf("encode %s: %w", n.plural, err)
		}
		for _, fields := range list {
			for _, name := range []string{"key", "links", "link-sets"} {
				delete(fields, name)
			}
			object, err := json.Marshal(fields)
			if err != nil {
				return out, fmt.Errorf("encode %s: %w", n.plural, err)
			}
			out.Objects = append(out.Objects, api.ApplyObject{Collection: n.plural, Object: object})
		}
	}
	return out, nil
}
