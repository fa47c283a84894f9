// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
	"github.com/contivnet/contiv/store/memory"
)

// watcher reads a watch line by line.
type watcher struct {
	*testing.T
	lines *json.Decoder
	end   func()
}

func (s server) watch(revision int64) watcher {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	s.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s%s?revision=%d", s.url, api.WatchPath, revision), nil)
	if err != nil {
		s.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.Fatal(resp, err)
	}
	s.Cleanup(func() { resp.Body.Close() })
	return watcher{s.T, json.NewDecoder(bufio.NewReader(resp.Body)), cancel}
}

// next is the next line that says something.
func (w watcher) next() model.Change {
	w.Helper()
	for {
		c, err := api.ReadChange(w.lines)
		if err != nil {
			w.Fatal(err)
		}
		if !c.Empty() {
			return c
		}
	}
}

func (s server) tenant(name string) int64 {
	s.Helper()
	return s.put(api.ObjectPath(api.Tenants, name), api.Tenant{})
}

func TestWatchBeginsWithTheWorldAndGoesOnWithItsChanges(t *testing.T) {
	t.Parallel()
	s := alone(t)
	first := s.tenant("blue")
	w := s.watch(0)
	if c := w.next(); !c.Reset || c.Revision != first || len(c.Put) != 3 {
		t.Errorf("first line: %+v", c)
	}
	second := s.tenant("red")
	if c := w.next(); c.Reset || c.Revision != second || len(c.Put) != 1 || c.Put[0].Key() != "red" {
		t.Errorf("second line: %+v", c)
	}
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Tenants, "red")); err != nil {
		t.Fatal(err)
	}
	if c := w.next(); c.Revision <= second || len(c.Delete) != 1 || c.Delete[0] != (model.Ref{Kind: model.KindTenant, Key: "red"}) {
		t.Errorf("third line: %+v", c)
	}
}

func TestWatchGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	s := alone(t)
	first := s.tenant("a")
	second := s.tenant("b")
	third := s.tenant("c")
	w := s.watch(first)
	for _, want := range []int64{second, third} {
		if c := w.next(); c.Reset || c.Revision != want {
			t.Errorf("got %+v, want revision %d", c, want)
		}
	}
	fourth := s.tenant("d")
	if c := s.watch(third).next(); c.Reset || c.Revision != fourth {
		t.Errorf("got %+v, want revision %d", c, fourth)
	}
}

func TestWatchFromForgottenOrUnheardOfRevisionsIsTheWholeWorld(t *testing.T) {
	t.Parallel()
	s := serve(t, memory.New(), master.Options{Backlog: 3})
	first := s.tenant("a")
	var last int64
	for _, name := range []string{"b", "c", "d", "e"} {
		last = s.tenant(name)
	}
	for _, from := range []int64{0, 1, first, last + 1000} {
		if c := s.watch(from).next(); !c.Reset || c.Revision != last {
			t.Errorf("from %d: %+v", from, c)
		}
	}
}

// A World of its own for each line that a watcher gets would show if one were left out.
// heldStore is a store whose followers hear of nothing before they may.
type heldStore struct {
	store.Store
	mu  sync.Mutex
	may chan struct{} // closed: they may; nil: they may at once
}

func (s *heldStore) Follow(ctx context.Context, handle func(model.Change) error) error {
	return s.Store.Follow(ctx, func(c model.Change) error {
		s.mu.Lock()
		may := s.may
		s.mu.Unlock()
		if may != nil {
			select {
			case <-may:
			case <-ctx.Done():
			}
		}
		return handle(c)
	})
}

func (s *heldStore) hold() (release func()) {
	may := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.may = may
	return sync.OnceFunc(func() { close(may) })
}

func TestWatcherIsNotSentAWorldThatIsBehindTheStore(t *testing.T) {
	t.Parallel()
	shared := memory.New()
	late := &heldStore{Store: shared}
	a, b := serve(t, shared, master.Options{}), serve(t, late, master.Options{})
	release := late.hold()
	defer release()
	b.watch(0).next() // what it has already is not behind
	newest := a.tenant("blue")
	time.AfterFunc(50*time.Millisecond, release)
	if c := b.watch(0).next(); !c.Reset || c.Revision < newest {
		t.Errorf("a new watcher is sent revision %d of %d", c.Revision, newest)
	}

	// Without the store it cannot find out. Who has more keeps it; who has nothing gets what there is.
	defer late.hold()()
	newest = a.tenant("red")
	shared.SetAway(true)
	defer shared.SetAway(false)
	resp, err := http.Get(fmt.Sprintf("%s%s?revision=%d", b.url, api.WatchPath, newest))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a watcher at revision %d gets %s", newest, resp.Status)
	}
	if c := b.watch(0).next(); !c.Reset || c.Revision >= newest {
		t.Errorf("a new watcher is sent revision %d", c.Revision)
	}
}

func TestSlowWatcherIsSentTheWholeWorldAndMissesNothing(t *testing.T) {
	t.Parallel()
	s := serve(t, memory.New(), master.Options{Backlog: 8})
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.0.0.0/8", "")
	// A connection that takes little until it is read from.
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(s.url)
	fmt.Fprintf(c, "GET %s?revision=0 HTTP/1.1\r\nHost: %s\r\n\r\n", api.WatchPath, u.Host)
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := watcher{t, json.NewDecoder(resp.Body), nil}
	world := model.World{}.With(w.next())

	// More than the kernel buffers for a connection (tcp_wmem, 4 MiB at most by default) while nothing is read.
	const n, size = 200, 64 << 10
	for i := range n {
		s.put(api.ObjectPath(api.Endpoints, fmt.Sprint("e", i)), api.Endpoint{
			TenantName: "default", NetworkName: "net", HomingHost: "n1", ContainerName: "c", Labels: map[string]string{"l": strings.Repeat("x", size)},
		})
		if i%2 == 1 {
			if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Endpoints, fmt.Sprint("e", i-1))); err != nil {
				t.Fatal(err)
			}
		}
	}
	last := s.tenant("last")
	resets := 0
	for world.Revision < last {
		change := w.next()
		if change.Reset {
			resets++
		}
		if change.Revision <= world.Revision {
			t.Fatalf("revision %d follows %d", change.Revision, world.Revision)
		}
		world = world.With(change)
	}
	if resets == 0 {
		t.Error("the watcher was not slow enough to show anything")
	}
	var list []api.Endpoint
	if err := s.client.Get(t.Context(), api.ListPath(api.Endpoints), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != n/2 || world.Endpoints.Len() != n/2 || world.Addresses.Len() != n/2 {
		t.Errorf("the watcher has %d endpoints and %d addresses, the master %d", world.Endpoints.Len(), world.Addresses.Len(), len(list))
	}
}

// Whatever comes between, an agent's World is the master's.
func TestFollowersWorldIsTheMasters(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	a, b := serve(t, mem, master.Options{Backlog: 5}), serve(t, mem, master.Options{})
	client, err := api.NewClient(a.url, b.url)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var world model.World
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = client.Follow(ctx, 0, func(c model.Change) error {
			mu.Lock()
			defer mu.Unlock()
			world = world.With(c)
			return nil
		}, nil)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	a.node("n1", "192.168.2.10")
	a.network("default:net", "10.1.0.0/16", "")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 10 {
				id := fmt.Sprintf("e%d-%d", i, j)
				if _, err := []server{a, b}[i%2].attach(id, "n1", ""); err != nil {
					t.Error(err)
				}
				if j%2 == 1 {
					if _, err := a.client.Delete(context.Background(), api.ObjectPath(api.Endpoints, id)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	last := a.tenant("last")
	a.until("the follower is there", func() bool { mu.Lock(); defer mu.Unlock(); return world.Revision >= last })
	mu.Lock()
	defer mu.Unlock()
	var list []api.Endpoint
	if err := a.client.Get(t.Context(), api.ListPath(api.Endpoints), &list); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(maps.Collect(world.Endpoints.All())))
	var want []string
	for _, e := range list {
		want = append(want, e.Key)
	}
	if !slices.Equal(got, want) || len(want) != 40 {
		t.Errorf("the follower has %d endpoints, the master %d", len(got), len(want))
	}
}

// The store says that what came between is forgotten: watchers hear of everything that is.
func TestStoreThatForgotResetsTheWatchers(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	again := &interruptedStore{Store: mem, restart: make(chan struct{})}
	s := serve(t, again, master.Options{})
	w := s.watch(0)
	w.next()
	again.restart <- struct{}{}
	again.restart <- struct{}{} // it follows no more, and not yet again
	if _, ok, err := mem.Commit(t.Context(), store.Txn{Put: []store.Put{{Object: model.Tenant{Name: "missed", Number: 9}}}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	again.restart <- struct{}{}
	if c := w.next(); !c.Reset || !slices.ContainsFunc(c.Put, func(o model.Object) bool { return o.Key() == "missed" }) {
		t.Errorf("got %+v", c)
	}
}

// interruptedStore stops following and begins anew when told.
type interruptedStore struct {
	store.Store
	restart chan struct{}
}

func (s *interruptedStore) Follow(ctx context.Context, handle func(model.Change) error) error {
	for {
		inner, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- s.Store.Follow(inner, handle) }()
		select {
		case <-s.restart:
			cancel()
			<-ended
			for range 2 {
				select {
				case <-s.restart:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		case <-ctx.Done():
			cancel()
			<-ended
			return ctx.Err()
		}
	}
}

func TestSilentWatchHasAPulse(t *testing.T) {
	t.Parallel()
	s := alone(t)
	w := s.watch(0)
	w.next()
	began := time.Now()
	var e api.WatchEvent
	if err := w.lines.Decode(&e); err != nil || e.Reset || len(e.Put) > 0 {
		t.Errorf("the pulse is %+v, %v", e, err)
	}
	if d := time.Since(began); d > api.WatchPulse*time.Second {
		t.Errorf("it came after %v", d)
	}
}

func TestWatchesEndWithTheMaster(t *testing.T) {
	t.Parallel()
	s := alone(t)
	w := s.watch(0)
	w.next()
	s.stop()
	var e api.WatchEvent
	if err := w.lines.Decode(&e); !errors.Is(err, io.EOF) {
		t.Errorf("after the master's end: %+v, %v", e, err)
	}
	if status, body, _ := s.raw("GET", api.ListPath(api.Networks), ""); status != http.StatusServiceUnavailable {
		t.Errorf("a master that ended answers %d %s", status, body)
	}
}

// What a cut-off master knows does not change, which must not look like there being no changes.
func TestWatchersLeaveAMasterThatIsCutOffFromItsStore(t *testing.T) {
	t.Parallel()
	shared := memory.New()
	cut := &awayStore{Store: shared}
	a, b := serve(t, shared, master.Options{}), serve(t, cut, master.Options{CutOff: 300 * time.Millisecond})
	at := a.tenant("blue")
	both, err := api.NewClient(b.url, a.url)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	seen := make(chan int64, 1000)
	go func() {
		_ = both.Follow(ctx, 0, func(c model.Change) error { seen <- c.Revision; return nil }, nil)
	}()
	until := func(revision int64) {
		t.Helper()
		for {
			select {
			case r := <-seen:
				if r >= revision {
					return
				}
			case <-ctx.Done():
				t.Fatalf("the watcher never hears of revision %d", revision)
			}
		}
	}
	until(at)
	cut.away()
	until(a.tenant("red"))
	// Who comes with a revision is refused; who has nothing gets what there is.
	resp, err := http.Get(fmt.Sprintf("%s%s?revision=%d", b.url, api.WatchPath, at))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a watcher comes to a master that is cut off: %s", resp.Status)
	}
	if c := b.watch(0).next(); !c.Reset || c.Revision < at {
		t.Errorf("a new watcher is sent %+v", c)
	}
}

// awayStore is a store that one of its masters cannot reach any more.
type awayStore struct {
	store.Store
	cut atomic.Bool
}

func (s *awayStore) away() { s.cut.Store(true) }

func (s *awayStore) Revision(ctx context.Context) (int64, error) {
	if s.cut.Load() {
		return 0, errors.New("out of reach")
	}
	return s.Store.Revision(ctx)
}

func (s *awayStore) Follow(ctx context.Context, handle func(model.Change) error) error {
	return s.Store.Follow(ctx, func(c model.Change) error {
		if s.cut.Load() {
			return nil
		}
		return handle(c)
	})
}
