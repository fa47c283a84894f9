// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// service makes one of network web, of the containers with a label app=web.
func (ms *masters) service(name, check string) {
	ms.t.Helper()
	s := api.ServiceLB{NetworkName: "web", Selectors: []string{"app=web"}, Ports: []string{"80:8080:TCP"}, HealthCheck: &check}
	if _, err := ms.client.Put(ms.t.Context(), api.ObjectPath(api.ServiceLBs, "default:"+name), s, nil); err != nil {
		ms.t.Fatal(err)
	}
}

// unhealthy is what the masters have of an endpoint.
func (ms *masters) unhealthy(id string) []string {
	ms.t.Helper()
	e, ok := ms.endpoint(id)
	if !ok {
		return []string{"it is gone"}
	}
	return e.Unhealthy
}

func (ms *masters) becomes(id string, want ...string) {
	ms.t.Helper()
	eventually(ms.t, id+" is unhealthy for no more and no less than "+strings.Join(want, " and "), func() bool { return slices.Equal(ms.unhealthy(id), want) })
}

// listens answers HTTP in a container's namespace with the status, until the test ends or the returned function is called.
func listens(t *testing.T, path string, addr netip.Addr, status *atomic.Int32) (closed func()) {
	t.Helper()
	if out, err := exec.Command("ip", "-n", filepath.Base(path), "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var l net.Listener
	err := netdev.Do(path, func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 8080).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.WriteHeader(int(status.Load()))
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return func() { s.Close() }
}

func TestProviderIsTakenInWhenItAnswersAndLeftOutWhenItDoesNot(t *testing.T) {
	if !onNode(t) {
		return
	}
	ms := newMasters(t)
	ms.network("web", "10.1.2.0/24")
	ms.service("tcp", "tcp")
	ms.service("http", "http:/ready")
	s := newSite(t, ms)
	a := s.ready()
	_, path := s.attach(a, "e1", "10.1.2.100")
	label := func(id, value string) {
		t.Helper()
		if err := a.Update(t.Context(), id, func(e *model.Endpoint) { e.Labels = map[string]string{"app": value} }); err != nil {
			t.Fatal(err)
		}
	}
	label("e1", "web")
	if got := ms.unhealthy("e1"); !slices.Equal(got, []string{"default:http", "default:tcp"}) {
		t.Errorf("before it has proved itself it is unhealthy for %q", got)
	}
	var status atomic.Int32
	status.Store(http.StatusServiceUnavailable)
	closed := listens(t, path, netip.MustParseAddr("10.1.2.100"), &status)
	ms.becomes("e1", "default:http")
	status.Store(http.StatusFound) // an answer, which nobody follows
	ms.becomes("e1")

	// One that ran before its service was made is innocent.
	ms.service("late", "tcp")
	eventually(t, "the service is known here", func() bool { _, ok := a.World().Services.Get("default:late"); return ok })
	if got := ms.unhealthy("e1"); len(got) > 0 {
		t.Errorf("by the service alone it is unhealthy for %q", got)
	}
	closed()
	ms.becomes("e1", "default:http", "default:late", "default:tcp")

	// Neither a restart nor a sweep has it well again, and nobody is unhealthy for what nobody asks. It writes down what it has told the masters.
	eventually(t, "it is written down", func() bool { rec, _ := a.records.get("e1"); return len(rec.Endpoint.Unhealthy) == 3 })
	s.stop()
	a = s.ready()
	if err := a.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rec, _ := a.records.get("e1"); len(rec.Endpoint.Unhealthy) != 3 {
		t.Errorf("after a restart it is unhealthy for %q", rec.Endpoint.Unhealthy)
	}
	if _, err := ms.client.Delete(t.Context(), api.ObjectPath(api.ServiceLBs, "default:late")); err != nil {
		t.Fatal(err)
	}
	ms.becomes("e1", "default:http", "default:tcp")
	ms.service("tcp", "")
	ms.becomes("e1", "default:http")
	label("e1", "other")
	ms.becomes("e1")
}

// Killed between the two, an agent has told the masters what it has not written down.
func TestHealthThatOnlyTheMastersRememberIsCorrected(t *testing.T) {
	if !onNode(t) {
		return
	}
	ms := newMasters(t)
	ms.network("web", "10.1.2.0/24")
	ms.service("tcp", "tcp")
	s := newSite(t, ms)
	a := s.ready()
	_, path := s.attach(a, "e1", "10.1.2.100")
	var status atomic.Int32
	listens(t, path, netip.MustParseAddr("10.1.2.100"), &status)
	if err := a.Update(t.Context(), "e1", func(e *model.Endpoint) { e.Labels = map[string]string{"app": "web"} }); err != nil {
		t.Fatal(err)
	}
	ms.becomes("e1")
	s.stop()
	e, _ := ms.endpoint("e1")
	e.Unhealthy = []string{"default:gone", "default:tcp"}
	if _, err := ms.client.Put(t.Context(), api.ObjectPath(api.Endpoints, "e1"), e, nil); err != nil {
		t.Fatal(err)
	}
	s.ready()
	ms.becomes("e1")
}

func TestContainerThatStopsIsLeftOutThoughItAnswers(t *testing.T) {
	if !onNode(t) {
		return
	}
	ms := newMasters(t)
	ms.network("web", "10.1.2.0/24")
	s := newSite(t, ms)
	a := s.ready()
	for id, addr := range map[string]string{"e1": "10.1.2.1", "e2": "10.1.2.2"} {
		s.attach(a, id, addr)
		if err := a.Update(t.Context(), id, func(e *model.Endpoint) { e.Container = "container-" + id }); err != nil {
			t.Fatal(err)
		}
	}
	for _, container := range []string{"container-e1", "container-unknown", ""} {
		if err := a.Stopping(t.Context(), container); err != nil {
			t.Fatal(err)
		}
	}
	one, _ := ms.endpoint("e1")
	two, _ := ms.endpoint("e2")
	if !one.Stopping || two.Stopping {
		t.Errorf("stopping are %v and %v", one.Stopping, two.Stopping)
	}
	s.stop()
	a = s.ready()
	if rec, _ := a.records.get("e1"); !rec.Endpoint.Stopping {
		t.Error("a restart has forgotten it")
	}
}
