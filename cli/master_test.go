// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/contivnet/contiv/api"
)

// master is as much of a netmaster as a client can see: it keeps what is put, by collection and key. Collections
// are listed in reverse, so that what netctl prints in order was sorted by netctl.
type master struct {
	mu       sync.Mutex
	objects  map[string]map[string]json.RawMessage
	requests []string             // METHOD path
	refuse   map[string]api.Error // by METHOD path
}

func newMaster(t *testing.T) (*master, string) {
	t.Helper()
	m := &master{objects: map[string]map[string]json.RawMessage{}, refuse: map[string]api.Error{}}
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	return m, s.URL
}

func (m *master) put(t *testing.T, plural, key string, object any) {
	t.Helper()
	var b bytes.Buffer
	if err := plain(&b).Encode(object); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(plural, key, b.Bytes())
}

// plain writes < and > as they are.
func plain(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

func (m *master) keep(plural, key string, b []byte) {
	if m.objects[plural] == nil {
		m.objects[plural] = map[string]json.RawMessage{}
	}
	m.objects[plural][key] = b
}

func (m *master) seen() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.requests)
}

func (m *master) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	request := r.Method + " " + r.URL.Path
	m.requests = append(m.requests, request)
	answer := func(status int, body any) {
		w.Header().Set(api.RevisionHeader, "7")
		w.WriteHeader(status)
		plain(w).Encode(body)
	}
	if e, ok := m.refuse[request]; ok {
		answer(e.Status, e)
		return
	}
	if r.URL.Path == api.VersionPath {
		answer(http.StatusOK, api.Version{GitCommit: "6657054", Version: "1.1.1", BuildTime: "07-20-2017"})
		return
	}
	path, inspect := strings.CutPrefix(r.URL.Path, api.InspectRoot)
	if !inspect {
		path = strings.TrimPrefix(path, api.Root)
	}
	plural, key, _ := strings.Cut(strings.TrimSuffix(path, "/"), "/")
	object, ok := m.objects[plural][key]
	switch {
	case key == "" && r.Method == http.MethodGet:
		list := []json.RawMessage{}
		for _, k := range slices.Backward(slices.Sorted(maps.Keys(m.objects[plural]))) {
			list = append(list, m.objects[plural][k])
		}
		answer(http.StatusOK, list)
	case r.Method == http.MethodPut:
		var b json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
			answer(http.StatusBadRequest, api.Error{Text: err.Error()})
			return
		}
		m.keep(plural, key, b)
		answer(http.StatusOK, b)
	case !ok:
		answer(http.StatusNotFound, api.Error{Text: fmt.Sprintf("%s %q is unknown to the test's master", plural, key)})
	case r.Method == http.MethodDelete:
		delete(m.objects[plural], key)
		answer(http.StatusOK, struct{}{})
	case inspect:
		answer(http.StatusOK, map[string]any{"Config": object, "Oper": map[string]any{"newer": "<kept>"}})
	default:
		answer(http.StatusOK, object)
	}
}
