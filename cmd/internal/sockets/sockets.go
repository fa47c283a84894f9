// SPDX-License-Identifier: Apache-2.0

// Package sockets says which process has a port, for the message of a daemon that cannot have it.
//
// What bites: proc(5) shows the sockets of this network namespace, and whose they are to root alone.
package sockets

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Listening sockets have this state in /proc/net/tcp (TCP_LISTEN).
const tcpListen = "0A"

// OwnerOfTCP names the process that listens on the port; "" when none is found.
func OwnerOfTCP(port uint16) string { return owner(port, tcpListen, "/proc/net/tcp", "/proc/net/tcp6") }

// OwnerOfUDP names the process that has the port; "" when none is found, as for a socket of the kernel.
func OwnerOfUDP(port uint16) string { return owner(port, "", "/proc/net/udp", "/proc/net/udp6") }

func owner(port uint16, state string, tables ...string) string {
	for _, table := range tables {
		if inode := inodeOf(table, state, port); inode != "" && inode != "0" {
			if who := processWith(inode); who != "" {
				return who
			}
		}
	}
	return ""
}

// inodeOf finds the inode of the socket with that local port, in that state unless it is "".
func inodeOf(table, state string, port uint16) string {
	f, err := os.Open(table)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || state != "" && fields[3] != state {
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
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is right
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			return "" // it has just ended
		}
		return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(name)))
	}
	return ""
}
