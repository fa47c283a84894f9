// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/store/memory"
)

var update = flag.Bool("update", false, "record the session's answers and the API's description anew")

const sessionFile = "testdata/session.txt"

// step is a request of the session with the answer that was recorded.
type step struct {
	line         int
	before       string // comments and empty lines, as they are in the file
	method, path string
	body         string
	answer       string
}

// session reads the file: requests, each followed by the lines of its answer.
func session(t *testing.T) (steps []step, rest string) {
	t.Helper()
	b, err := os.ReadFile(sessionFile)
	if err != nil {
		t.Fatal(err)
	}
	before := ""
	for i, line := range strings.SplitAfter(string(b), "\n") {
		switch {
		case strings.HasPrefix(line, "= ") || strings.HasPrefix(line, "  "):
			steps[len(steps)-1].answer += line
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
			before += line
		default:
			method, more, _ := strings.Cut(strings.TrimSpace(line), " ")
			path, body, _ := strings.Cut(more, " ")
			steps = append(steps, step{line: i + 1, before: before, method: method, path: path, body: body})
			before = ""
		}
	}
	return steps, before
}

// recorded is an answer as the file has it.
func recorded(status int, body string) string {
	return fmt.Sprintf("= %d %s\n", status, broken([]byte(strings.TrimSpace(body)), "  "))
}

// broken is JSON on one line where that is short, else with a line for each of its parts.
func broken(b []byte, indent string) string {
	d := json.NewDecoder(bytes.NewReader(b))
	open, err := d.Token()
	if len(b) <= 300 || err != nil || open != json.Delim('{') && open != json.Delim('[') {
		return string(b)
	}
	var parts []string
	for d.More() {
		name := ""
		if open == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return string(b)
			}
			name = fmt.Sprintf("%q: ", key)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return string(b)
		}
		parts = append(parts, indent+name+broken(value, indent+"  "))
	}
	return string(b[:1]) + "\n" + strings.Join(parts, ",\n") + "\n" + indent[2:] + "  " + string(b[len(b)-1:])
}

// The v1 API as clients see it, request by request: what has changed in an answer has changed for them.
func TestSessionIsAnsweredAsRecorded(t *testing.T) {
	t.Parallel()
	s := serve(t, memory.New(), master.Options{Version: api.Version{GitCommit: "6657054", Version: "1.3.0", BuildTime: "07-20-2017.21-46-06.UTC"}, Address: "192.168.2.10:9999"})
	steps, rest := session(t)
	var out strings.Builder
	for _, r := range steps {
		status, body, header := s.raw(r.method, r.path, strings.ReplaceAll(r.body, "<1 MiB>", strings.Repeat("x", api.MaxBody)))
		answer := recorded(status, body)
		if answer != r.answer && !*update {
			t.Errorf("%s:%d: %s %s %s\nis answered with\n%srecorded is\n%s", sessionFile, r.line, r.method, r.path, r.body, answer, r.answer)
		}
		if header.Get("Content-Type") != "application/json" {
			t.Errorf("line %d: the answer is %s", r.line, header.Get("Content-Type"))
		}
		if written := r.method != http.MethodGet && status == http.StatusOK; written != (header.Get(api.RevisionHeader) != "") {
			t.Errorf("line %d: the answer's revision is %q", r.line, header.Get(api.RevisionHeader))
		}
		if (status == http.StatusMethodNotAllowed) != (header.Get("Allow") != "") {
			t.Errorf("line %d: %d with Allow %q", r.line, status, header.Get("Allow"))
		}
		if status != http.StatusOK {
			var e api.Error
			if err := json.Unmarshal([]byte(body), &e); err != nil || e.Text == "" || strings.Contains(body, ".go") {
				t.Errorf("line %d: %s is no error for users: %v", r.line, body, err)
			}
		}
		fmt.Fprintf(&out, "%s%s\n%s", r.before, strings.TrimSpace(r.method+" "+r.path+" "+r.body), answer)
	}
	if *update {
		if err := os.WriteFile(sessionFile, []byte(out.String()+rest), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSessionHasEveryNounEveryVerbAndEveryError(t *testing.T) {
	t.Parallel()
	steps, _ := session(t)
	seen := map[string]bool{}
	for _, r := range steps {
		path, _, _ := strings.Cut(r.path, "?")
		slash := "without"
		if strings.HasSuffix(path, "/") {
			slash = "with"
		}
		at := strings.TrimPrefix(path, api.Root)
		verb := r.method
		if inspected, ok := strings.CutPrefix(at, "inspect/"); ok {
			at, verb = inspected, "inspect"
		}
		noun, key, _ := strings.Cut(at, "/")
		if verb == http.MethodGet && key == "" {
			verb = "list"
		}
		status := strings.Fields(r.answer + "= none")[1]
		seen[noun+" "+verb+" "+status] = true
		seen[noun+" "+slash] = true
		seen[status] = true
	}
	want := []string{"400", "404", "405", "409", "413", "addresses POST 200", "addresses DELETE 200"}
	for _, noun := range []string{
		api.Tenants, api.Networks, api.EndpointGroups, api.Policies, api.Rules, api.Netprofiles, api.ServiceLBs, api.BGPs, api.AppProfiles, api.ExtContractsGroups,
		api.ACIGateways, api.Endpoints, api.Nodes, api.Globals,
	} {
		want = append(want, noun+" with", noun+" without", noun+" list 200", noun+" GET 200", noun+" GET 404", noun+" PUT 200", noun+" inspect 200")
		if noun != api.Nodes { // an agent writes those
			want = append(want, noun+" POST 200", noun+" POST 400")
		}
		if noun != api.Globals {
			want = append(want, noun+" DELETE 200")
		}
	}
	// POST and PUT are one; each noun has both in the session.
	for _, w := range want {
		if alike := strings.Replace(w, "POST 400", "PUT 400", 1); !seen[w] && !seen[alike] {
			t.Errorf("the session has no %q", w)
		}
	}
	if n := len(steps); n < 200 || !slices.IsSortedFunc(steps, func(a, b step) int { return a.line - b.line }) {
		t.Errorf("the session has %d requests", n)
	}
}
