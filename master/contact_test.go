// SPDX-License-Identifier: Apache-2.0

package master

import (
	"testing"
	"time"
)

func TestMasterThatSleptIsDrowsyForAMoment(t *testing.T) {
	t.Parallel()
	var w wake
	now := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return now.Add(d) }
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{
		{0, false}, {time.Second, false}, {3 * time.Second, false},
		{10 * time.Second, true}, {10*time.Second + drowsy/2, true}, {10*time.Second + drowsy, false},
		{5 * time.Second, false}, {6 * time.Second, false}, // the clock was set back
	} {
		if got := w.drowsy(at(step.after)); got != step.want {
			t.Errorf("after %s: %v", step.after, got)
		}
	}
}
