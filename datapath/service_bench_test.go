// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// BenchmarkServiceConnection tells what a connection to a service takes, as a part of what one to its provider takes: the time of one thread's
// CPU, which does all of both ends' work, in turns of 200 connections. Other work on the machine is not in it.
func BenchmarkServiceConnection(b *testing.B) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		b.Run(map[int]string{unix.AF_INET: "IPv4", unix.AF_INET6: "IPv6"}[family], func(b *testing.B) {
			s := model.Service{
				Tenant: "red", Name: "web", Network: "web", Selectors: map[string]string{"app": "web"}, Ports: []model.ServicePort{{Port: 80, Target: 8080, Protocol: "TCP"}},
				IPv4: netip.MustParseAddr("10.1.1.99"), IPv6: netip.MustParseAddr("fd01::99"),
			}
			c, n := oneNode(b, AttachAuto, redWeb(b), s)
			client, provider := n.startDual(1), n.startDual(11, "app", "web")
			c.apply()
			at, virtual := provider.endpoint.IPv4, s.IPv4
			if family == unix.AF_INET6 {
				at, virtual = provider.endpoint.IPv6, s.IPv6
			}
			done := make(chan error, 1)
			go func() {
				runtime.LockOSThread() // never unlocked: the thread ends here
				done <- raceToService(b, family, client.space, provider.space, netip.AddrPortFrom(at, 8080), netip.AddrPortFrom(virtual, 80))
			}()
			must(b, <-done)
		})
	}
}

func raceToService(b *testing.B, family int, client, provider *space, direct, service netip.AddrPort) error {
	if err := netns.Set(provider.NsHandle); err != nil {
		return err
	}
	listener, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	if err := unix.Bind(listener, sockaddr(direct)); err != nil {
		return err
	}
	if err := unix.Listen(listener, 100); err != nil {
		return err
	}
	if err := netns.Set(client.NsHandle); err != nil {
		return err
	}
	turn := func(to netip.AddrPort) (time.Duration, error) {
		began, err := threadTime()
		if err != nil {
			return 0, err
		}
		for range 200 {
			if err := connectOnce(family, listener, sockaddr(to)); err != nil {
				return 0, fmt.Errorf("connect to %s: %w", to, err)
			}
		}
		ended, err := threadTime()
		return (ended - began) / 200, err
	}
	var ratios, directs, services []float64
	for range max(b.N, 40) {
		d, err := turn(direct)
		if err != nil {
			return err
		}
		s, err := turn(service)
		if err != nil {
			return err
		}
		ratios, directs, services = append(ratios, float64(d)/float64(s)), append(directs, float64(d)), append(services, float64(s))
	}
	slices.Sort(ratios)
	slices.Sort(directs)
	slices.Sort(services)
	b.ReportMetric(ratios[len(ratios)/2], "of-direct")
	b.ReportMetric(directs[len(directs)/2], "direct-ns")
	b.ReportMetric(services[len(services)/2], "service-ns")
	b.ReportMetric(0, "ns/op")
	return nil
}

// connectOnce opens a connection, carries a byte each way, and has the server close it.
func connectOnce(family, listener int, to unix.Sockaddr) error {
	s, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if err := unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := unix.Connect(s, to); err != nil {
		return err
	}
	a, _, err := unix.Accept4(listener, 0)
	if err != nil {
		return err
	}
	buf := []byte{1}
	if _, err := unix.Write(s, buf); err != nil {
		return err
	}
	if _, err := unix.Read(a, buf); err != nil {
		return err
	}
	if _, err := unix.Write(a, buf); err != nil {
		return err
	}
	if err := unix.Close(a); err != nil {
		return err
	}
	_, err = unix.Read(s, buf)
	return err
}

func threadTime() (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano()), err
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
