// SPDX-License-Identifier: Apache-2.0

package model

// Labels of a pod's endpoint, as a kubelet writes them on containers.
const (
	LabelPodNamespace = "io.kubernetes.pod.namespace"
	LabelPodName      = "io.kubernetes.pod.name"
)

// Pod is the namespace and the name of the pod of Kubernetes whose endpoint it is, as shop/web-0; "" for one that is no pod's.
func (e Endpoint) Pod() string {
	namespace, name := e.Labels[LabelPodNamespace], e.Labels[LabelPodName]
	if namespace == "" || name == "" {
		return ""
	}
	return namespace + "/" + name
}
