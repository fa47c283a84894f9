// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/contivnet/contiv/model"
)

func TestClientMovesOnToAMasterThatAnswers(t *testing.T) {
	t.Parallel()
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	noStore := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"error":"the store is away"}`)
	}))
	defer noStore.Close()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(RevisionHeader, "42")
		fmt.Fprintf(w, `{"tenantName":%q}`, r.Method+" "+r.URL.Path)
	}))
	defer up.Close()
	c, err := NewClient(down.URL, noStore.URL+","+up.URL)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it begins with the one that answered
		var got Tenant
		rev, err := c.Put(context.Background(), ObjectPath(Tenants, "blue"), Tenant{}, &got)
		if err != nil || rev != 42 || got.TenantName != "PUT /api/v1/tenants/blue/" {
			t.Fatalf("got %+v at %d, %v", got, rev, err)
		}
	}
	c, err = NewClient(down.URL)
	if err != nil {
		t.Fatal(err)
	}
	var unreachable *UnreachableError
	if err := c.Get(context.Background(), VersionPath, nil); !errors.As(err, &unreachable) {
		t.Errorf("a master that is down gives %v", err)
	}
}

func TestRefusalsKeepTheirKindOverTheWire(t *testing.T) {
	t.Parallel()
	for _, want := range []error{
		model.NotFound("networkName", "network x not found"), model.Exists("pktTag", "taken"),
		model.InUse("", "has endpoints"), model.Invalid("subnet", "no subnet"),
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			e := ErrorOf(want)
			w.WriteHeader(e.Status)
			_ = json.NewEncoder(w).Encode(e)
		}))
		c, err := NewClient(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		got := c.Get(context.Background(), "/x", nil)
		s.Close()
		if !errors.Is(got, errors.Unwrap(want)) || got.Error() != want.Error() {
			t.Errorf("%v comes back as %v", want, got)
		}
	}
}

// A watch that breaks off goes on where it was, at the next master.
func TestFollowGoesOnAfterABreak(t *testing.T) {
	t.Parallel()
	lines := []WatchEvent{
		{Revision: 5, Reset: true, Put: []WatchObject{{model.KindTenant, []byte(`{"name":"default","number":1}`)}, {"future", []byte(`{}`)}}},
		{Revision: 6, Put: []WatchObject{{model.KindTenant, []byte(`{"name":"blue","number":2}`)}}},
		{Revision: 7, Delete: []model.Ref{{Kind: model.KindTenant, Key: "blue"}}},
	}
	asked := make(chan string, 8)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := r.URL.Query().Get("revision")
		asked <- from
		sent := 0
		for _, l := range lines {
			if fmt.Sprint(l.Revision) > from && sent < 2 {
				_ = json.NewEncoder(w).Encode(l)
				sent++
			}
		}
	}))
	defer s.Close()
	c, err := NewClient(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := errors.New("seen all")
	w := model.World{}
	err = c.Follow(ctx, 0, func(ch model.Change) error {
		w = w.With(ch)
		if ch.Revision == 7 {
			return done
		}
		return nil
	}, nil)
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
	if _, ok := w.Tenants.Get("blue"); ok || w.Tenants.Len() != 1 || w.Revision != 7 {
		t.Errorf("the World has %d tenants at revision %d", w.Tenants.Len(), w.Revision)
	}
	if a, b := <-asked, <-asked; a != "0" || b != "6" {
		t.Errorf("asked from %s, then from %s", a, b)
	}
}

func TestShapesGiveTheModelBack(t *testing.T) {
	t.Parallel()
	n, err := Network{TenantName: "blue", NetworkName: "n", Subnet: "10.1.1.10-10.1.1.20/24", Gateway: "10.1.1.1", IPv6Subnet: "2001:db8::/64", PktTag: 9}.Model()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := NetworkOf(n).Model(); err != nil || !reflect.DeepEqual(again, n) {
		t.Errorf("%+v comes back as %+v, %v", n, again, err)
	}
	e := model.Endpoint{ID: "e", Tenant: "t", Network: "n", Node: "h", Port: "vvport1", IPv4: netip.MustParseAddr("10.1.1.2"), MAC: model.MAC{2, 2, 1, 1, 1, 1}, Name: "c"}
	b, err := json.Marshal(EndpointOf(e))
	if err != nil {
		t.Fatal(err)
	}
	var shape Endpoint
	if err := json.Unmarshal(b, &shape); err != nil {
		t.Fatal(err)
	}
	if again, err := shape.Model(); err != nil || !reflect.DeepEqual(again, e) {
		t.Errorf("%s comes back as %+v, %v", b, again, err)
	}
}

func FuzzWatchLine(f *testing.F) {
	f.Add([]byte(`{"revision":5,"reset":true,"put":[{"kind":"endpoint","value":{"id":"e","ipv4":"10.1.1.1","mac":"02:02:01:01:01:01"}}],"delete":[{"kind":"tenant","key":"a"}]}`))
	f.Add([]byte(`{"put":[{"value":{"name":"a"},"kind":"tenant","more":1},{"kind":"future","value":[1]}],"news":{"a":[1]},"revision":7}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := ReadChange(json.NewDecoder(bytes.NewReader(line)))
		if err != nil {
			return
		}
		first, err := AppendChange(nil, c)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := ReadChange(json.NewDecoder(bytes.NewReader(first)))
		if err != nil {
			t.Fatalf("%s cannot be read: %v", first, err)
		}
		if second, err := AppendChange(nil, again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%s comes back as %s, %v", first, second, err)
		}
		model.World{}.With(c)
	})
}

// Lines are written by hand, so that a whole World is never in memory as one: they must be what WatchEvent says.
func TestWatchLinesAreWatchEvents(t *testing.T) {
	t.Parallel()
	blue, green := model.Tenant{Name: "blue", Number: 1}, model.Tenant{Name: "green", Number: 2}
	node := model.Node{Name: "n1"}
	for _, c := range []model.Change{
		{Revision: 3},
		{Revision: 4, Put: []model.Object{blue}},
		{Revision: 5, Put: []model.Object{node, green}, Delete: []model.Ref{model.RefOf(blue), model.RefOf(node)}},
		{Revision: 6, Delete: []model.Ref{{Kind: model.KindTenant, Key: `"odd"`}}},
		{Revision: 7, Reset: true, Put: []model.Object{blue, node}},
		{Revision: 8, Reset: true},
	} {
		lines := map[string][]byte{}
		var err error
		if lines["change"], err = AppendChange(nil, c); err != nil {
			t.Fatal(err)
		}
		if c.Reset {
			var b bytes.Buffer
			if err := WriteWorld(&b, model.World{}.With(c)); err != nil {
				t.Fatal(err)
			}
			lines["world"] = b.Bytes()
		}
		for what, line := range lines {
			d := json.NewDecoder(bytes.NewReader(line))
			d.DisallowUnknownFields()
			var e WatchEvent
			if err := d.Decode(&e); err != nil || !bytes.HasSuffix(line, []byte("}\n")) || bytes.Count(line, []byte("\n")) != 1 {
				t.Errorf("%s %q is no line of a watch: %v", what, line, err)
			}
			if e.Revision != c.Revision || e.Reset != c.Reset || len(e.Put) != len(c.Put) || !slices.Equal(e.Delete, c.Delete) {
				t.Errorf("%+v became %s", c, line)
			}
			got, err := ReadChange(json.NewDecoder(bytes.NewReader(line)))
			if err != nil || !reflect.DeepEqual(model.World{}.With(got).Whole(), model.World{}.With(c).Whole()) {
				t.Errorf("%+v comes back as %+v, %v", c, got, err)
			}
		}
	}
}
