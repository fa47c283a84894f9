// SPDX-License-Identifier: Apache-2.0

package master

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// body reads a request's JSON object.
func body[T any](r *http.Request) (v T, err error) {
	b, err := read1MiB(r)
	if err != nil {
		return v, err
	}
	return decoded[T](b)
}

// read1MiB reads a request's body, at most api.MaxBody of it.
func read1MiB(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, api.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &api.Error{Status: http.StatusRequestEntityTooLarge, Text: "the request has more than 1 MiB; an object is never that large"}
	case err != nil:
		return nil, model.Invalid("", "the request broke off: %s", err)
	}
	return b, nil
}

// decoded reads a JSON object. Fields that T does not have are refused by name: a misspelt one would otherwise be silently
// without effect. Nothing is an empty object.
func decoded[T any](b []byte) (v T, err error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return v, nil
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
	if json.Unmarshal(b, &fields) != nil {
		return model.Invalid("", "the request is not a JSON object: %s", err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		alone, e := json.Marshal(map[string]json.RawMessage{name: fields[name]})
		if e != nil {
			continue
		}
		var v T
		e = strict(alone, &v)
		if e == nil {
			continue
		}
		if strings.HasPrefix(e.Error(), "json: unknown field ") {
			return model.Invalid(name, "field %q is unknown here; check its spelling, or leave it out", name)
		}
		return model.Invalid(name, "%s %s cannot be read: %s", name, shortened(fields[name]), strings.TrimPrefix(e.Error(), "json: "))
	}
	return model.Invalid("", "the request is not a JSON object: %s", err)
}

func shortened(b []byte) []byte {
	if len(b) > 80 {
		return append(slices.Clone(b[:80]), "…"...)
	}
	return b
}
