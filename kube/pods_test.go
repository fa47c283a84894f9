// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	apitypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/contivnet/contiv/cni"
)

// server is an API server that has pods, and the metadata of namespaces, as lists and as watches (Kubernetes API concepts).
type server struct {
	*httptest.Server
	mu      sync.Mutex
	down    bool
	deaf    atomic.Bool // to who lists and watches
	log     []event
	changed chan struct{}
}

// event is what a watch tells; the resource version is its place in the log, from 1.
type event struct {
	resource string
	Type     string    `json:"type"`
	Object   podObject `json:"object"`
}

func newServer(t *testing.T) *server {
	s := &server{changed: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.stop()
		s.Close()
	})
	s.tell(namespaces, "ADDED", metav1.ObjectMeta{Name: "shop", Labels: map[string]string{LabelTenant: "blue"}})
	return s
}

func (s *server) tell(resource, what string, m metav1.ObjectMeta) {
	s.tellPod(resource, what, podObject{ObjectMeta: m})
}

// kinds of what is told, and of the lists of it.
var kinds = map[string]metav1.TypeMeta{
	pods:       {Kind: "Pod", APIVersion: "v1"},
	namespaces: {Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"},
}

func (s *server) tellPod(resource, what string, o podObject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.TypeMeta, o.ResourceVersion = kinds[resource], strconv.Itoa(len(s.log)+1)
	s.log = append(s.log, event{resource, what, o})
	close(s.changed)
	s.changed = make(chan struct{})
}

// stop answers nobody any more.
func (s *server) stop() {
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	s.CloseClientConnections()
}

func (s *server) since(resource string, version int) (events []event, at int, changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.log[version:] {
		if e.resource == resource {
			events = append(events, e)
		}
	}
	return events, len(s.log), s.changed
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resource := path.Base(r.URL.Path) // of all namespaces, or of one
	q := r.URL.Query()
	selector := fields.ParseSelectorOrDie(q.Get("fieldSelector"))
	name, _ := selector.RequiresExactMatch("metadata.name")
	node, _ := selector.RequiresExactMatch("spec.nodeName")
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	switch {
	case down, s.deaf.Load() && name == "":
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	case resource == pods && node != "n1":
		http.Error(w, "only the node's own pods are to be asked for", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if q.Get("sendInitialEvents") != "" { // as of servers that know only lists
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonInvalid, Code: 422})
		return
	}
	if q.Get("watch") == "" {
		list := podObjects{TypeMeta: kinds[resource]}
		list.Kind += "List"
		events, at, _ := s.since(resource, 0)
		list.ResourceVersion = strconv.Itoa(at)
		for _, e := range events {
			if name == "" || e.Object.Name == name {
				list.Items = append(list.Items, e.Object)
			}
		}
		_ = json.NewEncoder(w).Encode(list)
		return
	}
	version, _ := strconv.Atoi(q.Get("resourceVersion"))
	for r.Context().Err() == nil {
		events, at, changed := s.since(resource, version)
		for _, e := range events {
			_ = json.NewEncoder(w).Encode(e)
		}
		w.(http.Flusher).Flush()
		version = at
		select {
		case <-changed:
		case <-r.Context().Done():
		}
	}
}

// listen starts what reads the server, until the test ends.
func listen(t *testing.T, s *server, patience time.Duration) *Pods {
	t.Helper()
	return listenAndLog(t, s, patience, slog.New(slog.DiscardHandler))
}

func listenAndLog(t *testing.T, s *server, patience time.Duration, log *slog.Logger) *Pods {
	t.Helper()
	p, err := New(Options{Config: &rest.Config{Host: s.URL}, Node: "n1", Patience: patience, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		s.stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// complaint fails a test in which something is logged.
type complaint struct{ *testing.T }

func (c complaint) Write(line []byte) (int, error) {
	c.Errorf("it logged %s", line)
	return len(line), nil
}

// limit is how long a test waits for what comes within moments.
const limit = time.Minute

// heard waits until the pod has been told of, and all else that the server has.
func heard(t *testing.T, p *Pods, name, uid string) {
	t.Helper()
	late := time.After(limit)
	for {
		if _, ok := p.Told(cni.Pod{Namespace: "shop", Name: name, UID: uid}); ok && p.silent() == nil {
			return
		}
		select {
		case <-late:
			t.Fatalf("nobody told of pod %s: %v", name, p.silent())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func podMeta(name, uid, network string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "shop", Name: name, UID: apitypes.UID(uid), Labels: map[string]string{LabelNetwork: network, "app": name}}
}

var otherwise = cni.Placement{Tenant: "default", Network: "default-net"}

// goes checks where a pod goes.
func goes(t *testing.T, p *Pods, name, uid string, want cni.Placement) {
	t.Helper()
	got, told, err := p.Place(t.Context(), cni.Pod{Namespace: "shop", Name: name, UID: uid}, otherwise)
	if err != nil || got != want {
		t.Errorf("pod %s goes to %+v, %v; want %+v", name, got, err, want)
	}
	if want != otherwise && told.Labels["app"] != name {
		t.Errorf("pod %s has the labels %v", name, told.Labels)
	}
}

// goesLater checks it beside what follows. It has been checked when done returns.
func goesLater(t *testing.T, p *Pods, name, uid string, want cni.Placement) (done func()) {
	t.Helper()
	var asked sync.WaitGroup
	asked.Go(func() { goes(t, p, name, uid, want) })
	return asked.Wait
}

func TestPodOfWhichTheKubeletHeardFirstIsAwaited(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := listen(t, s, time.Minute)
	s.tell(pods, "ADDED", podMeta("first", "u1", "web"))
	goes(t, p, "first", "u1", cni.Placement{Tenant: "blue", Network: "web"})
	done := goesLater(t, p, "second", "u2", cni.Placement{Tenant: "blue", Network: "db"})
	s.tell(pods, "ADDED", podMeta("second", "u2", "db"))
	done()
}

func TestPodIsNotTakenForTheLastOneOfItsName(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := listen(t, s, time.Minute)
	s.tell(pods, "ADDED", podMeta("db-0", "old", "web"))
	heard(t, p, "db-0", "old")
	done := goesLater(t, p, "db-0", "new", cni.Placement{Tenant: "blue", Network: "db"})
	s.tell(pods, "DELETED", podMeta("db-0", "old", "web"))
	s.tell(pods, "ADDED", podMeta("db-0", "new", "db"))
	done()
}

func TestChangesOfAPodAreHeard(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := listen(t, s, time.Minute)
	s.tell(pods, "ADDED", podMeta("first", "u1", "web"))
	heard(t, p, "first", "u1")
	pod := cni.Pod{Namespace: "shop", Name: "first", UID: "u1"}
	if told, ok := p.Told(pod); !ok || told.Ending || told.Labels["app"] != "first" || told.Ports != nil {
		t.Errorf("told %+v, %v", told, ok)
	}
	m := podMeta("first", "u1", "web")
	m.Labels["app"], m.DeletionTimestamp = "other", &metav1.Time{Time: time.Now()}
	s.tellPod(pods, "MODIFIED", podObject{ObjectMeta: m, Spec: podSpec{Containers: []container{{Ports: []containerPort{{"http", "TCP", 8080}}}}}})
	late := time.After(limit)
	for {
		changed := p.Changed()
		if told, ok := p.Told(pod); ok && told.Ending && told.Labels["app"] == "other" && len(told.Ports) == 1 {
			break
		}
		select {
		case <-late:
			t.Fatal("nobody told that the pod has changed")
		case <-changed:
		}
	}
	if _, ok := p.Told(cni.Pod{Namespace: "shop", Name: "first", UID: "u2"}); ok {
		t.Error("a pod of the same name is taken for it")
	}
}

func TestAPIServerThatKnowsOnlyListsIsNotSaidToBeAway(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := listenAndLog(t, s, time.Minute, slog.New(slog.NewTextHandler(complaint{t}, nil)))
	s.tell(pods, "ADDED", podMeta("first", "u1", "web"))
	heard(t, p, "first", "u1")
}

func TestStaticPodIsKnownByTheUIDThatItsKubeletGaveIt(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := listen(t, s, time.Minute)
	m := podMeta("proxy-n1", "u1", "web")
	m.Annotations = map[string]string{hashOfStatic: "9d8f"}
	s.tell(pods, "ADDED", m)
	goes(t, p, "proxy-n1", "9d8f", cni.Placement{Tenant: "blue", Network: "web"})
}

func TestPodThatTheAPIServerDoesNotHaveIsToBeTriedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := listen(t, s, time.Minute)
	s.tell(pods, "ADDED", podMeta("first", "u1", "web"))
	heard(t, p, "first", "u1")
	p.Patience = time.Millisecond
	_, _, err := p.Place(t.Context(), cni.Pod{Namespace: "shop", Name: "ghost"}, otherwise)
	var said *types.Error
	if !errors.As(err, &said) || said.Code != types.ErrTryAgainLater || !strings.Contains(said.Msg, "shop/ghost") || !strings.Contains(said.Msg, "--kube-node") {
		t.Errorf("a pod that nobody has: %v", err)
	}
}

func TestPodsStartWhileTheAPIServerIsAway(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := listen(t, s, time.Minute)
	s.tell(pods, "ADDED", podMeta("known", "u1", "web"))
	heard(t, p, "known", "u1")
	s.stop()
	late := time.After(limit)
	for p.silent() == nil { // its watch has not ended yet
		select {
		case <-late:
			t.Fatal("nobody noticed that the API server is away")
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.Patience = time.Millisecond
	goes(t, p, "known", "u1", cni.Placement{Tenant: "blue", Network: "web"})
	goes(t, p, "unknown", "u2", otherwise)

	// Nor does one that never answered keep pods.
	gone := newServer(t)
	gone.stop()
	goes(t, listen(t, gone, time.Millisecond), "unknown", "u3", otherwise)
}

func TestPodIsAskedForWhereItIsNotTold(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.deaf.Store(true)
	s.tell(pods, "ADDED", podMeta("first", "u1", "web"))
	p := listen(t, s, time.Minute)
	goes(t, p, "first", "u1", cni.Placement{Tenant: "blue", Network: "web"})
	p.Patience = time.Millisecond
	goes(t, p, "first", "other", otherwise) // the last one of its name
	goes(t, p, "second", "u2", otherwise)
}
