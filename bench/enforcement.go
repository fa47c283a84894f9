// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/netlab"
)

// enforcementLimit is how long a rule may take from the answer of REST until it is in force on every node, 99 of 100 times, in
// milliseconds.
const enforcementLimit = 100

const (
	enforcementChanges = 200
	knockedPort        = 7000
	knockEvery         = time.Millisecond
	knocksEnd          = 30 * time.Millisecond // without one that came: none comes
)

// knocks are datagrams to a container, each from a port of its own, so that rules are asked about every one.
type knocks struct {
	to netip.AddrPort
	in *net.UDPConn

	mu   sync.Mutex
	came []time.Time // when those were sent that came
}

// listen opens the port at which they come.
func (k *knocks) listen(server container) error {
	k.to = netip.AddrPortFrom(server.address, knockedPort)
	return netdev.Do(server.namespace, func() (err error) {
		k.in, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(k.to))
		return err
	})
}

// send knocks from a container until ctx ends.
func (k *knocks) send(ctx context.Context, client container) error {
	return netdev.Do(client.namespace, func() error {
		tick := time.NewTicker(knockEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			out, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(k.to))
			if err != nil {
				return fmt.Errorf("knock at %s: %w", k.to, err)
			}
			_, err = out.Write(binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano())))
			if err := errors.Join(err, out.Close()); err != nil {
				return fmt.Errorf("knock at %s: %w", k.to, err)
			}
			<-tick.C
		}
		return nil
	})
}

// receive notes what comes until the port is closed.
func (k *knocks) receive() {
	b := make([]byte, 64)
	for {
		n, err := k.in.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != 8 {
			continue
		}
		k.mu.Lock()
		k.came = append(k.came, time.Unix(0, int64(binary.BigEndian.Uint64(b))))
		k.mu.Unlock()
	}
}

// after gives the first and the last that came of those that were sent after t, and forgets the others; zero for none.
func (k *knocks) after(t time.Time) (first, last time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.came = slices.DeleteFunc(k.came, func(c time.Time) bool { return !c.After(t) })
	if n := len(k.came); n > 0 {
		return k.came[0], k.came[n-1]
	}
	return first, last
}

// settled waits until all pass, or none, after t.
func (k *knocks) settled(ctx context.Context, pass bool, t time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := eventually(ctx, func() bool {
		first, last := k.after(t)
		if pass {
			return !first.IsZero() && last.Sub(first) >= knocksEnd
		}
		return time.Since(t) >= knocksEnd && time.Since(last) >= knocksEnd
	}); err != nil {
		return fmt.Errorf("packets to %s do not come to pass (%t): %w", k.to, pass, err)
	}
	return nil
}

// enforcement measures how long rules take to be in force on two nodes, in milliseconds: from the answer to the last packet, on
// either node, that the old rules decided.
func enforcement(ctx context.Context, programs string, progress io.Writer) (took []float64, err error) {
	fmt.Fprintln(progress, "Rules: wiring two nodes")
	c := &contiv{programs: programs}
	defer func() { err = errors.Join(err, c.Down()) }()
	if err := c.create(ctx, 2); err != nil {
		return nil, err
	}
	const group = "knocked"
	if err := c.apply(ctx, []map[string]any{
		{"kind": "policy", "policyName": group},
		{"kind": "group", "groupName": group, "networkName": contivNetwork, "policies": []string{group}},
	}); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	streams := []*knocks{{}, {}}
	failed := make(chan error, len(streams))
	for i, k := range streams {
		client, err := c.attach(ctx, c.all[i], fmt.Sprintf("bench-client%d", i), "")
		if err != nil {
			return nil, err
		}
		server, err := c.attach(ctx, c.all[1-i], fmt.Sprintf("bench-server%d", i), group)
		if err != nil {
			return nil, err
		}
		if err := k.listen(server); err != nil {
			return nil, err
		}
		defer k.in.Close()
		running.Go(k.receive)
		running.Go(func() { failed <- k.send(ctx, client) })
	}
	settle := func(pass bool, t time.Time) error {
		for _, k := range streams {
			if err := k.settled(ctx, pass, t); err != nil {
				return err
			}
		}
		return nil
	}
	if err := settle(true, time.Now()); err != nil {
		return nil, err
	}
	rest := restOn(c.all[0], c.cluster.MasterURL())
	path := api.ObjectPath(api.Rules, model.RuleKey(model.DefaultTenant, group, "1"))
	for i := range enforcementChanges {
		if i%50 == 0 {
			fmt.Fprintf(progress, "Rules: change %d of %d\n", i, enforcementChanges)
		}
		deny := i%2 == 0
		asked := time.Now()
		if deny {
			err = rest.do(ctx, http.MethodPut, path, api.Rule{Direction: model.In, Action: model.Deny, Protocol: "udp", Port: knockedPort})
		} else {
			err = rest.do(ctx, http.MethodDelete, path, nil)
		}
		answered := time.Now()
		if err == nil {
			err = settle(!deny, asked)
		}
		if err != nil {
			return nil, err
		}
		var slowest time.Duration
		for _, k := range streams {
			at, last := k.after(asked)
			if deny {
				at = last
			}
			if !at.IsZero() {
				slowest = max(slowest, at.Sub(answered))
			}
		}
		took = append(took, milliseconds(slowest)...)
	}
	select {
	case err := <-failed:
		return nil, err
	default:
		return took, nil
	}
}

// rest speaks to a master from within a node.
type rest struct {
	http *http.Client
	url  string
}

func restOn(h *netlab.Host, url string) rest {
	return rest{&http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = h.Enter(func() (err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}}}, url}
}

func (r rest) do(ctx context.Context, method, path string, in any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("write a request: %w", err)
	}
	if in == nil {
		b = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the master: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the master's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the master refused %s %s: %s: %s", method, path, resp.Status, text)
	}
	return nil
}

// enforcementRows are the table of the times.
func enforcementRows(took []float64) [][]string {
	ms := func(q float64) string { return fmt.Sprintf("%.1f", quantile(took, q)) }
	return [][]string{
		{"rule answered to in force, ms", "p50", "p99", "slowest", "wanted"},
		{fmt.Sprintf("2 nodes, %d changes", len(took)), ms(0.5), ms(0.99), ms(1), fmt.Sprintf("p99 at most %d: %s", enforcementLimit, met(quantile(took, 0.99) <= enforcementLimit))},
	}
}

// benchRules is the mode -rules, and a part of the whole.
func benchRules(ctx context.Context, o options, stdout, stderr io.Writer) error {
	fmt.Fprintln(stderr, "Rules: one more beside thousands")
	var r rulesResult
	if err := runSelf(ctx, &r, "rules"); err != nil {
		return err
	}
	took, err := enforcement(ctx, o.programs, stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n## Rules: how soon they hold\n\n%s\n%s", table(r.rows()), table(enforcementRows(took)))
	return nil
}
