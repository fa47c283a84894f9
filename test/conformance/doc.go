// SPDX-License-Identifier: Apache-2.0

// Package conformance runs, on a real Kubernetes cluster with Contiv, the suites that others wrote for what Contiv does there, and
// writes what came out into docs/conformance.md: Kubernetes' own tests of networks, cyclonus' tables of network policies, and
// network-policy-api's tests of cluster policies.
//
// test/kubernetes suites builds their programs; Suites names the directory. make test-k8s-conformance does all of it.
package conformance
