// SPDX-License-Identifier: Apache-2.0

// Package kubeconfig reads how Kubernetes' API server is reached.
package kubeconfig

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// InCluster stands for the path of a kubeconfig: the service account that Kubernetes gives a pod.
const InCluster = "in-cluster"

// Read reads a kubeconfig, or InCluster.
func Read(path string) (*rest.Config, error) {
	var config *rest.Config
	var err error
	if path == InCluster {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags("", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read how Kubernetes' API server is reached, from %s: %w", path, err)
	}
	return config, nil
}
