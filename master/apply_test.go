// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
	"github.com/contivnet/contiv/store/memory"
)

func object(collection string, o any) api.ApplyObject {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // shapes of the API always encode
	}
	return api.ApplyObject{Collection: collection, Object: b}
}

func (s server) apply(query string, objects ...api.ApplyObject) ([]string, error) {
	s.Helper()
	var answer api.ApplyAnswer
	_, err := s.client.Post(s.Context(), api.ApplyPath+query, api.ApplyRequest{Objects: objects}, &answer)
	var out []string
	for _, r := range answer.Results {
		out = append(out, r.Result+" "+r.Collection+" "+r.Key)
	}
	return out, err
}

func (s server) export() []api.ApplyObject {
	s.Helper()
	var out api.ApplyRequest
	s.must(s.client.Get(s.Context(), api.ExportPath, &out))
	return out.Objects
}

// intent is objects of which each needs some that come after it.
func intent() []api.ApplyObject {
	return []api.ApplyObject{
		object(api.Rules, api.Rule{TenantName: "blue", PolicyName: "p", RuleID: "1", Direction: "in", Action: "deny", FromEndpointGroup: "web"}),
		object(api.EndpointGroups, api.EndpointGroup{TenantName: "blue", GroupName: "web", NetworkName: "net", IPPool: "10.1.1.10-10.1.1.19", Policies: []string{"p"}}),
		object(api.EndpointGroups, api.EndpointGroup{TenantName: "blue", GroupName: "db", NetworkName: "net", IPPool: "10.1.1.20-10.1.1.29"}),
		object(api.Policies, api.Policy{TenantName: "blue", PolicyName: "p"}),
		object(api.Networks, api.Network{TenantName: "blue", NetworkName: "any", Subnet: "10.2.1.0/24"}),
		object(api.Networks, api.Network{TenantName: "blue", NetworkName: "net", Subnet: "10.1.1.0/24", Gateway: "10.1.1.254", PktTag: 1}),
		object(api.Tenants, api.Tenant{TenantName: "blue"}),
		object(api.Globals, api.Global{FwdMode: "bridge"}),
	}
}

func TestApplyMakesEverythingWhateverTheOrder(t *testing.T) {
	t.Parallel()
	s := alone(t)
	want := []string{
		"updated globals global", "created tenants blue", "created networks blue:net", "created networks blue:any", "created policys blue:p",
		"created endpointGroups blue:db", "created endpointGroups blue:web", "created rules blue:p:1",
	}
	before := s.export()
	got, err := s.apply("?dry-run=true", intent()...)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("dry run: %q, %v; want %q", got, err, want)
	}
	if after := s.export(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("a dry run wrote something")
	}
	if got, err = s.apply("", intent()...); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if net, other := s.inspect("blue:net"), s.inspect("blue:any"); net.PktTag != 1 || other.PktTag != 2 ||
		net.AllocatedIPAddresses != "10.1.1.10-10.1.1.29, 10.1.1.254" {
		t.Errorf("networks are %+v and %+v", net, other)
	}
	got, err = s.apply("", intent()...)
	for i, r := range got {
		if err != nil || r != "unchanged "+want[i][len("created "):] {
			t.Errorf("again: %q, %v", r, err)
		}
	}
	changed := object(api.EndpointGroups, api.EndpointGroup{TenantName: "blue", GroupName: "db", NetworkName: "net", IPPool: "10.1.1.20-10.1.1.29", Policies: []string{"p"}})
	if got, err = s.apply("", changed); err != nil || got[0] != "updated endpointGroups blue:db" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestApplyDoesNothingWhenOneObjectIsRefused(t *testing.T) {
	t.Parallel()
	s := alone(t)
	before := s.export()
	for _, row := range []struct {
		object api.ApplyObject
		kind   error
		field  string
		words  []string
	}{
		{object(api.Networks, api.Network{TenantName: "blue", NetworkName: "x", Subnet: "10.1.1.128/25"}), model.ErrExists, "subnet", []string{"objects[8] (networks blue:x)", "conflicts"}},
		{object(api.EndpointGroups, api.EndpointGroup{TenantName: "blue", GroupName: "any", NetworkName: "net"}), model.ErrExists, "groupName", []string{"conflicts"}},
		{object(api.EndpointGroups, api.EndpointGroup{TenantName: "blue", GroupName: "x", NetworkName: "net", IPPool: "10.1.1.15"}), model.ErrExists, "ipPool", []string{"blue:web"}},
		{object(api.Rules, api.Rule{TenantName: "blue", PolicyName: "q", RuleID: "1", Direction: "in", Action: "deny"}), model.ErrNotFound, "policyName", []string{"Policy not found"}},
		{object(api.Tenants, api.Tenant{}), model.ErrInvalid, "tenantName", []string{"objects[8]", "empty"}},
		{object(api.Tenants, map[string]string{"tenantNam": "x"}), model.ErrInvalid, "tenantNam", []string{"unknown"}},
		{object(api.Tenants, api.Tenant{TenantName: "blue"}), model.ErrInvalid, "objects", []string{"objects[6]", "objects[8]"}},
		{object("tenant", api.Tenant{TenantName: "x"}), model.ErrInvalid, "objects", []string{`"tenant"`, "tenants"}},
		{object(api.Endpoints, api.Endpoint{EndpointID: "x"}), model.ErrInvalid, "objects", []string{"endpoints"}},
	} {
		_, err := s.apply("", append(intent(), row.object)...)
		refused(t, err, row.kind, row.field, row.words...)
		if after := s.export(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Fatalf("%s: something was written", row.object.Object)
		}
	}
}

func TestExportAppliedToNothingExportsTheSame(t *testing.T) {
	t.Parallel()
	s := alone(t)
	// The service that takes any address, and the network that takes any tag, come first in the order of names, and have got the higher ones.
	s.must(s.try(api.Networks, "default:b", api.Network{Subnet: "10.3.1.0/24", IPv6Subnet: "2001:db8::/64", IPv6Gateway: "2001:db8::1", PktTag: 1, CfgdTag: "tag"}))
	s.network("default:a", "10.4.1.10-10.4.1.20/24", "")
	blue := slices.DeleteFunc(intent(), func(o api.ApplyObject) bool { return o.Collection == api.Globals }) // there are networks already
	blue = slices.DeleteFunc(blue, func(o api.ApplyObject) bool { return strings.Contains(string(o.Object), `"pktTag":1`) })
	blue = append(blue,
		object(api.AppProfiles, api.AppProfile{TenantName: "blue", AppProfileName: "app", EndpointGroups: []string{"web", "full"}}),
		object(api.ServiceLBs, api.ServiceLB{TenantName: "blue", ServiceName: "a", NetworkName: "net", Selectors: []string{"app=web"}, Ports: []string{"80:8080:TCP"}}),
		object(api.ServiceLBs, api.ServiceLB{TenantName: "blue", ServiceName: "b", NetworkName: "net", IPAddress: "10.1.1.1", Selectors: []string{"app=db"}, Ports: []string{"53:53:UDP"}}),
		object(api.EndpointGroups, api.EndpointGroup{
			TenantName: "blue", GroupName: "full", NetworkName: "net", NetProfile: "slow", ExtContractsGrps: []string{"c"}, Policies: []string{"p"}, CfgdTag: "tag",
		}),
		object(api.Netprofiles, api.Netprofile{TenantName: "blue", ProfileName: "slow", Bandwidth: "10 mbps", IngressBandwidth: new("20 mbps"), DSCP: 10, Burst: 100}),
		object(api.ExtContractsGroups, api.ExtContractsGroup{TenantName: "blue", ContractsGroupName: "c", ContractsType: "provided", Contracts: []string{"x"}}),
		object(api.BGPs, api.BGP{Hostname: "n1", RouterIP: "50.1.1.1/24", AS: "65001", Neighbor: "50.1.1.2", NeighborAS: "65002"}),
		object(api.ACIGateways, api.ACIGateway{NodeBindings: "topology/pod-1/node-101"}),
	)
	blue = append(blue, object(api.Networks, api.Network{TenantName: "blue", NetworkName: "net", Subnet: "10.1.1.0/24"}))
	if _, err := s.apply("", blue...); err != nil {
		t.Fatal(err)
	}
	objects := s.export()
	collections := map[string]bool{}
	for _, o := range objects {
		collections[o.Collection] = true
	}
	if len(collections) != 12 {
		t.Errorf("exported are objects of %d collections, want 12: %v", len(collections), collections)
	}
	other := alone(t)
	if _, err := other.apply("", objects...); err != nil {
		t.Fatal(err)
	}
	if again := other.export(); fmt.Sprint(again) != fmt.Sprint(objects) {
		t.Errorf("exported %s, want %s", again, objects)
	}
	if got, err := s.apply("", objects...); err != nil || slices.ContainsFunc(got, func(r string) bool { return r[:9] != "unchanged" }) {
		t.Errorf("applied to where it is from: %q, %v", got, err)
	}
}

// smallStore takes as many operations as an etcd does by itself.
type smallStore struct{ store.Store }

func (s smallStore) Commit(ctx context.Context, t store.Txn) (int64, bool, error) {
	if len(t.Put)+len(t.Delete)+len(t.DeleteAll) > store.MaxOps {
		return 0, false, fmt.Errorf("write: %w", store.ErrTooMany)
	}
	return s.Store.Commit(ctx, t)
}

func TestTooLargeAnApplySaysWhatToDo(t *testing.T) {
	t.Parallel()
	s := serve(t, smallStore{memory.New()}, master.Options{})
	var objects []api.ApplyObject
	for i := range store.MaxOps + 1 {
		objects = append(objects, object(api.Tenants, api.Tenant{TenantName: fmt.Sprint("t", i)}))
	}
	_, err := s.apply("", objects...)
	refused(t, err, model.ErrInvalid, "", "--max-txn-ops", "nothing was changed")
	if _, err := s.apply("", objects[1:]...); err != nil {
		t.Error(err)
	}
}

// A commit whose time is over before it begins may take effect all the same, and must not be called a failure.
func TestWhatIsNotCheckedInTimeIsNotWritten(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	// No machine checks so many networks in that time. A busy one may have none of it left before it begins, and says so.
	hasty, s := serve(t, mem, master.Options{ApplyPatience: time.Millisecond}), serve(t, mem, master.Options{})
	var objects []api.ApplyObject
	for i := range 1500 {
		objects = append(objects, object(api.Networks, api.Network{TenantName: "default", NetworkName: fmt.Sprint("n", i), Subnet: fmt.Sprintf("11.%d.%d.0/24", i/256, i%256)}))
	}
	for try := 0; ; try++ {
		_, err := hasty.apply("", objects...)
		if err != nil && strings.Contains(err.Error(), "nothing was changed") {
			break
		}
		if err == nil || try == 100 {
			t.Fatalf("too much for the time there is: %v", err)
		}
	}
	answer, err := s.apply("", objects...)
	if err != nil || len(answer) != len(objects) || !strings.HasPrefix(answer[0], api.ApplyCreated) {
		t.Errorf("with time: %d results, %v", len(answer), err)
	}
}

// slowStore takes its time for a large transaction, as an etcd on a slow disk does.
type slowStore struct{ store.Store }

func (s slowStore) Commit(ctx context.Context, t store.Txn) (int64, bool, error) {
	if t.Ops() > 1000 {
		select {
		case <-ctx.Done():
			return 0, false, ctx.Err()
		case <-time.After(3 * time.Second):
		}
	}
	return s.Store.Commit(ctx, t)
}

// gatedStore commits a large transaction when it is let.
type gatedStore struct {
	store.Store
	begun, let chan struct{}
}

func (s gatedStore) Commit(ctx context.Context, t store.Txn) (int64, bool, error) {
	if t.Ops() > 1000 {
		close(s.begun)
		select {
		case <-ctx.Done():
			return 0, false, ctx.Err()
		case <-s.let:
		}
	}
	return s.Store.Commit(ctx, t)
}

func TestWritesWaitForALargeApply(t *testing.T) {
	t.Parallel()
	const patience = 200 * time.Millisecond
	held := gatedStore{memory.New(), make(chan struct{}), make(chan struct{})}
	s := serve(t, held, master.Options{Patience: patience})
	var objects []api.ApplyObject
	for i := range 9000 { // a commit may take 1 ms for each
		objects = append(objects, object(api.Policies, api.Policy{TenantName: "default", PolicyName: fmt.Sprint("p", i)}))
	}
	applied, written := make(chan error, 1), make(chan error, 1)
	go func() {
		applied <- s.client.Apply(t.Context(), false, api.ApplyRequest{Objects: objects}, &api.ApplyAnswer{})
	}()
	<-held.begun
	go func() {
		_, err := s.client.Put(t.Context(), api.ObjectPath(api.Tenants, "blue"), api.Tenant{}, nil)
		written <- err
	}()
	select {
	case err := <-written:
		t.Errorf("a write did not wait: %v", err)
	case <-time.After(3 * patience): // it would have given up
	}
	close(held.let)
	if err := errors.Join(<-applied, <-written); err != nil {
		t.Error(err)
	}
}

func TestThousandsOfNetworksAreAppliedAtOnceThoughTheStoreIsSlow(t *testing.T) {
	t.Parallel()
	s := serve(t, slowStore{memory.New()}, master.Options{})
	var objects []api.ApplyObject
	for i := range 6000 {
		objects = append(objects, object(api.Networks, api.Network{TenantName: "default", NetworkName: fmt.Sprint("n", i), Subnet: fmt.Sprintf("11.%d.%d.0/24", i/256, i%256)}))
	}
	var answer api.ApplyAnswer
	s.must(s.client.Apply(t.Context(), false, api.ApplyRequest{Objects: objects}, &answer))
	if n := len(answer.Results); n != len(objects) {
		t.Errorf("%d results", n)
	}
	var in struct{ Oper map[string]any }
	if err := s.client.Get(t.Context(), api.InspectPath(api.Globals, "global"), &in); err != nil || in.Oper["vxlansInUse"] != "1-6000" {
		t.Errorf("tags in use: %v, %v", in.Oper, err)
	}
}

func TestDryRunOfADeletionDeletesNothing(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.group("web", ""))
	_, err := s.client.Delete(t.Context(), api.ObjectPath(api.Networks, "default:net")+"?dry-run=true")
	refused(t, err, model.ErrInUse, "networkName", "web")
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.EndpointGroups, "default:web")+"?dry-run=true"); err != nil {
		t.Error(err)
	}
	if err := s.client.Get(t.Context(), api.ObjectPath(api.EndpointGroups, "default:web"), nil); errors.Is(err, model.ErrNotFound) {
		t.Error("a dry run deleted the group")
	}
}

func TestApplyOfMoreThanAPoolGivesIsRefused(t *testing.T) {
	t.Parallel()
	s := alone(t)
	objects := []api.ApplyObject{object(api.Networks, api.Network{TenantName: "default", NetworkName: "net", Subnet: "10.1.1.0/30"})}
	for _, name := range []string{"a", "b", "c"} {
		one := web
		one.TenantName, one.ServiceName = "default", name
		objects = append(objects, object(api.ServiceLBs, one))
	}
	_, err := s.apply("", objects...)
	refused(t, err, model.ErrInUse, "ipAddress", "serviceLBs default:c", "no address is free in 10.1.1.0/30")
	_, err = s.apply("", objects[:3]...)
	s.must(err)
}
