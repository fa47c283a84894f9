// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/kubelab"
)

var (
	only   = flag.String("suite", "", "run this suite alone: "+strings.Join(Suites, ", "))
	focus  = flag.String("focus", "", "run the tests alone that this regular expression fits, and write no page")
	procs  = flag.String("procs", "4", "how many of Kubernetes' tests run at once")
	nodes  = flag.Int("nodes", 3, "how many nodes there are, in three zones")
	limit  = flag.Duration("limit", 3*time.Hour, "how long a suite may take; what it has not reached then is skipped")
	update = flag.Bool("update", false, "write into docs/conformance.md what came out of each suite that is run")
)

// Directory names, in the environment, what test/kubernetes suites has filled.
const Directory = "CONTIV_TEST_SUITES"

//go:embed coredns.yaml
var dnsServer string

var programs cluster.Programs

// suites are where the programs of the suites are, and the cluster that they ask.
type suites struct {
	*kubelab.Cluster
	dir      string            // of the programs
	versions map[string]string // by suite
	reports  string            // of what they say; seen by the hosts too
	until    time.Time         // how long the one that runs may take
}

func TestSuitesOfOthersPass(t *testing.T) {
	s := newSuites(t)
	contiv := version(t)
	for _, suite := range []struct {
		name string
		run  func(*testing.T) []Result
	}{{Kubernetes, s.kubernetes}, {Cyclonus, s.cyclonus}, {Policies, s.policies}} {
		if *only != "" && *only != suite.name {
			continue
		}
		t.Run(suite.name, func(t *testing.T) {
			r := Run{Suite: suite.name, Version: s.versions[suite.name], Contiv: contiv, Date: time.Now()}
			s.until = r.Date.Add(*limit)
			r.Results = suite.run(t)
			r.Took = time.Since(r.Date)
			t.Logf("%s: %d passed, %d failed, %d skipped in %s", suite.name, r.Count(Passed), r.Count(Failed), r.Count(Skipped), r.Took)
			for _, each := range r.Results {
				if each.Outcome == Failed {
					t.Errorf("%s: %s", each.Name, each.Reason)
				}
			}
			if r.Count(Passed) == 0 {
				t.Error("nothing passed")
			}
			if *update && *focus == "" {
				tell(t, r)
			}
		})
	}
}

// tell writes a run into the page, at once: a later suite may never end.
func tell(t *testing.T, r Run) {
	t.Helper()
	const page = "../../docs/conformance.md"
	was, err := os.ReadFile(page)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte(Page(string(was), r)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// logs is where what the suites' programs print is kept.
const logs = "../../.cache/conformance"

// version is that of the checkout, but for its documents, of which this page is one.
func version(t *testing.T) string {
	t.Helper()
	git := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "git", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	v := git("describe", "--tags", "--always")
	if git("status", "--porcelain", "--", ":/", ":(top,exclude)docs") != "" {
		v += "-dirty"
	}
	return v
}

// readVersions reads what test/kubernetes has written beside the programs: a suite and its version in each line.
func readVersions(t *testing.T, dir string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "versions"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		suite, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		out[suite] = v
	}
	return out
}

// newSuites starts a cluster as an operator would for them: nodes in zones, pods in one network of both families, which the nodes reach, and a DNS server.
func newSuites(t *testing.T) *suites {
	t.Helper()
	s := &suites{dir: os.Getenv(Directory), reports: t.TempDir()}
	if s.dir == "" {
		t.Skipf("%s names no directory with the suites: make test-k8s-conformance builds them", Directory)
	}
	s.versions = readVersions(t, s.dir)
	coredns := file(t, filepath.Join(s.dir, "coredns"), "coredns") // tests run servers of their own, too
	agnhost := kubelab.Image{Layers: [][]byte{layer(t, os.DirFS(filepath.Join(s.dir, "agnhost.root"))), coredns}, Entrypoint: []string{"/agnhost"}, Command: []string{"pause"}}
	s.Cluster = kubelab.New(t, &programs, kubelab.Options{
		Conflist: "../../deploy/k8s/10-contiv.conflist", Manifests: []string{"../../deploy/k8s/netmaster-rbac.yaml", "../../deploy/k8s/netplugin-rbac.yaml"},
		DualStack: true, Untainted: true, Workers: *nodes - 1,
		Images: map[string]kubelab.Image{
			"agnhost": agnhost, "jessie-dnsutils": agnhost,
			"coredns":                {Layers: [][]byte{coredns}, Entrypoint: []string{"/coredns"}},
			"regression-issue-74839": {Layers: [][]byte{file(t, filepath.Join(s.dir, "regression-issue-74839"), "server")}, Entrypoint: []string{"/server"}},
			"nginx":                  {Command: []string{"httpd", "-f", "-p", "80", "-h", "/www"}}, // asked for nothing but to listen
		},
	})
	// What is of a control plane gets no endpoints that are meant for its zone; here it is a node as the others are.
	s.kubectl(t, "label", "node", s.Nodes[0].Name(), kubelab.MasterLabel+"-")
	for i, n := range s.Nodes {
		s.kubectl(t, "label", "node", n.Name(), fmt.Sprintf("topology.kubernetes.io/zone=zone-%d", i%3))
		// Nodes have a way to the rest of the world, if only one that leads nowhere here: without it the kernel refuses their own connections to
		// services' addresses before anybody can translate these.
		for _, via := range []string{"192.168.2.254", "fd00:192:168::1"} {
			if err := n.Run(t.Context(), "ip", "route", "add", "default", "via", via, "dev", "eth1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.netctl(t, "net", "create", "-t", "default", "-s", "20.1.0.0/16", "-g", "20.1.0.1", "-s6", "fd00:20:1::/64", "-g6", "fd00:20:1::1", "default-net")
	s.netctl(t, "net", "create", "-n", "infra", "-s", "132.1.1.0/24", "-g", "132.1.1.1", "-s6", "fd00:132:1::/64", "-g6", "fd00:132:1::1", "contivh1")
	if err := s.Apply(t.Context(), dnsServer); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Kubectl(t.Context(), "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=3m"); err != nil {
		said, _ := s.Kubectl(t.Context(), "get", "events", "-A") // the reason; the error is enough where they cannot be had
		t.Fatalf("%s%v\n%s", out, err, said)
	}
	return s
}

func (s *suites) kubectl(t *testing.T, args ...string) {
	t.Helper()
	if _, err := s.Kubectl(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

func (s *suites) netctl(t *testing.T, args ...string) {
	t.Helper()
	if _, err := s.Netctl(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// layer is what an image has of a directory.
func layer(t *testing.T, dir fs.FS) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := errors.Join(w.AddFS(dir), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// file is a layer of one program.
func file(t *testing.T, path, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err = w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(b))})
	if err == nil {
		_, err = w.Write(b)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// start runs one of the suites' programs on the first node until its time is over, with its output in a file. That it fails is no error: its report
// says so.
func (s *suites) start(t *testing.T, log, program string, args ...string) string {
	t.Helper()
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(logs, log+".log")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	const slack = time.Minute // to say itself what it has not reached
	ctx, cancel := context.WithTimeout(t.Context(), max(0, time.Until(s.until))+slack)
	defer cancel()
	c := s.Nodes[0].Command(ctx, filepath.Join(s.dir, program), args...)
	c.Env = append(c.Env, "KUBECONFIG="+s.Kubeconfig(), "HOME="+s.reports)
	c.Dir = s.reports
	c.Stdout, c.Stderr = out, out
	if err := c.Run(); err != nil {
		t.Logf("%s: %v; see %s", program, err, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (s *suites) report(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.reports, name))
	if err != nil {
		t.Fatalf("the suite has written no report: %v", err)
	}
	return b
}

// kubernetes runs Kubernetes' own tests of networks.
func (s *suites) kubernetes(t *testing.T) []Result {
	s.start(t, Kubernetes, "ginkgo", "--procs="+*procs, "--no-color", "--silence-skips", fmt.Sprintf("--timeout=%s", *limit), "--output-dir="+s.reports, "--json-report=report.json",
		"--focus="+cmp.Or(*focus, `\[sig-network\]`), "--skip="+Pattern(Excluded), filepath.Join(s.dir, "e2e.test"), "--",
		"--provider=local", fmt.Sprintf("--num-nodes=%d", len(s.Nodes)), "--kubeconfig="+s.Kubeconfig(), "--dump-logs-on-failure=false")
	results, err := Ginkgo(s.report(t, "report.json"), "[sig-network]")
	if err != nil {
		t.Fatal(err)
	}
	if *focus == "" {
		Explain(results, Excluded, notReached)
	}
	return results
}

// cyclonus runs its table of policies, for what the kernel has sockets of. It goes in parts, as the program ends when the API server answers what it does not
// expect, as where two change a pod at once: then that part is begun again.
func (s *suites) cyclonus(t *testing.T) (all []Result) {
	for i, tag := range CyclonusParts {
		args := []string{"generate", "--server-protocol=TCP,UDP", "--job-timeout-seconds=1", "--perturbation-wait-seconds=1", "--retries=2",
			"--ignore-loopback", // a policy cannot keep a pod from itself
			"--exclude=" + strings.Join(append([]string{"sctp"}, CyclonusParts[:i]...), ",")}
		if tag != "" {
			args = append(args, "--include="+tag)
		}
		if time.Now().After(s.until) {
			args = append(args, "--mock", "--dry-run") // tells which cases there are
		}
		var results []Result
		for range 3 {
			again := Cases(s.start(t, fmt.Sprintf("%s-%d", Cyclonus, i+1), "cyclonus", args...))
			if reached(again) >= reached(results) {
				results = again
			}
			if reached(results) == len(results) || time.Now().After(s.until) {
				break
			}
		}
		all = append(all, results...)
	}
	Explain(all, nil, notReached)
	return all
}

// reached are how many of the tests have come to their end.
func reached(all []Result) int {
	return len(slices.DeleteFunc(slices.Clone(all), func(r Result) bool { return r.Outcome == Skipped }))
}

// notReached is said of tests that could have been run.
const notReached = "not reached before the suite ended"

// policies runs network-policy-api's tests.
func (s *suites) policies(t *testing.T) []Result {
	crd, err := os.ReadFile(filepath.Join(s.dir, "clusternetworkpolicies.yaml"))
	if err == nil {
		err = s.Apply(t.Context(), string(crd))
	}
	if err != nil {
		t.Fatal(err)
	}
	results := Verbose(s.start(t, Policies, "policies.test", "-test.v", "-test.run="+cmp.Or(*focus, "^TestConformance$")))
	WithoutSCTP(results)
	return results
}
