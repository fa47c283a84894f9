// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

func TestTransactionThatIsTooLargeIsNamed(t *testing.T) {
	t.Parallel()
	s := embedded(t, shortDir(t))
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var txn store.Txn
	for i := range 5000 {
		txn.Put = append(txn.Put, store.Put{Object: model.Tenant{Name: fmt.Sprint("t", i), Number: uint32(i + 1)}})
	}
	if _, ok, err := s.Commit(t.Context(), txn); !ok || err != nil {
		t.Errorf("5000 objects: %v, %v", ok, err)
	}
	for i := range 5001 {
		txn.Put = append(txn.Put, store.Put{Object: model.Tenant{Name: fmt.Sprint("u", i), Number: uint32(i + 1)}})
	}
	if _, _, err := s.Commit(t.Context(), txn); !errors.Is(err, store.ErrTooMany) {
		t.Errorf("10001 objects: %v", err)
	}
}
