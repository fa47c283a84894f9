// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/contivnet/contiv/model"
)

// Follow calls handle with the World at some revision and then with each change after it, in order, until ctx
// ends or handle fails. It begins after revision, or with the whole World when that is 0 or forgotten.
// A master that falls silent is left for another, at which it goes on where it was. trouble, when
// not nil, hears of each master that could not be followed; nil as error means that one is followed again.
func (c *Client) Follow(ctx context.Context, revision int64, handle func(model.Change) error, trouble func(error)) error {
	if trouble == nil {
		trouble = func(error) {}
	}
	for at := int(c.last.Load()); ; at = (at + 1) % len(c.masters) {
		began := time.Now()
		err := c.follow(ctx, at, &revision, handle, func() { trouble(nil) })
		var broken *handlerError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &broken):
			return broken.err
		}
		trouble(fmt.Errorf("follow %s: %w", c.masters[at], err))
		// A master that ended at once is not asked again at once.
		if time.Since(began) < time.Second {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(500 * time.Millisecond):
			}
		}
	}
}

type handlerError struct{ err error }

func (e *handlerError) Error() string { return e.err.Error() }

func (c *Client) follow(ctx context.Context, at int, revision *int64, handle func(model.Change) error, connected func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Three missed pulses end the request.
	silence := time.AfterFunc(3*WatchPulse*time.Second, cancel)
	defer silence.Stop()
	hung := c.hung[at].found()
	go func() {
		select {
		case <-hung: // a request found out before the pulses did
			cancel()
		case <-ctx.Done():
		}
	}()

	resp, err := c.send(ctx, http.MethodGet, fmt.Sprintf("%s%s?revision=%d", c.masters[at], WatchPath, *revision), nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		_, err := answer(resp, nil)
		return err
	}
	defer resp.Body.Close()
	connected()
	lines := json.NewDecoder(bufio.NewReaderSize(resp.Body, 64<<10))
	for {
		ch, err := ReadChange(lines)
		if err != nil {
			if ctx.Err() != nil {
				return errors.New("it is silent")
			}
			return fmt.Errorf("the watch broke off: %w", err)
		}
		silence.Reset(3 * WatchPulse * time.Second)
		if !ch.Reset && ch.Revision < *revision {
			return fmt.Errorf("the watch went back from revision %d to %d", *revision, ch.Revision)
		}
		if err := handle(ch); err != nil {
			return &handlerError{err}
		}
		*revision = ch.Revision
	}
}
