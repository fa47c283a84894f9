// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/contivnet/contiv/cni"
)

// Labels and annotations by which a pod or a namespace says where pods go.
const (
	LabelTenant  = "io.contiv.tenant"
	LabelNetwork = "io.contiv.network"
	LabelGroup   = "io.contiv.net-group"
)

// place says where a pod goes: as it says itself, or its namespace, or otherwise.
func place(pod, namespace metav1.Object, otherwise cni.Placement) cni.Placement {
	return said(pod).Or(said(namespace).Or(otherwise))
}

// said is what an object says of itself.
func said(o metav1.Object) cni.Placement {
	word := func(name string) string { return cmp.Or(o.GetLabels()[name], o.GetAnnotations()[name]) }
	return cni.Placement{Tenant: word(LabelTenant), Network: word(LabelNetwork), Group: word(LabelGroup)}
}
