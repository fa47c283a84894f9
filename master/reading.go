// SPDX-License-Identifier: Apache-2.0

package master

import (
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// reading gives n what reads its objects. missing says that there is none under a key, config is how one is shown, and oper
// what has become of it.
func reading[T model.Object, C, O any](n noun, table func(model.World) model.Table[T], missing func(key string) error, config func(model.World, T) C, oper func(model.World, T) O) noun {
	find := func(w model.World, key string) (T, error) {
		o, ok := table(w).Get(key)
		if !ok {
			return o, missing(key)
		}
		return o, nil
	}
	n.list = func(w model.World) any {
		out := []C{}
		for o := range table(w).Sorted() {
			out = append(out, config(w, o))
		}
		return out
	}
	n.get = func(w model.World, key string) (any, error) {
		o, err := find(w, key)
		if err != nil {
			return nil, err
		}
		return config(w, o), nil
	}
	n.inspect = func(w model.World, key string) (any, error) {
		o, err := find(w, key)
		if err != nil {
			return nil, err
		}
		return api.Inspect[C, O]{Config: config(w, o), Oper: oper(w, o)}, nil
	}
	return n
}
