// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/contivnet/contiv/model"
)

func TestFlowQueryIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ asked, want FlowQuery }{
		{FlowQuery{}, FlowQuery{Last: MaxLastFlows}},
		{FlowQuery{Last: 1 << 20}, FlowQuery{Last: MaxLastFlows}},
		{FlowQuery{Last: -5, Follow: true}, FlowQuery{Last: -1, Follow: true}},
		{FlowQuery{Tenant: "a&b", Group: "web", Verdict: FlowAudited, Last: 3}, FlowQuery{Tenant: "a&b", Group: "web", Verdict: FlowAudited, Last: 3}},
	} {
		if got, err := FlowQueryOf(row.asked.Values()); err != nil || got != row.want {
			t.Errorf("%+v is read as %+v (%v)", row.asked, got, err)
		}
	}
	if q, err := FlowQueryOf(nil); err != nil || q.Last != DefaultLastFlows {
		t.Errorf("nothing is read as %+v (%v)", q, err)
	}
	for name, text := range map[string]string{"last": "-1", "follow": "perhaps", "verdict": "fine"} {
		if _, err := FlowQueryOf(map[string][]string{name: {text}}); !errors.Is(err, model.ErrInvalid) {
			t.Errorf("%s=%s: %v", name, text, err)
		}
	}
}

func TestFlowsAreToldByAnyMasterThatServes(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	serve := func(name string, status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked <- name
			w.WriteHeader(status)
			if status != http.StatusOK {
				json.NewEncoder(w).Encode(Error{Text: name})
				return
			}
			json.NewEncoder(w).Encode(FlowLine{Flow: &Flow{Node: name}})
			json.NewEncoder(w).Encode(FlowLine{})
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	starts, serves, refuses := serve("starts", http.StatusServiceUnavailable), serve("serves", http.StatusOK), serve("refuses", http.StatusBadRequest)
	flows := func(masters ...string) (seen []string, err error) {
		c, err := NewClient(masters...)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Flows(t.Context(), FlowQuery{}, func(l FlowLine) error {
			if l.Flow != nil {
				seen = append(seen, l.Flow.Node)
			}
			return nil
		})
		return seen, err
	}
	if seen, err := flows("http://127.0.0.1:1", starts, serves); err != nil || len(seen) != 1 || seen[0] != "serves" {
		t.Errorf("told is %q (%v)", seen, err)
	}
	var refusal *Error
	if _, err := flows(starts); !errors.As(err, &refusal) || !refusal.Retry() {
		t.Errorf("one that starts: %v", err)
	}
	if _, err := flows(refuses, serves); !errors.Is(err, model.ErrInvalid) {
		t.Errorf("a refusal: %v", err)
	}
	if unreachable := (*UnreachableError)(nil); !errors.As(errOf(flows("http://127.0.0.1:1")), &unreachable) {
		t.Error("no master is no unreachable one")
	}
	close(asked)
	var order []string
	for name := range asked {
		order = append(order, name)
	}
	if len(order) != 4 || order[3] != "refuses" {
		t.Errorf("asked were %q", order)
	}
}

func errOf(_ []string, err error) error { return err }
