// SPDX-License-Identifier: Apache-2.0

package store

import (
	"strings"

	"github.com/contivnet/contiv/model"
)

const root = "/contiv/v1/"

// keyOf is where the store has the object.
func keyOf(r model.Ref) string { return root + string(r.Kind) + "/" + r.Key }

// refOf reads what keyOf wrote. ok is false for what is no object's key.
func refOf(key string) (r model.Ref, ok bool) {
	rest, ok := strings.CutPrefix(key, root)
	if !ok {
		return r, false
	}
	kind, key, ok := strings.Cut(rest, "/")
	return model.Ref{Kind: model.Kind(kind), Key: key}, ok && key != ""
}
