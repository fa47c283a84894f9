// SPDX-License-Identifier: Apache-2.0

// Package deploy carries what an installation is made of and a program has to know too: the CNI configuration that netplugin puts onto the nodes
// of Kubernetes.
package deploy

import _ "embed"

// Conflist is k8s/10-contiv.conflist.
//
//go:embed k8s/10-contiv.conflist
var Conflist []byte
