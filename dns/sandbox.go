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
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/netdev"
)

// sandbox is what we hold open in one container. Idle, it has two goroutines for each address family at each door.
type sandbox struct {
	path       string
	everywhere bool // questions to any server are ours to answer; else those to Docker's resolver
	namespace  namespaceID
	endpoints  atomic.Pointer[[]string]
	// reply answers a query of the container with these endpoints; nil where it is for who was asked, or where a name is wanted first.
	reply   func(endpoints []string, query []byte, over transport, outer outer) (answer []byte, wanted string)
	find    finder
	finding chan struct{} // has something in it for each question that waits for find
	life    time.Duration
	log     *slog.Logger

	dp        *datapath.Datapath  // whose ports reflect; nil: none
	questions *datapath.Questions // has the program on lo; with everywhere only
	began     time.Time

	turning sync.Mutex // held while questions are turned to us, and for what follows
	wanted  Sandbox
	doors   []door // those at lo are the first
	given   datapath.QuestionsOptions
	turned  bool
	settled bool // nothing is awaited that would change how questions are turned
	over    bool // they are no longer to be

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

// open makes the sockets and turns the container's questions to them.
func (s *sandbox) open() (err error) {
	if s.namespace, err = namespaceAt(s.path); err != nil {
		return err
	}
	s.began = time.Now()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	// A socket belongs to its namespace for good; only its making has to happen there.
	err = netdev.Do(s.path, func() error {
		var here unix.Stat_t
		if err := unix.Stat("/proc/thread-self/ns/net", &here); err != nil || here.Ino != s.namespace.inode {
			return fmt.Errorf("network namespace %s was replaced just now: %w", s.path, fs.ErrNotExist)
		}
		s.turning.Lock()
		defer s.turning.Unlock()
		if err := s.openDoors(netdev.Loopback); err != nil {
			return err
		}
		if !s.everywhere {
			return installRedirect(s.life)
		}
		return s.turn()
	})
	if err != nil {
		err = errors.Join(err, s.unreflect()) // first, so that no question meets closed sockets
		s.close()
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w (run netplugin as root: it needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW)", err)
		}
	}
	return err
}

// openDoors opens one for IPv4 at the device and, where the container may ask servers of IPv6 and has it, one for that. After an error
// none is open: a port reflects questions of both.
func (s *sandbox) openDoors(device int) error {
	var opened []door
	for _, at := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if at.Is6() && !s.everywhere {
			continue
		}
		d, err := openDoor(at, device)
		if at.Is6() && (errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)) {
			continue
		}
		if err != nil {
			for _, d := range opened {
				d.close()
			}
			return err
		}
		opened = append(opened, d)
	}
	s.doors = append(s.doors, opened...)
	for _, d := range opened { // only now: who serves a door that closes ends the sandbox
		s.running.Go(func() { s.serveUDP(d) })
		s.running.Go(func() { s.serveTCP(d) })
	}
	return nil
}

// errGone says that a sandbox has to be closed: its namespace went, or its sockets broke.
var errGone = errors.New("sandbox is gone")

// want says what the container has by now, and whether that may change how its questions are turned.
func (s *sandbox) want(w Sandbox) (unsettled bool) {
	s.endpoints.Store(new(slices.Clone(w.Endpoints)))
	s.turning.Lock()
	defer s.turning.Unlock()
	same := slices.Equal(s.wanted.Ports, w.Ports) && s.wanted.Gateway4 == w.Gateway4 && s.wanted.Gateway6 == w.Gateway6
	s.wanted = w
	return s.everywhere && !(same && s.settled)
}

// keep has turn done, wherever it is called, for what is wanted or is no longer as it was.
func (s *sandbox) keep() error {
	return netdev.Do(s.path, func() error {
		s.turning.Lock()
		defer s.turning.Unlock()
		if s.over || s.ctx.Err() != nil {
			return errGone
		}
		return s.turn()
	})
}

// heartbeat keeps the redirect for another lifetime.
func (s *sandbox) heartbeat() error {
	id, err := namespaceAt(s.path)
	if err != nil || id != s.namespace || s.ctx.Err() != nil {
		return errGone
	}
	if s.everywhere {
		return s.keep()
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
	return netdev.Do(s.path, func() error { return installRedirect(s.life) })
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
func (s *sandbox) takeUDP(d door, packet []byte, from netip.AddrPort, to netip.Addr) {
	client, server := d.ends(from, to)
	if client.Port() == port {
		return // a heartbeat of ours, that came through
	}
	b, wanted := s.reply(*s.endpoints.Load(), packet, d.over(), outer{})
	if wanted == "" {
		s.giveUDP(d, client, server, packet, b)
		return
	}
	select {
	case s.finding <- struct{}{}:
	default: // it comes again
		return
	}
	packet = slices.Clone(packet)
	s.running.Go(func() {
		s.giveUDP(d, client, server, packet, s.replyWith(wanted, packet, d.over()))
		<-s.finding
	})
}

// giveUDP sends what the client gets, or passes its packet on where that is nothing.
func (s *sandbox) giveUDP(d door, client, server netip.AddrPort, packet, answer []byte) {
	if answer != nil {
		_ = d.answer(client, server, answer)
		return
	}
	if len(packet) > maxUDP {
		return
	}
	if err := d.send(client, server, packet); err != nil {
		s.log.Debug("a DNS question cannot be passed on", "netns", s.path, "server", server.Addr(), "err", err)
		if b := failure(packet); b != nil {
			_ = d.answer(client, server, b)
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
	s.turning.Lock()
	defer s.turning.Unlock()
	s.over = true
	failed := s.unreflect()
	if id, err := namespaceAt(s.path); err != nil || id != s.namespace {
		return failed // the rest went with its namespace, or nobody can reach it any more
	}
	err := netdev.Do(s.path, func() error {
		if s.everywhere {
			return errors.Join(netdev.ForgetReturned(), datapath.DetachQuestions())
		}
		return removeRedirect()
	})
	if err != nil && !netdev.Gone(err) {
		failed = errors.Join(failed, fmt.Errorf("remove the DNS redirect from %s: %w", s.path, err))
	}
	return failed
}

// close ends the sandbox and waits for it. The redirect stays until its lifetime is over.
func (s *sandbox) close() {
	s.cancel()
	s.turning.Lock()
	for _, d := range s.doors {
		d.close()
	}
	s.turning.Unlock()
	s.running.Wait()
}
