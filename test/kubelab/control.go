// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/contivnet/contiv/test/cluster"
)

const (
	apiPort = "6443"
	// storePort is that of the API server's etcd, which is none of our own.
	storePort = "12379"
	services  = "10.96.0.0/16"
	services6 = "fd00:10:96::/112"
)

// users of the API server, besides the nodes' kubelets.
const (
	admin     = "admin"
	netplugin = "contiv-netplugin"
	netmaster = "contiv-netmaster"
	kubeProxy = "kube-proxy"
)

// services are the prefixes of cluster IPs.
func (o Options) services() []netip.Prefix {
	switch v4, v6 := netip.MustParsePrefix(services), netip.MustParsePrefix(services6); {
	case o.IPv6:
		return []netip.Prefix{v6}
	case o.DualStack:
		return []netip.Prefix{v4, v6}
	default:
		return []netip.Prefix{v4}
	}
}

// nameServer is the address that pods have for the one for names, the tenth of services.
func (c *Cluster) nameServer() netip.Addr {
	a := c.options.services()[0].Addr().AsSlice()
	a[len(a)-1] = 10
	addr, _ := netip.AddrFromSlice(a)
	return addr
}

// issueAll writes the certificates and kubeconfigs of all.
func (c *Cluster) issueAll(master net.IP, nodes []string) error {
	servers := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"}
	err := c.authority.issue("apiserver", "kube-apiserver", "", servers, master, c.options.services()[0].Addr().Next().AsSlice(), net.IPv4(127, 0, 0, 1))
	if err == nil {
		err = c.authority.issue("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters", nil)
	}
	users := [][3]string{
		{admin, "kubernetes-admin", "system:masters"}, {netplugin, netplugin, ""}, {netmaster, netmaster, ""},
		{"controller-manager", "system:kube-controller-manager", ""}, {"scheduler", "system:kube-scheduler", ""}, {kubeProxy, "system:kube-proxy", ""},
	}
	for _, n := range nodes {
		users = append(users, [3]string{kubeletOf(n), "system:node:" + n, "system:nodes"})
	}
	for _, u := range users {
		if err == nil {
			_, err = c.authority.client(u[0], u[1], u[2])
		}
	}
	return err
}

// startControl starts the API server with its store, and what works through it, on the first host.
func (c *Cluster) startControl(ctx context.Context) error {
	store := "http://127.0.0.1:" + storePort
	file := c.authority.path
	if err := c.StartAPIServer(ctx, func(start starter) error {
		return start("etcd", "--name=lab", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync", "--listen-client-urls="+store, "--advertise-client-urls="+store,
			"--listen-peer-urls=http://127.0.0.1:12380", "--initial-advertise-peer-urls=http://127.0.0.1:12380", "--initial-cluster=lab=http://127.0.0.1:12380")
	}); err != nil {
		return err
	}
	start := c.starter()
	if err := start("kube-controller-manager", "--kubeconfig="+file("controller-manager.conf"), "--root-ca-file="+file("ca.crt"),
		"--service-account-private-key-file="+file("sa.key"), "--use-service-account-credentials=true",
		"--leader-elect=false", "--bind-address=127.0.0.1"); err != nil {
		return err
	}
	return start("kube-scheduler", "--kubeconfig="+file("scheduler.conf"), "--leader-elect=false", "--bind-address=127.0.0.1")
}

// starter starts one of Kubernetes' programs on the first host.
type starter func(program string, args ...string) error

func (c *Cluster) starter() starter {
	return func(program string, args ...string) error {
		_, err := c.Nodes[0].Start(program, c.program(program), args...)
		return err
	}
}

// StartAPIServer starts the API server and waits until it answers. before, where it is given, starts what it needs.
func (c *Cluster) StartAPIServer(ctx context.Context, before func(starter) error) error {
	start := c.starter()
	if before != nil {
		if err := before(start); err != nil {
			return err
		}
	}
	file := c.authority.path
	if err := os.WriteFile(file("audit.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	var ranges []string
	for _, p := range c.options.services() {
		ranges = append(ranges, p.String())
	}
	err := start(apiServer, "--advertise-address="+c.Nodes[0].Addr().String(), "--secure-port="+apiPort, "--etcd-servers=http://127.0.0.1:"+storePort,
		"--service-cluster-ip-range="+strings.Join(ranges, ","), "--allow-privileged=true", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--client-ca-file="+file("ca.crt"), "--tls-cert-file="+file("apiserver.crt"), "--tls-private-key-file="+file("apiserver.key"),
		"--kubelet-client-certificate="+file("apiserver-kubelet-client.crt"), "--kubelet-client-key="+file("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP", "--service-account-key-file="+file("sa.pub"), "--service-account-signing-key-file="+file("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local", "--profiling=false",
		"--audit-policy-file="+file("audit.yaml"), "--audit-log-path="+file(auditLog), fmt.Sprintf("--feature-gates=WatchList=%t", !c.options.Lists))
	if err != nil {
		return err
	}
	return cluster.Eventually(ctx, 2*time.Minute, func() error {
		_, err := c.Kubectl(ctx, "get", "--raw", "/readyz")
		return err
	})
}

// StopAPIServer kills the API server.
func (c *Cluster) StopAPIServer() error {
	p, err := c.Nodes[0].Process(apiServer)
	if err != nil {
		return fmt.Errorf("stop the API server: %w", err)
	}
	return p.Kill()
}

const apiServer = "kube-apiserver"
