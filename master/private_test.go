// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"net/netip"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func TestPrivateSubnetToWhichANodeHasARouteIsRefused(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.agent(&fakeAgent{name: "free"}, 11)
	s.agent(&fakeAgent{name: "hangs", hung: make(chan struct{})}, 12)
	taken := s.agent(&fakeAgent{name: "taken", route: api.NodeRoute{To: "172.20.4.0/24", Device: "device eth1"}}, 13)
	wanted := api.Global{PvtSubnet: netip.MustParsePrefix("172.20.0.0/16")}
	words := []string{"172.20.0.0/16", "172.20.4.0/24", "node taken", "device eth1", "choose another"}
	refused(t, s.try(api.Globals, "global", wanted), model.ErrInUse, "pvtSubnet", words...)
	_, err := s.apply("", object(api.Globals, wanted))
	refused(t, err, model.ErrInUse, "pvtSubnet", words...)
	_, err = s.apply("?dry-run=true", object(api.Globals, wanted))
	refused(t, err, model.ErrInUse, "pvtSubnet", words...)
	s.must(s.try(api.Globals, "global", api.Global{PvtSubnet: netip.MustParsePrefix("172.19.0.0/16")})) // as it is
	taken.mu.Lock()
	taken.route = api.NodeRoute{}
	taken.mu.Unlock()
	s.must(s.try(api.Globals, "global", wanted))
}
