// SPDX-License-Identifier: Apache-2.0

// Package datapath is the only Go that knows eBPF: it loads the programs of bpf/, attaches them to devices, and
// makes their maps hold a compile.Tables. bpf/README.md tells a packet's journey.
//
// Everything that carries packets is pinned in a bpffs directory and outlives the process:
//
//	links/tcx-port-17      a pinned link: the program on the device with ifindex 17
//	links/clsact-port-17   a directory that says that the device has a clsact filter of ours
//	maps-0f3c…/endpoints   the maps, in a directory that is named by the hash of their layout
//
// Open therefore leaves whatever is attached as it is. The first Apply fills the maps, and only then puts the new
// programs in the place of the old ones, link by link and without a gap.
//
// Questions has nothing to do with that: its program is on lo of containers, pinned nowhere, and ends by the clock.
//
// What bites: ifindexes belong to a network namespace, and a namespace to a thread. A Datapath works in the
// namespace of the thread that called Open, whichever thread calls its methods.
package datapath
