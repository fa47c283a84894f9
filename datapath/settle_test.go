// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"testing"
	"time"
)

func TestPortsSettleWhenNoOtherHasComeForAWhileOrAfterLong(t *testing.T) {
	t.Parallel()
	p := freshPort{since: time.Unix(1000, 0)}
	for _, row := range []struct{ newest, due time.Duration }{
		{0, settleAfter}, {time.Second, time.Second + settleAfter}, {settleBy - settleAfter, settleBy}, {settleBy, settleBy},
	} {
		if got := p.due(p.since.Add(row.newest)).Sub(p.since); got != row.due {
			t.Errorf("with the newest after %v it is due after %v, want %v", row.newest, got, row.due)
		}
	}
}
