// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"testing"

	"github.com/contivnet/contiv/store"
	"github.com/contivnet/contiv/store/memory"
	"github.com/contivnet/contiv/store/storetest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Store { return memory.New() })
}
