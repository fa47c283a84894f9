// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

func TestFirewallIsLoadedWhereIptablesFails(t *testing.T) {
	if !onNode(t) {
		return
	}
	programs := t.TempDir()
	for _, p := range []string{"iptables", "ip6tables"} {
		if err := os.WriteFile(filepath.Join(programs, p), []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	a := &Agent{Options: Options{
		Node: model.Node{Name: "n1", VTEP: netip.MustParseAddr("192.0.2.1"), VXLANPort: 4789}, Log: slog.New(slog.DiscardHandler),
	}}
	tables := compile.Tables{
		Outside: compile.Outside{IPv4: netip.MustParsePrefix("172.19.255.254/16"), IPv6: netip.MustParsePrefix("fd63::ffff/64")},
		Ports:   []compile.Port{{Private4: netip.MustParseAddr("172.19.0.1"), Private6: netip.MustParseAddr("fd63::1")}},
	}
	a.openOutside(tables, false)
	if a.outside.filter == nil {
		t.Error("nobody is told that iptables fails")
	}
	if a.outside.loaded == nil {
		t.Fatal("the firewall is not loaded")
	}
	if there, err := a.outside.loaded.Loaded(); !there || err != nil {
		t.Errorf("the firewall is there: %t, %v", there, err)
	}
}
