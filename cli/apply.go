// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func (p *program) apply() *cobra.Command {
	cmd := &cobra.Command{
		Use: "apply -f FILE", Short: "Create or update all objects of a file, or none",
		Long: `Create or update all objects of files, or when one is refused, none. They are made in the order that their references need, so
their order in the file is free. Objects that are not in the file stay as they are; nothing is deleted.

A file is YAML documents with --- between them, or a JSON object or list of objects. Each has its kind and the fields of the v1
API, of which those that are empty may be left out:

` + fileHelp() + `

tenantName is default where it is left out. Texts need no quotes. A field that is unknown is refused with its place in the file.
--dry-run says what would be created, updated or left unchanged. netctl export writes such a file of all that there is.`,
		Example: "  netctl apply -f intent.yaml\n" +
			"  netctl apply --dry-run -f intent.yaml\n" +
			"  netctl export | netctl --netmaster http://other:9999 apply -f -",
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	var (
		files []string
		dry   bool
	)
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "`file` to read, - for standard input; may be repeated")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	f := p.formatFlag(cmd, formatTable)
	if err := cmd.MarkFlagFilename("file", "yaml", "yml", "json"); err != nil {
		panic(err) // a slip in this package, seen by every test
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(files) == 0 {
			return usage(cmd, "File name required")
		}
		docs, asked, err := p.intent(cmd, files)
		if err != nil {
			return err
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		var answer api.ApplyAnswer
		if err := c.Apply(cmd.Context(), dry, asked, &answer); err != nil {
			return placed(docs, err)
		}
		results := []result{}
		for _, r := range answer.Results {
			results = append(results, result{kindOf(r.Collection).name, r.Key, r.Result})
		}
		return p.print(f, results, func() (string, error) { return resultTable(results, dry), nil })
	}
	return cmd
}

// fileHelp lists the kinds with their fields.
func fileHelp() string {
	var b strings.Builder
	for _, k := range kinds() {
		line := fmt.Sprintf("  kind: %-18s ", k.name)
		for i, name := range k.fields() {
			if i > 0 {
				line += ","
			}
			if len(line)+len(name) > 110 {
				b.WriteString(line + "\n")
				line = strings.Repeat(" ", 27)
			}
			line += " " + name
		}
		b.WriteString(line + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// result is api.ApplyResult in netctl's words.
type result struct {
	Kind   string `json:"kind"`
	Key    string `json:"key"`
	Result string `json:"result"`
}

func resultTable(results []result, dry bool) string {
	t := table{head: []string{"Kind", "Key", "Result"}}
	count := map[string]int{}
	for _, r := range results {
		t.rows = append(t.rows, []string{r.Kind, r.Key, r.Result})
		count[r.Result]++
	}
	verb := ""
	if dry {
		verb = " (nothing was written)"
	}
	return fmt.Sprintf("%s\n%d created, %d updated, %d unchanged%s\n", t, count[api.ApplyCreated], count[api.ApplyUpdated], count[api.ApplyUnchanged], verb)
}

// intent reads files. The documents are those of the request's objects, in its order.
func (p *program) intent(cmd *cobra.Command, files []string) ([]document, api.ApplyRequest, error) {
	asked := api.ApplyRequest{Objects: []api.ApplyObject{}}
	var docs []document
	var errs []error
	for _, file := range files {
		text, err := p.read(file)
		if err != nil {
			return nil, asked, usage(cmd, "%v", err)
		}
		if file == "-" {
			file = "<stdin>"
		}
		list, err := documents(file, text)
		if err != nil {
			errs = append(errs, err)
		}
		for _, d := range list {
			o, err := d.object()
			if err != nil {
				errs = append(errs, err)
			}
			docs, asked.Objects = append(docs, d), append(asked.Objects, o)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, asked, err
	}
	if len(docs) == 0 {
		return nil, asked, model.Invalid("", "there is no object in %s", strings.Join(files, ", "))
	}
	return docs, asked, nil
}

// maxFile is more than a master takes at once (api.MaxApply), in bytes.
const maxFile = 16 << 20

func (p *program) read(file string) ([]byte, error) {
	from := p.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err // it names the file
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s has more than %d MiB; give it in parts", file, maxFile>>20)
	}
	return b, nil
}

// objectPlace is how a master says which object it means: objects[2] (networks blue:web).
var objectPlace = regexp.MustCompile(`objects\[(\d+)\](?: \((\w+) )?`)

// placed says where in the files that is which the master refuses, in netctl's words.
func placed(docs []document, err error) error {
	var refused *api.Error
	if !errors.As(err, &refused) {
		return err
	}
	out := *refused
	field := refused.Field // of the first object that is named
	out.Text = objectPlace.ReplaceAllStringFunc(refused.Text, func(found string) string {
		m := objectPlace.FindStringSubmatch(found)
		i, err := strconv.Atoi(m[1])
		if err != nil || i >= len(docs) {
			return found
		}
		at := docs[i].at(field).String()
		field = ""
		if m[2] != "" {
			at += " (" + kindOf(m[2]).name + " "
		}
		return at
	})
	return &out
}
