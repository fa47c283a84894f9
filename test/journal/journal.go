// SPDX-License-Identifier: Apache-2.0

// Package journal keeps what a program writes, for tests that read it while the program runs.
package journal

import (
	"bytes"
	"sync"
)

// Journal is an io.Writer. The zero one is empty, and it may be used from any goroutine.
type Journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write adds b. It never fails.
func (j *Journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

// String is all that has been written so far.
func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}
