// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// noun is a collection of the API. What is nil is not served.
//
// To add one: write a file of its name with a function that returns its noun, as policy.go does, and name that function in
// intent, after all nouns that it refers to. Routes, ?dry-run=true, apply and export follow from there. A decision looks at the plan's world
// only, guards with unchanged, absent or noneNewer all that it looked at and whose change would make it wrong, and ends with
// put or remove. Who refers to whom is checked both ways: by who is put (the other exists) and by who is removed (no other is left).
type noun struct {
	plural  string
	list    func(w model.World) any
	get     func(w model.World, key string) (any, error)
	inspect func(w model.World, key string) (any, error)
	// ask is inspect where a node has to be asked; nil where none has.
	ask func(ctx context.Context, w model.World, key string) (any, error)
	// put reads an object; key is the URL's, "" where there is none and the object itself must say it. Made with puts.
	put    func(key string, body []byte) (write, error)
	remove func(p *plan, key string) error
	// removed does what is left to do in transactions of its own; it may be nil.
	removed func(ctx context.Context, key string) (revision int64, err error)
	// atOnce says that writes of this noun do not exclude each other: they are not guarded on all of their kind.
	atOnce bool
}

// write is an object that someone wants to be.
type write struct {
	key string
	// picky says that it wants a certain tag or address. Of several it is decided before those to which any will do.
	picky bool
	// private is the private subnet that it wants, about which the nodes are asked first; invalid: it wants none.
	private netip.Prefix
	decide  decision
}

// decision checks a write on a plan's world and puts what comes of it. It may be called many times, on new plans. The answer
// is the object as it then is.
type decision func(p *plan) (answer any, err error)

// intent is the nouns that operators write, each after those that it refers to: the order of apply and export.
func intent() []noun {
	return []noun{
		globals(), aciGateways(), tenants(), networks(), netprofiles(), contracts(), policies(), groups(), rules(), services(), appProfiles(), bgps(),
	}
}

// nouns are all of them.
func (m *Master) nouns() []noun {
	all := append(intent(), endpoints(), m.nodes())
	for i := range all {
		if all[i].plural == api.BGPs {
			all[i].ask = m.inspectBGP
		}
	}
	return all
}

// part is a field that is a part of an object's key.
type part struct {
	field string
	value *string
}

// puts makes a noun's put of ask, which checks what can be checked without a World. parts are the fields of the key, in its order.
func puts[T any](parts func(*T) []part, ask func(T) (write, error)) func(string, []byte) (write, error) {
	return func(key string, body []byte) (write, error) {
		asked, err := decoded[T](body)
		if err != nil {
			return write{}, err
		}
		fields := parts(&asked)
		if key != "" {
			if err := fill(fields, key); err != nil {
				return write{}, err
			}
		}
		w, err := ask(asked)
		if w.key == "" { // set for what there is one of
			w.key = joined(fields)
		}
		return w, err
	}
}

// fill takes fields that the body leaves out from the URL's key, and refuses those that say otherwise.
func fill(fields []part, key string) error {
	values := strings.SplitN(key, ":", len(fields))
	if len(values) != len(fields) {
		var names []string
		for _, f := range fields {
			names = append(names, strings.TrimSuffix(strings.TrimSuffix(f.field, "Name"), "Id"))
		}
		return model.Invalid("key", "key %q in the URL is not %s", key, strings.Join(names, ":"))
	}
	for i, f := range fields {
		if *f.value == "" {
			*f.value = values[i]
		}
		if *f.value != values[i] {
			return model.Invalid(f.field, "%s %q does not agree with %q in the URL", f.field, *f.value, values[i])
		}
	}
	return nil
}

func joined(fields []part) string {
	values := make([]string, len(fields))
	for i, f := range fields {
		values[i] = *f.value
	}
	return strings.Join(values, ":")
}

// dryRun is the parameter with which a write is only decided.
const dryRun = "dry-run"

// do decides and writes, or with ?dry-run=true says what would come of it.
func (m *Master) do(r *http.Request, atOnce bool, patience time.Duration, decide decision) (answer any, revision int64, err error) {
	run := m.transactWithin
	switch dry := r.URL.Query().Get(dryRun); dry {
	case "true":
		run, atOnce = m.considerWithin, true
	case "", "false":
	default:
		return nil, 0, model.Invalid(dryRun, "dry-run %q is unknown; use true or leave it out", dry)
	}
	if !atOnce {
		back, err := m.take(r.Context(), patience)
		if err != nil {
			return nil, 0, err
		}
		defer back()
	}
	revision, err = run(r.Context(), patience, func(p *plan) (err error) {
		answer, err = decide(p)
		return err
	})
	return answer, revision, err
}

func (m *Master) routesOf(n noun) (routes []route) {
	add := func(method, path string, serve func(w http.ResponseWriter, r *http.Request, key string) error) {
		var query []string
		if method != http.MethodGet {
			query = []string{dryRun}
		}
		routes = append(routes, route{method, split(path), query, func(w http.ResponseWriter, r *http.Request, args []string) error {
			return serve(w, r, strings.Join(args, ""))
		}})
	}
	ask := func(path string, get func(ctx context.Context, w model.World, key string) (any, error)) {
		add(http.MethodGet, path, func(w http.ResponseWriter, r *http.Request, key string) error {
			answer, err := get(r.Context(), m.ledger.current(), key)
			if err != nil {
				return err
			}
			return reply(w, answer, 0)
		})
	}
	read := func(path string, get func(w model.World, key string) (any, error)) {
		ask(path, func(_ context.Context, w model.World, key string) (any, error) { return get(w, key) })
	}
	object := api.Root + n.plural + "/{key}"
	if n.list != nil {
		read(api.Root+n.plural, func(w model.World, _ string) (any, error) { return n.list(w), nil })
	}
	if n.get != nil {
		read(object, n.get)
	}
	switch inspect := api.InspectRoot + n.plural + "/{key}"; {
	case n.ask != nil:
		ask(inspect, n.ask)
	case n.inspect != nil:
		read(inspect, n.inspect)
	}
	if n.put != nil {
		for _, method := range []string{http.MethodPost, http.MethodPut} {
			add(method, object, func(w http.ResponseWriter, r *http.Request, key string) error {
				b, err := bytesOf(r, api.MaxBody)
				if err != nil {
					return err
				}
				asked, err := n.put(key, b)
				if err != nil {
					return err
				}
				if err := m.mayBePrivate(r.Context(), asked.private); err != nil {
					return err
				}
				answer, revision, err := m.do(r, n.atOnce, m.Patience, asked.decide)
				if err != nil {
					return err
				}
				return reply(w, answer, revision)
			})
		}
	}
	if n.remove != nil {
		add(http.MethodDelete, object, func(w http.ResponseWriter, r *http.Request, key string) error {
			_, revision, err := m.do(r, n.atOnce, m.Patience, func(p *plan) (any, error) { return nil, n.remove(p, key) })
			if err == nil && n.removed != nil && r.URL.Query().Get(dryRun) != "true" {
				var last int64
				last, err = n.removed(r.Context(), key)
				revision = max(revision, last)
			}
			if err != nil {
				return err
			}
			return reply(w, key, revision)
		})
	}
	return routes
}
