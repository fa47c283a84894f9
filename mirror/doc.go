// SPDX-License-Identifier: Apache-2.0

// Package mirror keeps the store's objects of Kubernetes equal to what its API server has: one of ours for one of its own, in the
// words of package model. What follows from several of them is worked out by who reads the World.
//
// Each kind is listed and watched. After a list the store's objects of the kind that are not in it go, so it does not matter
// what an earlier master left; what a watch tells is written as it comes, and in its order. While the API server is away the store keeps what it
// said last.
//
// Only the master that leads does this (package master's Lead): it lists after its turn has begun, reads the newest (no resourceVersion), and
// writes nothing after its turn is over. So nobody writes older over newer, and resource versions need not be compared.
//
// To add a kind:
//   - in package model: the noun, its Kind, its table in World and its line in columns. Its Key is namespace/name, as
//     Kubernetes has them, or the name where the kind has no namespaces.
//   - here: a file of its name with a function from Kubernetes' object to ours, as serviceOf, a table test and a seed in FuzzTranslations;
//     and a line in kinds. An API that the server does not have is looked for again from time to time.
//   - in deploy/k8s/netmaster-rbac.yaml: the resource.
package mirror
