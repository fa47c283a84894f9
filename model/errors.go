// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"fmt"
	"net/netip"
	"unicode/utf8"
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
	return refusal(ErrNotFound, field, format, args)
}

// Exists says that the name, address or tag is taken.
func Exists(field, format string, args ...any) error {
	return refusal(ErrExists, field, format, args)
}

// InUse says what must go first.
func InUse(field, format string, args ...any) error {
	return refusal(ErrInUse, field, format, args)
}

// Invalid says what is wrong with a value and which values are right.
func Invalid(field, format string, args ...any) error {
	return refusal(ErrInvalid, field, format, args)
}

// List is an argument of a refusal that names several things, each of which is short. It is not cut.
type List string

// maxEcho is how many bytes of what a user wrote a refusal says back.
const maxEcho = 80

// Short is the beginning of what a user wrote, which may be a megabyte.
func Short(text string) string {
	if len(text) <= maxEcho {
		return text
	}
	end := maxEcho
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// refusal cuts each of its arguments to a length at which the text can be read.
func refusal(kind error, field, format string, args []any) error {
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = Short(a)
		case []byte:
			args[i] = Short(string(a))
		case netip.Addr: // its zone may be anything
			args[i] = Short(a.String())
		case *Error: // cut already
		case error:
			args[i] = Short(a.Error())
		}
	}
	return &Error{kind, Short(field), fmt.Sprintf(format, args...)}
}
