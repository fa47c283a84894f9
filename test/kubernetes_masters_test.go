// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/kubelab"
	"github.com/contivnet/contiv/test/netlab"
)

// helm runs the Helm that deploy/chart has built, on the first host, as its administrator would.
func helm(t *testing.T, c *kubelab.Cluster, line string) string {
	t.Helper()
	program, err := filepath.Abs("../deploy/chart")
	must(t, err)
	out, err := c.Terminal(c.Nodes[0]).Shell(t.Context(), "if "+program+" "+line+"; then echo it went well; fi")
	must(t, err)
	t.Logf("helm %s\n%s", line, out)
	if !strings.HasSuffix(out, "it went well\n") {
		t.Fatalf("helm %s: %s", line, out)
	}
	return out
}

// leader is the node whose master takes over what the API server says.
func leader(t *testing.T, c *kubelab.Cluster) (leads *cluster.Node) {
	t.Helper()
	eventually(t, func() error {
		w, err := worldOf(t.Context(), c)
		if err != nil {
			return err
		}
		l, _ := w.Leaders.Get(model.LeadMirror)
		for _, n := range c.Nodes {
			if at, err := netip.ParseAddrPort(l.Master); err == nil && at.Addr() == n.Addr() {
				leads = n
				return nil
			}
		}
		return fmt.Errorf("master %q leads", l.Master)
	})
	return leads
}

// losesNothing kills the leading master for good and wants another to go on, while pods come and go; then the dead one comes back. Two pods are left.
func losesNothing(t *testing.T, c *kubelab.Cluster, service string) {
	t.Helper()
	led := leader(t, c)
	lives := c.Nodes[0]
	if lives == led {
		lives = c.Nodes[1]
	}
	there := `, "nodeName": "` + lives.Name() + `"`
	apply(t, c, manifest("stays", nil, nil, there), manifest("goes", nil, nil, there))
	ready(t, c, "stays", "goes")
	kubelet, err := led.Process("kubelet")
	must(t, err)
	must(t, kubelet.Kill()) // who would start it again
	killContainer(t, c, led, "netmaster")
	kubectl(t, c, "delete", "pod", "goes", "--wait=false")
	apply(t, c, manifest("comes", nil, nil, there), fmt.Sprintf(`{"apiVersion": "v1", "kind": "Service", "metadata": {"name": %q}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}`, service))
	ready(t, c, "comes")
	eventually(t, func() error { // a store of theirs elects too
		if _, err := c.Netctl(t.Context(), "net", "create", "-s", "10.7.1.0/24", "net-"+service); err != nil && !strings.Contains(err.Error(), "exists") {
			return err
		}
		out, err := c.Netctl(t.Context(), "net", "ls")
		if err != nil || !strings.Contains(out, "net-"+service) || !strings.Contains(out, "default-net") {
			return fmt.Errorf("the networks are %s, %w", out, err)
		}
		return nil
	})
	untilWorld(t, c, func(w model.World) error {
		if _, ok := w.ClusterServices.Get("default/" + service); !ok {
			return errors.New("the service was not taken over")
		}
		return nil
	})
	endpoints(t, c.Cluster, "default-net", 2)
	pings(t, c, "comes", "stays")
	if now := leader(t, c); now == led {
		t.Errorf("the master on %s leads, which is dead", led.Name())
	}
	must(t, c.StartKubelet(led))
	installed(t, c)
}

func TestMastersOfKubernetesShareAStoreOfTheirOwnOrAnEtcd(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), "../deploy/chart", "version").CombinedOutput(); err != nil {
		t.Fatalf("build helm: %v: %s", err, out) // hosts have no way to the Internet
	}
	c := bare(t, kubelab.Options{Workers: 2})
	c.Masters = make([]*netlab.Process, len(c.Nodes)) // who asks one asks all, until one answers
	worker := c.Nodes[1]
	must(t, worker.StartDocker(t.Context()))
	must(t, worker.LoadImage(t.Context()))
	certificates := t.TempDir()
	store, err := c.StartStore(c.Nodes[0], certificates)
	must(t, err)
	var addrs, names []string
	for _, n := range c.Nodes {
		addrs, names = append(addrs, n.Addr().String()), append(names, n.Name())
	}

	// A store of their own.
	install(t, c, c.Nodes...)
	netctl(t, c.Cluster, "net", "create", "-s", "20.1.1.0/24", "-g", "20.1.1.1", "default-net")
	losesNothing(t, c, "first")

	// All of it goes with them to an etcd that asks for certificates, under pods.
	if out := script(t, c, "install.sh -n "+addrs[0]); !strings.Contains(out, "do not become one") || strings.Contains(out, "it went well") {
		t.Errorf("from three masters to one it says %s", out)
	}
	if out := script(t, c, "install.sh -n "+strings.Join(addrs, ",")+" -e "+store); !strings.Contains(out, "-t DIR") || strings.Contains(out, "it went well") {
		t.Errorf("without certificates it says %s", out)
	}
	if out := scriptBy(t, c, "timeout 30", "install.sh -n "+strings.Join(addrs, ",")+" -e http://127.0.0.1:1"); strings.Contains(out, "it went well") {
		t.Error("it is installed with an etcd that is not there")
	}
	if out := script(t, c, "install.sh -n "+strings.Join(addrs, ",")+" -e "+store+" -t "+certificates); !strings.HasSuffix(out, "it went well\n") {
		t.Fatal("it cannot be installed")
	}
	installed(t, c)
	netctl(t, c.Cluster, "net", "inspect", "net-first")
	endpoints(t, c.Cluster, "default-net", 2)
	pings(t, c, "stays", "comes")
	kubectl(t, c, "delete", "pod", "--all", "--wait", "--timeout=2m")
	endpoints(t, c.Cluster, "default-net", 0) // or netplugin is gone before they are
	if out := script(t, c, "uninstall.sh"); !strings.HasSuffix(out, "it went well\n") {
		t.Fatal("it cannot be uninstalled")
	}
	if out := kubectl(t, c, "-n", "kube-system", "get", "secrets", "-o", "name"); strings.Contains(out, "contiv") {
		t.Errorf("left is %s", out)
	}

	// The same store by the chart, on nodes of which one has Docker.
	kubectl(t, c, "-n", "kube-system", "create", "secret", "generic", "store", "--from-file="+certificates)
	list := func(of []string) string { return "'{" + strings.Join(of, ",") + "}'" }
	helm(t, c, "install contiv deploy/helm/contiv -n kube-system --set netmaster.addresses="+list(addrs)+",netmaster.nodes="+list(names)+
		",netmaster.etcd.endpoints="+list([]string{store})+",netmaster.etcd.secret=store,netplugin.docker=true,k8sServiceHost="+addrs[0])
	installed(t, c)
	netctl(t, c.Cluster, "net", "inspect", "net-first") // it is that etcd's
	netctl(t, c.Cluster, "net", "inspect", "contivh1")
	sharesItsNetworksWithDocker(t, c, worker)
	helm(t, c, "upgrade contiv deploy/helm/contiv -n kube-system --reuse-values --set image="+imageNames[1])
	installed(t, c)
	if images := kubectl(t, c, "-n", "kube-system", "get", "pod", "-l", "app in (contiv-netplugin, contiv-netmaster)", "-o", "jsonpath={.items[*].spec.containers[0].image}"); strings.Contains(images, imageNames[0]) {
		t.Errorf("the images are %s", images)
	}
	reaches(t, worker, "docked", "piloted")
	kubectl(t, c, "delete", "pod", "--all", "--wait", "--timeout=2m")
	docker(t, worker, "rm", "-f", "docked")
	endpoints(t, c.Cluster, "default-net", 0)
	helm(t, c, "uninstall contiv -n kube-system --wait")
	if out := script(t, c, "uninstall.sh"); !strings.HasSuffix(out, "it went well\n") {
		t.Fatal("the nodes cannot be cleaned")
	}
	for _, n := range c.Nodes {
		if out, err := n.Shell(t.Context(), "ls -d /opt/cni/bin/contivk8s /etc/cni/net.d/*contiv* /sys/fs/bpf/contiv /var/lib/contiv/* /run/contiv 2>/dev/null; ip -o link | grep -E 'contivh|vvport'"); err != nil || out != "" {
			t.Errorf("left on %s is %s, %v", n.Name(), out, err)
		}
	}
}

func TestChartOfKubernetesGivesMastersTheStoreThatIsChosen(t *testing.T) {
	t.Parallel()
	const three, etcd = ",netmaster.addresses={192.168.2.54,192.168.2.55,192.168.2.56}", ",netmaster.etcd.endpoints={https://192.168.2.20:2379,https://192.168.2.21:2379}"
	for values, want := range map[string]struct {
		replicas         int
		peers, endpoints string
		certificates     bool
	}{
		"":                                    {replicas: 1},
		",netmaster.addresses={192.168.2.54}": {replicas: 1},
		three:                                 {3, "192.168.2.54:6667,192.168.2.55:6667,192.168.2.56:6667", "", false},
		three + ",netmaster.etcd.secret=s":    {3, "192.168.2.54:6667,192.168.2.55:6667,192.168.2.56:6667", "", true},
		three + ",netmaster.etcd.endpoints={http://192.168.2.20:2379}":      {3, "", "http://192.168.2.20:2379", false},
		three + etcd + ",netmaster.etcd.secret=s":                           {3, "", "https://192.168.2.20:2379,https://192.168.2.21:2379", true},
		three + etcd + ",netmaster.etcd.secret=s,netmaster.etcd.replicas=2": {2, "", "https://192.168.2.20:2379,https://192.168.2.21:2379", true},
	} {
		var errors strings.Builder
		cmd := exec.CommandContext(t.Context(), "../deploy/chart", "template", "contiv", "deploy/helm/contiv", "--kube-version", "1.30.0", "--set", strings.TrimPrefix(values, ","))
		cmd.Stderr = &errors
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", values, err, &errors)
		}
		text := string(out)
		for what, there := range map[string]bool{
			fmt.Sprintf("\n  replicas: %d\n", want.replicas):                     true,
			fmt.Sprintf("CONTIV_NETMASTER_PEERS: %q\n", want.peers):              true,
			fmt.Sprintf("CONTIV_NETMASTER_ETCD_ENDPOINTS: %q\n", want.endpoints): true,
			"CONTIV_NETMASTER_ETCD_CA: /etc/contiv/etcd/ca.crt\n":                want.certificates,
			"CONTIV_NETMASTER_ETCD_KEY: /etc/contiv/etcd/tls.key\n":              want.certificates,
			"mountPath: /etc/contiv/etcd\n":                                      want.certificates,
			"secretName: s\n":                                                    want.certificates,
		} {
			if strings.Contains(text, what) != there {
				t.Errorf("with %s, %q is there: %t, want %t", values, what, !there, there)
			}
		}
	}
}

// sharesItsNetworksWithDocker has a container of Docker and pods, on its node and on another, in one network under one policy.
func sharesItsNetworksWithDocker(t *testing.T, c *kubelab.Cluster, n *cluster.Node) {
	t.Helper()
	netctl(t, c.Cluster, "policy", "create", "guard")
	netctl(t, c.Cluster, "policy", "rule-add", "guard", "1", "--direction=in", "--protocol=tcp", "--port=8081", "--action=deny")
	netctl(t, c.Cluster, "group", "create", "default-net", "guarded", "--policy=guard")
	eventually(t, func() error {
		_, err := n.Docker(t.Context(), "network", "inspect", "guarded")
		return err
	})
	inGroup := map[string]string{"io.contiv.net-group": "guarded"}
	serving := func(pod string) string {
		return strings.Replace(pod, `"command": ["sleep", "6000"]`, `"command": ["sh", "-c", "httpd -p 8080 -h /etc; exec httpd -f -p 8081 -h /etc"]`, 1)
	}
	apply(t, c, serving(manifest("piloted", inGroup, nil, onMaster)), serving(manifest("beside", inGroup, nil, `, "nodeName": "`+n.Name()+`"`)))
	ready(t, c, "piloted", "beside")
	run(t, n, "docked", "guarded")
	docker(t, n, "exec", "docked", "sh", "-c", "httpd -p 8080 -h /etc; httpd -p 8081 -h /etc")
	at := map[string]string{"docked": address(t, n, "docked", "guarded")}
	for _, pod := range []string{"piloted", "beside"} {
		at[pod] = kubectl(t, c, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
	}
	gets := func(who, url string, want bool) {
		t.Helper()
		line := "timeout 2 wget -qO- http://" + url + "/os-release >/dev/null && echo yes || echo no"
		eventually(t, func() error {
			out, err := "", error(nil)
			if who == "docked" {
				out, err = in(t.Context(), n, who, line)
			} else {
				out, err = c.Exec(t.Context(), who, line)
			}
			if got := strings.TrimSpace(out) == "yes"; err != nil || got != want {
				return fmt.Errorf("%s gets %s: %t, want %t (%w)", who, url, got, want, err)
			}
			return nil
		})
	}
	for _, pod := range []string{"piloted", "beside"} {
		for who, whom := range map[string]string{pod: "docked", "docked": pod} {
			for _, server := range []string{whom, at[whom]} {
				gets(who, server+":8080", true)
				gets(who, server+":8081", false)
			}
		}
	}
}
