// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"archive/tar"
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/kubelab"
)

var (
	only   = flag.String("suite", "", "run this suite alone: "+strings.Join(Suites, ", "))
	focus  = flag.String("focus", "", "run the tests alone that this regular expression fits, and keep no record")
	procs  = flag.String("procs", "4", "how many of Kubernetes' tests run at once")
	update = flag.Bool("update", false, "write docs/conformance.md from the last runs")
)

// Directory names, in the environment, what test/kubernetes suites has filled.
const Directory = "CONTIV_TEST_SUITES"

//go:embed coredns.yaml
var coredns string

var programs cluster.Programs

// suites are where the programs of the suites are, and the cluster that they ask.
type suites struct {
	*kubelab.Cluster
	dir     string // of the programs
	reports string // of what they say; seen by the hosts too
}

func TestSuitesOfOthersPass(t *testing.T) {
	s := newSuites(t)
	for _, suite := range []struct {
		name string
		run  func(*testing.T) Run
	}{{Kubernetes, s.kubernetes}, {Cyclonus, s.cyclonus}, {Policies, s.policies}} {
		if *only != "" && *only != suite.name {
			continue
		}
		t.Run(suite.name, func(t *testing.T) {
			began := time.Now()
			r := suite.run(t)
			r.Suite, r.Contiv, r.Date, r.Took = suite.name, version(t), began, time.Since(began)
			t.Logf("%s: %d passed, %d failed, %d skipped in %s", suite.name, r.Count(Passed), r.Count(Failed), r.Count(Skipped), r.Took)
			for _, each := range r.Results {
				if each.Outcome == Failed {
					t.Errorf("%s: %s", each.Name, each.Reason)
				}
			}
			if r.Count(Passed) == 0 {
				t.Error("nothing passed")
			}
			if *focus != "" {
				return
			}
			if err := errors.Join(os.MkdirAll(records, 0o755), r.Save(records)); err != nil {
				t.Error(err)
			}
		})
	}
}

// records is where what came out of the last runs is kept.
const records = "../../.cache/conformance"

const page = "../../docs/conformance.md"

func TestPageTellsTheLastRuns(t *testing.T) {
	if !*update || *focus != "" {
		t.Skip("-update was not given, or not all tests were run")
	}
	var runs []Run
	for _, suite := range Suites {
		r, err := Load(records, suite)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	if err := os.WriteFile(page, []byte(Page(runs)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// version is that of the checkout.
func version(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// newSuites starts a cluster as an operator would for them: pods in one network of both families, which the nodes reach, and a DNS server.
func newSuites(t *testing.T) *suites {
	t.Helper()
	s := &suites{dir: os.Getenv(Directory), reports: t.TempDir()}
	if s.dir == "" {
		t.Skipf("%s names no directory with the suites: make test-k8s-conformance builds them", Directory)
	}
	agnhost := kubelab.Image{Layers: [][]byte{layer(t, os.DirFS(filepath.Join(s.dir, "agnhost.root")))}, Entrypoint: []string{"/agnhost"}, Command: []string{"pause"}}
	s.Cluster = kubelab.New(t, &programs, kubelab.Options{
		Conflist: "../../deploy/k8s/10-contiv.conflist", Manifests: []string{"../../deploy/k8s/netmaster-rbac.yaml", "../../deploy/k8s/netmaster-rbac.yaml", "../../deploy/k8s/netplugin-rbac.yaml"},
		DualStack: true, Untainted: true,
		Images: map[string]kubelab.Image{
			"agnhost": agnhost, "jessie-dnsutils": agnhost,
			"coredns": {Layers: [][]byte{file(t, filepath.Join(s.dir, "coredns"), "coredns")}, Entrypoint: []string{"/coredns"}},
			"nginx":   {Command: []string{"httpd", "-f", "-p", "80", "-h", "/www"}}, // asked for nothing but to listen
		},
	})
	for _, n := range s.Nodes {
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
	if err := s.Apply(t.Context(), coredns); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Kubectl(t.Context(), "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=3m"); err != nil {
		said, _ := s.Kubectl(t.Context(), "get", "events", "-A") // the reason; the error is enough where they cannot be had
		t.Fatalf("%s%v\n%s", out, err, said)
	}
	return s
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

// start runs one of the suites' programs on the first node, with its output in a file beside the record. That it fails is no error: its report says so.
func (s *suites) start(t *testing.T, program string, args ...string) string {
	t.Helper()
	if err := os.MkdirAll(records, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(records, program+".log")
	log, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := s.Nodes[0].Command(t.Context(), filepath.Join(s.dir, program), args...)
	c.Env = append(c.Env, "KUBECONFIG="+s.Kubeconfig(), "HOME="+s.reports)
	c.Dir = s.reports
	c.Stdout, c.Stderr = log, log
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
func (s *suites) kubernetes(t *testing.T) Run {
	s.start(t, "ginkgo", "--procs="+*procs, "--no-color", "--silence-skips", "--timeout=2h", "--output-dir="+s.reports, "--json-report=report.json",
		"--focus="+cmp.Or(*focus, `\[sig-network\]`), "--skip="+Pattern(Excluded), filepath.Join(s.dir, "e2e.test"), "--",
		"--provider=local", fmt.Sprintf("--num-nodes=%d", len(s.Nodes)), "--kubeconfig="+s.Kubeconfig(), "--dump-logs-on-failure=false")
	results, err := Ginkgo(s.report(t, "report.json"), "[sig-network]")
	if err != nil {
		t.Fatal(err)
	}
	if *focus == "" {
		Explain(results, Excluded, "not selected")
	}
	return Run{Version: "v1.34.4", Results: results}
}

// cyclonus runs its table of policies, for what the kernel has sockets of.
func (s *suites) cyclonus(t *testing.T) Run {
	s.start(t, "cyclonus", "generate", "--exclude=sctp", "--server-protocol=TCP,UDP", "--job-timeout-seconds=1", "--perturbation-wait-seconds=1", "--retries=1",
		"--cleanup-namespaces", "--junit-results-file="+filepath.Join(s.reports, "cyclonus.xml"))
	results, err := JUnit(bytes.NewReader(s.report(t, "cyclonus.xml")))
	if err != nil {
		t.Fatal(err)
	}
	return Run{Version: "v0.5.6", Results: results}
}

// policies runs network-policy-api's tests.
func (s *suites) policies(t *testing.T) Run {
	crd, err := os.ReadFile(filepath.Join(s.dir, "clusternetworkpolicies.yaml"))
	if err == nil {
		err = s.Apply(t.Context(), string(crd))
	}
	if err != nil {
		t.Fatal(err)
	}
	out := s.start(t, "policies.test", "-test.v", "-test.timeout=1h", "-test.run="+cmp.Or(*focus, "^TestConformance$"))
	results := Verbose(out)
	WithoutSCTP(results)
	return Run{Version: "v0.2.0", Results: results}
}
