// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/contivnet/contiv/model"
)

// podObject is what is read of a Pod; the rest is passed over while it is read.
type podObject struct {
	metav1.TypeMeta
	metav1.ObjectMeta `json:"metadata"`
	Spec              podSpec `json:"spec"`
}

type podSpec struct {
	Containers     []container `json:"containers"`
	InitContainers []container `json:"initContainers,omitempty"`
}

type container struct {
	RestartPolicy string          `json:"restartPolicy,omitempty"`
	Ports         []containerPort `json:"ports,omitempty"`
	probes
}

type containerPort struct {
	Name          string `json:"name,omitempty"`
	Protocol      string `json:"protocol,omitempty"` // TCP, UDP or SCTP
	ContainerPort uint16 `json:"containerPort"`
}

// podObjects is a PodList.
type podObjects struct {
	metav1.TypeMeta
	metav1.ListMeta `json:"metadata"`
	Items           []podObject `json:"items"`
}

// DeepCopyObject is asked for by package runtime. What a pod has is never written to.
func (p *podObject) DeepCopyObject() runtime.Object {
	out := *p
	return &out
}

// DeepCopyObject is asked for by package runtime. What a pod has is never written to.
func (p *podObjects) DeepCopyObject() runtime.Object {
	out := *p
	return &out
}

// ports are those that have names. Of two containers' with one name and protocol the first's is meant, and init containers' only where those
// run on beside the others.
func (s podSpec) ports() (out []model.NamedPort) {
	type known struct{ name, protocol string }
	has := map[known]bool{}
	add := func(c container) {
		for _, p := range c.Ports {
			if p.Protocol == "" {
				p.Protocol = "TCP"
			}
			is := known{p.Name, p.Protocol}
			if p.Name == "" || p.ContainerPort == 0 || has[is] {
				continue
			}
			has[is] = true
			out = append(out, model.NamedPort{Name: p.Name, Protocol: p.Protocol, Port: p.ContainerPort})
		}
	}
	for _, c := range s.Containers {
		add(c)
	}
	for _, c := range s.InitContainers {
		if c.RestartPolicy == "Always" {
			add(c)
		}
	}
	return out
}

// podReader reads Pods. There is a client of theirs in client-go too, which knows all kinds of Kubernetes and keeps all that they have.
type podReader struct {
	client *rest.RESTClient
	params runtime.ParameterCodec
}

func newPodReader(config *rest.Config) (podReader, error) {
	v1 := schema.GroupVersion{Version: "v1"}
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(v1.WithKind("Pod"), &podObject{})
	scheme.AddKnownTypeWithName(v1.WithKind("PodList"), &podObjects{})
	metav1.AddToGroupVersion(scheme, v1)
	own := rest.CopyConfig(config)
	own.APIPath, own.GroupVersion = "/api", &v1
	own.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(own)
	return podReader{client, runtime.NewParameterCodec(scheme)}, err
}

// List lists the pods of a namespace, or of all, that o selects.
func (r podReader) List(ctx context.Context, namespace string, o metav1.ListOptions) (*podObjects, error) {
	out := &podObjects{}
	return out, r.client.Get().Namespace(namespace).Resource(pods).VersionedParams(&o, r.params).Do(ctx).Into(out)
}

// Watch tells what becomes of the pods of all namespaces that o selects.
func (r podReader) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	return r.client.Get().Resource(pods).VersionedParams(&o, r.params).Watch(ctx)
}
