// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
	"github.com/contivnet/contiv/store/memory"
	"github.com/contivnet/contiv/test/journal"
)

// limit is how long a test waits for what comes within moments.
const limit = time.Minute

// running is a master that mirrors a server.
type running struct {
	*master.Master
	t    *testing.T
	log  *journal.Journal
	stop func()
}

// distant is a store that one master reaches no more for a while.
type distant struct {
	store.Store
	away    atomic.Bool   // it takes nothing from it
	deaf    sync.RWMutex  // locked: it tells it nothing
	refused chan struct{} // has one when the store has refused a transaction, as a guard does not hold
}

func distantly(st store.Store) *distant { return &distant{Store: st, refused: make(chan struct{}, 1)} }

func (d *distant) Commit(ctx context.Context, t store.Txn) (int64, bool, error) {
	if d.away.Load() {
		return 0, false, memory.ErrAway
	}
	revision, ok, err := d.Store.Commit(ctx, t)
	if err == nil && !ok {
		select {
		case d.refused <- struct{}{}:
		default:
		}
	}
	return revision, ok, err
}

func (d *distant) KeepAlive(ctx context.Context, o model.Object, seconds int64, guards ...store.Guard) (bool, error) {
	if d.away.Load() {
		return false, memory.ErrAway
	}
	return d.Store.KeepAlive(ctx, o, seconds, guards...)
}

func (d *distant) Revision(ctx context.Context) (int64, error) {
	if d.away.Load() {
		return 0, memory.ErrAway
	}
	return d.Store.Revision(ctx)
}

func (d *distant) Follow(ctx context.Context, handle func(model.Change) error) error {
	return d.Store.Follow(ctx, func(c model.Change) error {
		d.deaf.RLock()
		defer d.deaf.RUnlock()
		return handle(c)
	})
}

// hurry is a pace for tests.
var hurry = pace{list: time.Hour, unserved: 50 * time.Millisecond, giveUp: time.Hour}

// start runs a master over the store until the test ends, or stop is called.
func start(t *testing.T, st store.Store, address string, do func(context.Context, *slog.Logger, *master.Lead) error) *running {
	t.Helper()
	log := new(journal.Journal)
	logger := slog.New(slog.NewTextHandler(log, nil))
	m := master.New(master.Options{Store: st, Log: slog.New(slog.DiscardHandler), Address: address})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		m.Lead(ctx, model.LeadMirror, func(ctx context.Context, l *master.Lead) error { return do(ctx, logger, l) })
	})
	stop := sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return &running{m, t, log, stop}
}

// mirrors starts a master that mirrors the server.
func mirrors(t *testing.T, s *server, st store.Store, kinds []kind) *running {
	t.Helper()
	return mirrorsAs(t, s, st, "192.0.2.1:9999", kinds)
}

// mirrorsAs is the same with the master's address.
func mirrorsAs(t *testing.T, s *server, st store.Store, address string, kinds []kind) *running {
	t.Helper()
	return start(t, st, address, func(ctx context.Context, log *slog.Logger, l *master.Lead) error {
		return run(ctx, Options{Config: &rest.Config{Host: s.URL}, Log: log}, l, kinds, hurry)
	})
}

// world is what the store has now.
func world(t *testing.T, st *memory.Store) (w model.World) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	_ = st.Follow(ctx, func(c model.Change) error { // ends with ctx
		w = w.With(c)
		cancel()
		return nil
	})
	return w
}

// names are the keys of what the store has of the mirrored kinds.
func names(w model.World) string {
	var out []string
	for o := range w.Objects() {
		switch o.Kind() {
		case model.KindNamespace, model.KindClusterService, model.KindEndpointSlice:
			out = append(out, o.Key())
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// becomes waits until the store has these.
func becomes(t *testing.T, st *memory.Store, want string) model.World {
	t.Helper()
	return until(t, st, want, func(w model.World) bool { return names(w) == want })
}

func until(t *testing.T, st *memory.Store, what string, holds func(model.World) bool) model.World {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		w := world(t, st)
		if holds(w) {
			return w
		}
		if time.Now().After(deadline) {
			t.Fatalf("the store has %q, want %s", names(w), what)
		}
	}
}

func TestWhatTheAPIServerHasIsInTheStore(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	for i := range 5 { // more than a page
		s.put(servicesPath, fmt.Sprint("shop/s", i), service(fmt.Sprint("10.96.0.", i+1)))
	}
	s.put(namespacesPath, "shop", labelled(object{"team": "a"}))
	s.put(slicesPath, "shop/s0-x", slice("s0", "web-0", "10.1.2.3"))
	mirrors(t, s, st, kinds())
	w := becomes(t, st, "shop shop/s0 shop/s0-x shop/s1 shop/s2 shop/s3 shop/s4")
	if n, _ := w.Namespaces.Get("shop"); n.Labels["team"] != "a" {
		t.Errorf("namespace %+v", n)
	}
	if e, _ := w.EndpointSlices.Get("shop/s0-x"); e.Service != "s0" || len(e.Endpoints) != 1 || e.Endpoints[0].Pod != "web-0" || !e.Endpoints[0].Ready {
		t.Errorf("slice %+v", e)
	}

	// And follows what is told.
	s.put(servicesPath, "shop/late", service("10.96.1.1"))
	s.put(servicesPath, "shop/s1", service("10.96.7.7"))
	s.remove(servicesPath, "shop/s0")
	s.remove(slicesPath, "shop/s0-x")
	s.remove(namespacesPath, "shop")
	w = becomes(t, st, "shop/late shop/s1 shop/s2 shop/s3 shop/s4")
	until(t, st, "a changed service", func(w model.World) bool {
		o, _ := w.ClusterServices.Get("shop/s1")
		return slices.Equal(o.ClusterIPs, []netip.Addr{netip.MustParseAddr("10.96.7.7")})
	})
	if got, _ := w.Leaders.Get(model.LeadMirror); got.Master != "192.0.2.1:9999" {
		t.Errorf("the leader is %+v", got)
	}
}

func TestNothingIsWrittenThatIsSoAlready(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	s.put(servicesPath, "shop/a", service("10.96.0.1"))
	m := mirrors(t, s, st, kinds())
	becomes(t, st, "shop/a")
	s.put(servicesPath, "shop/a", object{"metadata": object{"annotations": object{"x": "y"}}, "spec": service("10.96.0.1")["spec"]}) // of which nothing is taken over
	s.put(servicesPath, "shop/b", service("10.96.0.2"))
	w := becomes(t, st, "shop/a shop/b")
	m.stop()
	before := world(t, st)
	if _, led := before.Leaders.Get(model.LeadMirror); led {
		t.Error("who is told to end leads on")
	}
	// The next one lists all and finds it there.
	mirrors(t, s, st, kinds())
	w = until(t, st, "a leader", func(w model.World) bool { return w.Leaders.Len() == 1 })
	lists := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.lists }
	for deadline := time.Now().Add(limit); lists() < 2*len(kinds()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the next master does not list")
		}
	}
	s.put(namespacesPath, "sign", object{})
	after := becomes(t, st, "shop/a shop/b sign")
	if after.Revision != w.Revision+1 {
		t.Errorf("revision %d after %d: more than a namespace was written", after.Revision, w.Revision)
	}
}

func TestWhatWentWhileNobodyWatchedGoes(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	s.put(servicesPath, "shop/a", service("10.96.0.1"))
	s.put(servicesPath, "shop/b", service("10.96.0.2"))
	s.put(slicesPath, "shop/a-x", slice("a", "web-0", "10.1.2.3"))
	m := mirrors(t, s, st, kinds())
	becomes(t, st, "shop/a shop/a-x shop/b")
	m.stop()
	s.remove(servicesPath, "shop/a")
	s.remove(slicesPath, "shop/a-x")
	becomes(t, st, "shop/a shop/a-x shop/b") // nobody leads
	mirrors(t, s, st, kinds())
	becomes(t, st, "shop/b")
}

func TestListIsAskedForAgainWhereTheServerHasForgotten(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	s.put(servicesPath, "shop/a", service("10.96.0.1"))
	s.put(servicesPath, "shop/b", service("10.96.0.2"))
	mirrors(t, s, st, kinds())
	becomes(t, st, "shop/a shop/b")
	for round := range 2 { // at an even version and at an odd one
		s.set(func() { s.down = true })
		s.CloseClientConnections()
		gone, came := []string{"shop/a", "shop/c0"}[round], fmt.Sprint("shop/c", round)
		s.set(func() {
			s.append(servicesPath, gone, "DELETED", s.at(servicesPath)[gone])
			s.append(servicesPath, came, "ADDED", service("10.96.0.3"))
			s.append(servicesPath, came, "MODIFIED", service("10.96.0.4"))
			s.forgotten, s.down = len(s.log), false
		})
		becomes(t, st, "shop/b "+came)
	}
}

func TestStoreKeepsWhatWasToldLastWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	s.put(servicesPath, "shop/a", service("10.96.0.1"))
	m := mirrors(t, s, st, kinds())
	becomes(t, st, "shop/a")
	s.set(func() { s.down = true })
	s.CloseClientConnections()
	for deadline := time.Now().Add(limit); strings.Count(m.log.String(), "cannot be followed") < len(kinds()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nobody says that the API server is away: %s", m.log)
		}
	}
	becomes(t, st, "shop/a")
	s.set(func() {
		s.append(servicesPath, "shop/a", "DELETED", s.at(servicesPath)["shop/a"])
		s.append(servicesPath, "shop/b", "ADDED", service("10.96.0.2"))
		s.down = false
	})
	becomes(t, st, "shop/b")
	if n := strings.Count(m.log.String(), "cannot be followed"); n != len(kinds()) {
		t.Errorf("it is said %d times that the API server is away: %s", n, m.log)
	}
}

func TestKindThatIsNotServedIsPassedOverAndLookedForAgain(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	custom := kindOf(schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "slices"}, endpointSliceOf)
	const path = "/apis/example.org/v1/slices"
	s.put(servicesPath, "shop/a", service("10.96.0.1"))
	s.put(path, "shop/x", slice("a", "web-0", "10.1.2.3"))
	m := mirrors(t, s, st, append(kinds()[:2], custom))
	becomes(t, st, "shop/a")
	s.set(func() { s.served[path] = true })
	becomes(t, st, "shop/a shop/x")
	s.set(func() { s.served[path] = false })
	becomes(t, st, "shop/a") // there are none of what there is not
	if m.log.String() != "" {
		t.Errorf("it logged %s", m.log)
	}
}

func TestNothingGoesWhereAnotherServerAnswers(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	s.put(servicesPath, "shop/a", service("10.96.0.1"))
	s.put(slicesPath, "shop/a-x", slice("a", "web-0", "10.1.2.3"))
	first := mirrors(t, s, st, kinds())
	becomes(t, st, "shop/a shop/a-x")
	first.stop()
	other := newServer(t)
	other.set(func() { other.foreign = true })
	m := mirrors(t, other, st, kinds())
	for deadline := time.Now().Add(limit); strings.Count(m.log.String(), "cannot be followed") < len(kinds()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is not said that this is no API server: %s", m.log)
		}
	}
	becomes(t, st, "shop/a shop/a-x")
}

func TestWhatCannotBeTranslatedIsNamedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	bad := service("10.96.0.1")
	bad["spec"].(object)["externalIPs"] = []string{"nonsense"}
	s.put(servicesPath, "shop/bad", bad)
	s.put(servicesPath, "shop/odd", object{"spec": "a word"})
	s.put(servicesPath, "shop/good", service("10.96.0.2"))
	m := mirrors(t, s, st, kinds())
	becomes(t, st, "shop/good")
	for _, w := range []string{"name=shop/bad", "spec.externalIPs", "nonsense", "name=shop/odd"} {
		if !strings.Contains(m.log.String(), w) {
			t.Errorf("the log does not say %q: %s", w, m.log)
		}
	}
	s.put(servicesPath, "shop/good", bad) // it is as if it were not there
	becomes(t, st, "")
	s.put(servicesPath, "shop/bad", service("10.96.0.1"))
	becomes(t, st, "shop/bad")
}

// A policy that denies must not go because somebody wrote a word of it wrong.
func TestPolicyThatCannotBeReadAnyMoreStaysAsItWas(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	const clusterPath, namespacedPath = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies", "/apis/networking.k8s.io/v1/networkpolicies"
	policy := func(operator string) object {
		return object{"spec": object{
			"tier": "Admin", "subject": object{"namespaces": object{"matchExpressions": []object{{"key": "team", "operator": operator}}}}, "ingress": []object{{"action": "Deny", "from": []object{{"namespaces": object{}}}}},
			"podSelector": object{"matchExpressions": []object{{"key": "team", "operator": operator}}},
		}}
	}
	both := func(key string, o object) {
		s.put(clusterPath, key, o)
		s.put(namespacedPath, "shop/"+key, o)
	}
	has := func(want string) func(model.World) bool {
		return func(w model.World) bool {
			var have []string
			for _, p := range w.ClusterNetworkPolicies.All() {
				have = append(have, p.Key()+" "+p.Subject.Namespaces.Requirements[0].Operator)
			}
			for _, p := range w.NetworkPolicies.All() {
				have = append(have, p.Key()+" "+p.Pods.Requirements[0].Operator)
			}
			slices.Sort(have)
			return strings.Join(have, ", ") == want
		}
	}
	both("a", policy("Exists"))
	both("b", policy("Near"))
	m := mirrors(t, s, st, kinds())
	until(t, st, "a alone", has("a Exists, shop/a Exists"))
	both("a", policy("Near"))
	both("c", policy("DoesNotExist"))
	until(t, st, "a as it was, and c", has("a Exists, c DoesNotExist, shop/a Exists, shop/c DoesNotExist"))
	for _, w := range []string{"name=a", "name=shop/a", "name=b", "name=shop/b", "spec.subject.namespaces: ", "spec.podSelector: ", "Near", "stays in force"} {
		if !strings.Contains(m.log.String(), w) {
			t.Errorf("the log does not say %q: %s", w, m.log)
		}
	}
	m.stop() // the next one lists
	mirrors(t, s, st, kinds())
	both("d", policy("Exists"))
	until(t, st, "a as it was, c and d", has("a Exists, c DoesNotExist, d Exists, shop/a Exists, shop/c DoesNotExist, shop/d Exists"))
	for _, key := range []string{"a", "b", "d"} {
		s.remove(clusterPath, key)
		s.remove(namespacedPath, "shop/"+key)
	}
	until(t, st, "c alone", has("c DoesNotExist, shop/c DoesNotExist"))
}

// smallStore takes only so many objects at once, and none with a certain name.
type smallStore struct {
	Store
	most int
}

func (s smallStore) Write(ctx context.Context, put []model.Object, remove []model.Ref) error {
	for _, o := range put {
		if len(put) > s.most || strings.HasSuffix(o.Key(), "large") {
			return fmt.Errorf("write: %w", model.Invalid("", "this is more than the store takes"))
		}
	}
	return s.Store.Write(ctx, put, remove)
}

func TestWhatTheStoreCannotHoldIsNamedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	want := []string{}
	for i := range 9 {
		s.put(servicesPath, fmt.Sprint("shop/s", i), service("10.96.0.1"))
		want = append(want, fmt.Sprint("shop/s", i))
	}
	s.put(servicesPath, "shop/large", service("10.96.0.1"))
	m := start(t, st, "", func(ctx context.Context, log *slog.Logger, l *master.Lead) error {
		return run(ctx, Options{Config: &rest.Config{Host: s.URL}, Log: log}, smallStore{l, 2}, kinds(), hurry)
	})
	becomes(t, st, strings.Join(want, " "))
	s.put(servicesPath, "shop/last", service("10.96.0.1"))
	becomes(t, st, "shop/last "+strings.Join(want, " "))
	if n := strings.Count(m.log.String(), "name=shop/large"); n != 1 {
		t.Errorf("it is named %d times: %s", n, m.log)
	}
}

func TestAnotherMasterFollowsOneThatFallsSilent(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	s.put(servicesPath, "shop/a", service("10.96.0.1"))
	far := distantly(st)
	mirrorsAs(t, s, far, "first", kinds())
	becomes(t, st, "shop/a")
	mirrorsAs(t, s, st, "second", kinds())
	s.put(servicesPath, "shop/b", service("10.96.0.2"))
	if led, _ := becomes(t, st, "shop/a shop/b").Leaders.Get(model.LeadMirror); led.Master != "first" {
		t.Fatalf("%+v leads", led)
	}

	// The first reaches the store no more, and does not know what others do there.
	far.away.Store(true)
	far.deaf.Lock()
	heard := sync.OnceFunc(far.deaf.Unlock)
	t.Cleanup(heard)
	st.Advance(time.Minute)
	led := func(w model.World) bool {
		now, ok := w.Leaders.Get(model.LeadMirror)
		return ok && now.Master == "second"
	}
	until(t, st, "another leader", led)
	s.remove(servicesPath, "shop/a")
	becomes(t, st, "shop/b")

	// It comes back with all that it could not write, and leaves it to who leads.
	far.away.Store(false)
	heard()
	s.put(servicesPath, "shop/c", service("10.96.0.3"))
	if w := becomes(t, st, "shop/b shop/c"); !led(w) {
		t.Errorf("the leader is %+v", w.Leaders)
	}
}

func TestWhoLedWritesNothingMore(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	s.put(servicesPath, "shop/a", service("10.96.0.2"))
	s.put(servicesPath, "shop/b", service("10.96.0.3"))
	leads, sleep, wrote := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	far := distantly(st)
	start(t, far, "old", func(ctx context.Context, _ *slog.Logger, l *master.Lead) error {
		select {
		case <-leads:
			return errors.New("once is enough")
		default:
		}
		close(leads)
		<-sleep
		late := []model.Object{model.ClusterService{Namespace: "shop", Name: "a", ExternalName: "old"}, model.ClusterService{Namespace: "shop", Name: "c"}}
		wrote <- l.Write(context.WithoutCancel(ctx), late, []model.Ref{{Kind: model.KindClusterService, Key: "shop/b"}})
		return errors.New("done")
	})
	<-leads
	far.deaf.Lock() // for all that it knows, it still leads
	heard := sync.OnceFunc(far.deaf.Unlock)
	t.Cleanup(heard)
	st.Advance(time.Minute) // the store forgets it, as after a long sleep
	mirrors(t, s, st, kinds())
	before := becomes(t, st, "shop/a shop/b")
	for len(far.refused) > 0 {
		<-far.refused
	}
	close(sleep)
	select {
	case <-far.refused: // by the store, which knows better
	case err := <-wrote:
		t.Fatalf("it ended before the store refused it: %v", err)
	case <-time.After(limit):
		t.Fatal("it does not try")
	}
	heard()
	if err := <-wrote; err == nil || !strings.Contains(err.Error(), "another master leads") {
		t.Errorf("it wrote, or was refused for another reason: %v", err)
	}
	after := world(t, st)
	a, _ := after.ClusterServices.Get("shop/a")
	if names(after) != "shop/a shop/b" || a.ExternalName != "" || after.Revision != before.Revision {
		t.Errorf("at revision %d, after %d, the store has %q, and %+v", after.Revision, before.Revision, names(after), a)
	}
}

// Another master may have a certificate that is known, or the right address.
func TestServerThatSaysNothingForLongIsLeftToOthers(t *testing.T) {
	t.Parallel()
	for what, becomes := range map[string]func(*server){
		"silent":            func(s *server) { s.down = true },
		"of another kind":   func(s *server) { s.foreign = true },
		"not knowing of us": func(s *server) { s.strict = true },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, st := newServer(t), memory.New()
			s.set(func() { becomes(s) })
			ended := make(chan error, 100)
			start(t, st, "", func(ctx context.Context, log *slog.Logger, l *master.Lead) error {
				p := hurry
				p.giveUp = 10 * time.Millisecond
				err := run(ctx, Options{Config: &rest.Config{Host: s.URL}, Log: log}, l, kinds(), p)
				ended <- err
				return err
			})
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), "silent") {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(limit):
				t.Fatal("it tries for ever")
			}
			until(t, st, "no leader", func(w model.World) bool { return w.Leaders.Len() == 0 })
		})
	}
}

func TestForgetRemovesAllThatWasTakenOver(t *testing.T) {
	t.Parallel()
	s, st := newServer(t), memory.New()
	s.put(namespacesPath, "shop", object{})
	s.put(servicesPath, "shop/a", service("10.96.0.1"))
	s.put(slicesPath, "shop/a-x", slice("a", "web-0", "10.1.2.3"))
	m := mirrors(t, s, st, kinds())
	becomes(t, st, "shop shop/a shop/a-x")
	m.stop()
	start(t, st, "", func(ctx context.Context, _ *slog.Logger, l *master.Lead) error {
		err := Forget(ctx, l)
		<-ctx.Done()
		return err
	})
	w := becomes(t, st, "")
	if _, ok := w.Tenants.Get(model.DefaultTenant); !ok {
		t.Error("more than that has gone")
	}
}
