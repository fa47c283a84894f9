// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"

	"github.com/contivnet/contiv/model"
)

// bandwidth is what a runtime asks a container to be held to (CNI's CONVENTIONS.md, bandwidth). It does so where the configuration has
// "capabilities": {"bandwidth": true}; for a pod the annotations kubernetes.io/ingress-bandwidth and egress-bandwidth say it.
type bandwidth struct {
	IngressRate  uint64 `json:"ingressRate"` // into the container, bits per second; 0: any
	IngressBurst uint64 `json:"ingressBurst"`
	EgressRate   uint64 `json:"egressRate"`  // out of it
	EgressBurst  uint64 `json:"egressBurst"` // bits
}

// noBurst is from where a burst, in bits, is no wish: containerd writes 2^32-1 for all pods and CRI-O 8 times that, as CNI's own program asks for
// some, and Kubernetes has no word for it. A pod would be held to nothing for its first 512 MB.
const noBurst = 1<<31 - 1

// spec has what the container may send and receive; nil where nothing is said.
func (c config) spec() (*model.Spec, error) {
	b := c.RuntimeConfig.Bandwidth
	sends, err := rate("egress", b.EgressRate, b.EgressBurst)
	receives, err2 := rate("ingress", b.IngressRate, b.IngressBurst)
	return (&model.Spec{Sends: sends, Receives: receives}).WithPorts(nil, nil), errors.Join(err, err2)
}

func rate(direction string, bits, burst uint64) (model.Rate, error) {
	switch {
	case burst >= noBurst:
		burst = 0
	case bits == 0 && burst != 0:
		return model.Rate{}, model.Invalid("bandwidth", "runtimeConfig.bandwidth has %sBurst and no %sRate: give both, or the rate alone", direction, direction)
	case burst != 0:
		burst = min(max(burst/8, model.MinBurst<<10), model.MaxBurst<<10)
	}
	if bits != 0 && bits < model.MinRate {
		return model.Rate{}, model.Invalid("bandwidth", "runtimeConfig.bandwidth has the %sRate %d: it is in bits per second, at least %d; write the annotation of a pod as 10M", direction, bits, model.MinRate)
	}
	return model.Rate{BitsPerSecond: bits, Burst: uint32(burst)}, nil
}
