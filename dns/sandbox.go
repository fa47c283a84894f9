// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/netdev"
)

// sandbox is what we hold open in one container. Idle, it has two goroutines for each address family.
type sandbox struct {
	path       string
	everywhere bool // questions to any server are ours to answer; else those to Docker's resolver
	namespace  namespaceID
	endpoints  atomic.Pointer[[]string]
	// reply answers a query of the container with these endpoints; nil where it is for who was asked.
	reply func(endpoints []string, query []byte, over transport) []byte
	life  time.Duration
	// questions has the program that turns them, and ways is what it was given; with everywhere only.
	questions *datapath.Questions
	ways      netdev.WaysOut
	log       *slog.Logger

	doors   []door          // that of IPv4 is the first
	ctx     context.Context // ends with the sandbox, or when its sockets broke
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// namespaceID tells one namespace from the next that gets the same path. It stays unique while we have sockets there.
type namespaceID struct{ dev, inode uint64 }

func namespaceAt(path string) (namespaceID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return namespaceID{}, fmt.Errorf("look at network namespace: %w", &fs.PathError{Op: "stat", Path: path, Err: err})
	}
	return namespaceID{st.Dev, st.Ino}, nil
}

// open fills in the sockets and turns the container's questions to them.
func (s *sandbox) open() (err error) {
	if s.namespace, err = namespaceAt(s.path); err != nil {
		return err
	}
	// A socket belongs to its namespace for good; only its making has to happen there.
	err = netdev.Do(s.path, func() error {
		var here unix.Stat_t
		if err := unix.Stat("/proc/thread-self/ns/net", &here); err != nil || here.Ino != s.namespace.inode {
			return fmt.Errorf("network namespace %s was replaced just now: %w", s.path, fs.ErrNotExist)
		}
		if err := s.openDoors(); err != nil {
			return err
		}
		return s.redirect()
	})
	if err != nil {
		s.closeSockets()
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w (run netplugin as root: it needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW)", err)
		}
		return err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, d := range s.doors {
		s.running.Go(func() { s.serveUDP(d) })
		s.running.Go(func() { s.serveTCP(d) })
	}
	return nil
}

// openDoors opens one for IPv4 and, where the container may ask servers of IPv6 and has it, one for that.
func (s *sandbox) openDoors() error {
	d, err := openDoor(netip.IPv4Unspecified())
	if err != nil {
		return err
	}
	s.doors = []door{d}
	if !s.everywhere {
		return nil
	}
	d, err = openDoor(netip.IPv6Unspecified())
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil
	}
	if err == nil {
		s.doors = append(s.doors, d)
	}
	return err
}

// redirect turns questions to our sockets. It is called in the container's namespace.
func (s *sandbox) redirect() (err error) {
	if !s.everywhere {
		return installRedirect(s.life)
	}
	v6 := len(s.doors) > 1
	if s.ways, err = netdev.FindWaysOut(v6); err != nil {
		return err
	}
	// First who knows what to do with a question that comes back.
	o := datapath.QuestionsOptions{Mark: mark, Port: port, WayOut4: s.ways.V4, WayOut6: s.ways.V6}
	if err := s.questions.Attach(o); err != nil {
		return err
	}
	if err := netdev.ReturnSent(dnsPort, mark, s.ways.Source4, v6); err != nil {
		return err
	}
	return removeRedirect() // of a netplugin that had one here too
}

// keep makes the redirect again if it is no longer what the container needs. It is called in the container's namespace.
func (s *sandbox) keep() error {
	v6 := len(s.doors) > 1
	ways, err := netdev.FindWaysOut(v6)
	if err != nil {
		return err
	}
	attached, err := datapath.QuestionsAttached()
	if err != nil {
		return err
	}
	if !attached || ways != s.ways {
		s.log.Info("what turns a container's questions has to be made anew", "netns", s.path, "attached", attached)
		return s.redirect()
	}
	return netdev.ReturnSent(dnsPort, mark, s.ways.Source4, v6)
}

// errGone says that a sandbox has to be closed: its namespace went, or its sockets broke.
var errGone = errors.New("sandbox is gone")

// heartbeat keeps the redirect for another lifetime.
func (s *sandbox) heartbeat() error {
	id, err := namespaceAt(s.path)
	if err != nil || id != s.namespace || s.ctx.Err() != nil {
		return errGone
	}
	if s.everywhere { // how long is not its own, but the server's
		return netdev.Do(s.path, s.keep)
	}
	_, err = s.doors[0].udp.WriteToUDPAddrPort([]byte{0}, netip.AddrPortFrom(resolver, port))
	switch {
	case errors.Is(err, unix.EPERM): // the table has taken it
		return nil
	case err != nil: // no lo, no questions
		return fmt.Errorf("renew the redirect in %s: %w", s.path, err)
	}
	// It came through to ourselves.
	s.log.Warn("the DNS redirect of a container was removed by somebody; making it again", "netns", s.path)
	return netdev.Do(s.path, s.redirect)
}

func (s *sandbox) serveUDP(d door) {
	var rc syscall.RawConn
	rc, err := d.udp.SyscallConn()
	for err == nil {
		err = receive(rc, func(packet []byte, client netip.AddrPort, server netip.Addr) { s.takeUDP(d, packet, client, server) })
	}
	s.ended(err)
}

// takeUDP answers a packet in the name of the server that it was sent to, or sends it there, in the name of the client:
// what the server answers is none of our business then. A client that is gone, or that the container's own firewall
// shields, misses nothing that it did not want to miss.
func (s *sandbox) takeUDP(d door, packet []byte, client netip.AddrPort, server netip.Addr) {
	to := netip.AddrPortFrom(server, dnsPort)
	if client.Port() == port {
		return // a heartbeat of ours, that came through
	}
	if b := s.reply(*s.endpoints.Load(), packet, udp); b != nil {
		_ = d.send(to, client, b)
		return
	}
	if len(packet) > maxUDP {
		return
	}
	if err := d.send(client, to, packet); err != nil {
		s.log.Debug("a DNS question cannot be passed on", "netns", s.path, "server", server, "err", err)
		if b := failure(packet); b != nil {
			_ = d.send(to, client, b)
		}
	}
}

// ended is called when a socket serves no more. Unless we closed it, the next heartbeat takes the redirect away.
func (s *sandbox) ended(err error) {
	if s.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		s.log.Error("DNS for a container stops; its questions go where they are sent", "netns", s.path, "err", err)
	}
	s.cancel()
}

// unredirect lets the container's questions go where they are sent.
func (s *sandbox) unredirect() error {
	if id, err := namespaceAt(s.path); err != nil || id != s.namespace {
		return nil // the table went with its namespace, or nobody can reach it any more
	}
	err := netdev.Do(s.path, func() error {
		if s.everywhere {
			return errors.Join(netdev.ForgetReturned(), datapath.DetachQuestions())
		}
		return removeRedirect()
	})
	if err != nil && !netdev.Gone(err) {
		return fmt.Errorf("remove the DNS redirect from %s: %w", s.path, err)
	}
	return nil
}

// close ends the sandbox and waits for it. The redirect stays until its lifetime is over.
func (s *sandbox) close() {
	s.cancel()
	s.closeSockets()
	s.running.Wait()
}

func (s *sandbox) closeSockets() {
	for _, d := range s.doors {
		d.close()
	}
}
