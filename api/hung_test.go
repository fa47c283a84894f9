// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// hangs is a master that takes requests and says nothing, but for the first line of a watch.
func hangs(t *testing.T) string {
	t.Helper()
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not see that the client has gone
		if r.URL.Path == api.WatchPath {
			fmt.Fprintln(w, `{"revision":7,"reset":true}`)
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-r.Context().Done():
		case <-end:
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(end) })
	return s.URL
}

func answers(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != api.WatchPath {
			fmt.Fprintln(w, `[]`)
			return
		}
		fmt.Fprintln(w, `{"revision":8}`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// A caller with little time still has its answer, its next call begins with the other master, and who follows the first leaves it at once.
func TestHungMasterIsLeftInTime(t *testing.T) {
	t.Parallel()
	c, err := api.NewClient(hangs(t), answers(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen := make(chan int64, 10)
	go func() {
		_ = c.Follow(ctx, 0, func(change model.Change) error { seen <- change.Revision; return nil }, nil)
	}()
	if r := <-seen; r != 7 {
		t.Errorf("the first master says revision %d", r)
	}
	began := time.Now()
	call, done := context.WithTimeout(ctx, 5*time.Second)
	defer done()
	if err := c.Get(call, api.ListPath(api.Tenants), new([]api.Tenant)); err != nil || time.Since(began) < api.LeastWait {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	select {
	case r := <-seen:
		if r != 8 {
			t.Errorf("then revision %d", r)
		}
	case <-time.After(2 * time.Second):
		t.Error("the watch stays with the master that hangs")
	}
	began = time.Now()
	if err := c.Get(ctx, api.ListPath(api.Tenants), new([]api.Tenant)); err != nil || time.Since(began) > time.Second {
		t.Errorf("the next call, after %s: %v", time.Since(began), err)
	}
}
