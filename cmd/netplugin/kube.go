// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/contivnet/contiv/cmd/internal/flags"
	"github.com/contivnet/contiv/cmd/internal/kubeconfig"
	"github.com/contivnet/contiv/dns"
	"github.com/contivnet/contiv/kube"
	"github.com/contivnet/contiv/model"
)

// kubeOptions say how Kubernetes' API server is reached.
type kubeOptions struct {
	config   string // path of a kubeconfig, or kubeconfig.InCluster; "" where there is no Kubernetes
	node     string // this node's name there; "" for the host label
	patience time.Duration
	domain   string // of its names
	proxy    string // replace or keep
}

func (o *kubeOptions) flags(f *flags.Set) {
	f.StringVar(&o.config, "kubeconfig", "", "kubeconfig by which pods' labels are read from Kubernetes' API server, or "+kubeconfig.InCluster+" for the pod's own service account; empty for no Kubernetes")
	f.StringVar(&o.node, "kube-node", "", "this node's name in Kubernetes (default: the host label)")
	f.StringVar(&o.domain, "cluster-domain", dns.ClusterDomain, "domain of Kubernetes' names, as its kubelets have it")
	f.StringVar(&o.proxy, "kube-proxy", replaceProxy, "who carries what this node and the outside send to services of Kubernetes: replace has netplugin do so, keep leaves it to a kube-proxy that runs here")
	f.DurationVar(&o.patience, "kube-patience", 10*time.Second, "how long a new pod's labels are awaited while the API server is away; then the pod goes where its network configuration says")
}

// What becomes of kube-proxy's work.
const (
	replaceProxy = "replace"
	keepProxy    = "keep"
)

func (o kubeOptions) check() error {
	if err := model.CheckName("cluster-domain", strings.TrimSuffix(o.domain, "."), 200); err != nil {
		return fmt.Errorf("--%w", err)
	}
	if o.proxy != replaceProxy && o.proxy != keepProxy {
		return fmt.Errorf("--kube-proxy %q is unknown; use %s or %s", o.proxy, replaceProxy, keepProxy)
	}
	if o.patience <= 0 || o.patience > 20*time.Second {
		return fmt.Errorf("--kube-patience %s is not possible: a runtime does not wait for long; use more than 0s and at most 20s", o.patience)
	}
	return nil
}

// pods makes what knows this node's pods; nil where there is no Kubernetes.
func (o options) pods() (*kube.Pods, error) {
	if o.kube.config == "" {
		return nil, nil
	}
	config, err := kubeconfig.Read(o.kube.config)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	config.UserAgent = "netplugin/" + version
	return kube.New(kube.Options{Config: config, Node: cmp.Or(o.kube.node, o.node), Patience: o.kube.patience, Log: o.log})
}
