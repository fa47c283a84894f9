// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/cmd/internal/sockets"
)

func TestTakenStatusPortIsNamedWithItsFlagAndItsOwner(t *testing.T) {
	t.Parallel()
	loopback := netip.MustParseAddr("127.0.0.1")
	first, err := listenStatus(loopback, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = listenStatus(loopback, portOf(first))
	if err == nil {
		t.Fatal("a port is given twice")
	}
	want := []string{"--status-port", fmt.Sprint(portOf(first))}
	if sockets.OwnerOfTCP(portOf(first)) != "" { // /proc may be closed to this user
		want = append(want, fmt.Sprintf("process %d", os.Getpid()))
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if _, err := listenStatus(netip.MustParseAddr("192.0.2.1"), 0); err == nil || !strings.Contains(err.Error(), "--ctrl-ip") {
		t.Errorf("an address of another machine: %v", err)
	}
}

func TestStatusPortServesNoMoreThanItsShareAtOnce(t *testing.T) {
	t.Parallel()
	l, err := listenStatus(netip.MustParseAddr("127.0.0.1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- serveObserved(t.Context(), l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "seen") }))
	}()
	var idle []net.Conn // they say nothing, and so are sent away after a while
	for range maxReaders + 1 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	ask := func(wait time.Duration) error {
		client := &http.Client{Timeout: wait, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + l.Addr().String())
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	if ask(300*time.Millisecond) == nil {
		t.Error("a reader is served while as many as can be are connected")
	}
	for _, c := range idle {
		c.Close()
	}
	if err := ask(10 * time.Second); err != nil {
		t.Errorf("a reader is not served after others have gone: %v", err)
	}
	select {
	case err := <-ended:
		t.Errorf("serving has ended: %v", err)
	default:
	}
}
