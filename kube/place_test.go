// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/contivnet/contiv/cni"
)

func TestPodGoesWhereItSaysElseWhereItsNamespaceSaysElseWhereTheConfigurationDoes(t *testing.T) {
	t.Parallel()
	type said map[string]string
	none := said{}
	for _, row := range []struct {
		what                           string
		labels, annotations, namespace said
		otherwise, want                cni.Placement
	}{
		{"nothing is said", none, none, none, cni.Placement{Tenant: "default", Network: "default-net"}, cni.Placement{Tenant: "default", Network: "default-net"}},
		{"the pod's labels", said{LabelTenant: "blue", LabelNetwork: "web"}, none, none, cni.Placement{}, cni.Placement{Tenant: "blue", Network: "web"}},
		{"its annotations", none, said{LabelTenant: "blue", LabelGroup: "db"}, none, cni.Placement{}, cni.Placement{Tenant: "blue", Group: "db"}},
		{"a label before an annotation", said{LabelNetwork: "web"}, said{LabelNetwork: "other"}, none, cni.Placement{}, cni.Placement{Network: "web"}},
		{"the namespace", none, none, said{LabelTenant: "blue", LabelNetwork: "web"}, cni.Placement{Tenant: "default", Network: "x"}, cni.Placement{Tenant: "blue", Network: "web"}},
		{"the namespace's tenant and the pod's network", said{LabelNetwork: "db"}, none, said{LabelTenant: "blue", LabelNetwork: "web"}, cni.Placement{}, cni.Placement{Tenant: "blue", Network: "db"}},
		{"another tenant than the namespace's, which knows none of its networks", said{LabelTenant: "red"}, none, said{LabelTenant: "blue", LabelNetwork: "web"}, cni.Placement{}, cni.Placement{Tenant: "red"}},
		{"the same tenant, in so many words", said{LabelTenant: "blue"}, none, said{LabelTenant: "blue", LabelNetwork: "web"}, cni.Placement{}, cni.Placement{Tenant: "blue", Network: "web"}},
		{"the default tenant, in so many words", said{LabelTenant: "default"}, none, said{LabelNetwork: "web"}, cni.Placement{}, cni.Placement{Tenant: "default", Network: "web"}},
		{"a group, which has a network of its own", said{LabelGroup: "db"}, none, said{LabelNetwork: "web"}, cni.Placement{}, cni.Placement{Group: "db"}},
		{"a network, in which the namespace's group need not be", said{LabelNetwork: "web"}, none, said{LabelGroup: "db"}, cni.Placement{}, cni.Placement{Network: "web"}},
		{"the namespace's network in the configuration's tenant", none, none, said{LabelNetwork: "web"}, cni.Placement{Tenant: "blue", Network: "x"}, cni.Placement{Tenant: "blue", Network: "web"}},
	} {
		pod := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Labels: row.labels, Annotations: row.annotations}}
		namespace := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Labels: row.namespace}}
		if got := place(pod, namespace, row.otherwise); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.what, got, row.want)
		}
	}
}
