// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/contivnet/contiv/model"
)

// namespaceOf is a namespace. One that is being deleted is there until all in it has gone.
func namespaceOf(n *corev1.Namespace) (model.Namespace, bool, error) {
	return model.Namespace{Name: n.Name, Labels: n.Labels}, true, nil
}
