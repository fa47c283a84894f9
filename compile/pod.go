// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/contivnet/contiv/model"
)

// pod is what rules of Kubernetes can tell of pods besides their addresses. Pods that are alike in it are one.
type pod struct {
	namespace string
	labels    map[string]string
	ports     []model.NamedPort // sorted
}

// pods finds those that are alike.
type pods struct {
	list  []pod // the first is no pod
	index map[uint64][]int32
}

// of is the pod of an endpoint, as an index in p.list; none for one that is no pod's.
func (p *pods) of(e model.Endpoint) int32 {
	namespace, _, ok := e.Pod()
	if !ok {
		return none
	}
	if p.index == nil {
		p.list, p.index = make([]pod, 1), map[uint64][]int32{}
	}
	sum := hash64(offset64, namespace) // of the labels in whatever order
	for k, v := range e.Labels {
		if model.IsPodLabel(k) {
			sum += hash64(hash64(hash64(offset64, k), "\x00"), v)
		}
	}
	for _, n := range e.NamedPorts() {
		sum += hash64(uint64(n.Port), n.Name)
	}
	for _, i := range p.index[sum] {
		if p.list[i].is(namespace, e) {
			return i
		}
	}
	i := int32(len(p.list))
	p.list = append(p.list, pod{namespace, e.PodLabels(), sortedPorts(e.NamedPorts())})
	p.index[sum] = append(p.index[sum], i)
	return i
}

func (p pod) is(namespace string, e model.Endpoint) bool {
	if p.namespace != namespace || len(p.ports) != len(e.NamedPorts()) || !slices.Equal(p.ports, sortedPorts(e.NamedPorts())) {
		return false
	}
	own := 0
	for k, v := range e.Labels {
		if !model.IsPodLabel(k) {
			continue
		}
		if have, ok := p.labels[k]; !ok || have != v {
			return false
		}
		own++
	}
	return own == len(p.labels)
}

// namespaceLabels are those of a namespace. One that is not known has the name that Kubernetes gives each.
func namespaceLabels(w model.World, name string) map[string]string {
	if n, ok := w.Namespaces.Get(name); ok {
		return n.Labels
	}
	return map[string]string{"kubernetes.io/metadata.name": name}
}

// podSelector selects pods.
type podSelector struct {
	namespace string // of one namespace; "": of those that namespaces selects
	model.NamespacedPods
	text string // all of it
}

func selectPods(namespace string, of model.NamespacedPods) *podSelector {
	p := &podSelector{namespace: namespace, NamespacedPods: of}
	pods, _ := json.Marshal(of.Pods) // text alone
	if namespace != "" {
		p.text = "pods " + string(pods) + " of namespace " + namespace
		return p
	}
	namespaces, _ := json.Marshal(of.Namespaces)
	p.text = "pods " + string(pods) + " of namespaces " + string(namespaces)
	return p
}

// ofNamespace tells whether pods of a namespace with these labels may be meant, and ofPod whether one of them is.
func (p *podSelector) ofNamespace(name string, labels map[string]string) bool {
	if p.namespace != "" {
		return p.namespace == name
	}
	return p.Namespaces.Matches(labels)
}

func (p *podSelector) ofPod(is pod) bool { return p.Pods.Matches(is.labels) }

func (p *podSelector) selects(w model.World, is pod) bool {
	return p.ofNamespace(is.namespace, namespaceLabels(w, is.namespace)) && p.ofPod(is)
}

func sortedPorts(list []model.NamedPort) []model.NamedPort {
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b model.NamedPort) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	return out
}
