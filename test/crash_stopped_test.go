// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// A master that is stopped keeps its connections open and answers nothing, as one whose machine swaps or hangs. It may be the one
// that leads the store.
func TestClientsLeaveMastersThatHang(t *testing.T) {
	t.Parallel()
	s := newSite(t, false)
	s.put(api.Tenants, "before", api.Tenant{})
	for i, hung := range s.masters {
		list := append(slices.Clone(s.masters[i:]), s.masters[:i]...) // it comes first
		c := s.client(list...)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		seen := make(chan string, 1000)
		following, end := context.WithCancel(ctx)
		defer end()
		go func() {
			_ = s.client(list...).Follow(following, 0, func(c model.Change) error {
				for _, o := range c.Put {
					if o.Kind() == model.KindTenant {
						seen <- o.Key()
					}
				}
				return nil
			}, nil)
		}()
		await(t, ctx, seen, "before")
		if err := c.Get(ctx, api.ListPath(api.Tenants), new([]api.Tenant)); err != nil {
			t.Fatal(err)
		}

		hung.signal(t, syscall.SIGSTOP)
		hung.stopped(t) // it may take its time where the machine is busy
		name := "hung-" + string(rune('a'+i))
		began := time.Now()
		if _, err := c.Put(ctx, api.ObjectPath(api.Tenants, name), api.Tenant{}, nil); err != nil {
			t.Errorf("write while %s hangs: %v", hung.name, err)
		}
		wrote := time.Since(began)
		began = time.Now()
		if err := c.Get(ctx, api.ListPath(api.Tenants), new([]api.Tenant)); err != nil {
			t.Error(err)
		}
		read := time.Since(began)
		began = time.Now()
		var urls []string
		for _, m := range list {
			urls = append(urls, m.url)
		}
		out, err := exec.CommandContext(ctx, filepath.Join(programs.Dir(t), "netctl"), "--netmaster", strings.Join(urls, ","), "tenant", "ls").CombinedOutput()
		if err != nil || !strings.Contains(string(out), name) {
			t.Errorf("netctl while %s hangs: %v: %s", hung.name, err, out)
		}
		listed := time.Since(began)
		await(t, ctx, seen, name)
		followed := time.Since(began)
		// Its clients have gone elsewhere, and what they asked of it must not be done now.
		if _, err := c.Delete(ctx, api.ObjectPath(api.Tenants, name)); err != nil {
			t.Error(err)
		}
		hung.signal(t, syscall.SIGCONT)
		end()
		awake := time.Now()
		for n := 0; time.Since(awake) < time.Second; n++ {
			var list []api.Tenant
			if err := c.Get(ctx, api.ListPath(api.Tenants), &list); err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(list, func(o api.Tenant) bool { return o.TenantName == name }) {
				t.Errorf("%s, on waking, made %s again, which had been deleted meanwhile", hung.name, name)
				break
			}
			pace(ctx, 20*time.Millisecond)
		}
		// One may wait for the hung master once, and the store may have to choose another leader. An agent waits for three pulses.
		const most = 12 * time.Second
		if wrote > most || read > time.Second || listed > most || followed > 2*most {
			t.Errorf("while %s hung: the first write took %s, a read after it %s, netctl %s, and a watch moved on after %s", hung.name, wrote, read, listed, followed)
		}
		t.Logf("while %s hung: the first write took %s, a read after it %s, netctl %s, and a watch moved on after %s", hung.name,
			wrote.Round(time.Millisecond), read.Round(time.Millisecond), listed.Round(time.Millisecond), followed.Round(time.Millisecond))
		s.ready()
	}
}

func await(t *testing.T, ctx context.Context, seen <-chan string, name string) {
	t.Helper()
	for {
		select {
		case got := <-seen:
			if got == name {
				return
			}
		case <-ctx.Done():
			t.Fatalf("the watch never says %s", name)
		}
	}
}
