// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"fmt"
)

// The four kinds of refusal. Test with errors.Is; package api maps them to HTTP codes.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists")
	ErrInUse    = errors.New("in use")
	ErrInvalid  = errors.New("invalid")
)

// Error is a refusal that a user reads: its text names the field, the value and the remedy.
type Error struct {
	Kind  error  // one of the four kinds above
	Field string // the JSON name of the offending field in the v1 API, "" when it is not about one
	Text  string
}

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() error { return e.Kind }

// NotFound says that something named does not exist.
func NotFound(field, format string, args ...any) error {
	return &Error{ErrNotFound, field, fmt.Sprintf(format, args...)}
}

// Exists says that the name, address or tag is taken.
func Exists(field, format string, args ...any) error {
	return &Error{ErrExists, field, fmt.Sprintf(format, args...)}
}

// InUse says what must go first.
func InUse(field, format string, args ...any) error {
	return &Error{ErrInUse, field, fmt.Sprintf(format, args...)}
}

// Invalid says what is wrong with a value and which values are right.
func Invalid(field, format string, args ...any) error {
	return &Error{ErrInvalid, field, fmt.Sprintf(format, args...)}
}
