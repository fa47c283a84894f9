// SPDX-License-Identifier: Apache-2.0

package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// route is a method and a path whose parts in braces stand for anything. serve gets what stood there, in order. Parameters of the
// URL's query that are not in query are refused.
type route struct {
	method string
	path   []string
	query  []string
	serve  func(w http.ResponseWriter, r *http.Request, args []string) error
}

func (m *Master) allRoutes() []route {
	routes := []route{
		{http.MethodGet, split(api.VersionPath), nil, m.version},
		{http.MethodGet, split(api.InfoPath), nil, m.info},
		{http.MethodGet, split(api.WatchPath), []string{"revision"}, m.watch},
		{http.MethodGet, split(api.OpenAPIPath), nil, m.openAPI},
		{http.MethodPost, split(api.ApplyPath), []string{dryRun}, m.apply},
		{http.MethodGet, split(api.ExportPath), nil, m.export},
		{http.MethodPost, split(api.Root + api.Nodes + "/{node}/alive"), nil, m.nodeAlive},
		{http.MethodPost, split(api.Root + api.Addresses + "/{network}"), nil, m.holdAddress},
		{http.MethodDelete, split(api.Root + api.Addresses + "/{network}/{address}"), []string{"owner"}, m.releaseAddress},
	}
	routes = append(routes, m.observeRoutes()...)
	for _, n := range m.nouns() {
		routes = append(routes, m.routesOf(n)...)
	}
	return routes
}

var errNotServing = errors.New("netmaster is starting or stopping; try again in a moment")

// ServeHTTP serves the API.
func (m *Master) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := m.serve(w, r); err != nil {
		refuse(w, err)
		if e := api.ErrorOf(err); e.Status == http.StatusServiceUnavailable && !errors.Is(err, errNotServing) && r.Context().Err() == nil {
			m.Log.Warn("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
	}
}

func (m *Master) serve(w http.ResponseWriter, r *http.Request) error {
	path := split(r.URL.EscapedPath())
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allowed []string
	for _, route := range m.routes {
		args, ok, err := route.match(path)
		switch {
		case err != nil:
			return err
		case !ok:
		case route.method != method:
			allowed = append(allowed, route.method)
		default:
			if !m.canServe() && path[0] == "api" {
				return errNotServing
			}
			if method != http.MethodGet && m.wake.drowsy(time.Now()) {
				return errDrowsy
			}
			if err := route.knows(r.URL.RawQuery); err != nil {
				return err
			}
			return route.serve(w, r, args)
		}
	}
	if len(allowed) > 0 {
		slices.Sort(allowed)
		list := strings.Join(slices.Compact(allowed), ", ")
		w.Header().Set("Allow", list)
		return &api.Error{Status: http.StatusMethodNotAllowed, Text: fmt.Sprintf("%s is not possible for %s; use %s", model.Short(r.Method), model.Short(r.URL.Path), list)}
	}
	return &api.Error{Status: http.StatusNotFound, Text: fmt.Sprintf("nothing is served at %s; %s lists what is", model.Short(r.URL.Path), api.OpenAPIPath)}
}

func (m *Master) canServe() bool {
	select {
	case <-m.done:
		return false
	default:
	}
	select {
	case <-m.ready:
		return true
	default:
		return false
	}
}

// match compares a path whose parts are still escaped.
func (t route) match(path []string) (args []string, ok bool, err error) {
	if len(path) != len(t.path) {
		return nil, false, nil
	}
	for i, part := range t.path {
		if !strings.HasPrefix(part, "{") {
			if part != path[i] {
				return nil, false, nil
			}
			continue
		}
		arg, err := url.PathUnescape(path[i])
		if err != nil || arg == "" {
			return nil, false, model.Invalid("", "the path has an unreadable part %q", path[i])
		}
		args = append(args, arg)
	}
	return args, true, nil
}

// knows refuses parameters that would be without effect: a misspelt dry-run would write.
func (t route) knows(query string) error {
	given, err := url.ParseQuery(query)
	if err != nil {
		return model.Invalid("", "the URL's query cannot be read: %s", err)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch {
		case !slices.Contains(t.query, name) && len(t.query) == 0:
			return model.Invalid(name, "parameter %q is unknown here: %s /%s takes none; leave it out", name, t.method, strings.Join(t.path, "/"))
		case !slices.Contains(t.query, name):
			return model.Invalid(name, "parameter %q is unknown here; use %s, or leave it out", name, strings.Join(t.query, ", "))
		case len(given[name]) > 1:
			return model.Invalid(name, "parameter %s is given %d times; give it once", name, len(given[name]))
		}
	}
	return nil
}

// split gives the parts of a path, with or without a slash at its end.
func split(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

// reply answers with JSON and, after a write, with the revision.
func reply(w http.ResponseWriter, answer any, revision int64) error {
	b, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	if revision != 0 {
		w.Header().Set(api.RevisionHeader, strconv.FormatInt(revision, 10))
	}
	_, _ = w.Write(append(b, '\n')) // a client that has gone does not want it
	return nil
}

func refuse(w http.ResponseWriter, err error) {
	e := api.ErrorOf(err)
	b, err := json.Marshal(e)
	if err != nil {
		b = []byte(`{"error":"the error cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_, _ = w.Write(append(b, '\n'))
}
