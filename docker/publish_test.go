// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/contivnet/contiv/agent"
)

func TestBindingsOfAnEngineAreReadOrRefusedWithARemedy(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]agent.Publishing{
		`{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":8080,"HostPortEnd":8080}`: {Protocol: "tcp", First: 8080, Last: 8080, Port: 80},
		`{"Proto":17,"Port":53,"HostIP":"192.0.2.1","HostPort":0,"HostPortEnd":0}`:     {Protocol: "udp", Host: netip.MustParseAddr("192.0.2.1"), Port: 53},
		`{"Proto":132,"Port":9,"HostIP":"::","HostPort":8000,"HostPortEnd":8010}`:      {Protocol: "sctp", Host: netip.IPv6Unspecified(), First: 8000, Last: 8010, Port: 9},
	} {
		var b portBinding
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			t.Fatal(err)
		}
		if got, err := b.publishing(); got != want || err != nil {
			t.Errorf("%s is %+v (%v), want %+v", text, got, err, want)
		}
	}
	for _, x := range []struct {
		b    portBinding
		says string
	}{
		{portBinding{Proto: 1, Port: 80}, "use tcp, udp or sctp"}, {portBinding{Proto: 6}, "give 1 to 65535"},
		{portBinding{Proto: 6, Port: 80, HostIP: "here"}, "192.0.2.1:8080:80"}, {portBinding{Proto: 6, Port: 80, HostIP: "fe80::1%eth0"}, "write it as"},
	} {
		if _, err := x.b.publishing(); err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%+v: %v, want one that says %q", x.b, err, x.says)
		}
	}
}

func FuzzPortBinding(f *testing.F) {
	f.Add(`{"Proto":6,"Port":80,"HostIP":"::ffff:192.0.2.1","HostPort":8080,"HostPortEnd":8080}`)
	f.Fuzz(func(t *testing.T, text string) {
		var b portBinding
		if json.Unmarshal([]byte(text), &b) != nil {
			return
		}
		if p, err := b.publishing(); err == nil && (p.Port == 0 || p.Protocol == "" || p.Host.Is4In6()) {
			t.Errorf("%s is read as %+v", text, p)
		}
	})
}
