// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
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

func TestTransactionOfTooManyBytesIsNamed(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	server := embedded(t, dir)
	s, err := store.Open(t.Context(), store.Dial{Endpoints: []string{"unix://" + filepath.Join(dir, "client.sock")}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(s.Close(), server.Close()); err != nil {
			t.Error(err)
		}
	}()
	for size, fits := range map[int]bool{3 << 20: true, 12 << 20: false, 40 << 20: false} {
		var txn store.Txn
		for i := range 10 {
			txn.Put = append(txn.Put, store.Put{Object: model.Tenant{Name: fmt.Sprint("t", i), DefaultNetwork: strings.Repeat("x", size/10), Number: 1}})
		}
		_, ok, err := s.Commit(t.Context(), txn)
		if ok != fits || errors.Is(err, store.ErrTooMany) == fits {
			t.Errorf("%d bytes: %v, %v", size, ok, err)
		}
	}
}
