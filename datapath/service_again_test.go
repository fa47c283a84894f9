// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tried is how long a connection took to be refused.
func (c *container) tried(to netip.AddrPort) time.Duration {
	c.t.Helper()
	began := time.Now()
	err := c.do(func() error {
		conn, err := net.DialTimeout("tcp", to.String(), patience)
		if err == nil {
			conn.Close()
			return errors.New("it is accepted")
		}
		return err
	})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		c.t.Errorf("%s: %v", to, err)
	}
	return time.Since(began)
}

// A program that has just ended, or does not listen yet, refuses. The client gets another provider, some time later.
func TestConnectionThatAProviderRefusesGoesToAnother(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, redWeb(t), web())
	clients := []*container{n1.startDual(1), n2.startDual(2)}
	n1.startDual(11, "app", "web") // does not listen
	p2 := n2.startDual(12, "app", "web")
	clients = append(clients, n1.startDual(13, "app", "web")) // does not either, and may be its own provider
	c.apply()
	p2.provide("p2")
	for _, from := range clients {
		for _, to := range families(web(), 80) {
			var all sync.WaitGroup
			errs := make(chan error, 20)
			for range cap(errs) {
				all.Go(func() {
					var conn net.Conn
					err := from.do(func() (err error) {
						conn, err = net.DialTimeout("tcp", to.String(), patience)
						return err
					})
					if err != nil {
						errs <- err
						return
					}
					defer conn.Close()
					var name, seen string
					if _, err := fmt.Fscanf(conn, "%s %s\n", &name, &seen); err != nil || name != "p2" {
						errs <- fmt.Errorf("answered by %q (%v)", name, err)
					}
				})
			}
			all.Wait()
			close(errs)
			refused := 0 // where the second provider does not listen either
			for err := range errs {
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%s: %v", to, err)
				}
				refused++
			}
			if refused > cap(errs)*2/3 {
				t.Errorf("%s: %d of %d connections were refused", to, refused, cap(errs))
			}
		}
	}
	if drops, err := n1.dp.Drops(); err != nil || drops["service_again"] == 0 {
		t.Errorf("dropped are %v, %v", drops, err)
	}
}

func TestConnectionThatEveryProviderRefusesIsRefusedSoon(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, redWeb(t), web())
	client := n.startDual(1)
	n.startDual(11, "app", "web")
	c.apply()
	for _, to := range families(web(), 80) {
		if took := client.tried(to); took > time.Second {
			t.Errorf("by the only provider %s is refused after %s", to, took)
		}
	}
	n.startDual(12, "app", "web")
	n.startDual(13, "app", "web")
	c.apply()
	for _, to := range families(web(), 80) {
		if took := client.tried(to); took > 5*time.Second {
			t.Errorf("by three providers %s is refused after %s", to, took)
		}
	}
}
