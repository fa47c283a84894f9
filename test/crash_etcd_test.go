// SPDX-License-Identifier: Apache-2.0

package test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// actAsEtcd in the environment has the test's binary be an etcd, as an operator's would be: with etcd's defaults.
const actAsEtcd = "CONTIV_TEST_ACT_AS_ETCD"

// etcdOptions are an etcd's, as JSON in the environment.
type etcdOptions struct {
	Name, Dir, Initial string
	Client, Peer       string // URLs
	CA, Cert, Key      string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(actAsEtcd); text != "" {
		if err := runEtcd(text); err != nil {
			fmt.Fprintln(os.Stderr, "etcd:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runEtcd ends when etcd does; the test kills it.
func runEtcd(text string) error {
	var o etcdOptions
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("read %s: %w", actAsEtcd, err)
	}
	client, err := url.Parse(o.Client)
	if err != nil {
		return err
	}
	peer, err := url.Parse(o.Peer)
	if err != nil {
		return err
	}
	c := embed.NewConfig()
	c.Name, c.Dir, c.InitialCluster = o.Name, o.Dir, o.Initial
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	c.ClientTLSInfo = transport.TLSInfo{CertFile: o.Cert, KeyFile: o.Key, TrustedCAFile: o.CA, ClientCertAuth: true}
	c.PeerTLSInfo = c.ClientTLSInfo
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	return <-e.Err()
}
