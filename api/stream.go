// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/contivnet/contiv/model"
)

// AppendChange appends c as a line of the watch, a WatchEvent.
func AppendChange(to []byte, c model.Change) (_ []byte, err error) {
	to = fmt.Appendf(to, `{"revision":%d`, c.Revision)
	if c.Reset {
		to = append(to, `,"reset":true`...)
	}
	for i, o := range c.Put {
		to = append(to, between(i, `,"put":[`)...)
		if to, err = appendObject(to, o); err != nil {
			return to, err
		}
	}
	if len(c.Put) > 0 {
		to = append(to, ']')
	}
	if len(c.Delete) > 0 {
		deleted, err := json.Marshal(c.Delete)
		if err != nil {
			return to, fmt.Errorf("encode what is gone: %w", err)
		}
		to = append(append(to, `,"delete":`...), deleted...)
	}
	return append(to, "}\n"...), nil
}

// WriteWorld writes w as the first line of a watch, object by object: as one value it would be in memory a second time.
func WriteWorld(out io.Writer, w model.World) (err error) {
	b := fmt.Appendf(nil, `{"revision":%d,"reset":true`, w.Revision)
	n := 0
	for o := range w.Objects() {
		b = append(b, between(n, `,"put":[`)...)
		if b, err = appendObject(b, o); err != nil {
			return err
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
		b, n = b[:0], n+1
	}
	if n > 0 {
		b = append(b, ']')
	}
	_, err = out.Write(append(b, "}\n"...))
	return err
}

// between is what stands before the i-th element.
func between(i int, first string) string {
	if i == 0 {
		return first
	}
	return ","
}

func appendObject(to []byte, o model.Object) ([]byte, error) {
	value, err := json.Marshal(o)
	if err != nil {
		return to, fmt.Errorf("encode %s %s: %w", o.Kind(), o.Key(), err)
	}
	to = append(append(append(to, `{"kind":"`...), o.Kind()...), `","value":`...)
	return append(append(to, value...), '}'), nil
}

// ReadChange reads a line of the watch, which may be very long, object by object. Objects of kinds that this version does not
// know are passed over: a newer master may have them, and an older agent has no use for them.
func ReadChange(from *json.Decoder) (c model.Change, err error) {
	if err := expect(from, '{'); err != nil {
		return c, err // io.EOF is the stream's end
	}
	for from.More() {
		name, err := from.Token()
		if err != nil {
			return c, err
		}
		switch name {
		case "revision":
			err = from.Decode(&c.Revision)
		case "reset":
			err = from.Decode(&c.Reset)
		case "delete":
			err = from.Decode(&c.Delete)
		case "put":
			c.Put, err = readObjects(from)
		default:
			err = from.Decode(new(json.RawMessage))
		}
		if err != nil {
			return c, err
		}
	}
	return c, expect(from, '}')
}

func readObjects(from *json.Decoder) (objects []model.Object, err error) {
	if err := expect(from, '['); err != nil {
		return nil, err
	}
	for from.More() {
		var w WatchObject
		if err := from.Decode(&w); err != nil {
			return nil, err
		}
		if !model.Knows(w.Kind) {
			continue
		}
		o, err := model.Decode(w.Kind, w.Value)
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, expect(from, ']')
}

func expect(from *json.Decoder, want json.Delim) error {
	t, err := from.Token()
	if err == nil && t != want {
		err = fmt.Errorf("a line of the watch has %v where %v belongs", t, want)
	}
	return err
}
