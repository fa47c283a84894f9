// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/contivnet/contiv/model"
)

const (
	// checksAtOnce is how many providers are asked side by side. Where more hang than that, checks come late.
	checksAtOnce = 32
	// stopPatience is how long a container that was told to stop may take. One that lives on by then was not meant to end.
	stopPatience = 5 * time.Minute
)

// healthLoop has the providers of this node asked whether they work, as their services want it.
func (a *Agent) healthLoop(ctx context.Context) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	type watch struct {
		checkup
		end context.CancelFunc
	}
	watched := map[subject]watch{}
	stopping := map[string]time.Time{} // since when
	turns := make(chan struct{}, checksAtOnce)
	tick := time.NewTicker(a.SweepEvery)
	defer tick.Stop()
	nextProviders := a.providersChanged.next()
	var seen model.Table[model.Service]
	for due := true; ; {
		nextWorld := a.worldChanged.next()
		// Most Worlds change nothing here.
		if w := a.World(); a.Fresh() && (due || w.Services != seen) {
			due, seen = false, w.Services
			records := a.records.list()
			wanted := checkups(checked(w.Services), records)
			for s, v := range watched {
				if c, ok := wanted[s]; !ok || c != v.checkup {
					v.end()
					delete(watched, s)
				}
			}
			for s, c := range wanted {
				if _, ok := watched[s]; !ok {
					own, end := context.WithCancel(ctx)
					watched[s] = watch{c, end}
					asking.Go(func() { a.attend(own, s, c, turns) })
				}
			}
			for _, s := range unasked(a.Node.Name, w, records, wanted) {
				asking.Go(func() { a.note(ctx, s, false) })
			}
			a.takeBack(ctx, stopping, records)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-nextWorld:
		case <-nextProviders:
			nextProviders, due = a.providersChanged.next(), true
		case <-tick.C:
			due = true
		}
	}
}

// unasked are the subjects that are said to be unhealthy, here or at the masters, and of which nobody asks any more.
func unasked(node string, w model.World, records map[string]record, wanted map[subject]checkup) (out []subject) {
	for id, rec := range records {
		said := rec.Endpoint.Unhealthy
		if e, ok := w.Endpoints.Get(id); ok && e.Node == node {
			said = append(slices.Clone(said), e.Unhealthy...)
		}
		slices.Sort(said)
		for _, key := range slices.Compact(said) {
			if _, ok := wanted[subject{id, key}]; !ok {
				out = append(out, subject{id, key})
			}
		}
	}
	return out
}

// attend asks one provider for one service until ctx ends.
func (a *Agent) attend(ctx context.Context, s subject, c checkup, turns chan struct{}) {
	rec, _ := a.records.get(s.endpoint)
	p := pulse{ill: slices.Contains(rec.Endpoint.Unhealthy, s.service)}
	p.unknown = p.ill
	// The first check comes at once, the next at an odd time, lest all containers of a node are asked in step.
	for first := true; ; first = false {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := c.ask(ctx)
		<-turns
		if ctx.Err() != nil {
			return
		}
		before := p.ill
		if p = p.after(err == nil); p.ill != before {
			a.Log.Info("a provider's health has changed", "service", s.service, "endpoint", short(s.endpoint), "healthy", !p.ill, "because", err)
		}
		a.note(ctx, s, p.ill)
		pause := p.pause()
		if first && !p.unknown {
			pause = rand.N(pause)
		}
		select {
		case <-time.After(pause - pause/10 + rand.N(pause/5+1)):
		case <-ctx.Done():
			return
		}
	}
}

// note has the masters know whether a provider works. What fails is tried again after the next check.
func (a *Agent) note(ctx context.Context, s subject, ill bool) {
	said := func(e model.Endpoint) bool { return slices.Contains(e.Unhealthy, s.service) }
	rec, ok := a.records.get(s.endpoint)
	e, known := a.World().Endpoints.Get(s.endpoint)
	if !ok || said(rec.Endpoint) == ill && (!known || said(e) == ill) {
		return // as nearly always
	}
	ctx, cancel := context.WithTimeout(ctx, clearTimeout)
	defer cancel()
	err := a.Update(ctx, s.endpoint, func(e *model.Endpoint) {
		list := slices.DeleteFunc(slices.Clone(e.Unhealthy), func(key string) bool { return key == s.service })
		if ill {
			list = append(list, s.service)
		}
		slices.Sort(list)
		e.Unhealthy = list
	})
	if err != nil {
		a.Log.Debug("the masters do not know yet how a provider is", "service", s.service, "endpoint", short(s.endpoint), "error", err)
	}
}

// Stopping has services and names pass over a container that was told to stop, while it still answers. If it does not stop, it is
// taken back after a while. A container that is not attached here is left alone.
func (a *Agent) Stopping(ctx context.Context, container string) error {
	return a.setStopping(ctx, true, func(e model.Endpoint) bool { return e.Container == container && container != "" })
}

func (a *Agent) setStopping(ctx context.Context, stopping bool, which func(model.Endpoint) bool) error {
	for _, e := range a.Attached() {
		if !which(e) {
			continue
		}
		if err := a.Update(ctx, e.ID, func(e *model.Endpoint) { e.Stopping = stopping }); err != nil {
			return err
		}
	}
	a.providersChanged.notify()
	return nil
}

// takeBack ends the stopping of containers that go on. since remembers when each began, in this run.
func (a *Agent) takeBack(ctx context.Context, since map[string]time.Time, records map[string]record) {
	for id := range since {
		if !records[id].Endpoint.Stopping {
			delete(since, id)
		}
	}
	for id, rec := range records {
		if !rec.Endpoint.Stopping {
			continue
		}
		if at, ok := since[id]; !ok {
			since[id] = time.Now()
		} else if time.Since(at) > stopPatience {
			err := a.setStopping(ctx, false, func(e model.Endpoint) bool { return e.ID == id })
			a.Log.Info("a container that was told to stop goes on, and is taken back", "endpoint", short(id), "error", err)
		}
	}
}
