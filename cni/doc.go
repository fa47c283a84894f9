// SPDX-License-Identifier: Apache-2.0

// Package cni lets anything that speaks the Container Network Interface attach containers. The CNI program
// (contivk8s) only carries a runtime's call over a unix socket to the agent, where this package answers it.
//
// The network configuration names where containers go: {"type": "contivk8s", "tenant": "default", "network":
// "default-net"}; both have these defaults. With "group": "db" they are in that group of the network, which needs no name
// then, as no two groups of a tenant have one.
//
// Pods of Kubernetes go where their labels say, of which Pods knows; the configuration is for those that say nothing.
//
// What bites: a runtime calls DEL more than once, after a failed ADD, and for containers that never were.
// All of that succeeds. CNI names an attachment by container id and interface name, and so do we.
package cni
