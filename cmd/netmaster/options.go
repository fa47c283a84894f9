// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/contivnet/contiv/cmd/internal/flags"
	"github.com/contivnet/contiv/cmd/internal/kubeconfig"
	"github.com/contivnet/contiv/model"
)

// options are what the operator can choose; parseOptions gives each its default.
type options struct {
	listen      string // host:port of the API
	advertise   string // host:port at which others reach it; "" to find out
	dataDir     string // of the embedded etcd
	etcd        []string
	etcdListen  string // URL of the embedded etcd for others; "" for none
	peers       []string
	peersLost   bool
	caFile      string // of etcd's TLS
	certFile    string
	keyFile     string
	nodeGC      time.Duration
	forwardMode string
	kubeconfig  string // path, kubeconfig.InCluster, noKubernetes, or "" for nothing to be done
	log         *slog.Logger
}

func parseOptions(args []string, getenv func(string) string, stdout, stderr io.Writer) (o options, done bool, err error) {
	f := flags.New("netmaster", "CONTIV_NETMASTER_")
	f.StringVar(&o.listen, "external-address", ":9999", "where the API is served, as address:port; :9999 is at all addresses, IPv4 and IPv6")
	f.StringVar(&o.advertise, "internal-address", "", "where others reach this master, as address:port (default: this machine's address and the API's port)")
	f.StringVar(&o.dataDir, "data-dir", "/var/lib/contiv", "where the embedded etcd has its data")
	f.StringSliceVar(&o.etcd, "etcd-endpoints", nil, "URLs of an etcd cluster to use, separated by commas (default: an embedded one)")
	f.StringVar(&o.etcdListen, "etcd-listen", "", "URL at which the embedded etcd serves other masters, without authentication (default: none but root on this machine)")
	f.StringSliceVar(&o.peers, "peers", nil, "addresses of all masters, this one's too, separated by commas: their embedded etcds are one store (port 2380, or as address:port; the same list for all)")
	f.BoolVar(&o.peersLost, "peers-lost", false, "most of --peers have lost their data for good: go on with this master's alone (once, for one master)")
	f.StringVar(&o.caFile, "etcd-ca", "", "file with the authorities that sign etcd's certificates, or those of --peers")
	f.StringVar(&o.certFile, "etcd-cert", "", "file with this master's certificate for etcd, or for its peers")
	f.StringVar(&o.keyFile, "etcd-key", "", "file with the key of that certificate")
	f.DurationVar(&o.nodeGC, "node-gc", 24*time.Hour, "how long a node may be silent before its endpoints are given up")
	f.StringVar(&o.forwardMode, "forward-mode", model.ForwardRouting, "routing or bridge, where the cluster has no settings yet (later: netctl global set)")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig by which namespaces, services and policies are read from Kubernetes' API server, or "+kubeconfig.InCluster+" for the pod's own service account; "+noKubernetes+": forget what was read")
	f.Alias("external-address", "listen-url")
	f.Alias("internal-address", "control-url")
	f.Alias("etcd-endpoints", "etcd")
	f.Alias("forward-mode", "fwdmode", "fwd-mode")
	f.Obsolete("mode", "one master serves Docker, Kubernetes and CNI at once", "plugin-mode", "cluster-mode")
	f.Obsolete("netmode", "each network has an encapsulation of its own", "network-mode", "net-mode")
	f.Variable("netmode", "NET_MODE")
	f.Obsolete("infra", "use netctl global set --fabric-mode", "infra-type")
	f.Obsolete("plugin-name", "netplugin names its drivers itself: netplugin --plugin-name", "name")
	f.Obsolete("use-syslog", "the log goes to standard error, for systemd to keep", "syslog")
	f.Obsolete("syslog-url", "the log goes to standard error, for systemd to keep")
	// Older versions kept their state there; going on without it would look like having lost it.
	consul := f.String("consul-endpoints", "", "not supported any more: use etcd")
	f.Alias("consul-endpoints", "consul")
	newLog := f.Log()
	showVersion := f.Bool("version", false, "print the version")

	notes, help, err := f.Parse(args, getenv)
	if err != nil {
		return o, false, err
	}
	if help {
		f.Usage(stdout, "A master of Contiv Network: keeps what the networks should be, and serves the API.")
		return o, true, nil
	}
	if *showVersion {
		fmt.Fprintf(stdout, "netmaster %s (commit %s, built %s)\n", version, commit, built)
		return o, true, nil
	}
	if *consul != "" {
		return o, false, fmt.Errorf("--consul-endpoints is not supported any more: leave it out, or use --etcd-endpoints")
	}
	if o.log, err = newLog(stderr); err != nil {
		return o, false, err
	}
	for _, n := range notes {
		o.log.Warn(n)
	}
	return o, false, o.check()
}

func (o options) check() error {
	for flag, addr := range map[string]string{"external-address": o.listen, "internal-address": o.advertise} {
		if addr == "" && flag == "internal-address" {
			continue
		}
		host, port, err := net.SplitHostPort(addr)
		n, perr := strconv.ParseUint(port, 10, 16)
		if err != nil || perr != nil || host != "" && net.ParseIP(host) == nil || n == 0 && flag == "internal-address" {
			return fmt.Errorf("--%s %q is not address:port; write it as 192.168.2.10:9999", flag, addr)
		}
	}
	if o.nodeGC < time.Minute {
		return fmt.Errorf("--node-gc %s is too short: a restart would cost a node its endpoints; use 1m or more", o.nodeGC)
	}
	if o.forwardMode != model.ForwardRouting && o.forwardMode != model.ForwardBridge {
		return fmt.Errorf("--forward-mode %q is unknown; use routing or bridge", o.forwardMode)
	}
	if (o.certFile == "") != (o.keyFile == "") {
		return fmt.Errorf("--etcd-cert and --etcd-key belong together; give both")
	}
	if len(o.etcd) > 0 && o.etcdListen != "" {
		return fmt.Errorf("--etcd-endpoints names an etcd and --etcd-listen is for one of this master's own; give one of them")
	}
	if len(o.peers) > 0 && (len(o.etcd) > 0 || o.etcdListen != "") {
		return fmt.Errorf("--peers makes the masters' embedded etcds one store, so --etcd-endpoints and --etcd-listen have no place beside it; leave them out")
	}
	if o.peersLost && len(o.peers) == 0 {
		return fmt.Errorf("--peers-lost is for masters with --peers; leave it out")
	}
	if len(o.peers) > 0 && (o.caFile == "") != (o.certFile == "") {
		return fmt.Errorf("with --peers, --etcd-ca, --etcd-cert and --etcd-key belong together; give all or none")
	}
	return nil
}
