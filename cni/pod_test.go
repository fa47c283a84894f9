// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/contivnet/contiv/model"
)

// teller is a Kubernetes of pods by name, which tells what is written into it.
type teller struct {
	pods
	of      map[string]Told
	changed chan struct{}
}

func (p *teller) Told(pod Pod) (Told, bool) {
	told, ok := p.of[pod.Name]
	return told, ok
}

func (p *teller) Changed() <-chan struct{} { return p.changed }

// tell has what was written be heard.
func (p *teller) tell() {
	changed := p.changed
	p.changed = make(chan struct{})
	close(changed)
}

// node has endpoints and does with them what an agent would, if a master answers.
type node struct {
	mu    sync.Mutex
	has   map[string]model.Endpoint
	away  func(context.Context) error // what becomes of updates; nil: a master takes them
	tries int                         // updates that failed
}

func (n *node) Attached() []model.Endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.has))
}

func (n *node) SandboxesChanged() <-chan struct{} { return nil }

func (n *node) Update(ctx context.Context, id string, change func(*model.Endpoint)) error {
	n.mu.Lock()
	away := n.away
	n.mu.Unlock()
	var err error
	if away != nil {
		err = away(ctx)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.tries++
		return err
	}
	e := n.has[id]
	change(&e)
	n.has[id] = e
	return nil
}

func (n *node) endpoint(id string) model.Endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.has[id]
}

// takeBack is what an agent does with who goes on for long after it was told to stop.
func (n *node) takeBack(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.has[id]
	e.Stopping = false
	n.has[id] = e
}

// lose has no master take updates, and tells how many have failed.
func (n *node) lose(away func(context.Context) error) (tries int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = away
	return n.tries
}

// pass lets time pass that is the bubble's alone.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// podEndpoint is an endpoint as add makes it for a pod.
func podEndpoint(id, name string, own map[string]string) model.Endpoint {
	ours := map[string]string{labelConfig: "k8s", labelPodNamespace: "shop", labelPodName: name, labelPodUID: "u-" + name}
	return model.Endpoint{ID: id, Runtime: "cni", Labels: joined(own, ours)}
}

// following runs test in a bubble of time in which a node with web-0, and a container that is no pod's, follows a Kubernetes.
func following(t *testing.T, test func(p *teller, n *node, log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &teller{of: map[string]Told{"web-0": {Labels: map[string]string{"app": "web"}}}, changed: make(chan struct{})}
		n := &node{has: map[string]model.Endpoint{
			"e0": podEndpoint("e0", "web-0", p.of["web-0"].Labels),
			"e1": {ID: "e1", Runtime: "docker", Labels: map[string]string{"app": "other"}},
		}}
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			follow(ctx, p, n, slog.New(slog.NewTextHandler(&log, nil)))
			close(ended)
		}()
		synctest.Wait()
		test(p, n, &log)
		cancel()
		<-ended
		if other := n.endpoint("e1"); other.Stopping || len(other.Labels) != 1 {
			t.Errorf("what is no pod's has become %+v", other)
		}
	})
}

func TestLabelsThatAPodGetsLaterAreItsEndpoints(t *testing.T) {
	t.Parallel()
	following(t, func(p *teller, n *node, log *bytes.Buffer) {
		p.of["web-0"] = Told{Labels: map[string]string{"app": "web", "release": "2", labelPodName: "forged"}}
		p.tell()
		synctest.Wait()
		want := podEndpoint("e0", "web-0", map[string]string{"app": "web", "release": "2"}).Labels
		if got := n.endpoint("e0"); !maps.Equal(got.Labels, want) || got.Stopping {
			t.Errorf("the endpoint has the labels %v, stopping %v; want %v", got.Labels, got.Stopping, want)
		}
		delete(p.of, "web-0") // gone from the API server before its DEL has come
		p.tell()
		synctest.Wait()
		if got := n.endpoint("e0"); !maps.Equal(got.Labels, want) {
			t.Errorf("of a pod that is not known the endpoint has the labels %v; want %v", got.Labels, want)
		}
		if log.Len() > 0 {
			t.Errorf("it logged %s", log)
		}
	})
}

func TestPortsThatAPodNamesAreItsEndpoints(t *testing.T) {
	t.Parallel()
	following(t, func(p *teller, n *node, _ *bytes.Buffer) {
		want := []model.NamedPort{{Name: "http", Protocol: "TCP", Port: 8080}}
		p.of["web-0"] = Told{Labels: p.of["web-0"].Labels, Ports: want}
		p.tell()
		synctest.Wait()
		if got := n.endpoint("e0"); !slices.Equal(got.NamedPorts(), want) || got.Labels["app"] != "web" {
			t.Errorf("the endpoint has the ports %v and the labels %v; want the ports %v", got.NamedPorts(), got.Labels, want)
		}
	})
}

func TestPodThatIsToldToEndIsStoppingOnce(t *testing.T) {
	t.Parallel()
	following(t, func(p *teller, n *node, _ *bytes.Buffer) {
		p.of["web-0"] = Told{Labels: map[string]string{"app": "web"}, Ending: true}
		p.tell()
		synctest.Wait()
		if !n.endpoint("e0").Stopping {
			t.Error("the endpoint of a pod that was told to end is not stopping")
		}
		n.takeBack("e0") // as it lives on
		p.of["web-0"] = Told{Labels: map[string]string{"app": "still"}, Ending: true}
		p.tell()
		synctest.Wait()
		if got := n.endpoint("e0"); got.Stopping || got.Labels["app"] != "still" {
			t.Errorf("the endpoint of a pod that lives on is stopping again: %+v", got)
		}
	})
}

func TestWhatNoMasterTookOfAPodIsTriedAgainAndLoggedOnce(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(context.Context) error{
		"refuses": func(context.Context) error { return errors.New("no master") },
		"hangs": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			following(t, func(p *teller, n *node, log *bytes.Buffer) {
				n.lose(away)
				p.of["web-0"] = Told{Labels: map[string]string{"app": "new"}, Ending: true}
				p.tell()
				const some = 2*(updatePatience+followAgain) + time.Second
				pass(some)
				if got := n.endpoint("e0"); got.Stopping || got.Labels["app"] != "web" {
					t.Errorf("without a master the endpoint has become %+v", got)
				}
				if tries := n.lose(nil); tries < 2 {
					t.Errorf("in %v it was tried %d times", some, tries)
				}
				pass(some)
				if got := n.endpoint("e0"); got.Labels["app"] != "new" || !got.Stopping {
					t.Errorf("after the masters came back the endpoint is %+v", got)
				}
				if got := strings.Count(log.String(), "pod=shop/web-0"); got != 1 {
					t.Errorf("logged %d times: %s", got, log)
				}
			})
		})
	}
}
