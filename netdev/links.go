// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// maxDumps bounds how often devices or their queues are listed anew. A list of a thousand takes 5 ms.
const maxDumps = 30

// links are all devices of the calling thread's namespace. The kernel says when devices came or went while it listed
// them. Then others, too, may be missing, and who is missing is taken for gone: so such a list is no list.
func links() ([]netlink.Link, error) {
	all, err := complete(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list network devices: %w", err)
	}
	return all, nil
}

func complete[T any](list func() ([]T, error)) ([]T, error) {
	var err error
	for range maxDumps {
		var all []T
		if all, err = list(); err == nil {
			return all, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return nil, err
}
