// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/contivnet/contiv/model"
)

// sctpPacket has the common header of SCTP (RFC 9260 3.1) and a checksum that nobody here looks at.
func sctpPacket(from, to uint16, content string) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	return append(append(b, 1, 2, 3, 4, 5, 6, 7, 8), content...)
}

// sctpSocket takes and sends whole packets of SCTP, which not every kernel knows.
func (c *container) sctpSocket(like netip.Addr) net.PacketConn {
	c.t.Helper()
	network := "ip4:132"
	if like.Is6() {
		network = "ip6:132"
	}
	var conn net.PacketConn
	must(c.t, c.do(func() (err error) {
		conn, err = net.ListenPacket(network, c.ip(like).String())
		return err
	}))
	c.t.Cleanup(func() { conn.Close() })
	must(c.t, conn.SetDeadline(deadline()))
	return conn
}

func TestAssociationsReachAServiceUnchanged(t *testing.T) {
	t.Parallel()
	s := web()
	s.Ports = []model.ServicePort{{Port: 9, Target: 9, Protocol: "SCTP"}}
	c, n1, n2 := twoNodes(t, AttachAuto, redWeb(t), s)
	client, provider := n1.startDual(1), n2.startDual(12, "app", "web")
	c.apply()
	for _, to := range families(s, 9) {
		asking, answering := client.sctpSocket(to.Addr()), provider.sctpSocket(to.Addr())
		wants := func(at net.PacketConn, packet []byte, from netip.Addr) {
			t.Helper()
			buf := make([]byte, 1000)
			n, source, err := at.ReadFrom(buf)
			must(t, err)
			if !bytes.Equal(buf[:n], packet) || source.String() != from.String() {
				t.Errorf("%x came from %s, not %x from %s", buf[:n], source, packet, from)
			}
		}
		request, reply := sctpPacket(6000, 9, "init"), sctpPacket(9, 6000, "init ack")
		_, err := asking.WriteTo(request, &net.IPAddr{IP: to.Addr().AsSlice()})
		must(t, err)
		wants(answering, request, client.ip(to.Addr()))
		_, err = answering.WriteTo(reply, &net.IPAddr{IP: client.ip(to.Addr()).AsSlice()})
		must(t, err)
		wants(asking, reply, to.Addr())
	}
}
