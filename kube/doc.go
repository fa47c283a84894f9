// SPDX-License-Identifier: Apache-2.0

// Package kube reads from Kubernetes' API server what concerns one node: where its pods are to go.
//
// A pod says it by the labels or annotations io.contiv.tenant, io.contiv.network and io.contiv.net-group; a label wins over an
// annotation. What a pod leaves open its namespace may say in the same way, and after that the CNI configuration.
//
// The API server is listed and watched, for this node's pods and the metadata of namespaces; what it said last is
// used while it is away. Then a pod of which it has not told is asked for each second, by name: a watch begins again later than
// a kubelet does.
//
// What bites: a kubelet may hear of a pod before we do, and a pod of the same name may follow the last one at once. So a pod is
// awaited, and known by its UID.
package kube
