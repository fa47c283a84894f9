// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/contivnet/contiv/test/cluster"
)

// runtime is a container runtime of one version of the specification: CNI's own library, which calls our program on a node.
type runtime struct {
	*libcni.CNIConfig
	list *libcni.NetworkConfigList
}

func newRuntime(t *testing.T, n *cluster.Node, version, name, network string) runtime {
	t.Helper()
	text := fmt.Sprintf(`{"cniVersion": %q, "name": %q, "plugins": [{"type": "contivk8s", "network": %q}]}`, version, name, network)
	list, err := libcni.NetworkConfFromBytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return runtime{libcni.NewCNIConfigWithCacheDir([]string{programs.Dir(t)}, t.TempDir(), &onNode{node: n}), list}
}

// onNode calls plugins on a node, which has files and namespaces of its own.
type onNode struct {
	cniversion.PluginDecoder
	node *cluster.Node
}

// FindInPath looks in the first directory of the path alone.
func (o *onNode) FindInPath(program string, path []string) (string, error) {
	return filepath.Join(path[0], program), nil
}

// ExecPlugin calls a plugin. What it says of a failure is a *types.Error.
func (o *onNode) ExecPlugin(ctx context.Context, path string, stdin []byte, environment []string) ([]byte, error) {
	c := o.node.Command(ctx, path)
	c.Env = append(c.Env, environment...)
	c.Stdin = strings.NewReader(string(stdin))
	out, err := c.Output()
	if err == nil {
		return out, nil
	}
	var said types.Error
	if json.Unmarshal(out, &said) != nil || said.Code == 0 {
		return nil, fmt.Errorf("a plugin fails without saying why: %w: %s", err, out)
	}
	return nil, &said
}

func (p pod) in(r runtime) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: p.name, NetNS: p.netns(), IfName: "eth0"}
}

// attach gives the pod's addresses, of which the result tells in the runtime's version of the specification.
func (p pod) attach(r runtime) ([]netip.Addr, error) {
	result, err := r.AddNetworkList(p.Context(), r.list, p.in(r))
	if err != nil {
		return nil, fmt.Errorf("ADD of %s: %w", p.name, err)
	}
	if result.Version() != r.list.CNIVersion {
		return nil, fmt.Errorf("ADD of %s is answered in version %s, asked in %s", p.name, result.Version(), r.list.CNIVersion)
	}
	now, err := current.NewResultFromResult(result)
	if err != nil {
		return nil, fmt.Errorf("ADD of %s: %w", p.name, err)
	}
	var addrs []netip.Addr
	for _, ip := range now.IPs {
		a, _ := netip.AddrFromSlice(ip.Address.IP)
		addrs = append(addrs, a.Unmap())
	}
	if len(addrs) != 2 || !addrs[0].Is4() || !addrs[1].Is6() || len(now.Routes) != 2 {
		return nil, fmt.Errorf("ADD of %s is answered %+v", p.name, now)
	}
	return addrs, nil
}

// check is a CHECK where the version has it.
func (p pod) check(r runtime) error {
	err := r.CheckNetworkList(p.Context(), r.list, p.in(r))
	if errors.Is(err, libcni.ErrorCheckNotSupp) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("CHECK of %s: %w", p.name, err)
	}
	return nil
}

func TestRuntimesOfEveryVersionAttachFiftyContainersAtOnce(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 1, cluster.Options{})
	n := c.Nodes[0]
	network(t, c, "dual", "-s", "10.1.2.0/24", "-g", "10.1.2.254", "-s6", "2001:db8:2::/64", "-g6", "2001:db8:2::1")
	versions := cniversion.All.SupportedVersions()
	if first, last := versions[0], versions[len(versions)-1]; first != "0.1.0" || last != "1.1.0" {
		t.Fatalf("the library knows %s to %s", first, last)
	}
	runtimes := make([]runtime, len(versions))
	for i, v := range versions {
		runtimes[i] = newRuntime(t, n, v, "runtime"+strings.ReplaceAll(v, ".", ""), "dual")
		if info, err := runtimes[i].GetVersionInfo(t.Context(), "contivk8s"); err != nil || !slices.Contains(info.SupportedVersions(), v) {
			t.Errorf("VERSION: %v, %v", info, err)
		}
	}
	pods := make([]pod, 50)
	for i := range pods {
		pods[i] = newPod(t, n, fmt.Sprintf("p%d", i))
	}
	of := func(i int) runtime { return runtimes[i%len(runtimes)] }
	given := make([][]netip.Addr, len(pods))
	took := atOnce(t, len(pods), func(i int) (err error) {
		given[i], err = pods[i].attach(of(i))
		return err
	})
	t.Logf("%d containers attached at once, each in %s", len(pods), spread(took))
	if t.Failed() {
		return
	}
	seen := map[netip.Addr]bool{}
	for _, a := range slices.Concat(given...) {
		if seen[a] {
			t.Errorf("%s is given twice", a)
		}
		seen[a] = true
	}

	// All calls at once, from all: those that change nothing, and those for what never was.
	atOnce(t, len(pods), func(i int) error {
		p, r := pods[i], of(i)
		again, err := p.attach(r)
		if err == nil && !slices.Equal(again, given[i]) {
			err = fmt.Errorf("%s has %v after %v", p.name, again, given[i])
		}
		never := pod{p.T, n, p.name + "-never"}
		return errors.Join(err, p.check(r), r.GetStatusNetworkList(t.Context(), r.list), r.DelNetworkList(t.Context(), r.list, never.in(r)))
	})
	endpoints(t, c, "dual", len(pods))
	pods[0].reaches(given[49][0].String())
	pods[49].reaches("-6 " + given[0][1].String())

	// Each runtime loses the second half of its containers and collects, while the others are looked at.
	lost := func(i int) bool { return i >= len(pods)/2 }
	atOnce(t, len(runtimes)+len(pods), func(i int) error {
		if i >= len(runtimes) {
			i -= len(runtimes)
			if lost(i) {
				return nil
			}
			return pods[i].check(of(i))
		}
		var valid []types.GCAttachment
		for j, p := range pods {
			if j%len(runtimes) == i && !lost(j) {
				valid = append(valid, types.GCAttachment{ContainerID: p.name, IfName: "eth0"})
			}
		}
		return runtimes[i].GCNetworkList(t.Context(), runtimes[i].list, &libcni.GCArgs{ValidAttachments: valid})
	})
	endpoints(t, c, "dual", len(pods)/2)
	atOnce(t, len(pods), func(i int) error {
		p, r := pods[i], of(i)
		if !lost(i) {
			return p.check(r)
		}
		return nil
	})
	pods[0].reaches(given[1][0].String())
	atOnce(t, 2*len(pods), func(i int) error {
		i %= len(pods)
		return of(i).DelNetworkList(t.Context(), of(i).list, pods[i].in(of(i)))
	})
	allocated(t, c, "10.1.2.254", "dual")
	endpoints(t, c, "dual", 0)
	healthy(t, c)
}
