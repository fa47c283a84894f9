// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"encoding/json"
	"maps"
)

// labelConfig names the network configuration that attached an endpoint. Two runtimes of a node may attach to one network, and
// neither knows the other's containers.
const labelConfig = "cni.config"

// runtimeConfig is what a runtime fills in for one container. It does so for what the configuration says it can use, as "capabilities": {"labels": true}.
type runtimeConfig struct {
	Labels       map[string]string `json:"labels"`
	PortMappings []portMapping     `json:"portMappings"`
	Bandwidth    bandwidth         `json:"bandwidth"`
}

// labels are those of a container that is no pod's: of the runtime's args (CNI's CONVENTIONS.md, args.cni.labels), and of its runtimeConfig,
// which count where both have one. Those by which we know whose an endpoint is nobody may give.
func (c config) labels() map[string]string {
	out := map[string]string{}
	var args struct {
		CNI struct {
			Labels []struct{ Key, Value string }
		}
	}
	// What args hold is anybody's, and to be passed over where it is not understood.
	if json.Unmarshal(c.Args, &args) == nil {
		for _, l := range args.CNI.Labels {
			if l.Key != "" {
				out[l.Key] = l.Value
			}
		}
	}
	maps.Copy(out, c.RuntimeConfig.Labels)
	for _, ours := range []string{labelPodNamespace, labelPodName, labelPodUID} {
		delete(out, ours)
	}
	out[labelConfig] = c.Name
	return out
}
