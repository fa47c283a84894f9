// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// plain is the firewall of a node of which nobody goes out.
var plain = Firewall{VTEP: netip.MustParseAddr("192.0.2.1"), VXLANPort: 4789}

func TestFirewallIsThereOnceAndItsLossIsTold(t *testing.T) {
	t.Parallel()
	full := plain
	full.Private = []netip.Prefix{netip.MustParsePrefix("172.19.0.0/16"), netip.MustParsePrefix("fd63::/112")}
	full.Inside, full.Uplinks, full.OwnMark = []string{"contivh1"}, []string{"br0"}, 0x1000
	full.Homes = []netip.Addr{netip.MustParseAddr("132.1.1.2"), netip.MustParseAddr("fd09::2")}
	full.Published = []Published{
		{unix.IPPROTO_TCP, netip.IPv4Unspecified(), 8080, netip.MustParseAddrPort("172.19.0.1:80")},
		{unix.IPPROTO_UDP, netip.MustParseAddr("192.0.2.1"), 53, netip.MustParseAddrPort("172.19.0.2:53")},
		{unix.IPPROTO_TCP, netip.IPv6Unspecified(), 8080, netip.MustParseAddrPort("[fd63::1]:80")},
	}
	full.Machines = []Machine{{netip.MustParseAddr("192.0.2.1"), unix.IPPROTO_TCP, 6443}, {netip.MustParseAddr("2001:db8::1"), unix.IPPROTO_UDP, 53}}
	full.Probed = []Probed{
		{netip.MustParseAddrPort("10.1.2.1:8080"), netip.MustParseAddr("172.19.0.3")}, {netip.MustParseAddrPort("[2001:db8:1::1]:81"), netip.MustParseAddr("fd63::3")},
	}
	over6 := full
	over6.VTEP = netip.MustParseAddr("fd00:2::10")
	for name, f := range map[string]Firewall{"plain": plain, "full": full, "tunnels over IPv6": over6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := namespace(t)
			nft := func(args ...string) string {
				out, err := exec.Command("nsenter", append([]string{"--net=" + path, "nft"}, args...)...).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				return string(out)
			}
			nft("add table ip contiv; add chain ip contiv borrowed { type filter hook postrouting priority 110; }") // an earlier version's
			stands := func(want bool) {
				t.Helper()
				if ok, err := FirewallStands(); ok != want || err != nil {
					t.Errorf("a firewall is in force: %t, %v", ok, err)
				}
			}
			err := Do(path, func() error {
				if ok, err := f.Loaded(); ok || err != nil {
					t.Errorf("a namespace without the rules: %v, %v", ok, err)
				}
				stands(false)
				for range 2 { // a restart makes them anew
					if err := f.Load(); err != nil {
						return err
					}
					if ok, err := f.Loaded(); !ok || err != nil {
						t.Errorf("the rules were made, and %v, %v", ok, err)
					}
					stands(true)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if tables := nft("list", "tables"); tables != "table inet contiv\n" {
				t.Errorf("tables are %s", tables)
			}
			nft("flush", "chain", "inet", "contiv", "borrowed")
			err = Do(path, func() error {
				ok, err := f.Loaded()
				if ok {
					t.Error("a chain without its rule counts as a firewall")
				}
				stands(true)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if name != "plain" {
				listed := nft("list", "table", "inet", "contiv")
				own, forged, home := "ip saddr 127.0.0.0/8 snat ip to 192.0.2.1", "meta nfproto ipv4 udp dport 4789", "snat ip6 to 100:0:0:1::1"
				if name != "full" {
					own, forged, home = "ip saddr 127.0.0.0/8 snat ip to 192.0.0.8", "meta nfproto ipv6 udp dport 4789", "snat ip6 to fd00:2::10"
				}
				for _, want := range []string{
					own, forged, home, "ct original ip daddr 132.1.1.2",
					`oifname "contivh0" ip saddr 172.19.0.0/16 snat ip to ct original ip daddr`, `oifname "contivh1" ct status dnat`, `oifname "contivh1" counter`,
					`tcp . 8080 : 172.19.0.1 . 80`, `192.0.2.1 . udp . 53 : 172.19.0.2 . 53`, `tcp . 8080 : fd63::1 . 80`, "masquerade",
					"192.0.2.1 . tcp . 6443", "2001:db8::1 . udp . 53", "ip daddr . meta l4proto . th dport @machines4",
					`oifname "contivh1" iif 0 meta mark set meta mark | 0x00001000`, `oifname "contivh1" iif != 0 meta mark set meta mark & 0xffffefff`,
					"10.1.2.1 . tcp . 8080 : 172.19.0.3 . 8080", "2001:db8:1::1 . tcp . 81 : fd63::3 . 81", `oifname "contivh0" ip saddr 192.0.0.7`,
					"snat ip to 192.0.0.7", "snat ip6 to fd63:6f6e:7469:7601::8", "meta skuid 0", "@probing4",
				} {
					if !strings.Contains(listed, want) {
						t.Errorf("there is no %q in\n%s", want, listed)
					}
				}
			}
			nft("add table ip contiv")
			for range 2 {
				if err := Do(path, RemoveFirewall); err != nil {
					t.Fatal(err)
				}
			}
			if left := nft("list", "ruleset"); left != "" {
				t.Errorf("left is %s", left)
			}
		})
	}
}

// The node's address towards containers is also that of containers who ask for its published ports: they are no kubelet.
func TestNodeNeverSpeaksForOthersAsAProbe(t *testing.T) {
	t.Parallel()
	for _, vtep := range []string{"192.168.2.10", "fd00:2::10"} {
		for _, probe := range model.ProbeSources() {
			if own := (Firewall{VTEP: netip.MustParseAddr(vtep)}).own(probe); own == probe {
				t.Errorf("with tunnels from %s, containers come under %s, as probes do", vtep, own)
			}
		}
	}
}

func TestWhatTheFirewallDropsIsCountedOnWhenItIsLoadedAnew(t *testing.T) {
	t.Parallel()
	sendVXLAN := func() error {
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1)}, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 4789})
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write(make([]byte, 8))
		return err
	}
	if err := Do(namespace(t), func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "uplink"
		link := &netlink.Veth{LinkAttrs: attrs, PeerName: "other"}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		address, err := netlink.ParseAddr("192.0.2.1/24")
		if err != nil {
			return err
		}
		if err := errors.Join(netlink.AddrAdd(link, address), netlink.LinkSetUp(link)); err != nil {
			return err
		}
		for packets := range uint64(3) {
			if err := plain.Load(); err != nil {
				return err
			}
			drops, err := FirewallDrops()
			if err != nil || drops["borrowed"] != packets || drops["forged"] != 0 {
				t.Errorf("dropped are %v (%v), want %d", drops, err, packets)
			}
			if err := sendVXLAN(); !errors.Is(err, unix.EPERM) {
				t.Errorf("VXLAN from a socket under the node's address: %v", err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
