// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/contivnet/contiv/model"
)

// nodeOf is a node. What it says of itself every few minutes is none of ours, so nothing is written then.
func nodeOf(n *corev1.Node) (model.ClusterNode, bool, error) {
	return model.ClusterNode{Name: n.Name, Zone: n.Labels[corev1.LabelTopologyZone]}, true, nil
}
