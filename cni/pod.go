// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/contivnet/contiv/model"
)

// Pod names a pod of Kubernetes.
type Pod struct {
	Namespace, Name string
	UID             string // "" from a runtime that does not say it
}

// Pods knows what is said of a node's pods.
type Pods interface {
	// Place says where the pod goes: as it says itself, or its namespace, or otherwise, in this order.
	Place(ctx context.Context, pod Pod, otherwise Placement) (where Placement, told Told, err error)
	// Told is what is said of the pod by now; ok is false for a pod that is not known.
	Told(pod Pod) (told Told, ok bool)
	// Changed is closed when Told may say something else.
	Changed() <-chan struct{}
}

// Told is what Kubernetes says of a pod besides where it goes. Its endpoint follows it.
type Told struct {
	Labels map[string]string // the pod's own
	Ports  []model.NamedPort // of its containers, where they have names
	Probed []uint16          // TCP ports at which its kubelet asks whether it works, sorted
	Ending bool              // it was told to end
}

// Labels of a pod's endpoint, as a kubelet writes them on containers.
const (
	labelPodNamespace = "io.kubernetes.pod.namespace"
	labelPodName      = "io.kubernetes.pod.name"
	labelPodUID       = "io.kubernetes.pod.uid"
)

// place says where the container of the call goes, and what its endpoint tells of it. Only who is known to Kubernetes is asked for there.
func (s *Server) place(ctx context.Context, c Call, conf config) (Placement, Told, error) {
	pod := c.pod()
	if s.Pods == nil || pod.Namespace == "" || pod.Name == "" {
		return conf.Placement, Told{Labels: conf.labels()}, nil
	}
	where, told, err := s.Pods.Place(ctx, pod, conf.Placement)
	ours := map[string]string{labelConfig: conf.Name, labelPodNamespace: pod.Namespace, labelPodName: pod.Name, labelPodUID: pod.UID}
	told.Labels = joined(told.Labels, ours)
	return where.whole(), told, err
}

// joined are a pod's own labels with those that say whose an endpoint is.
func joined(own, ours map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, own)
	maps.Copy(out, ours)
	return out
}

// podOf is the pod whose endpoint has the labels, and those labels of it that are ours; ok is false for one that is no pod's.
func podOf(labels map[string]string) (pod Pod, ours map[string]string, ok bool) {
	ours = map[string]string{}
	for _, name := range []string{labelConfig, labelPodNamespace, labelPodName, labelPodUID} {
		ours[name] = labels[name]
	}
	return Pod{ours[labelPodNamespace], ours[labelPodName], ours[labelPodUID]}, ours, ours[labelPodName] != ""
}

const (
	// updatePatience is how long a master may take for an endpoint. A DEL of it waits as long.
	updatePatience = 3 * time.Second
	// followAgain is how soon what no master could be told is tried again.
	followAgain = 5 * time.Second
)

// endpoints is what follow needs of the agent.
type endpoints interface {
	Attached() []model.Endpoint
	SandboxesChanged() <-chan struct{}
	Update(ctx context.Context, id string, change func(*model.Endpoint)) error
}

// follow keeps what is told of pods on their endpoints, where services and rules look at it, and has those pods that were told to end be passed over.
func follow(ctx context.Context, pods Pods, here endpoints, log *slog.Logger) {
	ending := map[string]bool{} // endpoints that are known to
	behind := map[string]bool{} // endpoints that could not be updated last
	for {
		changed, attached := pods.Changed(), here.SandboxesChanged()
		var again <-chan time.Time
		still, failed := map[string]bool{}, map[string]bool{}
		for _, e := range here.Attached() {
			pod, ours, ok := podOf(e.Labels)
			if !ok || e.Runtime != "cni" {
				continue
			}
			told, ok := pods.Told(pod)
			still[e.ID] = ending[e.ID]
			labels, ends := joined(told.Labels, ours), told.Ending
			if !ok || maps.Equal(labels, e.Labels) && slices.Equal(told.Ports, e.NamedPorts()) && slices.Equal(told.Probed, e.Probed()) && ends == ending[e.ID] {
				continue
			}
			call, cancel := context.WithTimeout(ctx, updatePatience)
			err := here.Update(call, e.ID, func(e *model.Endpoint) {
				e.Labels, e.Spec = labels, e.Spec.WithPorts(told.Ports, told.Probed)
				e.Stopping = e.Stopping || ends && !ending[e.ID] // once: a pod that lives on for long works after all
			})
			cancel()
			if err != nil {
				if !behind[e.ID] && ctx.Err() == nil {
					log.Warn("what a pod has become is not on its endpoint yet; it is tried again", "pod", pod.Namespace+"/"+pod.Name, "error", err)
				}
				failed[e.ID] = true
				again = time.After(followAgain)
				continue
			}
			still[e.ID] = ends
		}
		ending, behind = still, failed
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-attached:
		case <-again:
		}
	}
}
