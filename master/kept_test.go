// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"encoding/json"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// A client of v1 that reads an object, changes what it knows and writes that back takes nothing else away. What is told to be empty goes.
func TestWhatAClientOfV1DoesNotKnowStays(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	for _, row := range []struct {
		path                string
		v1, full, v1Changed string
		kept                map[string]any
		gone                string
	}{
		{
			path: api.ObjectPath(api.BGPs, "n1"),
			v1:   `{"routerip":"50.1.1.1/24","as":"65001","neighbor":"50.1.1.2","neighbor-as":"500"}`,
			full: `{"routerip":"50.1.1.1/24","as":"65001","neighbor":"50.1.1.2","neighbor-as":"500","routerip6":"2001:db8::1/64",
				"more-neighbors":[{"neighbor":"2001:db8::2","neighbor-as":"500"}],"password":"s3cret","hold-time":9,"keepalive":3,"announce":"subnets"}`,
			v1Changed: `{"routerip":"50.1.1.1/24","as":"65001","neighbor":"50.1.1.3","neighbor-as":"500"}`,
			kept: map[string]any{
				"neighbor": "50.1.1.3", "routerip6": "2001:db8::1/64", "more-neighbors": []any{map[string]any{"neighbor": "2001:db8::2", "neighbor-as": "500"}},
				"password": "s3cret", "hold-time": 9.0, "keepalive": 3.0, "announce": "subnets",
			},
			gone: `{"routerip":"50.1.1.1/24","as":"65001","neighbor":"50.1.1.2","neighbor-as":"500","routerip6":"","more-neighbors":[],"password":"",
				"hold-time":0,"keepalive":0,"announce":""}`,
		},
		{
			path:      api.ObjectPath(api.Netprofiles, "default:slow"),
			v1:        `{"bandwidth":"10 mbps","burst":80}`,
			full:      `{"bandwidth":"10 mbps","burst":80,"ingressBandwidth":"20 mbps"}`,
			v1Changed: `{"bandwidth":"5 mbps","burst":80}`,
			kept:      map[string]any{"bandwidth": "5 mbps", "ingressBandwidth": "20 mbps"},
			gone:      `{"bandwidth":"10 mbps","burst":80,"ingressBandwidth":""}`,
		},
	} {
		get := func() (out map[string]any) {
			t.Helper()
			s.must(s.client.Get(t.Context(), row.path, &out))
			delete(out, "link-sets")
			return out
		}
		s.put(row.path, json.RawMessage(row.v1))
		first := get()
		s.put(row.path, json.RawMessage(row.full))
		s.put(row.path, json.RawMessage(row.v1Changed))
		now := get()
		for field, want := range row.kept {
			if text(now[field]) != text(want) {
				t.Errorf("%s: %s is %v, want %v", row.path, field, now[field], want)
			}
		}
		s.put(row.path, json.RawMessage(row.gone))
		if now := get(); text(now) != text(first) {
			t.Errorf("%s: what is told to be empty is\n%v, want\n%v", row.path, now, first)
		}
	}
	// Nobody can tell which of several routers such a client means to take away.
	s.put(api.ObjectPath(api.BGPs, "n1"), json.RawMessage(`{"routerip":"50.1.1.1/24","as":"65001","neighbor":"50.1.1.2","neighbor-as":"500","more-neighbors":[{"neighbor":"50.1.1.4","neighbor-as":"500"}]}`))
	_, err := s.client.Put(t.Context(), api.ObjectPath(api.BGPs, "n1"), json.RawMessage(`{"routerip":"50.1.1.1/24","as":"65001"}`), nil)
	refused(t, err, model.ErrInvalid, "more-neighbors", "2 neighbors")
	s.put(api.ObjectPath(api.BGPs, "n1"), json.RawMessage(`{"routerip":"50.1.1.1/24","as":"65001","more-neighbors":[]}`))
	// What is kept has to go with what is new.
	s.put(api.ObjectPath(api.BGPs, "n1"), json.RawMessage(`{"routerip":"50.1.1.1/24","routerip6":"2001:db8::1/64","as":"65001"}`))
	_, err = s.client.Put(t.Context(), api.ObjectPath(api.BGPs, "n1"), json.RawMessage(`{"routerip":"2001:db8:1::1/64","as":"65001"}`), nil)
	refused(t, err, model.ErrInvalid, "routerip6", "2001:db8::1/64")
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
