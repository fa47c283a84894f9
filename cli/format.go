// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// How an answer is printed.
const (
	formatTable = "table" // for people: what the original netctl printed
	formatJSON  = "json"
	formatYAML  = "yaml"
)

// format is the flags that choose how an answer is printed.
type format struct {
	json   bool
	output output
}

// output is the value of --output.
type output string

func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "format" }

func (o *output) Set(text string) error {
	if !slices.Contains([]string{formatJSON, formatYAML, formatTable}, text) {
		return errors.New("unknown")
	}
	*o = output(text)
	return nil
}

// formatFlag adds --output with its default.
func (p *program) formatFlag(cmd *cobra.Command, preset string) *format {
	f := &format{output: output(preset)}
	cmd.Flags().VarP(&f.output, "output", "o", "print as json, yaml or table")
	p.completeFlag(cmd, "output", words(formatJSON, formatYAML, formatTable))
	return f
}

// jsonFlag adds --json, the older way to say --output json.
func (f *format) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.json, "json", "j", false, "print JSON, as -o json does")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if f.json && cmd.Flags().Changed("output") && f.output != formatJSON {
			return usage(cmd, "Cannot use both --json and --output %s", f.output)
		}
		return nil
	}
}

func (f *format) is() string {
	if f.json {
		return formatJSON
	}
	return string(f.output)
}

// print prints v, or where a table is wanted what text gives.
func (p *program) print(f *format, v any, text func() (string, error)) error {
	switch f.is() {
	case formatJSON:
		return p.printJSON(v)
	case formatYAML:
		return p.printYAML(v)
	}
	s, err := text()
	if err != nil {
		return err
	}
	fmt.Fprint(p.Stdout, s)
	return nil
}

// printJSON prints v with two spaces of indent and a newline, and < > & as they are.
func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printYAML prints v's JSON as YAML documents: v itself, or with more of them one each.
func (p *program) printYAML(documents ...any) error {
	e := yaml.NewEncoder(p.Stdout)
	e.SetIndent(2)
	for _, v := range documents {
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		n, err := nodeOfJSON(b)
		if err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		if err := e.Encode(n); err != nil {
			return err
		}
	}
	return e.Close()
}

// fieldTable shows a JSON object as a table of its fields.
func fieldTable(b []byte) (string, error) {
	n, err := nodeOfJSON(b)
	if err != nil {
		return "", fmt.Errorf("read the master's answer: %w", err)
	}
	t := table{head: []string{"Field", "Value"}}
	var walk func(path string, n *yaml.Node)
	walk = func(path string, n *yaml.Node) {
		switch n.Kind {
		case yaml.MappingNode:
			if set := path[strings.LastIndex(path, ".")+1:]; strings.HasSuffix(path, ".link-sets."+set) || strings.HasSuffix(path, ".links."+set) {
				t.rows = append(t.rows, []string{path, linked(n)})
				return
			}
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(strings.TrimPrefix(path+"."+n.Content[i].Value, "."), n.Content[i+1])
			}
		case yaml.SequenceNode:
			for i, c := range n.Content {
				walk(path+"["+strconv.Itoa(i)+"]", c)
			}
		default:
			t.rows = append(t.rows, []string{path, n.Value})
		}
	}
	walk("", n)
	return t.String(), nil
}

// linked is the keys of a link, or of a set of them.
func linked(n *yaml.Node) string {
	var keys []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch name, value := n.Content[i].Value, n.Content[i+1]; {
		case value.Kind == yaml.MappingNode: // of a set
			keys = append(keys, name)
		case name == "key":
			return value.Value
		}
	}
	return strings.Join(keys, ",")
}

// nodeOfJSON reads one JSON value. Unlike a map, the result has its fields in their order, each with its line and column from 1.
func nodeOfJSON(b []byte) (*yaml.Node, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	r := &jsonReader{text: b, tokens: d, line: 1}
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the JSON value")
	}
	return n, nil
}

// jsonReader makes nodes of tokens. Line and column are those of the byte at offset.
type jsonReader struct {
	text            []byte
	tokens          *json.Decoder
	line            int
	lineStart, seen int
}

// maxDepth is how deep values may be in one another. Nothing of the API is deeper than 6.
const maxDepth = 100

func (r *jsonReader) value(depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: more than %d values in one another", r.line, maxDepth)
	}
	token, err := r.tokens.Token()
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{Kind: yaml.ScalarNode}
	r.place(n, token)
	switch v := token.(type) {
	case string:
		n.Tag, n.Value = "!!str", v
		if readsAsBool(v) {
			n.Style = yaml.DoubleQuotedStyle
		}
	case json.Number:
		n.Tag, n.Value = "!!int", v.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(v)
	case nil:
		n.Tag, n.Value = "!!null", "null"
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if v == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for r.tokens.More() {
			c, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, c)
		}
		if _, err := r.tokens.Token(); err != nil { // the bracket that ends it
			return nil, err
		}
	}
	return n, nil
}

// place finds where the token that was read last ends and, from its length, where it begins.
func (r *jsonReader) place(n *yaml.Node, token json.Token) {
	end := int(r.tokens.InputOffset())
	begin := end - 1
	switch v := token.(type) {
	case string: // its escapes are not known any more, but its opening quote is the last that is not escaped
		for begin--; begin > 0 && (r.text[begin] != '"' || escaped(r.text[:begin])); begin-- {
		}
	case json.Number:
		begin = end - len(v)
	case bool, nil:
		begin = end - len(fmt.Sprint(v))
		if v == nil {
			begin = end - len("null")
		}
	}
	for i := r.seen; i < begin; i++ {
		if r.text[i] == '\n' {
			r.line++
			r.lineStart = i + 1
		}
	}
	r.seen = max(r.seen, begin)
	n.Line, n.Column = r.line, begin-r.lineStart+1
}

// escaped tells whether what follows text, in a string, is escaped.
func escaped(text []byte) bool {
	return (len(text)-len(bytes.TrimRight(text, `\`)))%2 == 1
}

// readsAsBool tells whether YAML 1.1 takes the text for true or false, as YAML 1.2 and this netctl do not.
func readsAsBool(text string) bool {
	switch strings.ToLower(text) {
	case "y", "n", "yes", "no", "on", "off":
		return true
	}
	return false
}
