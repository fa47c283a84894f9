// SPDX-License-Identifier: Apache-2.0

package master

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// body reads a request's JSON object, of at most so many bytes.
func body[T any](r *http.Request, most int64) (v T, err error) {
	b, err := bytesOf(r, most)
	if err != nil {
		return v, err
	}
	return decoded[T](b)
}

// bytesOf is a request's body, of at most so many bytes.
func bytesOf(r *http.Request, most int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &api.Error{Status: http.StatusRequestEntityTooLarge, Text: fmt.Sprintf("the request has more than %d MiB; no object is that large, and of many apply fewer at once", most>>20)}
	case err != nil:
		return nil, model.Invalid("", "the request broke off: %s", err)
	}
	return b, nil
}

// decoded reads a JSON object. Fields that T does not have are refused by name: a misspelt one would otherwise be silently
// without effect. So are those that are written in other letters' case, or twice. Nothing is an empty object.
func decoded[T any](b []byte) (v T, err error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return v, nil
	}
	if err := spelt(b, reflect.TypeFor[T]()); err != nil {
		return v, err
	}
	if err := strict(b, &v); err != nil {
		return v, badField[T](b, err)
	}
	return v, nil
}

func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the object")
	}
	return nil
}

// badField finds which field cannot be read, by reading each alone.
func badField[T any](b []byte, err error) error {
	var fields map[string]json.RawMessage
	if e := json.Unmarshal(b, &fields); e != nil || fields == nil {
		var other *json.UnmarshalTypeError
		if errors.As(e, &other) {
			return model.Invalid("", "the request is a JSON %s; give an object, as {\"key\": …}", other.Value)
		}
		if errors.As(err, &other) { // of the kind, and beyond that in no shape
			err = e
		}
		return model.Invalid("", "the request is not a JSON object: %s", err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		alone, e := json.Marshal(map[string]json.RawMessage{name: fields[name]})
		if e != nil {
			continue
		}
		var v T
		var other *json.UnmarshalTypeError
		var told *model.Error
		e = strict(alone, &v)
		switch unknown, is := strings.CutPrefix(fmt.Sprint(e), "json: unknown field "); {
		case e == nil:
		case is && unknown == strconv.Quote(name):
			return model.Invalid(name, "field %q is unknown here; check its spelling, or leave it out", name)
		case is:
			return model.Invalid(name, "field %s in %s is unknown here; check its spelling, or leave it out", unknown, name)
		case errors.As(e, &other):
			return model.Invalid(name, "%s %s cannot be read; give %s", name, []byte(fields[name]), wanted(other.Type))
		case errors.As(e, &told):
			return model.Invalid(name, "%s", told)
		default:
			return model.Invalid(name, "%s %s cannot be read: %s", name, []byte(fields[name]), saidPlainly(e))
		}
	}
	return model.Invalid("", "the request is not a JSON object: %s", err)
}

// saidPlainly is what a type says of a text that it cannot be read from, without the names of Go's functions.
func saidPlainly(err error) string {
	text := strings.TrimPrefix(err.Error(), "json: ")
	if rest, is := strings.CutPrefix(text, "ParseAddr("); is {
		if _, why, ok := strings.Cut(rest, "\"): "); ok {
			return why + "; write it as 10.1.1.5 or 2001:db8::5"
		}
	}
	return text
}

// wanted says in JSON's words what a Go type is read from.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(1)<<t.Bits()-1)
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map:
		return "an object"
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) { // addresses and the like
		return "a string"
	}
	return "an object"
}
