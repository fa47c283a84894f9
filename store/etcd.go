// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/contivnet/contiv/model"
)

// Etcd is a Store in an etcd cluster.
type Etcd struct {
	client *clientv3.Client
	log    *slog.Logger
}

// Dial names an etcd cluster.
type Dial struct {
	Endpoints []string    // as http://10.0.0.1:2379
	TLS       *tls.Config // nil: none, or the system's authorities where an endpoint begins with https
	Log       *slog.Logger
}

// maxMessage is what is sent at most, in bytes: more than any etcd takes, so that it is the etcd that says no.
const maxMessage = 32 << 20

// Open connects to an etcd cluster and waits until it answers, at most until ctx ends.
func Open(ctx context.Context, d Dial) (*Etcd, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: d.Endpoints, TLS: d.TLS, Logger: zapLogger(d.Log),
		MaxCallSendMsgSize: maxMessage,
		DialTimeout:        3 * time.Second, DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd at %s: %w", strings.Join(d.Endpoints, ","), err)
	}
	s := &Etcd{client, d.Log}
	if _, err := s.Revision(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("etcd at %s does not answer: check that it runs and that --etcd-endpoints is right: %w",
			strings.Join(d.Endpoints, ","), err), client.Close())
	}
	return s, nil
}

// Close ends the connection.
func (s *Etcd) Close() error { return s.client.Close() }

// Commit is the Store's.
func (s *Etcd) Commit(ctx context.Context, t Txn) (int64, bool, error) {
	var cmps []clientv3.Cmp
	for _, g := range t.Guards {
		cmps = append(cmps, comparisons(g)...)
	}
	ops := make([]clientv3.Op, 0, len(t.Put)+len(t.Delete)+len(t.DeleteAll))
	for _, p := range t.Put {
		value, err := json.Marshal(p.Object)
		if err != nil {
			return 0, false, fmt.Errorf("encode %s %s: %w", p.Object.Kind(), p.Object.Key(), err)
		}
		var opts []clientv3.OpOption
		if p.Seconds > 0 {
			// A lease whose transaction fails has no keys and runs out by itself.
			lease, err := s.client.Grant(ctx, p.Seconds)
			if err != nil {
				return 0, false, fmt.Errorf("ask etcd for a lease of %d s: %w", p.Seconds, err)
			}
			opts = append(opts, clientv3.WithLease(lease.ID))
		}
		ops = append(ops, clientv3.OpPut(keyOf(model.RefOf(p.Object)), string(value), opts...))
	}
	for _, r := range t.Delete {
		ops = append(ops, clientv3.OpDelete(keyOf(r)))
	}
	for _, r := range t.DeleteAll {
		ops = append(ops, clientv3.OpDelete(keyOf(r), clientv3.WithPrefix()))
	}
	resp, err := s.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	switch rpctypes.Error(err) {
	case nil:
		return resp.Header.Revision, resp.Succeeded, nil
	case rpctypes.ErrTooManyOps, rpctypes.ErrRequestTooLarge:
		return 0, false, fmt.Errorf("write to etcd: %w: %w", ErrTooMany, err)
	}
	if status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max") { // in bytes, as gRPC says it
		return 0, false, fmt.Errorf("write to etcd: %w: %w", ErrTooMany, err)
	}
	return 0, false, fmt.Errorf("write to etcd: %w", err)
}

func comparisons(g Guard) []clientv3.Cmp {
	key := keyOf(g.Ref)
	switch g.Kind {
	case GuardAbsent:
		return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
	case GuardUnchanged:
		return []clientv3.Cmp{
			clientv3.Compare(clientv3.CreateRevision(key), ">", 0), // a deleted key compares as revision 0
			clientv3.Compare(clientv3.ModRevision(key), "<", g.Revision+1),
		}
	}
	return []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "<", g.Revision+1).WithPrefix()}
}

// Revision is the Store's.
func (s *Etcd) Revision(ctx context.Context) (int64, error) {
	resp, err := s.client.Get(ctx, root, clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("read from etcd: %w", err)
	}
	// Where others use this etcd too, its revision may be one at which nothing of ours changed. A progress
	// notice takes the watches there.
	if err := s.client.RequestProgress(clientv3.WithRequireLeader(ctx)); err != nil {
		return 0, fmt.Errorf("ask etcd for the watch's progress: %w", err)
	}
	return resp.Header.Revision, nil
}

// KeepAlive is the Store's.
func (s *Etcd) KeepAlive(ctx context.Context, o model.Object, seconds int64, guards ...Guard) (bool, error) {
	key := keyOf(model.RefOf(o))
	for range 3 { // more only when others keep it alive at the same moment
		got, err := s.client.Get(ctx, key)
		if err != nil {
			return false, fmt.Errorf("read from etcd: %w", err)
		}
		t := Txn{Guards: guards, Put: []Put{{o, seconds}}}
		if len(got.Kvs) == 0 {
			t.Guards = append(guards[:len(guards):len(guards)], Absent(model.RefOf(o)))
		} else {
			lease, err := s.client.KeepAliveOnce(ctx, clientv3.LeaseID(got.Kvs[0].Lease))
			switch {
			case err == nil && lease.TTL >= seconds && lease.TTL <= seconds+10: // etcd rounds short ones up
				return true, nil
			case err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound):
				return false, fmt.Errorf("keep an etcd lease: %w", err)
			}
			t.Guards = append(guards[:len(guards):len(guards)], Unchanged(model.RefOf(o), got.Kvs[0].ModRevision))
		}
		if _, ok, err := s.Commit(ctx, t); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
