// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/cmd/internal/flags"
)

// options are what the operator can choose; parseOptions gives each its default.
type options struct {
	masters   []string
	node      string // host label
	vtep      string // "" to find out
	ctrl      string // "" for the same
	vxlanPort uint16
	uplinks   []string // for VLANs; the first is used while its link is up
	status    uint16   // TCP port; 0: any that is free
	plugin    string   // the name of Docker's drivers
	docker    string   // the engine's socket
	kube      kubeOptions
	cni       cniOptions
	attach    string // auto, tcx or clsact
	pinDir    string // in a bpffs
	runDir    string
	stateDir  string
	sweep     time.Duration
	log       *slog.Logger
}

// statusSocket is where the running agent answers `netplugin doctor`.
func statusSocket(runDir string) string { return filepath.Join(runDir, "netplugin.sock") }

const defaultRunDir = "/run/contiv/netplugin"

func parseOptions(args []string, getenv func(string) string, stdout, stderr io.Writer) (o options, done bool, err error) {
	f := flags.New("netplugin", "CONTIV_NETPLUGIN_")
	hostname, _ := os.Hostname()
	f.StringSliceVar(&o.masters, "netmaster", []string{masterOf(getenv)}, "URLs of the masters, separated by commas")
	f.StringVar(&o.node, "host-label", hostname, "this node's name")
	f.StringVar(&o.vtep, "vtep-ip", "", "this node's address for VXLAN (default: the one that leads to the master)")
	f.StringVar(&o.ctrl, "ctrl-ip", "", "this node's address for control (default: the one for VXLAN)")
	f.Uint16Var(&o.vxlanPort, "vxlan-port", 4789, "UDP port of VXLAN, equal on all nodes")
	f.StringSliceVar(&o.uplinks, "vlan-uplinks", nil, "devices on whose wire VLANs are, separated by commas; the first whose link is up is used")
	f.Uint16Var(&o.status, "status-port", api.DefaultAgentPort, "TCP port on the control address at which masters ask what this node has seen; 0: any that is free")
	f.StringVar(&o.plugin, "plugin-name", "netplugin", "name of the network and IPAM drivers in Docker")
	f.StringVar(&o.docker, "docker-socket", "/var/run/docker.sock", "where the Docker engine answers; none where there is none")
	o.kube.flags(f)
	o.cni.flags(f)
	f.StringVar(&o.attach, "attach", "auto", "how programs are attached to devices: auto, tcx (kernel 6.6) or clsact")
	f.StringVar(&o.pinDir, "bpf-dir", "/sys/fs/bpf/contiv", "where programs and maps are pinned, in a mounted bpffs")
	f.StringVar(&o.runDir, "run-dir", defaultRunDir, "state that goes at a reboot")
	f.StringVar(&o.stateDir, "data-dir", "/var/lib/contiv/netplugin", "state that stays")
	f.DurationVar(&o.sweep, "sweep", 30*time.Second, "how often, and for how long, something may look left over before it is cleared")
	f.Alias("host-label", "host")
	f.Alias("plugin-name", "name")
	f.Alias("vlan-uplinks", "vlan-if")
	f.Variable("ctrl-ip", "CONTROL_IP")
	f.Variable("host-label", "HOST")
	why := "one agent serves Docker, Kubernetes and CNI at once"
	f.Obsolete("mode", why, "plugin-mode", "cluster-mode")
	f.Obsolete("netmode", "each network has an encapsulation of its own", "network-mode")
	f.Obsolete("fwdmode", "the masters keep it: netctl global set --fwd-mode", "forward-mode", "fwd-mode")
	f.Obsolete("etcd-endpoints", "the agent speaks to masters only: --netmaster", "etcd", "cluster-store", "consul-endpoints", "consul")
	newLog := f.Log()
	showVersion := f.Bool("version", false, "print the version")

	notes, help, err := f.Parse(args, getenv)
	if err != nil {
		return o, false, err
	}
	if help {
		f.Usage(stdout, "The agent of Contiv Network on a node. `netplugin doctor` compares what should be with what is.")
		return o, true, nil
	}
	if *showVersion {
		fmt.Fprintf(stdout, "netplugin %s (commit %s, built %s)\n", version, commit, built)
		return o, true, nil
	}
	if o.log, err = newLog(stderr); err != nil {
		return o, false, err
	}
	for _, n := range notes {
		o.log.Warn(n)
	}
	if o.docker == "none" { // a variable cannot be empty
		o.docker = ""
	}
	return o, false, o.check()
}

// masterOf is where a master is expected when nobody says where it is: at the Service contiv-netmaster, of which a kubelet tells the pods of its
// namespace, or on this machine.
func masterOf(getenv func(string) string) string {
	host, port := getenv("CONTIV_NETMASTER_SERVICE_HOST"), getenv("CONTIV_NETMASTER_SERVICE_PORT")
	if host == "" || port == "" {
		host, port = "127.0.0.1", strconv.Itoa(api.DefaultPort)
	}
	return "http://" + net.JoinHostPort(host, port)
}

func (o options) check() error {
	for flag, text := range map[string]string{"vtep-ip": o.vtep, "ctrl-ip": o.ctrl} {
		if _, err := netip.ParseAddr(text); text != "" && err != nil {
			return fmt.Errorf("--%s %q is not an address; write it as 192.168.2.10", flag, text)
		}
	}
	if err := o.kube.check(); err != nil {
		return err
	}
	if o.vxlanPort == 0 {
		return fmt.Errorf("--vxlan-port 0 is not a port; use 1 to 65535")
	}
	if o.plugin == "" || strings.ContainsAny(o.plugin, "/ ") {
		return fmt.Errorf("--plugin-name %q cannot be a file name; use letters, digits and '-'", o.plugin)
	}
	switch o.attach {
	case "auto", "tcx", "clsact":
		return nil
	}
	return fmt.Errorf("--attach %q is unknown; use auto, tcx or clsact", o.attach)
}
