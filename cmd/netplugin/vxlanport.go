// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// claimPort takes the VXLAN port for as long as the process lives. Packets to it never reach the socket, as the data
// path takes them at the uplink; but whoever else wants the port hears that it is taken, and so do we.
func claimPort(port uint16) (net.PacketConn, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(port)})
	if err == nil {
		return c, nil
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("UDP port %d is taken by %s: stop that, or start netplugin on all nodes with another --vxlan-port", port, portOwner(port))
	}
	return nil, fmt.Errorf("take UDP port %d for VXLAN: %w", port, err)
}

// portOwner says who has a UDP port of this namespace.
func portOwner(port uint16) string {
	if links, err := netlink.LinkList(); err == nil {
		for _, l := range links {
			if v, ok := l.(*netlink.Vxlan); ok && v.Port == int(port) {
				return fmt.Sprintf("the VXLAN device %s", l.Attrs().Name)
			}
		}
	}
	for _, table := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		if inode := socketInode(table, port); inode != "" && inode != "0" {
			if who := processWith(inode); who != "" {
				return who
			}
		}
	}
	return "a VXLAN device in another network namespace (Docker's own overlay network makes one)"
}

// socketInode finds the inode of the socket with that local port in a table of proc(5)'s form.
func socketInode(table string, port uint16) string {
	f, err := os.Open(table)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if p, err := strconv.ParseUint(hex, 16, 16); err == nil && uint16(p) == port {
			return fields[9]
		}
	}
	return ""
}

func processWith(inode string) string {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(name)))
	}
	return ""
}
