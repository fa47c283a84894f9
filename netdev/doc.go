// SPDX-License-Identifier: Apache-2.0

// Package netdev makes and finds network devices: veth pairs of containers, the underlay, routes and
// namespaces, by rtnetlink(7).
//
// What bites: a network namespace belongs to an OS thread. Do is the one way in, and it throws its thread
// away afterwards. Everything else works in the namespace of the process.
package netdev
