// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/bgp"
	"github.com/contivnet/contiv/cmd/internal/flags"
	"github.com/contivnet/contiv/cni/call"
	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/docker"
	"github.com/contivnet/contiv/netdev"
)

// uninstall takes away all that netplugin has put into this node's kernel. It exits with 0 when nothing is left, 1 when it is not asked
// well or containers are still attached, 2 when something could not be removed.
func uninstall(args []string, stdout, stderr io.Writer) int {
	f := flags.New("netplugin uninstall", "CONTIV_NETPLUGIN_")
	runDir := f.String("run-dir", defaultRunDir, "the run directory of the agent")
	stateDir := f.String("data-dir", "/var/lib/contiv/netplugin", "state that stays, which is removed too")
	pinDir := f.String("bpf-dir", datapath.DefaultPinDir, "where programs and maps are pinned")
	plugin := f.String("plugin-name", "netplugin", "name of the network and IPAM drivers in Docker")
	var cniDirs cniDirs
	cniDirs.flags(f)
	force := f.Bool("force", false, "also while containers are attached, which lose their network")
	_, help, err := f.Parse(args, os.Getenv)
	if help {
		fmt.Fprintf(stdout, "Removes what netplugin has put into this node: programs, maps, devices, rules, sockets, files. The agent must be stopped.\n\nUsage: netplugin uninstall [--force]\n\n%s", f.FlagUsages())
		return 0
	}
	fail := func(code int, err error) int {
		fmt.Fprintln(stderr, "netplugin uninstall:", err)
		return code
	}
	if err != nil {
		return fail(1, err)
	}
	unlock, err := lock(*runDir)
	if err != nil {
		return fail(1, err)
	}
	defer unlock()
	if err := idle(*stateDir); err != nil {
		return fail(1, err)
	}
	ports, err := netdev.Ports()
	if err != nil {
		return fail(2, err)
	}
	if len(ports) > 0 && !*force {
		return fail(1, fmt.Errorf("%d containers are attached, which would lose their network: remove them first, or add --force", len(ports)))
	}
	// First, so that no more pods are sent here.
	if err := cniDirs.remove(); err != nil {
		return fail(2, err)
	}
	err = datapath.Remove(*pinDir)
	for _, p := range ports {
		err = errors.Join(err, netdev.RemovePort(p.Name))
	}
	err = errors.Join(err, bgp.Remove(*runDir), netdev.RemoveInfra(), netdev.RemoveFirewall(), netdev.RemoveOutside(), netdev.UnpassForwarding("iptables", datapath.OwnMark), netdev.UnpassForwarding("ip6tables", datapath.OwnMark))
	if err != nil { // the directories say what is left, for the next try
		return fail(2, err)
	}
	err = errors.Join(removeSocket(filepath.Join(docker.PluginDir, *plugin+".sock")), removeSocket(call.SocketPath))
	for _, dir := range []string{*stateDir, *runDir} {
		err = errors.Join(err, removeTree(dir))
		if up := filepath.Dir(dir); filepath.Base(up) == "contiv" {
			_ = os.Remove(up) // unless a master's is in it too
		}
	}
	if err != nil {
		return fail(2, err)
	}
	fmt.Fprintln(stdout, "netplugin has left nothing in this node's kernel; forwarding of packets stays as it is")
	return 0
}

// removeTree removes a directory with all in it. One on which a disk is mounted stays, empty.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if errors.Is(err, unix.EBUSY) {
		if left, e := os.ReadDir(dir); e == nil && len(left) == 0 {
			return nil
		}
	}
	return err
}

// removeSocket removes what a killed agent has left at the path. At what somebody answers is not its own any more.
func removeSocket(path string) error {
	if conn, err := net.Dial("unix", path); err == nil {
		return conn.Close()
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket of an agent that was killed: %w", err)
	}
	return nil
}
