// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/contivnet/contiv/compile"
)

func TestLoadBalancersHearWhetherThereAreProvidersHere(t *testing.T) {
	t.Parallel()
	h := healthPorts{says: map[uint16]compile.HealthCheck{
		31000: {Namespace: "shop", Name: "web", Port: 31000, Here: 2}, 31001: {Namespace: "shop", Name: "db", Port: 31001},
	}}
	for port, want := range map[uint16]struct {
		status       int
		weight, body string
	}{
		31000: {200, "2", `{"service":{"namespace":"shop","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}`},
		31001: {503, "0", `{"service":{"namespace":"shop","name":"db"},"localEndpoints":0,"serviceProxyHealthy":true}`},
	} {
		r := httptest.NewRecorder()
		h.answer(port, r)
		if got := strings.TrimSpace(r.Body.String()); r.Code != want.status || got != want.body || r.Header().Get("X-Load-Balancing-Endpoint-Weight") != want.weight {
			t.Errorf("port %d: %d, weight %s, %s", port, r.Code, r.Header().Get("X-Load-Balancing-Endpoint-Weight"), got)
		}
	}
}
