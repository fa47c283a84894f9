// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

// load is the command line of the roles puts and agents.
type load struct {
	kind    string // endpoint or etcd
	to      string // URL
	clients int
	secs    float64
}

func parseLoad(role string, arguments []string) (l load, err error) {
	f := flag.NewFlagSet(role, flag.ContinueOnError)
	f.StringVar(&l.kind, "kind", "endpoint", "")
	f.StringVar(&l.to, "to", "", "")
	f.IntVar(&l.clients, "clients", 1, "")
	f.Float64Var(&l.secs, "secs", 1, "")
	return l, f.Parse(arguments)
}

// warm is how long a load runs before it counts.
const warm = 500 * time.Millisecond

// puts is a process's whole life: so many clients, each with a connection of its own, write one after
// another. It prints a putResult.
func puts(arguments []string) error {
	l, err := parseLoad("puts", arguments)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(l.secs*float64(time.Second))+time.Minute)
	defer cancel()
	writers := make([]func(context.Context, endpointNames) error, l.clients)
	for i := range writers {
		if writers[i], err = l.writer(); err != nil {
			return err
		}
	}
	began := time.Now().Add(warm)
	ends := began.Add(time.Duration(l.secs * float64(time.Second)))
	took := make([][]float64, l.clients)
	failed := make([]error, l.clients)
	var all sync.WaitGroup
	for i, write := range writers {
		all.Go(func() {
			for {
				names := newNames()
				start := time.Now()
				if failed[i] = write(ctx, names); failed[i] != nil {
					return
				}
				end := time.Now()
				if end.After(ends) {
					return
				}
				if end.After(began) {
					took[i] = append(took[i], milliseconds(end.Sub(start))...)
				}
			}
		})
	}
	all.Wait()
	var every []float64
	for i := range took {
		if failed[i] != nil {
			return failed[i]
		}
		every = append(every, took[i]...)
	}
	return json.NewEncoder(os.Stdout).Encode(putResult{
		Clients: l.clients, Rate: float64(len(every)) / l.secs, P50: quantile(every, 0.5), P99: quantile(every, 0.99),
	})
}

// endpointNames are an endpoint's as Docker would name it.
type endpointNames struct{ id, container string }

func newNames() endpointNames {
	var b [64]byte
	_, _ = rand.Read(b[:]) // never fails
	return endpointNames{hex.EncodeToString(b[:32]), hex.EncodeToString(b[32:])}
}

// writer is a new client, as what it writes with.
func (l load) writer() (func(context.Context, endpointNames) error, error) {
	if l.kind == "etcd" {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{l.to}})
		if err != nil {
			return nil, fmt.Errorf("connect to etcd: %w", err)
		}
		return func(ctx context.Context, n endpointNames) error {
			value, err := json.Marshal(n.model())
			if err != nil {
				return err
			}
			_, err = c.Put(ctx, "/bench/"+n.id, string(value))
			return err
		}, nil
	}
	c, err := api.NewClient(l.to)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, n endpointNames) error {
		var out api.Endpoint
		_, err := c.Put(ctx, api.ObjectPath(api.Endpoints, n.id), n.asked(), &out)
		if err == nil && !out.IPv4Address.IsValid() {
			err = fmt.Errorf("endpoint %s was given no address", n.id)
		}
		return err
	}, nil
}

// asked is what an agent asks for.
func (n endpointNames) asked() api.Endpoint {
	return api.Endpoint{
		EndpointID: n.id, TenantName: model.DefaultTenant, NetworkName: controlNetwork, HomingHost: controlNode,
		IntfName: "vvport17", Runtime: "docker", ContainerID: n.container, ContainerName: "web-" + n.id[:8],
	}
}

// model is what a master would store of it, but for the addresses: the bare put has a value of this size.
func (n endpointNames) model() model.Endpoint {
	e, _ := n.asked().Model() // what is wrong with it the master would say
	return e
}

// bareEtcd is a process's whole life: an etcd as a lone master embeds it, at a URL that it prints, until its standard
// input ends.
func bareEtcd(arguments []string) error {
	f := flag.NewFlagSet("etcd", flag.ContinueOnError)
	dir := f.String("dir", "", "")
	if err := f.Parse(arguments); err != nil {
		return err
	}
	port, err := freeTCPPort()
	if err != nil {
		return err
	}
	url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := store.Embed(ctx, store.Embedding{Dir: *dir, ClientURL: url, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	fmt.Println(url)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Close()
}

// freeTCPPort is a TCP port that nobody listens at now. etcd does not say which it was given.
func freeTCPPort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	_, text, _ := strings.Cut(l.Addr().String(), ":")
	return strconv.Atoi(text)
}
