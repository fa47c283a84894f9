// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
)

func TestInspectTellsOfBGPWhatTheNodeSays(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	for _, node := range []string{"a", "b", "absent", "liar"} {
		s.put(api.ObjectPath(api.BGPs, node), api.BGP{RouterIP: "50.1.1." + map[string]string{"a": "1", "b": "2", "absent": "3", "liar": "4"}[node] + "/24", AS: "65001"})
	}
	s.agent(&fakeAgent{name: "a", bgp: api.BGPOper{AdminStatus: "up", NeighborStatus: "established", NumRoutes: 1, Routes: []string{"0.0.0.0/0 via 50.1.1.9"}}}, 11)
	s.agent(&fakeAgent{name: "b"}, 12)
	liar := s.agent(&fakeAgent{name: "liar"}, 13)
	liar.counts.Node = "other"
	for node, want := range map[string]string{"a": "up", "b": "waiting: the node has not heard", "absent": "waiting: no netplugin", "liar": "unknown: node \"other\" answers"} {
		var got api.BGPInspect
		if err := s.client.Get(s.Context(), api.InspectPath(api.BGPs, node), &got); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(got.Oper.AdminStatus, want) || got.Config.Hostname != node {
			t.Errorf("of %s is told %+v; want %s", node, got, want)
		}
		if established := got.Oper.NeighborStatus == "established"; established != (node == "a") {
			t.Errorf("of %s is told %+v", node, got.Oper)
		}
	}
}
