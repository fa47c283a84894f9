// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
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
		if len(b) == 0 {
			_ = os.Remove(filepath.Join(dir, f.Name())) // half written by a machine that went down; the sweep finds it
			continue
		}
		d.ids[string(b)] = true
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

// tell has a master delete an endpoint that is noted as detached. The caller occupies it: told late, it would
// delete an endpoint that has been attached again.
func (a *Agent) tell(ctx context.Context, id string) error {
	revision, err := a.Client.Delete(ctx, api.ObjectPath(api.Endpoints, id))
	if err != nil {
		return fmt.Errorf("delete endpoint %s at the master: %w", short(id), err)
	}
	// Until this node has seen it gone, a sweep must not take it for one that lost its port.
	wait, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := a.WaitWorld(wait, revision); err != nil {
		return fmt.Errorf("endpoint %s is deleted at the master: %w", short(id), err) // told again later, which is harmless
	}
	defer a.goneChanged.notify()
	return a.detached.remove(id)
}

// finish does what is left to do about an endpoint that is noted as detached: here, where a kill came between, and at a master.
// The caller occupies it.
func (a *Agent) finish(ctx context.Context, id string) error {
	if !a.detached.has(id) {
		return nil
	}
	if err := a.forgetLocally(id); err != nil {
		return err
	}
	return a.tell(ctx, id)
}

// unreachable tells whether no master could do it, so that the next question would wait as long.
func unreachable(err error) bool {
	var gone *api.UnreachableError
	var refusal *api.Error
	return errors.As(err, &gone) || errors.As(err, &refusal) && refusal.Retry() || errors.Is(err, context.DeadlineExceeded)
}

func (a *Agent) flush(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	free, err := a.occupy(ctx, id)
	if err != nil {
		return nil // somebody works on it
	}
	defer free()
	return a.finish(ctx, id)
}

// flushLoop tells masters what they have not heard.
func (a *Agent) flushLoop(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		for _, id := range a.detached.list() {
			err := a.flush(ctx, id)
			if err != nil {
				a.Log.Debug("the masters do not know yet that an endpoint is gone", "error", err)
			}
			if unreachable(err) {
				break
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
