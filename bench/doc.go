// SPDX-License-Identifier: Apache-2.0

// Command bench measures Contiv's data path beside its peers on one machine, its masters beside a bare etcd, and how long
// containers take to start.
//
// It wires every contestant at once (bare veth pairs, static bridges, Docker's own networks on real engines,
// Contiv on real engines), then visits them in turn for many short rounds. Right before each contestant it
// measures the limit, a bare veth pair between two namespaces, and reports medians of contestant/limit: figures
// of minutes apart cannot be compared on a machine that others share, ratios of a second apart can.
//
// The load is made by this same program, started again inside the namespaces ("bench worker"), with
// blocking system calls of which the Go runtime knows nothing.
//
// The masters are measured beside a bare etcd in the same way: endpoints created over REST, what a thousand watching agents
// wait for, and what a large World costs. Clients and servers are processes of their own.
//
// Names are asked of the part of netplugin that answers them, of a real engine's resolver and, where -coredns names its
// program, of CoreDNS (bench/coredns builds it): each at 127.0.0.11 or 127.0.0.1 of a namespace, by the same clients there.
//
// Policy is measured on one node, with 1 to 10,000 rules, beside iptables and an nftables set with the same rules; there
// Contiv's ratio to itself without policy is what counts.
//
// What bites:
//   - One stream, round trips, connections and small packets run on one CPU, both ends and all softirqs: so the
//     whole cost of the path counts, whatever CPU the scheduler would have chosen. These are steady to 1-2 %; four
//     streams are placed freely and are not.
//   - TCP is cubic on every path. The default may be bbr, whose pacing hides what a path costs.
//   - On a veth underlay oversized GSO packets cross unchecked: this measures speed, never MTU correctness.
//   - A measurement during which other work took over 0.12 CPUs is repeated, a few times; the least disturbed one is kept.
package main
