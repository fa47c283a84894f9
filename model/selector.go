// SPDX-License-Identifier: Apache-2.0

package model

import "slices"

// Selector selects by labels, as those of Kubernetes do
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors). One that says nothing selects everything.
type Selector struct {
	Labels       map[string]string `json:"labels,omitempty"`       // each must be there, and the same
	Requirements []Requirement     `json:"requirements,omitempty"` // and these hold
}

// What a Requirement asks of the label.
const (
	SelectIn      = "In"           // it is there, and one of the values
	SelectNotIn   = "NotIn"        // it is none of the values, or not there
	SelectExists  = "Exists"       // it is there
	SelectMissing = "DoesNotExist" // it is not there
)

// Requirement is what a Selector asks of one label.
type Requirement struct {
	Key      string   `json:"key"`              // of the label
	Operator string   `json:"operator"`         // SelectIn, SelectNotIn, SelectExists or SelectMissing
	Values   []string `json:"values,omitempty"` // of SelectIn and SelectNotIn
}

// Matches tells whether the labels are as the selector asks.
func (s Selector) Matches(labels map[string]string) bool {
	for k, want := range s.Labels {
		if have, ok := labels[k]; !ok || have != want {
			return false
		}
	}
	return !slices.ContainsFunc(s.Requirements, func(r Requirement) bool { return !r.matches(labels) })
}

// matches is false for an operator that only newer versions know.
func (r Requirement) matches(labels map[string]string) bool {
	have, ok := labels[r.Key]
	switch r.Operator {
	case SelectIn:
		return ok && slices.Contains(r.Values, have)
	case SelectNotIn:
		return !ok || !slices.Contains(r.Values, have)
	case SelectExists:
		return ok
	case SelectMissing:
		return !ok
	}
	return false
}

// Labels of a pod's endpoint that are not the pod's own: a kubelet writes the first three on containers, package cni the last.
const (
	LabelPodNamespace = "io.kubernetes.pod.namespace"
	LabelPodName      = "io.kubernetes.pod.name"
	LabelPodUID       = "io.kubernetes.pod.uid"
	LabelCNIConfig    = "cni.config"
)

// RuntimeCNI is the Runtime of what a runtime has attached by CNI, as all pods.
const RuntimeCNI = "cni"

// Pod names the pod whose endpoint it is, which Kubernetes knows by its namespace and name; ok is false where it is no pod's.
func (e Endpoint) Pod() (namespace, name string, ok bool) {
	namespace, name = e.Labels[LabelPodNamespace], e.Labels[LabelPodName]
	return namespace, name, e.Runtime == RuntimeCNI && namespace != "" && name != ""
}

// IsPodLabel tells whether a label of a pod's endpoint is the pod's own.
func IsPodLabel(key string) bool {
	switch key {
	case LabelPodNamespace, LabelPodName, LabelPodUID, LabelCNIConfig:
		return false
	}
	return true
}

// PodLabels are those of a pod's endpoint that are the pod's own.
func (e Endpoint) PodLabels() map[string]string {
	out := make(map[string]string, len(e.Labels))
	for k, v := range e.Labels {
		if IsPodLabel(k) {
			out[k] = v
		}
	}
	return out
}
