// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/contivnet/contiv/model"
)

const (
	// pageSize is how many objects are listed at once.
	pageSize = 500
	// listTimeout is how long a page may take.
	listTimeout = time.Minute
	// watchFor is how long a watch is asked for at least, and up to twice as long: API servers do the same, so that not all come back at once.
	watchFor = 5 * time.Minute
	// atOnce is how many events are written together at most.
	atOnce = 100
	// soonest and slowest bound the pause between two tries.
	soonest = 100 * time.Millisecond
	slowest = 5 * time.Second
)

// pace is how often things are done.
type pace struct {
	list     time.Duration // how old a list may become: what somebody else has done to the store is put right by the next
	unserved time.Duration // how long until an API is looked for again that the server does not have
	giveUp   time.Duration // how long an API server may be silent before another master should try, which may reach one
}

func usual() pace {
	return pace{list: 10 * time.Minute, unserved: 30 * time.Second, giveUp: time.Minute}
}

// Why a follower has to begin again.
var (
	errForgotten = errors.New("the API server has forgotten what came since the last list")
	errUnserved  = errors.New("the API server does not have this API")
)

// follower follows one kind.
type follower struct {
	kind
	client rest.Interface
	store  Store
	log    *slog.Logger
	pace   pace

	version string    // resource version up to which all is written; "": all is to be listed
	listed  time.Time // when it was
	silent  time.Time // since when the API server has not answered; zero: it does
	trouble string    // why it could not be followed last; "": it could
}

// run follows until ctx ends, or the API server has been silent for long.
func (f *follower) run(ctx context.Context) error {
	pause := soonest
	for ctx.Err() == nil {
		began := time.Now()
		err := f.once(ctx)
		if time.Since(began) > slowest {
			pause = soonest
		}
		switch {
		case ctx.Err() != nil:
		case err == nil: // a watch ends by and by
		case errors.Is(err, errForgotten):
			f.version = ""
		case errors.Is(err, errUnserved):
			f.version = ""
			wait(ctx, f.pace.unserved)
		default:
			f.failed(err)
			if silent := time.Since(f.silent); !f.silent.IsZero() && silent > f.pace.giveUp {
				return fmt.Errorf("the API server has been silent for %s: %w", silent.Round(time.Second), err)
			}
		}
		wait(ctx, pause/2+rand.N(pause/2))
		pause = min(2*pause, slowest)
	}
	return ctx.Err()
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// isRefusal tells whether who answers with the code is the API server and knows us: another master would hear the same. A server that does not, or
// one that has no such path, is as good as none.
func isRefusal(code int32) bool {
	return code < http.StatusInternalServerError && code != http.StatusUnauthorized && code != http.StatusNotFound
}

// failed notes that the API server could not be followed, and logs it once.
func (f *follower) failed(err error) {
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &status) && isRefusal(status.Status().Code): // its own word, though not what was asked for
		f.silent = time.Time{}
	case f.silent.IsZero():
		f.silent = time.Now()
	}
	if f.trouble == "" {
		f.log.Warn("Kubernetes' API server cannot be followed; what it said last is kept, and it is tried again", "error", err)
	}
	f.trouble = err.Error()
}

// heard notes that the API server has answered.
func (f *follower) heard() {
	if f.trouble != "" {
		f.log.Info("Kubernetes' API server is followed again", "after", f.trouble)
	}
	f.silent, f.trouble = time.Time{}, ""
}

// once lists, where it is time to, and watches until the watch ends.
func (f *follower) once(ctx context.Context) error {
	if f.version == "" || time.Since(f.listed) > f.pace.list {
		if err := f.list(ctx); err != nil {
			return err
		}
	}
	return f.watch(ctx)
}

// list has the store have what the API server has, and nothing else of the kind.
func (f *follower) list(ctx context.Context) error {
	began := time.Now()
	there := map[string]bool{}
	var put []model.Object
	for next := ""; ; {
		page, err := f.page(ctx, next)
		if err != nil {
			return err
		}
		for _, b := range page.Items {
			said, err := f.hear(b, false)
			if err != nil {
				return err
			}
			takes, stays := f.takes(said)
			there[said.key] = takes || stays
			if takes {
				put = append(put, said.object)
			}
		}
		if next = page.Metadata.Continue; next == "" {
			f.version = page.Metadata.ResourceVersion
			break
		}
	}
	f.heard()
	if err := f.write(ctx, put, kept(f.store.World(), f.becomes, there)); err != nil {
		f.version = ""
		return err
	}
	f.listed = began
	return nil
}

// page asks for a part of the list: for the first, or for the one that follows. No resourceVersion asks for what is newest.
func (f *follower) page(ctx context.Context, next string) (page list, err error) {
	asking, asked := context.WithTimeout(ctx, listTimeout)
	defer asked()
	r := f.client.Get().AbsPath(f.path()...).Param("limit", strconv.Itoa(pageSize))
	if next != "" {
		r = r.Param("continue", next)
	}
	b, err := r.Do(asking).Raw()
	switch {
	case apierrors.IsNotFound(err):
		return page, f.unserved(ctx, err)
	case apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
		return page, errForgotten
	case err != nil:
		return page, fmt.Errorf("list %s: %w", f.resource.Resource, err)
	}
	if err := json.Unmarshal(b, &page); err != nil {
		return page, fmt.Errorf("read a list of %s: %w", f.resource.Resource, err)
	}
	if page.Metadata.ResourceVersion == "" {
		return page, fmt.Errorf("read a list of %s: it has no resourceVersion: is that Kubernetes' API server?", f.resource.Resource)
	}
	return page, nil
}

// unserved is called where the server does not know the kind's path. Where it is an API server for all that, there are no objects.
func (f *follower) unserved(ctx context.Context, why error) error {
	why = fmt.Errorf("list %s: %w", f.resource.Resource, why)
	if f.resource.Group == "" {
		return why // each has those
	}
	asking, asked := context.WithTimeout(ctx, listTimeout)
	defer asked()
	var groups metav1.APIGroupList
	b, err := f.client.Get().AbsPath("apis").Do(asking).Raw()
	if err != nil || json.Unmarshal(b, &groups) != nil || len(groups.Groups) == 0 {
		return why
	}
	f.heard()
	if err := f.write(ctx, nil, kept(f.store.World(), f.becomes, nil)); err != nil {
		return err
	}
	return errUnserved
}

// watch writes what is told, from the version on, until the watch ends.
func (f *follower) watch(ctx context.Context) error {
	const slack = time.Minute
	seconds := watchFor + rand.N(watchFor)
	watching, end := context.WithTimeout(ctx, seconds+slack)
	defer end()
	stream, err := f.client.Get().AbsPath(f.path()...).Param("watch", "true").Param("allowWatchBookmarks", "true").
		Param("resourceVersion", f.version).Param("timeoutSeconds", strconv.Itoa(int(seconds/time.Second))).Stream(watching)
	switch {
	case apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
		return errForgotten
	case apierrors.IsNotFound(err):
		return errForgotten // a list tells why
	case err != nil:
		return fmt.Errorf("watch %s: %w", f.resource.Resource, err)
	}
	f.heard()
	events := make(chan event, atOnce)
	go func() {
		defer close(events)
		f.read(watching, stream, events)
	}()
	// Ends the reading, and waits for it.
	defer func() {
		end()
		_ = stream.Close()
		for range events {
		}
	}()
	for {
		some := collect(events)
		if len(some) == 0 {
			return nil
		}
		if err := f.apply(ctx, some); err != nil {
			return err
		}
	}
}

// read hands on the events of a stream until it ends, in whatever way: what did not come, the next watch tells.
func (f *follower) read(ctx context.Context, stream io.Reader, to chan<- event) {
	for d := json.NewDecoder(stream); ; {
		var e event
		if err := d.Decode(&e); err != nil {
			f.log.Debug("a watch has ended", "reason", err)
			return
		}
		select {
		case to <- e:
		case <-ctx.Done():
			return
		}
	}
}

// collect waits for an event and takes those that are there after it. There is none when the channel is closed.
func collect(from <-chan event) (some []event) {
	e, ok := <-from
	for ok {
		if some = append(some, e); len(some) == atOnce {
			break
		}
		select {
		case e, ok = <-from:
		default:
			ok = false
		}
	}
	return some
}

// apply writes what events say in the end. The version is theirs when that is done.
func (f *follower) apply(ctx context.Context, events []event) error {
	latest, order, version := map[string]model.Object{}, []string(nil), f.version
	for _, e := range events {
		switch watch.EventType(e.Type) {
		case watch.Error:
			return f.refusal(e.Object)
		case watch.Added, watch.Modified, watch.Deleted, watch.Bookmark:
		default:
			continue // of newer API servers
		}
		bookmark := e.Type == string(watch.Bookmark)
		if bookmark {
			var n named
			if json.Unmarshal(e.Object, &n) == nil && n.Metadata.ResourceVersion != "" {
				version = n.Metadata.ResourceVersion
			}
			continue
		}
		said, err := f.hear(e.Object, e.Type == string(watch.Deleted))
		if err != nil {
			f.version = ""
			return err
		}
		version = said.version
		takes, stays := f.takes(said)
		if stays {
			continue
		}
		if _, again := latest[said.key]; !again {
			order = append(order, said.key)
		}
		latest[said.key] = nil
		if takes {
			latest[said.key] = said.object
		}
	}
	var put []model.Object
	var remove []model.Ref
	for _, key := range order {
		if o := latest[key]; o != nil {
			put = append(put, o)
		} else {
			remove = append(remove, model.Ref{Kind: f.becomes, Key: key})
		}
	}
	if err := f.write(ctx, put, remove); err != nil {
		return err
	}
	f.version = version
	return nil
}

// refusal is what an event of an error says.
func (f *follower) refusal(b []byte) error {
	var s metav1.Status
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read a watch: %w", err)
	}
	if s.Code == http.StatusGone || s.Reason == metav1.StatusReasonExpired {
		return errForgotten
	}
	return fmt.Errorf("watch %s: %w", f.resource.Resource, &apierrors.StatusError{ErrStatus: s})
}

// takes tells whether an object is to be in the store, or what it was before stays there. It logs what cannot be taken over, and why.
func (f *follower) takes(s said) (takes, stays bool) {
	takes = s.object != nil
	stays = !takes && s.err != nil && f.stays
	if s.err == nil {
		return takes, false
	}
	what := "an object of Kubernetes cannot be taken over: it is as if it were not there"
	switch {
	case takes:
		what = "not all of an object of Kubernetes can be taken over: the rest is, and by what cannot nobody is let in or out"
	case stays:
		what = "an object of Kubernetes cannot be taken over: as it was before it stays in force, and a new one is as if it were not there"
	}
	f.log.Error(what, "name", s.key, "error", s.err)
	return takes, stays
}

// write has the store have what is put, and not what is removed. It goes on until that is so or ctx ends, and passes over what the store does not take.
func (f *follower) write(ctx context.Context, put []model.Object, remove []model.Ref) error {
	if len(put)+len(remove) == 0 {
		return nil
	}
	for said := false; ; {
		err := f.store.Write(ctx, put, remove)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, model.ErrInvalid) && len(put) > 0 && len(put)+len(remove) > 1: // too much at once
			half := len(put) / 2
			if err := f.write(ctx, put[:half], remove); err != nil {
				return err
			}
			put, remove = put[half:], nil
			continue
		case errors.Is(err, model.ErrInvalid) && len(put) == 1:
			f.log.Error("an object of Kubernetes is more than the store takes; it is passed over", "name", put[0].Key(), "error", err)
			return nil
		case !said:
			said = true
			f.log.Warn("what Kubernetes says cannot be written yet; trying on", "error", err)
		}
		wait(ctx, time.Second)
	}
}
