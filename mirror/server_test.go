// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// object is one of Kubernetes' as JSON.
type object map[string]any

// server is an API server: it has objects by the paths of their collections, lists them a few at a time, and tells changes to who watches.
type server struct {
	*httptest.Server
	t *testing.T

	mu        sync.Mutex
	down      bool
	foreign   bool            // it is no API server at all
	strict    bool            // it does not know who asks
	served    map[string]bool // paths
	log       []change
	forgotten int // versions up to this are compacted
	lists     int
	changed   chan struct{}
}

// change is what happened to an object at a version, its place in the log from 1.
type change struct {
	path, key, what string
	object          object
}

func newServer(t *testing.T) *server {
	s := &server{t: t, served: map[string]bool{}, changed: make(chan struct{})}
	for _, k := range kinds() {
		s.served["/"+strings.Join(k.path(), "/")] = true
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.set(func() { s.down = true })
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// set changes the server, and wakes who watches.
func (s *server) set(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	close(s.changed)
	s.changed = make(chan struct{})
}

const (
	namespacesPath = "/api/v1/namespaces"
	servicesPath   = "/api/v1/services"
	slicesPath     = "/apis/discovery.k8s.io/v1/endpointslices"
)

// put makes an object, or changes it.
func (s *server) put(path, key string, o object) {
	s.set(func() {
		what := "ADDED"
		if s.at(path)[key] != nil {
			what = "MODIFIED"
		}
		s.append(path, key, what, o)
	})
}

// remove ends an object.
func (s *server) remove(path, key string) {
	s.set(func() { s.append(path, key, "DELETED", s.at(path)[key]) })
}

func (s *server) append(path, key, what string, o object) {
	o = maps.Clone(o)
	namespace, name, ok := strings.Cut(key, "/")
	if !ok {
		namespace, name = "", key
	}
	meta := object{}
	if m, is := o["metadata"].(object); is {
		meta = maps.Clone(m)
	}
	meta["namespace"], meta["name"], meta["resourceVersion"] = namespace, name, strconv.Itoa(len(s.log)+1)
	o["metadata"] = meta
	s.log = append(s.log, change{path, key, what, o})
}

// at are the objects of a collection.
func (s *server) at(path string) map[string]object {
	all := map[string]object{}
	for _, c := range s.log {
		if c.path == path {
			all[c.key] = c.object
			if c.what == "DELETED" {
				delete(all, c.key)
			}
		}
	}
	return all
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(statusOf(code, reason))
}

func statusOf(code int, reason metav1.StatusReason) metav1.Status {
	return metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: reason, Code: int32(code)}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	down, foreign, strict, served, forgotten := s.down, s.foreign, s.strict, s.served[r.URL.Path], s.forgotten
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	version, err := strconv.Atoi(q.Get("resourceVersion"))
	switch {
	case down:
		refuse(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
	case strict:
		refuse(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized)
	case foreign:
		http.NotFound(w, r)
	case r.URL.Path == "/apis":
		_ = json.NewEncoder(w).Encode(metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{{Name: "discovery.k8s.io"}}})
	case !served:
		http.NotFound(w, r) // as of an API that no CustomResourceDefinition is for
	case q.Get("watch") == "":
		if q.Get("resourceVersion") != "" {
			s.t.Error("a list is asked for that may be old")
		}
		s.list(w, r.URL.Path, q.Get("continue"))
	case err != nil:
		s.t.Errorf("a watch begins at %q", q.Get("resourceVersion"))
	case version < forgotten && version%2 == 0: // API servers say it in both ways
		refuse(w, http.StatusGone, metav1.StatusReasonExpired)
	case version < forgotten:
		_ = json.NewEncoder(w).Encode(object{"type": "ERROR", "object": statusOf(http.StatusGone, metav1.StatusReasonExpired)})
	default:
		s.watch(w, r, version)
	}
}

// list gives two objects at a time.
func (s *server) list(w http.ResponseWriter, path, from string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from == "" {
		s.lists++
	}
	page := object{"metadata": object{"resourceVersion": strconv.Itoa(len(s.log))}, "items": []object{}}
	all := s.at(path)
	var items []object
	last := ""
	for _, key := range slices.Sorted(maps.Keys(all)) {
		switch {
		case key <= from:
		case len(items) == 2:
			page["metadata"].(object)["continue"] = last
		default:
			items, last = append(items, all[key]), key
		}
	}
	if items != nil {
		page["items"] = items
	}
	_ = json.NewEncoder(w).Encode(page)
}

// watch tells what came after the version until the server is down.
func (s *server) watch(w http.ResponseWriter, r *http.Request, version int) {
	for r.Context().Err() == nil {
		s.mu.Lock()
		news, changed, down := s.log[version:len(s.log):len(s.log)], s.changed, s.down || !s.served[r.URL.Path]
		s.mu.Unlock()
		if down {
			return
		}
		for _, c := range news {
			if c.path == r.URL.Path {
				_ = json.NewEncoder(w).Encode(object{"type": c.what, "object": c.object})
			}
		}
		version += len(news)
		_ = json.NewEncoder(w).Encode(object{"type": "BOOKMARK", "object": object{"metadata": object{"resourceVersion": strconv.Itoa(version)}}})
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
	}
}

// service is a plain Service.
func service(ip string) object {
	return object{"spec": object{"type": "ClusterIP", "clusterIP": ip, "clusterIPs": []string{ip}, "ports": []object{{"port": 80, "protocol": "TCP"}}}}
}

func labelled(labels object) object { return object{"metadata": object{"labels": labels}} }

// slice is of one pod of a service.
func slice(service, pod, addr string) object {
	return object{
		"metadata": object{"labels": object{"kubernetes.io/service-name": service}}, "addressType": "IPv4",
		"endpoints": []object{{"addresses": []string{addr}, "targetRef": object{"kind": "Pod", "name": pod}}}, "ports": []object{{"name": "", "port": 8080}},
	}
}
