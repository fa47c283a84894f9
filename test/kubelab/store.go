// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/contivnet/contiv/test/cluster"
)

// StartStore starts on a node an etcd for masters, beside the API server's, and gives its URL. It answers those alone that show one of the certificates
// which it puts into dir, as ca.crt, tls.crt and tls.key.
func (c *Cluster) StartStore(n *cluster.Node, dir string) (url string, err error) {
	if err := c.authority.issue("store", "contiv", "", nil, n.Addr().AsSlice()); err != nil {
		return "", err
	}
	for as, file := range map[string]string{"ca.crt": "ca.crt", "tls.crt": "store.crt", "tls.key": "store.key"} {
		b, err := os.ReadFile(c.authority.path(file))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, as), b, 0o600); err != nil {
			return "", err
		}
	}
	url = "https://" + net.JoinHostPort(n.Addr().String(), "22379")
	_, err = n.Start("store", c.program("etcd"), "--data-dir=/var/lib/etcd/store", "--unsafe-no-fsync", "--listen-client-urls="+url, "--advertise-client-urls="+url,
		"--listen-peer-urls=http://127.0.0.1:22380", "--initial-advertise-peer-urls=http://127.0.0.1:22380", "--initial-cluster=default=http://127.0.0.1:22380",
		"--client-cert-auth", "--trusted-ca-file="+c.authority.path("ca.crt"), "--cert-file="+c.authority.path("store.crt"), "--key-file="+c.authority.path("store.key"))
	if err != nil {
		return "", fmt.Errorf("start an etcd for masters: %w", err)
	}
	return url, nil
}
