// SPDX-License-Identifier: Apache-2.0

package master

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// stalled is how long a watcher may take nothing of what it is sent.
const stalled = 30 * time.Second

// watch streams the World and its changes. A watcher has no queue of its own: it reads along in the feed that all share, and
// when that has forgotten where the watcher was, because it is slow or was away, it is sent the whole World.
func (m *Master) watch(w http.ResponseWriter, r *http.Request, _ []string) error {
	var at int64
	if text := r.URL.Query().Get("revision"); text != "" {
		var err error
		if at, err = strconv.ParseInt(text, 10, 64); err != nil || at < 0 {
			return model.Invalid("revision", "revision %q is not a number from 0", text)
		}
	}
	if at == 0 || at > m.ledger.current().Revision {
		// A new watcher may have heard of more from another master; one with a revision comes from a master that was further,
		// or from a store that is no more.
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		world, err := m.catchUp(ctx)
		cancel()
		switch {
		case err != nil && at > 0: // it keeps what it has: that is newer than this World
			return fmt.Errorf("this netmaster has not come to revision %d, and its store is away: %w", at, err)
		case at > world.Revision:
			at = 0
		}
	}
	if at > 0 && m.cutOff() {
		return errCutOff // one that has nothing yet is better off with what there is
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flow := &flow{w: w, rc: http.NewResponseController(w)}
	out := bufio.NewWriterSize(flow, 16<<10) // there may be thousands
	pulse := time.NewTicker(api.WatchPulse * time.Second * 4 / 5)
	defer pulse.Stop()
	for due := false; ; {
		to, moved, err := m.ledger.emit(out, at, due)
		if err == nil && out.Buffered() > 0 {
			err = out.Flush()
		}
		if err == nil && to != at || due {
			err = flow.flush(err)
		}
		if err != nil {
			return nil // the watcher has gone
		}
		if to != at {
			at, due = to, false
			continue
		}
		due = false
		select {
		case <-moved:
		case <-pulse.C:
			if m.cutOff() {
				return nil // a pulse would say that nothing has changed
			}
			due = true
		case <-r.Context().Done():
			return nil
		case <-m.done:
			return nil
		}
	}
}

// emit writes what came after at and says how far it got. Where nothing came it writes a line without changes if the
// World's revision moved all the same, or if a pulse is due.
func (l *ledger) emit(out io.Writer, at int64, due bool) (to int64, moved <-chan struct{}, err error) {
	l.mu.Lock()
	lines, ok := l.feed.after(at)
	world, moved := l.world, l.moved
	l.mu.Unlock()
	switch {
	case !ok || at > world.Revision: // forgotten, or of a store that was set back
		return world.Revision, moved, api.WriteWorld(out, world)
	case len(lines) > 0:
		for _, l := range lines {
			if _, err := out.Write(l.text); err != nil {
				return at, moved, err
			}
			at = l.revision
		}
		return at, moved, nil
	case world.Revision > at || due:
		_, err := fmt.Fprintf(out, "{\"revision\":%d}\n", world.Revision)
		return world.Revision, moved, err
	}
	return at, moved, nil
}

// flow is a response whose every write must get on within a time.
type flow struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (f *flow) Write(b []byte) (int, error) {
	// Where the server cannot do that, a stalled watcher stays until its connection breaks.
	_ = f.rc.SetWriteDeadline(time.Now().Add(stalled))
	return f.w.Write(b)
}

func (f *flow) flush(err error) error {
	if err != nil {
		return err
	}
	return f.rc.Flush()
}
