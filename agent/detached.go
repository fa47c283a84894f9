// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/contivnet/contiv/api"
)

// detached are endpoints that are gone from this node and that a master has not been told of yet. They
// are on disk, as a container may be removed while every master is down and this node restart before one is back.
type detached struct {
	dir string
	mu  *sync.Mutex
	ids map[string]bool
}

func openDetached(dir string) (detached, error) {
	d := detached{dir: dir, mu: &sync.Mutex{}, ids: map[string]bool{}}
	files, err := openDir(dir)
	if err != nil {
		return d, err
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return d, fmt.Errorf("read which endpoints are gone: %w", err)
		}
		if len(b) > 0 {
			d.ids[string(b)] = true
		}
	}
	return d, nil
}

func (d detached) has(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ids[id]
}

func (d detached) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]string, 0, len(d.ids))
	for id := range d.ids {
		out = append(out, id)
	}
	return out
}

func (d detached) add(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids[id] = true
	return writeFile(filepath.Join(d.dir, fileName(id)), []byte(id))
}

func (d detached) remove(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.ids, id)
	return removeFile(filepath.Join(d.dir, fileName(id)))
}

// tell has a master delete the endpoint.
func (a *Agent) tell(ctx context.Context, id string) error {
	revision, err := a.Client.Delete(ctx, api.ObjectPath(api.Endpoints, id))
	if err != nil {
		return fmt.Errorf("delete endpoint %s at the master: %w", id, err)
	}
	// Until this node has seen it gone, a sweep must not take it for one that lost its port.
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := a.WaitWorld(wait, revision); err != nil && ctx.Err() == nil {
		return nil // kept in the list, told again: harmless
	}
	return a.detached.remove(id)
}

// flushLoop tells masters what they have not heard.
func (a *Agent) flushLoop(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		for _, id := range a.detached.list() {
			call, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := a.tell(call, id)
			cancel()
			if err != nil {
				a.Log.Debug("the masters do not know yet that an endpoint is gone", "error", err)
				break // none answers; the others would wait as long
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.flushNow:
		case <-tick.C:
		}
	}
}
