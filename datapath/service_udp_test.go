// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net"
	"strings"
	"testing"
)

// answeredBy asks over a socket and gives the name that the answer begins with.
func answeredBy(t testing.TB, conn *net.UDPConn) string {
	t.Helper()
	_, err := conn.Write([]byte("?"))
	must(t, err)
	must(t, conn.SetReadDeadline(deadline()))
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	must(t, err)
	name, _, _ := strings.Cut(string(buf[:n]), " ")
	return name
}

func TestDatagramsGoToAnotherProviderWhenTheirsIsGone(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, redWeb(t), web())
	client := n1.startDual(1)
	providers := map[string]*container{"p1": n1.startDual(11, "app", "web"), "p2": n2.startDual(12, "app", "web")}
	c.apply()
	for name, p := range providers {
		p.provide(name)
	}
	for _, to := range families(web(), 53) {
		conn := client.asks(to)
		first := answeredBy(t, conn)
		for range 10 {
			if again := answeredBy(t, conn); again != first {
				t.Errorf("%s: %s answers, and before %s", to, again, first)
			}
		}
		c.remove(providers[first].endpoint)
		c.apply()
		if then := answeredBy(t, conn); then == first || providers[then] == nil {
			t.Errorf("%s: %q answers when %s is gone", to, then, first)
		}
		c.put(providers[first].endpoint)
		c.apply()
	}
}
