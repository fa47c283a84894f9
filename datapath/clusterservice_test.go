// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/contivnet/contiv/model"
)

// clusterWeb is a service of Kubernetes with an address of each family, TCP port 80 and UDP 53.
func clusterWeb() model.ClusterService {
	return model.ClusterService{
		Namespace: "shop", Name: "web", ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.7"), netip.MustParseAddr("fd96::7")},
		Ports: []model.ClusterPort{{Name: "http", Protocol: "TCP", Port: 80}, {Name: "dns", Protocol: "UDP", Port: 53}},
	}
}

// providedBy are slices of clusterWeb's, one for each family, whose providers listen at the ports of container.provide.
func providedBy(all ...*container) (out []model.Object) {
	for i, family := range []string{"v4", "v6"} {
		s := model.EndpointSlice{Namespace: "shop", Name: "web-" + family, Service: "web", Ports: []model.SlicePort{
			{Name: "http", Protocol: "TCP", Port: 8080}, {Name: "dns", Protocol: "UDP", Port: 5353},
		}}
		for _, c := range all {
			s.Endpoints = append(s.Endpoints, model.SliceAddress{Addr: c.endpoint.Addrs()[i], Pod: c.endpoint.Labels[model.LabelPodName], Ready: true, Serving: true})
		}
		out = append(out, s)
	}
	return out
}

// pod has the container be one, named as its endpoint.
func (c *container) pod() *container {
	c.endpoint.Runtime = model.RuntimeCNI
	return c.label(model.LabelPodNamespace, "shop", model.LabelPodName, c.endpoint.ID)
}

// clusterAt are the addresses of clusterWeb with a port.
func clusterAt(port uint16) (out []netip.AddrPort) {
	for _, a := range clusterWeb().ClusterIPs {
		out = append(out, netip.AddrPortFrom(a, port))
	}
	return out
}

func TestServiceOfKubernetesIsReachedFromEachTenantByItsOwnPodsAndByWhoIsOutside(t *testing.T) {
	t.Parallel()
	for _, attach := range []AttachMode{AttachTCX, AttachClsact} {
		t.Run(string(attach), func(t *testing.T) {
			t.Parallel()
			if attach == AttachTCX {
				needTCX(t)
			}
			n, red, blue, f := outsideLab(t, attach)
			p := n.start("red:web", "10.1.1.11", "fd01::11").pod()
			b := n.start("blue:web", "10.1.1.11", "fd01::11").pod() // the same addresses
			n.c.put(clusterWeb())
			n.c.put(providedBy(p, b)...)
			n.c.apply()
			p.provide("red")
			b.provide("blue")
			for from, want := range map[*container]string{red: "red", blue: "blue"} {
				for _, to := range clusterAt(80) {
					conn, name, seen := from.greeting(to)
					if mine := conn.LocalAddr().(*net.TCPAddr).AddrPort(); name != want || seen != mine {
						t.Errorf("%s met %s, which saw %s", mine, name, seen)
					}
					wantEcho(t, conn, 1<<20)
				}
			}

			// Now a machine outside provides it, for both.
			f.provide("far")
			n.c.put(providedBy(f.container)...)
			n.c.apply()
			for _, from := range []*container{red, blue} {
				private4, private6 := from.private()
				for i, to := range clusterAt(80) {
					conn, name, seen := from.greeting(to)
					if private := []netip.Addr{private4, private6}[i]; name != "far" || seen.Addr() != private {
						t.Errorf("%s met %s, which saw %s", private, name, seen)
					}
					if at := conn.RemoteAddr().(*net.TCPAddr).AddrPort(); at != to {
						t.Errorf("a connection to %s became one to %s", to, at)
					}
					wantEcho(t, conn, 1<<20)
				}
				for _, to := range clusterAt(53) {
					for _, size := range []int{1, 4000} { // the last one in fragments
						if err := from.exchange(to, size, patience); err != nil {
							t.Errorf("%d bytes to %s: %v; drops: %v", size, to, err, n.dropped())
						}
					}
				}
			}
			held, err := n.dp.Held()
			must(t, err)
			if diff := Differences(n.tables(), held); len(diff) > 0 {
				t.Error(diff)
			}
		})
	}
}

func TestProviderOutsideIsReachedUnderItsOwnAddressToo(t *testing.T) {
	t.Parallel()
	n, red, _, f := outsideLab(t, AttachAuto)
	f.provide("far")
	direct := netip.AddrPortFrom(farAddr, 8080)
	before, _, _ := red.greeting(direct) // its flows are decided before there is the service
	n.c.put(clusterWeb())
	n.c.put(providedBy(f.container)...)
	n.c.apply()
	through, _, _ := red.greeting(clusterAt(80)[0])
	after, _, _ := red.greeting(direct)
	for _, conn := range []net.Conn{before, through, after} {
		wantEcho(t, conn, 100000)
	}
	n.c.remove(model.EndpointSlice{Namespace: "shop", Name: "web-v4"})
	n.c.apply()
	for _, conn := range []net.Conn{before, after} {
		wantEcho(t, conn, 100)
	}
	if _, err := through.Write([]byte("x")); err == nil {
		_, err = io.ReadFull(through, make([]byte, 1))
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the provider is gone, and its client sees %v", err)
		}
	}
}

func TestServiceOfKubernetesRefusesWhereNobodyProvidesIt(t *testing.T) {
	t.Parallel()
	n, red, blue, _ := outsideLab(t, AttachAuto)
	p := n.start("red:web", "10.1.1.11", "fd01::11").pod()
	n.c.put(clusterWeb())
	n.c.put(providedBy(p)...)
	n.c.apply()
	p.provide("p")
	for _, to := range clusterAt(80) {
		red.greeting(to)
		if _, err := blue.connect(to, patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s of a tenant that provides nothing: %v", to, err)
		}
		if _, err := red.connect(netip.AddrPortFrom(to.Addr(), 81), patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a port that %s does not have: %v", to.Addr(), err)
		}
	}
	for _, to := range clusterAt(53) {
		if err := blue.exchange(to, 1, patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("datagrams to %s of a tenant that provides nothing: %v", to, err)
		}
	}
}

func TestProvidersOfOnePortListenAtPortsOfTheirOwn(t *testing.T) {
	t.Parallel()
	n, red, _, _ := outsideLab(t, AttachAuto)
	p := n.start("red:web", "10.1.1.11", "fd01::11").pod()
	q := n.start("red:web", "10.1.1.12", "fd01::12").pod()
	p.provide("p")
	q.listenTCP(t, 9090, "q")
	s := providedBy(p)[0].(model.EndpointSlice)
	other := s
	other.Name, other.Ports = "web-other", []model.SlicePort{{Name: "http", Protocol: "TCP", Port: 9090}}
	other.Endpoints = []model.SliceAddress{{Addr: q.endpoint.IPv4, Pod: q.endpoint.ID, Ready: true}}
	n.c.put(clusterWeb(), s, other)
	n.c.apply()
	met := map[string]int{}
	for range 40 {
		conn, name, _ := red.greeting(clusterAt(80)[0])
		met[name]++
		wantEcho(t, conn, 10)
		conn.Close()
	}
	if met["p"] < 5 || met["q"] < 5 {
		t.Errorf("40 connections met %v", met)
	}
	// A provider is its own client.
	for range 10 {
		conn, _, _ := p.greeting(clusterAt(80)[0])
		wantEcho(t, conn, 1000)
		conn.Close()
	}
}

// listenTCP says name to whoever connects to the container's IPv4 address, and then echoes.
func (c *container) listenTCP(t *testing.T, port uint16, name string) {
	t.Helper()
	var l net.Listener
	must(t, c.do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(c.endpoint.IPv4, port).String())
		return err
	}))
	t.Cleanup(func() { l.Close() })
	accept(l, func(conn net.Conn) {
		fmt.Fprintf(conn, "%s %s\n", name, conn.RemoteAddr())
		io.Copy(conn, conn)
	})
}

func TestPortsOfAnAddressOutsideAtWhichNoServiceIsLeadThere(t *testing.T) {
	t.Parallel()
	n, red, blue, f := outsideLab(t, AttachAuto)
	f.provide("far")
	p := n.start("red:web", "10.1.1.11", "fd01::11").pod()
	p.provide("pod")
	s := clusterWeb()
	s.ExternalIPs = f.endpoint.Addrs()
	n.c.put(s)
	n.c.put(providedBy(p)...)
	n.c.apply()
	for _, a := range s.ExternalIPs {
		at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
		for port, want := range map[uint16]string{80: "pod", 8080: "far"} {
			conn, name, _ := red.greeting(at(port))
			if name != want {
				t.Errorf("%s is %s, want %s", at(port), name, want)
			}
			wantEcho(t, conn, 100000)
		}
		for _, size := range []int{1, 4000} { // the last one in fragments
			for _, port := range []uint16{53, 5353} {
				if err := red.exchange(at(port), size, patience); err != nil {
					t.Errorf("%d bytes to %s: %v; drops: %v", size, at(port), err, n.dropped())
				}
			}
		}
		if _, name, _ := blue.greeting(at(8080)); name != "far" {
			t.Errorf("a tenant that does not provide the service meets %s", name)
		}
		for _, from := range []*container{red, blue} {
			if _, err := from.connect(at(map[*container]uint16{red: 81, blue: 80}[from]), patience); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a port at which nobody listens there: %v", err)
			}
		}
	}
	held, err := n.dp.Held()
	must(t, err)
	if diff := Differences(n.tables(), held); len(diff) > 0 {
		t.Error(diff)
	}
}

func TestClientsMeetThoseProvidersThatTheirNetworkReaches(t *testing.T) {
	t.Parallel()
	g := model.DefaultGlobal()
	g.ForwardMode = model.ForwardBridge
	c, n := oneNode(t, AttachAuto, g, redWeb(t), net46(t, "red", "db", 2, "10.1.2.0/24", "10.1.2.254", "fd02::/64", "fd02::1"))
	here, there := n.start("red:web", "10.1.1.1", "fd01::11"), n.start("red:db", "10.1.2.1", "fd02::11")
	p, q := n.start("red:web", "10.1.1.2", "fd01::12").pod(), n.start("red:db", "10.1.2.2", "fd02::12").pod()
	p.provide("web")
	q.provide("db")
	c.put(clusterWeb())
	c.put(providedBy(p, q)...)
	c.apply()
	for from, want := range map[*container]string{here: "web", there: "db", p: "web", q: "db"} {
		for _, to := range clusterAt(80) {
			for range 10 {
				conn, name, _ := from.greeting(to)
				if name != want {
					t.Errorf("a client beside %s meets %s", want, name)
				}
				wantEcho(t, conn, 10)
				conn.Close()
			}
		}
	}
	held, err := n.dp.Held()
	must(t, err)
	if diff := Differences(n.tables(), held); len(diff) > 0 {
		t.Error(diff)
	}

	// Now nobody is left that one of them reaches.
	c.put(providedBy(p)...)
	c.apply()
	for _, to := range clusterAt(80) {
		here.greeting(to)
		if _, err := there.connect(to, patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s, which nobody in reach provides: %v", to, err)
		}
	}
	for _, to := range clusterAt(53) {
		if err := there.exchange(to, 1, patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("datagrams to %s, which nobody in reach provides: %v", to, err)
		}
	}
}
