// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
)

// visits are requests from one container to a service, one after the other, each over a connection of its own. One fails unless it is
// answered whole.
type visits struct {
	from string
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	by     map[string]int // who answered, and how often
	failed []string
	slow   time.Duration // the longest that one took
}

// visitPatience is how long a visit may take. Lost packets are sent again within it, several times.
const visitPatience = 15 * time.Second

// visit asks who answers at an address, from within a namespace.
func visit(namespace string, to netip.AddrPort) (who string, err error) {
	var conn net.Conn
	err = netdev.Do(namespace, func() (err error) {
		conn, err = net.DialTimeout("tcp", to.String(), visitPatience)
		return err
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(visitPatience))
	if _, err := io.WriteString(conn, "GET /who HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return "", err
	}
	head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	if who = strings.TrimSpace(body); who == "" || !strings.Contains(head, " 200 ") {
		return "", fmt.Errorf("the answer is %q", answer)
	}
	return who, nil
}

// visiting begins visits, some at a time, until end or the test's end.
func visiting(t *testing.T, n *cluster.Node, container string, to netip.AddrPort, atOnce int) *visits {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	v := &visits{from: container, stop: stop, by: map[string]int{}}
	namespace := sandbox(t, n, container)
	for range atOnce {
		v.done.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				who, err := visit(namespace, to)
				took := time.Since(began)
				v.mu.Lock()
				v.slow = max(v.slow, took)
				if err != nil {
					v.failed = append(v.failed, fmt.Sprintf("%s after %s: %v", began.Format("05.000"), took.Round(time.Millisecond), err))
				} else {
					v.by[who]++
				}
				v.mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	t.Cleanup(func() { stop(); v.done.Wait() })
	return v
}

// mark is how often each has answered until now.
func (v *visits) mark() map[string]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.by)
}

// answeredBy waits until so many more visits were answered than at a mark, and tells by whom.
func (v *visits) answeredBy(t *testing.T, since map[string]int, more int) (who []string) {
	t.Helper()
	eventually(t, func() error {
		now, n := v.mark(), 0
		who = who[:0]
		for name := range now {
			if d := now[name] - since[name]; d > 0 {
				n, who = n+d, append(who, name)
			}
		}
		if n < more {
			return fmt.Errorf("%d visits of %s were answered, not %d; failed have %q", n, v.from, more, v.failures())
		}
		return nil
	})
	slices.Sort(who)
	return who
}

func (v *visits) failures() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.failed)
}

// end stops the visits and tells how many were answered and which failed.
func (v *visits) end() (answered int, failed []string) {
	v.stop()
	v.done.Wait()
	for _, n := range v.mark() {
		answered += n
	}
	return answered, v.failures()
}
