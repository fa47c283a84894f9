// SPDX-License-Identifier: Apache-2.0

// Package kubelab starts real Kubernetes clusters with Contiv on a lab's hosts: an API server with its etcd, controllers and
// scheduler on the first, and on each a containerd and a kubelet, beside the Docker engine and the agent of package cluster.
//
// test/kubernetes builds the programs, once, and Programs names the directory. Nothing is pulled: a small registry in this
// program gives the test image under whatever name it is asked for.
//
// What bites: a kubelet wants some of the machine's settings changed. It finds them changed already, in files of its host that lie over
// the real ones.
package kubelab
