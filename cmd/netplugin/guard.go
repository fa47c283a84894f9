// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/contivnet/contiv/netdev"
)

// guarded is what the doctor says of a node whose containers may send VXLAN under its address; "" of all others.
func guarded() string {
	switch ok, err := netdev.TunnelsGuarded(); {
	case err != nil:
		return "whether containers may send VXLAN under this node's address cannot be told: " + err.Error()
	case !ok:
		return "nftables table ip contiv is not there, so containers may send VXLAN under this node's address: netplugin makes it again at its next sweep"
	}
	return ""
}

// keepGuard puts the guard of the tunnels in place, and there again where somebody has removed it. It outlives the process, as the data
// path does. Where the kernel refuses it, containers run all the same, and the log and the doctor say what is missing.
func keepGuard(ctx context.Context, vtep netip.Addr, port uint16, every time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	err := netdev.GuardTunnels(vtep, port)
	for {
		if err != nil {
			log.Warn("containers may send VXLAN under this node's address: is nf_tables, with fib, in the kernel?", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var ok bool
		if ok, err = netdev.TunnelsGuarded(); err == nil && !ok {
			log.Warn("somebody removed nftables table ip contiv: put back")
			err = netdev.GuardTunnels(vtep, port)
		}
	}
}
