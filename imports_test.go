// SPDX-License-Identifier: Apache-2.0

package contiv

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/contivnet/contiv/"

// mayImport says which of our own packages each may import: ARCHITECTURE.md's list, arrows down only. A
// package that is not here is one that the drawing does not have: draw it first.
var mayImport = map[string][]string{
	"model":                   {},
	"api":                     {"model"},
	"store":                   {"model"},
	"store/memory":            {"model", "store"},
	"store/storetest":         {"model", "store"},
	"alloc":                   {"model"},
	"master":                  {"model", "api", "store", "alloc", "compile"}, // compile, as netctl policy trace asks the intent alone
	"compile":                 {"model"},
	"datapath":                {"model", "compile"},
	"netdev":                  {"model"},
	"agent":                   {"model", "api", "compile", "datapath", "netdev"},
	"observe":                 {"model", "api", "compile"},
	"docker":                  {"model", "api", "agent"},
	"dns":                     {"model", "netdev", "datapath"}, // datapath, as it alone knows eBPF: what turns questions round
	"bgp":                     {"model", "api", "netdev"},
	"cni":                     {"model", "api", "agent", "cni/call"},
	"cni/call":                {},
	"kube":                    {"model", "cni"}, // which asks it where pods go
	"mirror":                  {"model"},
	"cli":                     {"model", "api"},
	"cmd/internal/flags":      {},
	"cmd/internal/kubeconfig": {},
	"cmd/internal/sockets":    {},
	"cmd/netmaster":           {"*"},
	"cmd/netplugin":           {"*"},
	"cmd/netctl":              {"*"},
	"cmd/contivk8s":           {"cni/call"}, // nothing of the agent: it is started for each container
	"deploy":                  {},
	"deploy/image":            {},
	"docs/tutorials":          {},
	"test":                    {"*"},
	"bench":                   {"*"},
	"":                        {},
}

// forbidden are the names under which code hides that nobody could place.
var forbidden = []string{"pkg", "util", "utils", "common", "core", "types", "helpers", "helper", "manager", "misc"}

type goPackage struct {
	ImportPath, Doc, Name string
	Imports               []string
	GoFiles               []string
}

func ourPackages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p goPackage
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// rulesFor gives what the package, or the tree it is in, may import.
func rulesFor(path string) ([]string, bool) {
	for at := path; ; {
		if allowed, ok := mayImport[at]; ok {
			return allowed, true
		}
		cut := strings.LastIndexByte(at, '/')
		if cut < 0 || !slices.Contains([]string{"test", "bench"}, strings.SplitN(at, "/", 2)[0]) {
			return nil, false
		}
		at = at[:cut]
	}
}

func TestImportsFollowTheDrawing(t *testing.T) {
	t.Parallel()
	for _, p := range ourPackages(t) {
		path := strings.TrimPrefix(p.ImportPath+"/", module)
		path = strings.TrimSuffix(path, "/")
		allowed, ok := rulesFor(path)
		if !ok {
			t.Errorf("package %q is not in the drawing", path)
			continue
		}
		for _, i := range p.Imports {
			own, ours := strings.CutPrefix(i, module)
			if ours && !slices.Contains(allowed, "*") && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s, which the drawing does not allow", path, own)
			}
			if path == "model" && strings.Contains(strings.SplitN(i, "/", 2)[0], ".") {
				t.Errorf("model imports %s: it is made of the standard library alone", i)
			}
		}
		for part := range strings.SplitSeq(path, "/") {
			if slices.Contains(forbidden, part) {
				t.Errorf("package %s has a name that says nothing", path)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	for _, p := range ourPackages(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 40 {
			t.Errorf("%s has no package comment, or one that says little: %q", p.ImportPath, p.Doc)
		}
	}
}
