// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFirstThreadOfTheProcessNeverLeavesItsNamespace(t *testing.T) {
	t.Parallel()
	path := namespace(t)
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for range 200 {
		running.Go(func() {
			err := Do(path, func() error {
				if unix.Gettid() == unix.Getpid() {
					t.Error("work in a namespace is done on the first thread")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if after, err := os.Readlink("/proc/self/ns/net"); err != nil || after != before {
		t.Errorf("the first thread is in %s, was in %s (%v)", after, before, err)
	}
}
