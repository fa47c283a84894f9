// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// pair makes two namespaces on one wire.
func pair(t *testing.T) (a, b string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	x := fmt.Sprintf("tr%x", rand.Uint32())
	script := strings.NewReplacer("A", x+"a", "B", x+"b").Replace(`
		ip netns add A; ip netns add B
		ip -n A link add e0 type veth peer name e0 netns B
		ip -n A addr add 10.9.0.1/24 dev e0; ip -n B addr add 10.9.0.2/24 dev e0
		ip -n A link set lo up; ip -n B link set lo up; ip -n A link set e0 up; ip -n B link set e0 up`)
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("sh", "-c", "ip netns del "+x+"a; ip netns del "+x+"b").Run() })
	return "/run/netns/" + x + "a", "/run/netns/" + x + "b"
}

func TestOnlyABrokenPathLosesTraffic(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	to := netip.MustParseAddr("10.9.0.2")
	if err := Responder(ctx, b, to); err != nil {
		t.Fatal(err)
	}
	f, err := Start(a, to)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // the length of the flow, not a wait for something
	if lost := f.Stop().Lost(); lost != "" {
		t.Errorf("over a good path: %s", lost)
	}
	if f, err = Start(a, to); err != nil {
		t.Fatal(err)
	}
	ns := strings.TrimPrefix(b, "/run/netns/")
	for _, state := range []string{"down", "up"} {
		if out, err := exec.Command("ip", "-n", ns, "link", "set", "e0", state).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		time.Sleep(50 * time.Millisecond) // the length of the break
	}
	if r := f.Stop(); r.UDPLost == 0 || r.ICMPLost == 0 {
		t.Errorf("a break of the path was not noticed: %+v", r)
	}
}
