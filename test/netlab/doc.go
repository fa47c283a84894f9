// SPDX-License-Identifier: Apache-2.0

// Package netlab starts hosts with real Docker engines on one Linux machine, for tests of whole systems, the
// demo and the benchmarks.
//
//	lab := netlab.New(t, netlab.Options{Hosts: []netlab.HostOptions{{Name: "node1"}, {Name: "node2"}}})
//	node1 := lab.Host("node1")
//	engine, err := node1.StartEngine(t.Context(), netlab.EngineOptions{})
//	err = node1.LoadImage(t.Context())
//	out, err := node1.Docker(t.Context(), "run", "--rm", "alpine", "ip", "addr")
//
// New is for tests: it skips without root, and when the test ends it removes the lab and fails the test if
// anything is left. Up, Open and Remove are for programs: Up starts a lab that outlives the program, Open finds
// it again by its directory, and Remove takes down what is there, also after a crash.
//
// # What a host is
//
// A host is one process, tini, that holds a network, mount, pid, uts and ipc namespace as its pid 1. Killing that
// process is pulling the plug: daemons, containers, mounts and links go with it, and nothing has to be undone.
//
//	machine's namespaces          fabric (netns)             host (netns, mounts, pids, host name)
//	  test, demo, bench             bridge "underlay"
//	       │                          ├─ port1 ═════════════ eth1  192.168.2.10/24   tini ─ dockerd ─ containerd ...
//	       └─ Command, Docker ...     └─ port2 ═════════════ eth1  192.168.2.11/24   tini ─ dockerd ─ containerd ...
//
// No link, rule or namespace is made in the machine's own network namespace, so its firewall does not matter,
// and labs with equal addresses do not meet. A foreign machine on the underlay is one more host (AddHost).
//
// A host sees the machine's root file system, except for:
//
//	/run, /sys, /sys/fs/bpf, /proc   its own; /run is in memory
//	/etc, /var/lib                   the machine's, with the host's own changes over it, in memory
//	/var/lib/docker, /var/lib/containerd, /var/lib/contiv, /etc/docker, and Options.Disk
//	                                 its disk: Options.Dir/<host>/disk. Empty at first, kept by Kill and Boot
//	/sys/fs/cgroup                   the machine's (v1, v2 or both); containers are in /netlab-<lab>/<host>
//
// # What bites
//
//   - /tmp and everything else is the machine's own, seen and written by all hosts.
//   - A host's daemons are children of the program that started them. A started Cmd has to be waited for. When that
//     program ends, they are handed to the machine's pid 1, which has to reap (in a container: docker run --init).
//   - Paths below /run exist in the host only. From outside they are below Host.Root.
//   - Host.Pid, Netns, Root and EngineSocket change with each Boot.
//   - Docker keeps images in Options.Dir: on a file system that overlay cannot stand on (another overlay) it falls
//     back to copies of whole images, which is slow.
//   - An ephemeral lab dies with the program that started it, also when that is killed; its directory and empty
//     cgroups are removed by the next lab with a random name.
//   - After Cut and Restore, or a Boot, a neighbour may need a second to forget that an address did not answer.
package netlab
