// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
)

// wire is a packet socket on a device: whole Ethernet frames, as whoever has CAP_NET_RAW in a namespace can send them.
type wire struct {
	fd int
	mu sync.Mutex
}

// sandbox is the path of a container's network namespace.
func sandbox(t *testing.T, n *cluster.Node, container string) string {
	t.Helper()
	path, err := n.Sandbox(t.Context(), container)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// allProtocols is ETH_P_ALL in network order.
const allProtocols = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8

// newWire opens one on a device in the namespace. With protocol 0 it only sends.
func newWire(t *testing.T, namespace, device string, protocol uint16) *wire {
	t.Helper()
	w := &wire{fd: -1}
	err := netdev.Do(namespace, func() (err error) {
		index := 0 // every device
		if device != "" {
			i, err := net.InterfaceByName(device)
			if err != nil {
				return err
			}
			index = i.Index
		}
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol)); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000}); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index})
	})
	if err != nil {
		t.Fatalf("open a packet socket on %q: %v", device, err)
	}
	t.Cleanup(w.close)
	return w
}

func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fd >= 0 {
		unix.Close(w.fd)
		w.fd = -1
	}
}

// send gives the frame to the device. A device that is gone, or refuses, loses it.
func (w *wire) send(frame []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := unix.Write(w.fd, frame)
	return err
}

// listen hands each frame to fn, with the number of its device, until the test ends.
func (w *wire) listen(t *testing.T, fn func(frame []byte, device int)) {
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		b := make([]byte, 1<<16)
		for ctx.Err() == nil {
			n, from, err := unix.Recvfrom(w.fd, b, 0)
			if err != nil {
				continue // nothing came for a while, or the device went down
			}
			if l, ok := from.(*unix.SockaddrLinklayer); ok {
				fn(b[:n], l.Ifindex)
			}
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
}

// Frames. Checksums are left out where nobody on the way looks at them.

func ethernet(to, from model.MAC, kind uint16, payload ...[]byte) []byte {
	f := append(append([]byte{}, to[:]...), from[:]...)
	return append(binary.BigEndian.AppendUint16(f, kind), bytes.Join(payload, nil)...)
}

// piece is where a fragment belongs.
type piece struct {
	id     uint16
	offset int // bytes
	more   bool
}

func (p piece) field() uint16 {
	f := uint16(p.offset / 8)
	if p.more {
		f |= 0x2000
	}
	return f
}

// ip4 is a packet with a right header checksum. Options are padded to words by whoever gives them.
func ip4(from, to netip.Addr, proto byte, options []byte, p piece, payload ...[]byte) []byte {
	body := bytes.Join(payload, nil)
	h := make([]byte, 20, 20+len(options)+len(body))
	h[0], h[8], h[9] = byte(0x45+len(options)/4), 64, proto
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(options)+len(body)))
	binary.BigEndian.PutUint16(h[4:], p.id)
	binary.BigEndian.PutUint16(h[6:], p.field())
	copy(h[12:], from.AsSlice())
	copy(h[16:], to.AsSlice())
	h = append(h, options...)
	var sum uint32
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum))
	return append(h, body...)
}

func ip6(from, to netip.Addr, next, hops byte, payload ...[]byte) []byte {
	body := bytes.Join(payload, nil)
	h := []byte{0x60, 0, 0, 0, 0, 0, next, hops}
	binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
	h = append(append(h, from.AsSlice()...), to.AsSlice()...)
	return append(h, body...)
}

// fragment6 is an IPv6 fragment header.
func fragment6(next byte, p piece) []byte {
	b := []byte{next, 0}
	f := uint16(p.offset)
	if p.more {
		f |= 1
	}
	b = binary.BigEndian.AppendUint16(b, f)
	return binary.BigEndian.AppendUint32(b, uint32(p.id))
}

func udp(from, to uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// syn opens a TCP connection, with data in it, as TCP allows.
func syn(from, to uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0)
	return append(b, payload...)
}

func arpPacket(operation uint16, senderMAC model.MAC, sender netip.Addr, targetMAC model.MAC, target netip.Addr, trailer []byte) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, operation)
	b = append(append(b, senderMAC[:]...), sender.AsSlice()...)
	b = append(append(b, targetMAC[:]...), target.AsSlice()...)
	return append(b, trailer...)
}

// vxlanTo is an inner frame as a node would send it.
func vxlanTo(vni uint32, inner []byte) []byte {
	b := []byte{8, 0, 0, 0, byte(vni >> 16), byte(vni >> 8), byte(vni), 0}
	return udp(50000, vxlanPort, append(b, inner...))
}

const vxlanPort = 4789

// inHost is an HTTP client whose connections begin on the host.
func inHost(n *cluster.Node) *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = n.Enter(func() (err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}}}
}

// dropsOf are the node's counts, by reason.
func dropsOf(t *testing.T, client *http.Client, n *cluster.Node) map[string]uint64 {
	t.Helper()
	resp, err := client.Get(fmt.Sprintf("http://%s:%d%s", n.Addr(), api.DefaultAgentPort, api.AgentCountsPath))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var counts api.NodeCounts
	if err := json.NewDecoder(resp.Body).Decode(&counts); err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, d := range counts.Drops {
		out[d.Reason] += d.Packets
	}
	return out
}

// put asks the first master for an object, and remove for its end. Both give when its answer came.
func put(t *testing.T, c *cluster.Cluster, client *http.Client, path string, object any) time.Time {
	t.Helper()
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return tell(t, c, client, http.MethodPut, path, body)
}

func remove(t *testing.T, c *cluster.Cluster, client *http.Client, path string) time.Time {
	t.Helper()
	return tell(t, c, client, http.MethodDelete, path, nil)
}

func tell(t *testing.T, c *cluster.Cluster, client *http.Client, method, path string, body []byte) time.Time {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.MasterURL()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	at := time.Now()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s: %s: %v", method, path, resp.Status, said, err)
	}
	return at
}
