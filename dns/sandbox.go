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

	"github.com/contivnet/contiv/netdev"
)

// sandbox is what we hold open in one container: a UDP socket, a TCP listener and, while they are of use, a
// socket to Docker's resolver and connections. Idle, it has two goroutines.
type sandbox struct {
	path      string
	namespace namespaceID
	endpoints atomic.Pointer[[]string]
	// reply answers a query of the container with these endpoints; nil where it is for Docker.
	reply func(endpoints []string, query []byte, over transport) []byte
	life  time.Duration
	log   *slog.Logger

	udp     *net.UDPConn
	tcp     net.Listener
	up      *upstream
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
		if err := s.listen(); err != nil {
			return err
		}
		return installRedirect(s.life)
	})
	if err != nil {
		s.closeSockets()
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w (run netplugin as root: it needs CAP_SYS_ADMIN and CAP_NET_ADMIN)", err)
		}
		return err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.up = &upstream{path: s.path, answer: s.sendUDP}
	s.running.Go(s.serveUDP)
	s.running.Go(s.serveTCP)
	return nil
}

func (s *sandbox) listen() error {
	lc := net.ListenConfig{Control: control}
	lc.SetMultipathTCP(false)
	pc, err := lc.ListenPacket(context.Background(), "udp4", listenAddr())
	if err == nil {
		s.udp = pc.(*net.UDPConn)
		s.tcp, err = lc.Listen(context.Background(), "tcp4", listenAddr())
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("port %d at %s is taken in the container; its program has to use another for names to work: %w", port, resolver, err)
	}
	if err != nil {
		return fmt.Errorf("listen in the container: %w", err)
	}
	return nil
}

// errGone says that a sandbox has to be closed: its namespace went, or its sockets broke.
var errGone = errors.New("sandbox is gone")

// heartbeat keeps the redirect for another lifetime.
func (s *sandbox) heartbeat() error {
	id, err := namespaceAt(s.path)
	if err != nil || id != s.namespace || s.ctx.Err() != nil {
		return errGone
	}
	_, err = s.udp.WriteToUDPAddrPort([]byte{0}, netip.AddrPortFrom(resolver, port))
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

func (s *sandbox) serveUDP() {
	var rc syscall.RawConn
	rc, err := s.udp.SyscallConn()
	for err == nil {
		err = receive(rc, s.takeUDP)
	}
	s.ended(err)
}

func (s *sandbox) takeUDP(packet []byte, client netip.AddrPort) {
	if !isQuery(packet) {
		return
	}
	if b := s.reply(*s.endpoints.Load(), packet, udp); b != nil {
		s.sendUDP(client, b)
		return
	}
	if err := s.up.send(client, packet); err != nil {
		s.log.Debug("a DNS question cannot be passed on", "netns", s.path, "err", err)
		s.sendUDP(client, failure(packet))
	}
}

// sendUDP answers a client. One that is gone, or that the container's own firewall shields, misses nothing that it did
// not want to miss.
func (s *sandbox) sendUDP(client netip.AddrPort, packet []byte) {
	_, _ = s.udp.WriteToUDPAddrPort(packet, client)
}

// ended is called when a socket serves no more. Unless we closed it, the next heartbeat takes the redirect away.
func (s *sandbox) ended(err error) {
	if s.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		s.log.Error("DNS for a container stops; its questions go to Docker", "netns", s.path, "err", err)
	}
	s.cancel()
}

// unredirect gives the container's questions back to Docker.
func (s *sandbox) unredirect() error {
	if id, err := namespaceAt(s.path); err != nil || id != s.namespace {
		return nil // the table went with its namespace, or nobody can reach it any more
	}
	if err := netdev.Do(s.path, removeRedirect); err != nil && !netdev.Gone(err) {
		return fmt.Errorf("remove the DNS redirect from %s: %w", s.path, err)
	}
	return nil
}

// close ends the sandbox and waits for it. The redirect stays until its lifetime is over.
func (s *sandbox) close() {
	s.cancel()
	s.closeSockets()
	s.up.close()
	s.running.Wait()
}

func (s *sandbox) closeSockets() {
	if s.udp != nil {
		_ = s.udp.Close()
	}
	if s.tcp != nil {
		_ = s.tcp.Close()
	}
}
