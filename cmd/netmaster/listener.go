// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"strconv"

	"github.com/contivnet/contiv/cmd/internal/sockets"
)

// listener says which process has the TCP port of address:port.
func listener(addr string) string {
	_, text, _ := net.SplitHostPort(addr)
	if port, err := strconv.ParseUint(text, 10, 16); err == nil {
		if who := sockets.OwnerOfTCP(uint16(port)); who != "" {
			return who
		}
	}
	return "a process that this user may not see"
}
