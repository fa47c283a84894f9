// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/netdev"
)

// Rules cost what they cost when none matches: so all of them deny TCP ports that nobody uses.

// ruleCounts are how many rules the server's policy has.
var ruleCounts = [...]int{1, 100, 1000, 10000}

// ruledPort is the port that rule i denies.
func ruledPort(i int) int { return 20000 + i }

// ruledNode is a node with Contiv on which all contestants of ruled live, each with a server in a group of its own.
type ruledNode struct {
	contiv
	client container
	shared
}

// start is called by whoever needs it first.
func (r *ruledNode) start(ctx context.Context) error {
	return r.take(func() (err error) {
		if err = r.create(ctx, 1); err == nil {
			r.client, err = r.attach(ctx, r.all[0], "bench-client", "")
		}
		return err
	})
}

// Down takes the node down with its last user.
func (r *ruledNode) Down() error {
	return r.release(r.contiv.Down)
}

// ruled is Contiv with a policy of so many rules on the server; without any, nothing is asked.
type ruled struct {
	node  *ruledNode
	rules int
}

func (r *ruled) Name() string { return fmt.Sprintf("%s, %s", oursName, rulesText(r.rules)) }

func rulesText(n int) string {
	switch n {
	case 0:
		return "no policy"
	case 1:
		return "1 rule"
	}
	return fmt.Sprintf("%d rules", n)
}

func (r *ruled) Up(ctx context.Context, _ topology) (pair, error) {
	if err := r.node.start(ctx); err != nil {
		return pair{}, err
	}
	group := ""
	if r.rules > 0 {
		group = fmt.Sprintf("ruled%d", r.rules)
		objects := []map[string]any{{"kind": "policy", "policyName": group}}
		for i := range r.rules {
			objects = append(objects, map[string]any{
				"kind": "rule", "policyName": group, "ruleId": fmt.Sprint(i + 1), "direction": "in", "action": "deny", "priority": 1,
				"protocol": "tcp", "port": ruledPort(i),
			})
		}
		objects = append(objects, map[string]any{"kind": "group", "groupName": group, "networkName": contivNetwork, "policies": []string{group}})
		if err := r.node.apply(ctx, objects); err != nil {
			return pair{}, err
		}
	}
	server, err := r.node.attach(ctx, r.node.all[0], fmt.Sprintf("bench-server%d", r.rules), group)
	if err != nil {
		return pair{}, err
	}
	return pair{client: r.node.client.namespace, server: server.namespace, address: server.address}, nil
}

func (r *ruled) Down() error { return r.node.Down() }

// filtered is two containers that a node routes between, through as many rules of the kernel's own: iptables with a rule
// for each port, or nftables with one rule and a set of ports. Both track connections, as statefulness needs it.
type filtered struct {
	with  string // iptables or nftables
	rules int
	all   []*namespace
}

func (f *filtered) Name() string { return fmt.Sprintf("%s, %s", f.with, rulesText(f.rules)) }

func (f *filtered) Down() error {
	for _, n := range f.all {
		n.close()
	}
	return nil
}

func (f *filtered) Up(ctx context.Context, _ topology) (pair, error) {
	for range 3 {
		n, err := newNamespace()
		if err != nil {
			return pair{}, err
		}
		f.all = append(f.all, n)
	}
	node := f.all[2]
	for i, c := range f.all[:2] {
		port := fmt.Sprintf("veth%d", i)
		if err := join(cable{in: node, name: port}, cable{in: c, name: "eth0"}, underlayMTU); err != nil {
			return pair{}, err
		}
		// Each has a subnet of its own, in which the node is the gateway.
		gateway := netip.AddrFrom4([4]byte{10, 200, byte(i), 254})
		if err := node.address(port, netip.PrefixFrom(gateway, 24)); err != nil {
			return pair{}, err
		}
		if err := c.address("eth0", netip.PrefixFrom(filteredAddress(i), 24)); err != nil {
			return pair{}, err
		}
		if err := c.link.RouteAdd(&netlink.Route{Gw: net.IP(gateway.AsSlice())}); err != nil {
			return pair{}, fmt.Errorf("route through the node: %w", err)
		}
	}
	err := netdev.Do(node.path(), func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	if err != nil {
		return pair{}, fmt.Errorf("have the node route: %w", err)
	}
	program, rules := f.ruleset()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + node.path()}, program...)...)
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return pair{}, fmt.Errorf("load the rules with %s: %w: %s", program[0], err, end(string(out)))
	}
	return pair{client: f.all[0].path(), server: f.all[1].path(), address: filteredAddress(1)}, nil
}

func filteredAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 200, byte(i), 1}) }

// ruleset is a program and what it reads.
func (f *filtered) ruleset() (program []string, rules string) {
	var b strings.Builder
	if f.with == "iptables" {
		b.WriteString("*filter\n-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n")
		for i := range f.rules {
			fmt.Fprintf(&b, "-A FORWARD -d %s -p tcp --dport %d -j DROP\n", filteredAddress(1), ruledPort(i))
		}
		b.WriteString("COMMIT\n")
		return []string{"iptables-restore"}, b.String()
	}
	b.WriteString("table ip bench {\nset denied {\ntype inet_service\nelements = {")
	for i := range f.rules {
		fmt.Fprintf(&b, "%d,", ruledPort(i))
	}
	fmt.Fprintf(&b, "}\n}\nchain forward {\ntype filter hook forward priority 0\nct state established,related accept\nip daddr %s tcp dport @denied drop\n}\n}\n", filteredAddress(1))
	return []string{"nft", "-f", "-"}, b.String()
}

// ruledContestants are the limit, Contiv without policy, and each with each number of rules.
func ruledContestants(programs string) []contestant {
	node := &ruledNode{contiv: contiv{programs: programs, gateway: contivGateway}}
	all := []contestant{&bareVeth{name: limitName}, &ruled{node, 0}}
	for _, n := range ruleCounts {
		all = append(all, &ruled{node, n})
	}
	for _, with := range []string{"iptables", "nftables"} {
		for _, n := range ruleCounts {
			all = append(all, &filtered{with: with, rules: n})
		}
	}
	return all
}

// policyFloor is the least part of its rate without policy that Contiv is to keep with one.
const policyFloor = 0.97

// keptTable shows ratios to the limit, and for Contiv, in brackets, to the contestant base.
func (o outcome) keptTable(base, baseText string) string {
	return table(o.ratioRows(fmt.Sprintf("ratio to %s (to %s)", limitName, baseText), func(name string, t trial) string {
		cell := o.toLimit(name, t)
		if kept, ok := o.kept(base, name, t.name); ok && strings.HasPrefix(name, oursName) && name != base {
			cell += fmt.Sprintf(" (%.3f)", kept)
		}
		return cell
	}))
}

// policyTable has Contiv beside itself without policy.
func (o outcome) policyTable() string {
	base := (&ruled{}).Name()
	text := o.keptTable(base, "no policy")
	for _, t := range policyTrials() {
		if t.name == "pps" {
			continue // nothing is promised of datagrams that nobody answers
		}
		worst := 1.0
		for _, n := range ruleCounts {
			if kept, ok := o.kept(base, (&ruled{rules: n}).Name(), t.name); ok {
				worst = min(worst, kept)
			}
		}
		verdict := "met"
		if worst < policyFloor {
			verdict = "not met"
		}
		text += fmt.Sprintf("%s with policy: at least %.3f of those without; wanted %.2f: %s\n", t.title, worst, policyFloor, verdict)
	}
	return text
}

// kept is a contestant's median as a part of another's.
func (o outcome) kept(base, name, trial string) (float64, bool) {
	b, n := o.series(base, trial, entry.ratio), o.series(name, trial, entry.ratio)
	if len(b) == 0 || len(n) == 0 || median(b) == 0 {
		return 0, false
	}
	return median(n) / median(b), true
}

// policyTrials are all but the streams that are placed freely.
func policyTrials() []trial {
	var out []trial
	for _, t := range trials() {
		if !t.free {
			out = append(out, t)
		}
	}
	return out
}

// benchPolicy is the mode -policy, and a part of the whole.
func benchPolicy(ctx context.Context, o options, stdout, stderr io.Writer) error {
	return benchRace(ctx, o, "Policy on a node", ruledContestants(o.programs), outcome.policyTable, stdout, stderr)
}

// benchRace has contestants race from one node and shows the table of what came of it.
func benchRace(ctx context.Context, o options, title string, all []contestant, show func(outcome) string, stdout, stderr io.Writer) error {
	r := &race{topology: same, trials: policyTrials(), rounds: o.rounds, secs: o.secs, tries: 3, quiet: 0.15, progress: stderr}
	began := time.Now()
	result, err := r.run(ctx, all)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n## %s: medians of %d rounds of %g s, %d CPUs, %s\n\n%s", title, o.rounds, o.secs, runtime.NumCPU(),
		time.Since(began).Round(time.Second), show(result))
	for _, f := range result.failures {
		fmt.Fprintf(stdout, "failed: %s\n", f)
	}
	if o.json != "" {
		if err := writeEntries(o.json, result.entries); err != nil {
			return err
		}
	}
	if len(result.failures) > 0 {
		return fmt.Errorf("%d failures, named under the table", len(result.failures))
	}
	return nil
}
