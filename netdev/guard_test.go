// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"net/netip"
	"os/exec"
	"testing"
)

func TestGuardOfTheTunnelsIsThereOnceAndItsLossIsTold(t *testing.T) {
	t.Parallel()
	path := namespace(t)
	err := Do(path, func() error {
		if ok, err := TunnelsGuarded(); ok || err != nil {
			t.Errorf("a namespace without the rules: %v, %v", ok, err)
		}
		for range 2 { // a restart makes them anew
			if err := GuardTunnels(netip.MustParseAddr("192.0.2.1"), 4789); err != nil {
				return err
			}
			if ok, err := TunnelsGuarded(); !ok || err != nil {
				t.Errorf("the rules were made, and %v, %v", ok, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("nsenter", "--net="+path, "nft", "flush", "chain", "ip", "contiv", "borrowed").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	err = Do(path, func() error {
		ok, err := TunnelsGuarded()
		if ok {
			t.Error("a chain without its rule counts as a guard")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
