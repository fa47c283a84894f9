// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/contivnet/contiv/model"
)

// Error is a master's refusal. It unwraps to the kind in package model.
type Error struct {
	Status int    `json:"-"`
	Text   string `json:"error"`           // what is wrong, with its value and the remedy
	Field  string `json:"field,omitempty"` // the JSON name of the field that is wrong
	// What makes a 409 the one or the other of its two kinds.
	InUse bool `json:"inUse,omitempty"`
}

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() error {
	switch {
	case e.Status == http.StatusNotFound:
		return model.ErrNotFound
	case e.Status == http.StatusConflict && e.InUse:
		return model.ErrInUse
	case e.Status == http.StatusConflict:
		return model.ErrExists
	case e.Status == http.StatusBadRequest:
		return model.ErrInvalid
	}
	return nil
}

// Retry tells whether the master could not do it now, as its store was away: later, or at another master, it may go.
func (e *Error) Retry() bool { return e.Status == http.StatusServiceUnavailable }

// ErrorOf is the answer that err gets: a refusal by its kind, anything else 503, as
// only the store can fail and a client may try again.
func ErrorOf(err error) *Error {
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	out := &Error{Status: http.StatusServiceUnavailable, Text: err.Error()}
	var refusal *model.Error
	if errors.As(err, &refusal) {
		out.Field = refusal.Field
	}
	switch {
	case errors.Is(err, model.ErrNotFound):
		out.Status = http.StatusNotFound
	case errors.Is(err, model.ErrExists):
		out.Status = http.StatusConflict
	case errors.Is(err, model.ErrInUse):
		out.Status, out.InUse = http.StatusConflict, true
	case errors.Is(err, model.ErrInvalid):
		out.Status = http.StatusBadRequest
	}
	return out
}

// UnreachableError says that no master answered.
type UnreachableError struct {
	Masters []string
	Err     error // the last master's
}

func (e *UnreachableError) Error() string {
	err := e.Err
	// The request's method and URL are of no use to whoever waits for its effect.
	if request := (*url.Error)(nil); errors.As(err, &request) {
		err = request.Err
	}
	return fmt.Sprintf("no netmaster answers at %s (%v)", strings.Join(e.Masters, ", "), err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }
