// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"sync"

	"github.com/contivnet/contiv/api"
)

// ring keeps the newest lines. Followers have no queue of their own: each reads along, and one that the ring has overtaken is told
// how much it missed. So a slow one costs nothing.
type ring struct {
	mu    sync.Mutex
	lines []api.FlowLine // of line n at n % len
	next  uint64         // the number of the line that comes next
	moved chan struct{}  // closed and replaced when lines come
}

func newRing(size int) *ring {
	return &ring{lines: make([]api.FlowLine, size), moved: make(chan struct{})}
}

func (r *ring) add(lines []api.FlowLine) {
	if len(lines) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range lines {
		r.lines[r.next%uint64(len(r.lines))] = l
		r.next++
	}
	close(r.moved)
	r.moved = make(chan struct{})
}

// oldest is the number of the oldest line that is kept. Call it with mu held.
func (r *ring) oldest() uint64 {
	if size := uint64(len(r.lines)); r.next > size {
		return r.next - size
	}
	return 0
}

// from gives at most most lines from number at on, how many before them were missed, and which number comes after them. When there
// are none, moved is closed once there are.
func (r *ring) from(at uint64, most int) (lines []api.FlowLine, missed, to uint64, moved <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if oldest := r.oldest(); at < oldest {
		missed, at = oldest-at, oldest
	}
	for ; at < r.next && len(lines) < most; at++ {
		lines = append(lines, r.lines[at%uint64(len(r.lines))])
	}
	return lines, missed, at, r.moved
}

// last gives the newest lines that q chooses, in their order with what was lost between them, and the number of the line that comes
// next.
func (r *ring) last(q api.FlowQuery) (lines []api.FlowLine, next uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	begin, left := r.next, q.Last
	if left == 0 {
		left = len(r.lines)
	}
	for at := r.next; at > r.oldest() && left > 0; at-- {
		if l := r.lines[(at-1)%uint64(len(r.lines))]; l.Flow != nil && q.Chooses(*l.Flow) {
			begin, left = at-1, left-1
		}
	}
	for at := begin; at < r.next; at++ {
		if l := r.lines[at%uint64(len(r.lines))]; chosen(q, l) {
			lines = append(lines, l)
		}
	}
	return lines, r.next
}

// chosen tells whether a line is for who asked q. That something was lost is for everyone, as nobody knows what.
func chosen(q api.FlowQuery, l api.FlowLine) bool { return l.Flow == nil || q.Chooses(*l.Flow) }
