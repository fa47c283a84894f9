// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
)

// described is the API's description as a master serves it.
type described struct {
	Paths      map[string]map[string]any
	Components struct{ Schemas map[string]any }
	whole      any
}

func (s server) described() (d described) {
	s.Helper()
	status, body, _ := s.raw(http.MethodGet, api.OpenAPIPath, "")
	if status != http.StatusOK || json.Unmarshal([]byte(body), &d) != nil || json.Unmarshal([]byte(body), &d.whole) != nil {
		s.Fatalf("the description is %d %.80s", status, body)
	}
	return d
}

// operation finds what is described for a request; nil for what is not served.
func (d described) operation(method, path string) map[string]any {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for _, template := range slices.Sorted(maps.Keys(d.Paths)) {
		like := strings.Split(strings.Trim(template, "/"), "/")
		if slices.EqualFunc(parts, like, func(part, like string) bool { return part == like || strings.HasPrefix(like, "{") }) {
			op, _ := d.Paths[template][strings.ToLower(method)].(map[string]any)
			return op
		}
	}
	return nil
}

// at follows names into the description, and references on the way.
func (d described) at(v any, names ...string) any {
	for i := 0; ; i++ {
		o, _ := v.(map[string]any)
		if ref, is := o["$ref"].(string); is {
			v = d.at(d.whole, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			o, _ = v.(map[string]any)
		}
		if i == len(names) {
			return v
		}
		v = o[names[i]]
	}
}

// differs says in what a value is not as its schema has it; "" where it is.
func (d described) differs(v, schema any, where string) string {
	s, ok := d.at(schema).(map[string]any)
	if !ok {
		return where + " has no schema"
	}
	if s["type"] != nil && s["type"] != kind(v) {
		return fmt.Sprintf("%s is %v and should be %v", where, v, s["type"])
	}
	switch v := v.(type) {
	case map[string]any:
		fields, _ := s["properties"].(map[string]any)
		for name, value := range v {
			of, known := fields[name]
			if !known {
				of = s["additionalProperties"]
			}
			if of == nil && s["properties"] == nil && !known {
				continue // any object
			}
			if of == false {
				return where + " has " + name + ", which is not described"
			}
			if text := d.differs(value, of, where+"."+name); text != "" {
				return text
			}
		}
	case []any:
		for i, value := range v {
			if text := d.differs(value, s["items"], fmt.Sprint(where, "[", i, "]")); text != "" {
				return text
			}
		}
		if n, is := s["minItems"].(float64); is && len(v) != int(n) {
			return fmt.Sprintf("%s has %d items", where, len(v))
		}
	case float64:
		if most, is := s["maximum"].(float64); is && v > most {
			return fmt.Sprintf("%s is %v, more than %v", where, v, most)
		}
	}
	if text := d.noneOf(v, s, where); text != "" {
		return text
	}
	return ""
}

// noneOf tells of a value that is to be like one of several and is like none.
func (d described) noneOf(v any, schema map[string]any, where string) string {
	options, is := schema["anyOf"].([]any)
	if !is {
		return ""
	}
	for _, option := range options {
		if d.differs(v, option, where) == "" {
			return ""
		}
	}
	return where + " is like none of what it may be"
}

// kind names the type of a JSON value. All numbers of this API are whole.
func kind(v any) string {
	switch v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		return "integer"
	}
	return "null"
}

// What the session asks and is answered is what the description says, also for errors.
func TestSessionIsAsItIsDescribed(t *testing.T) {
	t.Parallel()
	s := alone(t)
	d := s.described()
	used := map[string]bool{}
	steps, _ := session(t)
	for _, r := range steps {
		var status int
		text := r.answer
		if _, err := fmt.Sscanf(text, "= %d", &status); err != nil {
			t.Fatalf("line %d has no answer", r.line)
		}
		var answer any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(text, fmt.Sprint("= ", status))), &answer); err != nil {
			t.Fatalf("line %d: %v", r.line, err)
		}
		op := d.operation(r.method, r.path)
		if op == nil {
			if status != http.StatusMethodNotAllowed && status != http.StatusNotFound {
				t.Errorf("line %d: %s %s is not described, and answered with %d", r.line, r.method, r.path, status)
			}
			continue
		}
		used[fmt.Sprint(op["summary"])] = true
		schema := d.at(op, "responses", fmt.Sprint(status), "content", "application/json", "schema")
		if text := d.differs(answer, schema, "the answer"); text != "" {
			t.Errorf("line %d: %s %s: %d: %s", r.line, r.method, r.path, status, text)
		}
		if status != http.StatusOK || r.body == "" {
			continue
		}
		var asked any
		if err := json.Unmarshal([]byte(r.body), &asked); err != nil {
			t.Fatalf("line %d: %v", r.line, err)
		}
		if text := d.differs(asked, d.at(op, "requestBody", "content", "application/json", "schema"), "the request"); text != "" {
			t.Errorf("line %d: %s", r.line, text)
		}
	}
	if len(used) < 10 {
		t.Errorf("the session uses %d kinds of operations", len(used))
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	t.Parallel()
	d := alone(t).described()
	fields := 0
	for name, schema := range d.Components.Schemas {
		properties, _ := d.at(schema, "properties").(map[string]any)
		for field, v := range properties {
			fields++
			if says, _ := v.(map[string]any)["description"].(string); len(says) < 3 {
				t.Errorf("%s.%s is described as %q", name, field, says)
			}
		}
	}
	if fields < 200 {
		t.Errorf("there are descriptions of %d fields", fields)
	}
}

// The first line of a watch is as it is described, with objects of the model.
func TestWatchIsAsItIsDescribed(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.network("default:net", "10.1.1.0/24", "10.1.1.1")
	s.put(api.ObjectPath(api.ServiceLBs, "default:web"), web)
	d := s.described()
	w := s.watch(0)
	var line any
	if err := w.lines.Decode(&line); err != nil {
		t.Fatal(err)
	}
	op := d.operation(http.MethodGet, api.WatchPath)
	if text := d.differs(line, d.at(op, "responses", "200", "content", "application/x-ndjson", "schema"), "the line"); text != "" {
		t.Error(text)
	}
}
