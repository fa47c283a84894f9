// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/test/cluster"
)

// asked is what netctl answers as JSON.
func asked[T any](t *testing.T, c *cluster.Cluster, args ...string) (out T) {
	t.Helper()
	if err := json.Unmarshal([]byte(netctl(t, c, append(args, "-o", "json")...)), &out); err != nil {
		t.Fatalf("netctl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// flowsOf are those that nodes have kept.
func flowsOf(t *testing.T, c *cluster.Cluster, args ...string) (out []api.Flow) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(netctl(t, c, append([]string{"flows", "-o", "json"}, args...)...)))
	for d.More() {
		var f api.Flow
		if err := d.Decode(&f); err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// countedRule is what rule-ls tells of a rule.
type countedRule struct {
	RuleID string                                       `json:"ruleId"`
	Counts *struct{ Packets, Connections, Audited int } `json:"counts"`
}

// counted waits until a rule's counts are as they have to be.
func counted(t *testing.T, c *cluster.Cluster, rule string, enough func(packets, connections, audited int) bool) {
	t.Helper()
	eventually(t, func() error {
		for _, r := range asked[[]countedRule](t, c, "policy", "rule-ls", "p") {
			if r.RuleID != rule {
				continue
			}
			if r.Counts == nil {
				return fmt.Errorf("rule %s has no counts", rule)
			}
			if !enough(r.Counts.Packets, r.Counts.Connections, r.Counts.Audited) {
				return fmt.Errorf("rule %s counts %+v", rule, *r.Counts)
			}
			return nil
		}
		return fmt.Errorf("there is no rule %s", rule)
	})
}

// followed are the lines of netctl flows -f, which runs until the test ends.
func followed(t *testing.T, c *cluster.Cluster, args ...string) <-chan string {
	t.Helper()
	cmd := c.Nodes[0].Command(t.Context(), filepath.Join(programs.Dir(t), "netctl"), append([]string{"--netmaster", c.MasterURL(), "flows", "-f"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended with the test
		_ = cmd.Wait()
	})
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

// comes waits for a line that has all the words.
func comes(t *testing.T, lines <-chan string, words ...string) {
	t.Helper()
	late := time.After(patience)
	var seen []string
next:
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatalf("the stream has ended before a line has %q:\n%s", words, strings.Join(seen, "\n"))
			}
			seen = append(seen, l)
			for _, w := range words {
				if !strings.Contains(l, w) {
					continue next
				}
			}
			return
		case <-late:
			t.Fatalf("no line has %q:\n%s", words, strings.Join(seen, "\n"))
		}
	}
}

func TestOperatorSeesWhoWasRefusedByWhichRule(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "contiv-net", "-s", "10.1.2.0/24")
	netctl(t, c, "group", "create", "contiv-net", "web")
	netctl(t, c, "policy", "create", "p")
	netctl(t, c, "policy", "rule-add", "p", "1", "-direction=in", "-protocol=tcp", "-action=deny")
	netctl(t, c, "policy", "rule-add", "p", "2", "-direction=in", "-protocol=tcp", "-port=8888", "-from-group=web", "-action=allow", "-priority=10")
	netctl(t, c, "group", "create", "contiv-net", "db", "-policy=p")
	for _, n := range c.Nodes {
		engineHas(t, n, "contiv-net", "db.contiv-net", "db", "web.contiv-net", "web")
	}
	run(t, a, "db1", "db")
	run(t, b, "web1", "web")
	run(t, b, "far", "contiv-net")
	to := address(t, a, "db1", "db")
	docker(t, a, "exec", "-d", "db1", "sh", "-c", "while true; do nc -l 8888; done")

	lines := followed(t, c, "--group", "db")
	comes(t, lines, "Time", "Verdict", "Rule")
	scans(t, b, "web1", to, map[int]string{8888: open})
	scans(t, b, "far", to, map[int]string{8888: dropped})
	comes(t, lines, a.Name(), "allowed", "tcp", "web1 (web) "+address(t, b, "web1", "web"), "db1 (db) "+to+":8888", "default:p:2")
	comes(t, lines, a.Name(), "denied", "tcp", "far "+address(t, b, "far", "contiv-net"), "db1 (db) "+to+":8888", "default:p:1")

	for _, f := range flowsOf(t, c, "--verdict", "denied") {
		if f.From.Container != "far" || f.From.Node != b.Name() || f.To.Group != "db" || f.Node != a.Name() || f.Rule != "default:p:1" || f.Reason != "policy_in" || f.Tenant != "default" {
			t.Errorf("refused is %+v", f)
		}
		if age := time.Since(f.Time); age < 0 || age > time.Hour {
			t.Errorf("it was %s ago", age)
		}
	}
	counted(t, c, "1", func(_, connections, audited int) bool { return connections >= 1 && audited == 0 })
	counted(t, c, "2", func(packets, connections, _ int) bool { return packets >= 3 && connections >= 1 })
	var refusedThere uint64
	for _, d := range asked[api.Drops](t, c, "drops").Drops {
		if d.Reason == "policy_in" {
			refusedThere += d.Packets
			if d.Node != a.Name() || d.Group != "default:db" || d.Network != "default:contiv-net" {
				t.Errorf("a rule of db's incoming packets drops as %+v", d)
			}
		}
	}
	if refusedThere == 0 {
		t.Error("no packet was dropped by policy")
	}

	// What trace says is what the kernel did.
	for from, want := range map[string]struct{ verdict, rule, otherwise, then string }{
		"web1": {"allow", "default:p:2", "deny", "default:p:1"}, "far": {"deny", "default:p:1", "allow", ""}, "group:web": {"allow", "default:p:2", "deny", "default:p:1"},
	} {
		got := asked[api.Trace](t, c, "policy", "trace", "--from", from, "--to", "db1", "--proto", "tcp", "--port", "8888")
		if got.Verdict != want.verdict || got.Rule != want.rule || got.Otherwise != want.otherwise || got.OtherwiseRule != want.then || got.Steps[len(got.Steps)-1].Node != a.Name() {
			t.Errorf("from %s: %+v", from, got)
		}
	}

	// An audited policy refuses nothing, and tells what it would.
	netctl(t, c, "policy", "audit", "p", "on")
	scans(t, b, "far", to, map[int]string{8888: open})
	comes(t, lines, "audited", "far ", "default:p:1")
	counted(t, c, "1", func(_, _, audited int) bool { return audited >= 1 })
	netctl(t, c, "policy", "audit", "p", "off")
	scans(t, b, "far", to, map[int]string{8888: dropped})

	// A node that does not answer is named, soon.
	if err := b.Agent.Stop(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	silent := asked[api.Drops](t, c, "drops").Silent
	if len(silent) != 1 || silent[0].Node != b.Name() || time.Since(began) > 10*time.Second {
		t.Errorf("silent are %+v, after %s", silent, time.Since(began))
	}
	if err := b.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if silent := asked[api.Drops](t, c, "drops").Silent; len(silent) > 0 {
			return fmt.Errorf("silent are %+v", silent)
		}
		return nil
	})
	run(t, b, "late", "db")
	scans(t, a, "db1", address(t, b, "late", "db"), map[int]string{1: dropped})
	comes(t, lines, b.Name(), "denied", "db1 (db)", "late (db)")
}
