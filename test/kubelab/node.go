// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/contivnet/contiv/test/cluster"
)

const containerdConfig = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10.1"
  # Where root has no CAP_SYS_RESOURCE, as in many containers, runc cannot go below our own value.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
`

// kubeletConfig wants the authority's certificate, the cgroup, the address of names, and the taints.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %s}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: %s
failCgroupV1: false
failSwapOn: false
clusterDNS: [%s]
clusterDomain: cluster.local
resolvConf: /etc/resolv.conf
volumePluginDir: /var/lib/kubelet/volumeplugins
staticPodPath: /etc/kubernetes/manifests
# The disk is the machine's, and no image can be had again from elsewhere.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%"}
serializeImagePulls: false
nodeStatusUpdateFrequency: 5s
shutdownGracePeriod: 0s
registerWithTaints: [%s]
`

// MasterLabel and the taint of the same name are what the first node has, as in clusters that kubeadm made of old.
const MasterLabel = "node-role.kubernetes.io/master"

// tunables are settings of the machine that a kubelet wants, below /proc/sys.
var tunables = map[string]string{"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}

func kubeletOf(node string) string { return "kubelet-" + node }

// equip gives a host what its containerd and kubelet need.
func (c *Cluster) equip(ctx context.Context, n *cluster.Node) error {
	// As systemd makes it: what the host mounts reaches those containers that want it.
	if err := n.Run(ctx, "mount", "--make-rshared", "/"); err != nil {
		return err
	}
	// Not its address: containerd 1.6 reads no brackets there.
	registry := "http://" + net.JoinHostPort(c.Nodes[0].Name(), registryPort)
	files := map[string]string{
		"/etc/containerd/kubelab.toml":                containerdConfig,
		"/etc/containerd/certs.d/_default/hosts.toml": fmt.Sprintf("server = %q\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", registry, registry),
	}
	programs := []string{c.program("loopback"), c.program("portmap"), c.program("bandwidth")}
	if !c.options.Bare {
		conflist, err := os.ReadFile(c.options.Conflist)
		if err != nil {
			return err
		}
		files["/etc/cni/net.d/10-contiv.conflist"] = string(conflist)
		programs = append(programs, c.own("contivk8s"))
	}
	if err := os.MkdirAll(filepath.Join(n.Root(), "/etc/kubernetes/manifests"), 0o755); err != nil {
		return fmt.Errorf("host %s: %w", n.Name(), err)
	}
	for name, value := range tunables {
		files["/run/kubelab/"+name] = value + "\n"
	}
	for path, text := range files {
		if err := write(n, path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for name := range tunables {
		if err := n.Run(ctx, "mount", "--bind", "/run/kubelab/"+name, "/proc/sys/"+name); err != nil {
			return err
		}
	}
	for _, program := range programs {
		b, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		if err := write(n, "/opt/cni/bin/"+filepath.Base(program), b, 0o755); err != nil {
			return err
		}
	}
	if c.options.DualStack {
		if err := n.Run(ctx, "ip", "addr", "add", secondAddr(n).String(), "dev", "eth1", "nodad"); err != nil {
			return err
		}
	}
	return errors.Join(c.addDefaultRoutes(ctx, n), makeCgroup(n.Cgroup()))
}

// addDefaultRoutes gives a host those that real ones have: without, its programs send nothing to the virtual addresses of services. Nobody is there.
func (c *Cluster) addDefaultRoutes(ctx context.Context, n *cluster.Node) (err error) {
	const last = "2048" // tests may have better ones
	if !c.options.IPv6 {
		err = n.Run(ctx, "ip", "route", "add", "default", "dev", "eth1", "metric", last)
	}
	if c.options.IPv6 || c.options.DualStack {
		err = errors.Join(err, n.Run(ctx, "ip", "-6", "route", "add", "default", "dev", "eth1", "metric", last))
	}
	return err
}

// secondAddr is the IPv6 address of a host that has both: its IPv4 address in a prefix of its own.
func secondAddr(n *cluster.Node) netip.Prefix {
	a := netip.MustParseAddr("fd00:192:168::").As16()
	v4 := n.Addr().As4()
	copy(a[12:], v4[:])
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// write makes a file in the host.
func write(n *cluster.Node, path string, b []byte, mode fs.FileMode) error {
	path = filepath.Join(n.Root(), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("host %s: %w", n.Name(), err)
	}
	if err := os.WriteFile(path, b, mode); err != nil {
		return fmt.Errorf("host %s: %w", n.Name(), err)
	}
	return nil
}

// startNode starts containerd and the kubelet of a host.
func (c *Cluster) startNode(ctx context.Context, n *cluster.Node) error {
	if _, err := n.Start("containerd", "containerd", "--config", "/etc/containerd/kubelab.toml"); err != nil {
		return err
	}
	err := cluster.Eventually(ctx, 30*time.Second, func() error { return n.Run(ctx, "ctr", "version") })
	if err != nil {
		return err
	}
	for _, archive := range c.options.Archives {
		if err := n.Run(ctx, "ctr", "-n", "k8s.io", "images", "import", archive); err != nil {
			return err
		}
	}
	if c.options.KubeProxy {
		if err := c.startKubeProxy(n); err != nil {
			return err
		}
	}
	return c.StartKubelet(n)
}

// startKubeProxy starts a kube-proxy on a node, which awaits that the API server has that.
func (c *Cluster) startKubeProxy(n *cluster.Node) error {
	mode := "nftables"
	if n == c.Nodes[0] {
		mode = "iptables"
	}
	// It leaves the limits of connection tracking alone, as they are the machine's.
	_, err := n.Start("kube-proxy", c.program("kube-proxy"), "--kubeconfig="+c.authority.path(kubeProxy+".conf"), "--hostname-override="+n.Name(), "--proxy-mode="+mode,
		"--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0")
	return err
}

// StartKubelet starts the kubelet of a node on which containerd runs.
func (c *Cluster) StartKubelet(n *cluster.Node) error {
	taint := ""
	if n == c.Nodes[0] && !c.options.Untainted {
		taint = "{key: " + MasterLabel + ", effect: NoSchedule}"
	}
	config := fmt.Sprintf(kubeletConfig, c.authority.path("ca.crt"), n.Cgroup(), c.nameServer(), taint)
	if err := write(n, "/etc/kubernetes/kubelet.yaml", []byte(config), 0o644); err != nil {
		return err
	}
	addrs := n.Addr().String()
	if c.options.DualStack {
		addrs += "," + secondAddr(n).Addr().String()
	}
	_, err := n.Start("kubelet", c.program("kubelet"), "--config=/etc/kubernetes/kubelet.yaml", "--kubeconfig="+c.authority.path(kubeletOf(n.Name())+".conf"),
		"--hostname-override="+n.Name(), "--node-ip="+addrs)
	return err
}

// StartStatic has a node's kubelet start a pod without being told by the API server. It is called NAME-NODE.
func (c *Cluster) StartStatic(n *cluster.Node, name, manifest string) error {
	return write(n, "/etc/kubernetes/manifests/"+name+".json", []byte(manifest), 0o644)
}

// makeCgroup makes a cgroup in all hierarchies of the machine, v1, v2 or both: a kubelet makes those of pods only below one that is there.
func makeCgroup(path string) error {
	const at = "/sys/fs/cgroup"
	roots, err := filepath.Glob(at + "/*/cgroup.procs")
	if err != nil {
		return err
	}
	inherit := inheritSets
	if _, err := os.Stat(at + "/cgroup.controllers"); err == nil {
		roots, inherit = []string{at + "/cgroup.procs"}, inheritControllers
	}
	for _, root := range roots {
		dir := filepath.Dir(root)
		for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
			above := dir
			dir = filepath.Join(dir, part)
			err := os.MkdirAll(dir, 0o755)
			if err == nil {
				err = inherit(above, dir)
			}
			if err != nil {
				return fmt.Errorf("make the cgroup of a host: %w", err)
			}
		}
	}
	return nil
}

// inheritSets gives a cgroup of v1 the processors and memory nodes without which nothing can run in it. Beside v1 there may be a hierarchy of v2; no
// kubelet uses that then, and it stays as it is.
func inheritSets(above, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		all, err := os.ReadFile(filepath.Join(above, file))
		if err != nil {
			continue // another hierarchy
		}
		if err := os.WriteFile(filepath.Join(dir, file), all, 0); err != nil {
			return err
		}
	}
	return nil
}

// inheritControllers has cgroups below one of v2 have its controllers. At the root of the machine they stay, as kubelets leave them too: others may be using
// them by then.
func inheritControllers(above, _ string) error {
	there, err := os.ReadFile(filepath.Join(above, "cgroup.controllers"))
	if err != nil {
		return err
	}
	switchboard := filepath.Join(above, "cgroup.subtree_control")
	given, err := os.ReadFile(switchboard)
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(there)) {
		if slices.Contains(strings.Fields(string(given)), name) {
			continue
		}
		if err := os.WriteFile(switchboard, []byte("+"+name), 0); err != nil {
			return err
		}
	}
	return nil
}
