// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/contivnet/contiv/api"
)

// document is one object of a file.
type document struct {
	file string
	node *yaml.Node // a mapping
	kind kind
}

// position is where something stands in a file, as compilers write it.
type position struct {
	file         string
	line, column int
}

func (p position) String() string {
	if p.line == 0 { // nothing more is known
		return p.file
	}
	return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column)
}

// at is the position of a field, or where it is not written, of the document.
func (d document) at(field string) position {
	n := d.node
	for i := 0; i+1 < len(d.node.Content); i += 2 {
		if d.node.Content[i].Value == field {
			n = d.node.Content[i+1]
		}
	}
	return position{d.file, n.Line, n.Column}
}

// wrong is what is wrong with a file at a position.
type wrong struct {
	position
	text string
}

func (w *wrong) Error() string { return w.position.String() + ": " + w.text }

// documents reads a file of YAML or JSON documents. Each is an object, or a list of them.
func documents(file string, text []byte) ([]document, error) {
	var roots []*yaml.Node
	if n, err := nodeOfJSON(text); err == nil { // YAML reads JSON but not all of its strings
		roots = append(roots, n)
	} else {
		for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
			var n yaml.Node
			err := d.Decode(&n)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, malformed(file, err)
			}
			roots = append(roots, &n)
		}
	}
	var out []document
	for _, n := range roots {
		if n.Kind == yaml.DocumentNode {
			n = n.Content[0]
		}
		list := []*yaml.Node{n}
		switch {
		case n.Kind == yaml.SequenceNode:
			list = n.Content
		case n.Tag == "!!null": // an empty document, as after a last ---
			continue
		}
		for _, n := range list {
			n = resolved(n)
			if n.Kind != yaml.MappingNode {
				return nil, &wrong{position{file, n.Line, n.Column}, "an object is expected, as kind: tenant with the lines of its fields"}
			}
			out = append(out, document{file: file, node: n})
		}
	}
	return out, nil
}

// malformed is what the YAML reader says, which knows lines only.
func malformed(file string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if after, ok := strings.CutPrefix(text, "line "); ok {
		if line, rest, ok := strings.Cut(after, ": "); ok {
			return &wrong{position{file: file + ":" + line}, rest}
		}
	}
	return &wrong{position{file: file}, text}
}

// resolved is what an alias stands for.
func resolved(n *yaml.Node) *yaml.Node {
	for range maxDepth {
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	return n
}

// object is what the document asks for, in the API's shape.
func (d *document) object() (api.ApplyObject, error) {
	name := ""
	for i := 0; i+1 < len(d.node.Content); i += 2 {
		if d.node.Content[i].Value == "kind" {
			name = resolved(d.node.Content[i+1]).Value
		}
	}
	known := false
	if d.kind, known = kindNamed(name); !known {
		if name == "" {
			return api.ApplyObject{}, &wrong{d.at("kind"), "kind is missing; give one of " + kindNames()}
		}
		return api.ApplyObject{}, &wrong{d.at("kind"), fmt.Sprintf("kind %q is unknown; use one of %s", name, kindNames())}
	}
	r := reader{file: d.file, what: d.kind.name}
	fields := r.object(d.node, d.kind.shape, d.kind.fields())
	if d.kind.owned {
		if _, said := fields[tenantField]; !said {
			fields[tenantField] = ownTenant
		}
	}
	if len(r.errs) > 0 {
		return api.ApplyObject{}, errors.Join(r.errs...)
	}
	b, err := json.Marshal(fields)
	return api.ApplyObject{Collection: d.kind.plural, Object: b}, err
}

// reader makes of a document what JSON has for a Go type, and remembers all that is wrong with it.
type reader struct {
	file, what string
	errs       []error
}

func (r *reader) wrong(n *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, &wrong{position{r.file, n.Line, n.Column}, r.what + ": " + fmt.Sprintf(format, args...)})
}

// object reads the fields of a mapping. kind, what is derived and what is null are left out.
func (r *reader) object(n *yaml.Node, shape reflect.Type, known []string) map[string]any {
	out := map[string]any{}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolved(n.Content[i+1])
		name := key.Value
		if seen[name] {
			r.wrong(key, "field %q is there twice", name)
			continue
		}
		seen[name] = true
		switch {
		case name == "kind" || derived(name) || value.Tag == "!!null":
			continue
		case !slices.Contains(known, name):
			r.wrong(key, "field %q is unknown; use %s", name, strings.Join(known, ", "))
			continue
		}
		for i := range shape.NumField() {
			if f := shape.Field(i); jsonName(f) == name {
				out[name] = r.value(name, value, f.Type)
			}
		}
	}
	return out
}

// value reads a field. Texts are taken as they are written, so that 1, 65535.1 and 0123 need no quotes to be names.
func (r *reader) value(name string, n *yaml.Node, t reflect.Type) any {
	if t.Kind() == reflect.Pointer { // what may be left out, and then means something else than its zero
		t = t.Elem()
	}
	_, isText := reflect.New(t).Interface().(encoding.TextUnmarshaler)
	scalar := n.Kind == yaml.ScalarNode
	switch {
	case isText || t.Kind() == reflect.String:
		if !scalar {
			r.wrong(n, "%s is not a text", name)
		}
		return n.Value
	case t.Kind() == reflect.Bool:
		if !scalar || n.Tag != "!!bool" {
			r.wrong(n, "%s %q is neither true nor false", name, n.Value)
		}
		return strings.EqualFold(n.Value, "true")
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			r.wrong(n, "%s is not a list; write it as %s: [a, b]", name, name)
			return nil
		}
		list := []any{}
		for _, c := range n.Content {
			list = append(list, r.value(name, resolved(c), t.Elem()))
		}
		return list
	case t.Kind() == reflect.Int:
		v, err := strconv.ParseInt(n.Value, 10, t.Bits())
		if !scalar || n.Tag != "!!int" || err != nil {
			r.wrong(n, "%s %q is not a whole number", name, n.Value)
		}
		return v
	default: // the rest are unsigned numbers
		v, err := strconv.ParseUint(n.Value, 10, t.Bits())
		if !scalar || n.Tag != "!!int" || err != nil {
			r.wrong(n, "%s %q is not a whole number from 0 to %d", name, n.Value, uint64(1)<<t.Bits()-1)
		}
		return v
	}
}
