// SPDX-License-Identifier: Apache-2.0

package master

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// Whatever a client sends: it is understood, or refused with a text for users. What was understood is decided on a World, or refused, too.
func FuzzPut(f *testing.F) {
	m := New(Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	nouns := append(intent(), endpoints(), m.nodes())
	for i, body := range []string{
		`{"vxlans":"1-2000","pvtSubnet":"172.19.0.0/16"}`, `{"nodeBindings":"topology/pod-1/node-101"}`, `{"tenantName":"blue","links":{"a":{"type":"b"}}}`,
		`{"subnet":"10.1.1.0/24","gateway":"10.1.1.1","reserved":["10.1.1.9"]}`, `{"bandwidth":"10 mbps","DSCP":3}`, `{"contractsType":"provided","contracts":["x"]}`, `{"audit":true}`,
		`{"networkName":"net","ipPool":"10.1.1.10-10.1.1.20","policies":["p"]}`, `{"direction":"in","action":"allow","port":80,"protocol":"tcp"}`,
		`{"networkName":"net","selectors":["a=b"],"ports":["80:80:TCP"],"ipAddress":"10.1.1.7"}`, `{"endpointGroups":["g"]}`, `{"routerip":"50.1.1.1/24","as":"1.1"}`,
		`{"tenantName":"default","networkName":"net","homingHost":"h","ipv4Address":"10.1.1.4","labels":{"a":"b"}}`, `{"vtepIP":"192.168.2.10","vxlanPort":4789}`,
	} {
		for _, key := range []string{"", "default", "default:x", "default:p:1", "global"} {
			f.Add(uint8(i), key, []byte(body))
		}
	}
	f.Add(uint8(2), "blue", []byte(`{"tenantName":[]}`))
	f.Add(uint8(2), "blue", []byte(`null`))
	pool, err := model.ParsePool("10.1.1.0/24", "10.1.1.1", false)
	if err != nil {
		f.Fatal(err)
	}
	change := model.Change{Revision: 5, Put: []model.Object{
		model.DefaultGlobal(), model.Tenant{Name: "default", Number: 1}, model.Policy{Tenant: "default", Name: "p"}, model.Node{Name: "h"},
		model.Network{Tenant: "default", Name: "net", Type: "data", Encap: "vxlan", Tag: 1, IPv4: pool}, model.Group{Tenant: "default", Name: "g", Network: "net", Number: 1},
	}}
	refusal := func(t *testing.T, noun string, body []byte, err error) {
		if err == nil || errors.Is(err, errBusy) {
			return
		}
		var refused *model.Error
		if !errors.As(err, &refused) || refused.Text == "" || api.ErrorOf(err).Status/100 != 4 || strings.Contains(refused.Text, "Go ") {
			t.Fatalf("%s %q is refused with %v, which is not for users", noun, body, err)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, key string, body []byte) {
		n := nouns[int(which)%len(nouns)]
		asked, err := n.put(key, body)
		refusal(t, n.plural, body, err)
		if err != nil {
			return
		}
		l := newLedger(1)
		if err := l.apply(change); err != nil {
			t.Fatal(err)
		}
		p := newPlan(l.current(), l)
		answer, err := asked.decide(p)
		refusal(t, n.plural, body, err)
		if err == nil && answer == nil {
			t.Fatalf("%s %q has no answer", n.plural, body)
		}
	})
}
