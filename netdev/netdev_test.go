// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/model"
)

// namespace makes a network namespace that goes with the test.
func namespace(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	name := fmt.Sprintf("nd%x", rand.Uint64())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	return "/run/netns/" + name
}

// in runs fn in the namespace and fails the test with its error.
func in(t *testing.T, path string, fn func() error) {
	t.Helper()
	if err := Do(path, fn); err != nil {
		t.Fatal(err)
	}
}

var testMAC = model.MAC{2, 2, 10, 1, 2, 3}

func TestPortIsFoundWithItsEndpointAndItsWhereabouts(t *testing.T) {
	t.Parallel()
	node, container := namespace(t), namespace(t)
	var moved, gone []Port
	in(t, node, func() error {
		if err := CreatePort("vvport3", "e1", testMAC, 1450); err != nil {
			return err
		}
		ports, err := Ports()
		if err != nil || len(ports) != 1 || ports[0].Endpoint != "e1" || !ports[0].Home {
			return fmt.Errorf("ports after creation: %+v, %v", ports, err)
		}
		if err := CreatePort("vvport3", "e2", testMAC, 1450); err == nil {
			return fmt.Errorf("a second port got the same name")
		}
		if err := MovePort("vvport3", container); err != nil {
			return err
		}
		moved, err = Ports()
		return err
	})
	if len(moved) != 1 || moved[0].Home || moved[0].Endpoint != "e1" {
		t.Errorf("ports after the move: %+v", moved)
	}
	in(t, container, func() error {
		l, err := netlink.LinkByName("vport3")
		if err != nil {
			return err
		}
		if l.Attrs().MTU != 1450 || l.Attrs().HardwareAddr.String() != testMAC.String() {
			return fmt.Errorf("the container's side has MTU %d and MAC %s", l.Attrs().MTU, l.Attrs().HardwareAddr)
		}
		return nil
	})
	in(t, node, func() error {
		if err := RemovePort("vvport3"); err != nil {
			return err
		}
		var err error
		if gone, err = Ports(); err != nil {
			return err
		}
		return RemovePort("vvport3") // nothing left to remove
	})
	if len(gone) != 0 {
		t.Errorf("ports after removal: %+v", gone)
	}
}

func TestRoutesOfAContainerBecomeExactlyThoseWanted(t *testing.T) {
	t.Parallel()
	node, container := namespace(t), namespace(t)
	var index int
	in(t, node, func() error {
		if err := CreatePort("vvport1", "e1", testMAC, 1450); err != nil {
			return err
		}
		ports, err := Ports()
		if err != nil {
			return err
		}
		index = ports[0].Index
		return MovePort("vvport1", container)
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	waited := make(chan error, 1)
	go func() { waited <- WaitForDevice(ctx, container, index) }()
	in(t, container, func() error {
		l, err := netlink.LinkByName("vport1")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: netlink.NewIPNet([]byte{10, 1, 2, 3})}); err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	})
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]netip.Prefix{
		{netip.MustParsePrefix("10.1.9.0/24"), netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("2001:db8:9::/64")},
		{netip.MustParsePrefix("10.1.9.0/24"), netip.MustParsePrefix("10.3.0.0/16")},
		nil,
	} {
		if err := SetRoutes(container, index, want); err != nil {
			t.Fatal(err)
		}
		in(t, container, func() error {
			l, err := peerOf(index)
			if err != nil {
				return err
			}
			have, err := ourRoutes(l)
			if err != nil {
				return err
			}
			for p := range have {
				if !slices.Contains(want, p) {
					t.Errorf("route %s is left, wanted %v", p, want)
				}
			}
			if len(have) != len(want) {
				t.Errorf("%d routes, wanted %v", len(have), want)
			}
			return nil
		})
	}
}

func TestNamespaceThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/ns"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if IsNamespace(file) {
		t.Error("an empty file is taken for a namespace")
	}
	if err := Do(file, func() error { return nil }); err == nil {
		t.Error("an empty file was entered")
	}
	if err := Do(file+"x", func() error { return nil }); !Gone(err) {
		t.Errorf("a missing namespace gives %v", err)
	}
}
