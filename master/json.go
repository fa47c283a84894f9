// SPDX-License-Identifier: Apache-2.0

package master

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/contivnet/contiv/model"
)

// maxDepth is how deep values may be in one another. Nothing of the API is deeper than 6.
const maxDepth = 100

// spelt refuses what encoding/json takes without a word: names of t's fields in other letters' case, and names that are there
// twice, of which the last would win. What is no JSON is left to the decoder, which says so better.
func spelt(b []byte, t reflect.Type) error {
	return (&speller{json.NewDecoder(bytes.NewReader(b))}).value(t, "", 0)
}

// speller reads values of JSON, each against the type that it is for; nil is any.
type speller struct{ tokens *json.Decoder }

// value reads one. field is the object's outermost, "" for the object itself. What cannot be read ends the reading of all.
func (s *speller) value(t reflect.Type, field string, depth int) error {
	if depth > maxDepth {
		return model.Invalid(field, "the request has more than %d values in one another; nothing here has so many", maxDepth)
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && (t.Implements(reflect.TypeFor[json.Unmarshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())) {
		t = nil // it reads itself
	}
	token, err := s.tokens.Token()
	if err != nil {
		return nil
	}
	switch token {
	case json.Delim('['):
		var of reflect.Type
		if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
			of = t.Elem()
		}
		for s.tokens.More() {
			if err := s.value(of, field, depth+1); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		if err := s.fields(t, field, depth); err != nil {
			return err
		}
	default:
		return nil
	}
	_, _ = s.tokens.Token() // the end of it
	return nil
}

func (s *speller) fields(t reflect.Type, field string, depth int) error {
	seen := map[string]bool{}
	for s.tokens.More() {
		token, err := s.tokens.Token()
		name, is := token.(string)
		if err != nil || !is {
			return nil
		}
		outer := field
		if depth == 0 {
			outer = name
		}
		if seen[name] {
			return model.Invalid(outer, "field %q is there twice; give it once", name)
		}
		seen[name] = true
		of, right := fieldOf(t, name)
		if right != name {
			return model.Invalid(outer, "field %q is unknown here; it is written %q", name, right)
		}
		if err := s.value(of, outer, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// fieldOf is the type of what t has under the name, and how the name is written. A name that t does not have is left to the decoder.
func fieldOf(t reflect.Type, name string) (of reflect.Type, right string) {
	if t == nil {
		return nil, name
	}
	switch t.Kind() {
	case reflect.Map:
		return t.Elem(), name
	case reflect.Struct:
		right = name
		for i := range t.NumField() {
			f := t.Field(i)
			written, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if written == name {
				return f.Type, name
			}
			if written != "" && written != "-" && strings.EqualFold(written, name) {
				of, right = f.Type, written
			}
		}
		return of, right
	}
	return nil, name
}
