// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

const (
	// reconnectAfter is the pause before an engine that is away is tried again: doubled, up to reconnectMax.
	reconnectAfter, reconnectMax = 100 * time.Millisecond, time.Second
	// inspectTimeout is how long a container may be locked by the engine before it is asked about again.
	inspectTimeout = 5 * time.Second
	// learnPause is the pause before that: doubled each time, up to learnMax.
	learnPause, learnMax = 250 * time.Millisecond, 5 * time.Second
)

// watch follows the engine's events, and looks at everything when they begin: some may have been missed.
func (d *Driver) watch(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	learn := func(container string) {
		if d.beginLearning(container) {
			wg.Go(func() { d.learn(ctx, container) })
		}
	}
	pause, away := reconnectAfter, false
	for {
		err := d.Engine.events(ctx, func() {
			if away {
				d.Log.Info("the Docker engine is back")
			}
			pause, away = reconnectAfter, false
			d.wake()
			wg.Go(func() { d.learnAll(ctx, learn) })
		}, func(ev event) {
			if stops(ev) {
				wg.Go(func() { d.stopping(ctx, ev.Actor.ID) })
			}
			d.handle(ev, learn)
		})
		if ctx.Err() != nil {
			return
		}
		if !away {
			away = true
			d.Log.Warn("the Docker engine is away; its networks are looked after when it is back", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, reconnectMax)
	}
}

func (d *Driver) handle(ev event, learn func(container string)) {
	switch ev.Type + " " + ev.Action {
	case "network create", "network disconnect":
		d.wake() // the end of the last container's connection lets a network go
	case "network destroy":
		if err := d.forget(ev.Actor.ID); err != nil {
			d.Log.Warn("a network that is gone stays written down for now", "error", err)
		}
		d.wake()
	case "network connect":
		if ev.Actor.Attributes["type"] == d.name {
			learn(ev.Actor.Attributes["container"])
		}
	case "container rename", "container start":
		learn(ev.Actor.ID) // what was asked for while it was being started may have come to nothing
	}
}

// stops tells of an event whether a container was told to stop: by a signal that images have docker stop send. Others, as SIGHUP
// and SIGUSR1, tell a program to go on in some way.
func stops(ev event) bool {
	switch ev.Type + " " + ev.Action + " " + ev.Actor.Attributes["signal"] {
	case "container kill 2", "container kill 3", "container kill 9", "container kill 15", // SIGINT, SIGQUIT, SIGKILL, SIGTERM
		"container kill 28", "container kill 37": // SIGWINCH of Apache's image, SIGRTMIN+3 of systemd's
		return true
	}
	return false
}

// stopping has services pass over a container. Who cannot be told is no reason to hold up its end.
func (d *Driver) stopping(ctx context.Context, container string) {
	call, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	if err := d.Agent.Stopping(call, container); err != nil {
		d.Log.Debug("a container that stops may still get connections of services", "container", short(container), "error", err)
	}
}

// learnAll reads the containers that were connected or renamed while nobody listened.
func (d *Driver) learnAll(ctx context.Context, learn func(container string)) {
	call, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	list, err := d.Engine.containers(call, "")
	if err != nil {
		d.Log.Debug("the containers' names are not looked at", "error", err)
		return
	}
	for _, c := range list {
		for _, n := range c.NetworkSettings.Networks {
			if _, ours := d.Agent.Prepared(n.EndpointID); ours {
				learn(c.ID)
				break
			}
		}
	}
}

// beginLearning tells whether to learn about the container now; if somebody does already, he does it once more.
func (d *Driver) beginLearning(container string) bool {
	if container == "" {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, busy := d.learning[container]; busy {
		d.learning[container] = true
		return false
	}
	d.learning[container] = false
	return true
}

// learnt tells whether that was all.
func (d *Driver) learnt(container string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if again := d.learning[container]; again {
		d.learning[container] = false
		return false
	}
	delete(d.learning, container)
	return true
}

// learn reads a container's id, name, labels and aliases, and has them known of its endpoints. It goes on until a master knows
// them, or the container is gone.
func (d *Driver) learn(ctx context.Context, container string) {
	for pause := learnPause; ctx.Err() == nil; {
		err := d.learnOnce(ctx, container)
		var refusal *api.Error
		switch {
		case err == nil || engineStatus(err) == http.StatusNotFound:
		case errors.As(err, &refusal) && !noMaster(err):
			d.Log.Warn("the masters do not take what was learnt of a container", "container", short(container), "error", err)
		default:
			d.Log.Debug("the names of a container are not up to date yet", "container", short(container), "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, learnMax)
			continue
		}
		if d.learnt(container) {
			return
		}
		pause = learnPause
	}
}

func (d *Driver) learnOnce(ctx context.Context, id string) error {
	select {
	case d.learners <- struct{}{}:
		defer func() { <-d.learners }()
	case <-ctx.Done():
		return ctx.Err()
	}
	call, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	c, err := d.Engine.container(call, id)
	if err != nil {
		return err
	}
	for _, n := range c.NetworkSettings.Networks {
		if _, ours := d.Agent.Prepared(n.EndpointID); !ours || n.EndpointID == "" {
			continue
		}
		name := strings.TrimPrefix(c.Name, "/")
		aliases := aliasesOf(c.ID, name, n.Aliases)
		err := d.Agent.Update(call, n.EndpointID, func(e *model.Endpoint) {
			e.Container, e.Name, e.Aliases, e.Labels = c.ID, name, aliases, maps.Clone(c.Config.Labels)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// aliasesOf are a container's other names in a network, sorted. Engines before 25 list the short id among them and
// newer ones do not; it is a name in both.
func aliasesOf(id, name string, listed []string) []string {
	out := append([]string{short(id)}, listed...)
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(a string) bool { return a == name || a == "" })
}
