// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types020 "github.com/containernetworking/cni/pkg/types/020"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/cni/call"
	"github.com/contivnet/contiv/model"
)

// code is the specification's code of an error; 0 for an error that has none.
func code(err error) uint {
	var e *types.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func FuzzCallIsReadOrRefusedWithACode(f *testing.F) {
	for _, seed := range []string{
		`{"command":"ADD","containerID":"c1","netns":"/run/netns/c1","ifName":"eth0","config":{"name":"x","tenant":"blue","network":"web"}}`,
		`{"command":"DEL","containerID":"a-b","ifName":"c"}`,
		`{"command":"GC","config":{"cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]}}`,
		`{"command":"ADD","containerID":"c:1","ifName":"eth:0","config":null}`,
		`{"command":"CHECK","containerID":"c1","netns":"/n","ifName":"eth0","config":{"cniVersion":"1.0.0","prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/n"}],"ips":[{"interface":0,"address":"10.1.2.3/24"},{"interface":7}]}}}`,
		`{"command":"ADD","containerID":"c1","ifName":"eth0","config":{"name":"x","args":{"cni":{"labels":[{"key":"app","value":"web"}]}},"runtimeConfig":{"labels":{"tier":"front"}}}}`,
		`{"command":"ADD","config":{"name":"x","runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":8080,"protocol":"TCP","hostIP":"::1"}],"bandwidth":{"ingressRate":10000000,"ingressBurst":4294967295}}}}`,
		`{"config":{"tenant":7}}`, `{"config":{"group":"db"}}`, `{"config":[]}`, `[]`, `null`, `{`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readCall(strings.NewReader(string(b)))
		if err != nil {
			if code(err) != types.ErrDecodingFailure {
				t.Fatalf("the refusal has no code: %v", err)
			}
			return
		}
		switch id, err := c.endpointID(); {
		case err != nil:
			if code(err) != types.ErrInvalidEnvironmentVariables {
				t.Fatalf("the refusal has no code: %v", err)
			}
		default:
			// Another attachment would have another id, and a master takes it.
			container, device, ok := strings.Cut(strings.TrimPrefix(id, "cni-"), ":")
			if !ok || container != c.ContainerID || device != c.IfName {
				t.Fatalf("%q, %q give id %q", c.ContainerID, c.IfName, id)
			}
			e := model.Endpoint{ID: id, Tenant: "t", Network: "n", Node: "n1"}
			if err := e.Check(); err != nil {
				t.Fatal(err)
			}
		}
		switch conf, err := c.config(); {
		case err != nil:
			if code(err) != types.ErrDecodingFailure {
				t.Fatalf("the refusal has no code: %v", err)
			}
		case conf.Tenant == "" || conf.Network == "" && conf.Group == "":
			t.Fatalf("nobody knows where the container goes: %+v", conf)
		case conf.labels()[labelConfig] != conf.Name:
			t.Fatalf("the container would be taken for another configuration's: %q", conf.labels())
		default:
			if err := kept(conf, c, nil); err != nil && code(err) == 0 {
				t.Fatalf("the refusal has no code: %v", err)
			}
			e := model.Endpoint{ID: "e", Tenant: "t", Network: "n", Node: "n1"}
			if e.Spec, err = conf.spec(); err == nil {
				if err := e.Check(); err != nil {
					t.Fatalf("a master would not take the rates of %s: %v", c.Config, err)
				}
			}
			if _, again := conf.published(); (err != nil && !errors.Is(err, model.ErrInvalid)) || (again != nil && !errors.Is(again, model.ErrInvalid)) {
				t.Fatalf("the refusals have no code: %v, %v", err, again)
			}
		}
	})
}

func TestCallWithoutSenseIsAnsweredWithItsCode(t *testing.T) {
	t.Parallel()
	s := &Server{Log: slog.New(slog.DiscardHandler)}
	for body, want := range map[string]uint{
		`{`: types.ErrDecodingFailure,
		`{"command":"DANCE","containerID":"c1","ifName":"eth0"}`:                                       types.ErrInvalidEnvironmentVariables,
		`{"command":"DEL","containerID":"../etc","ifName":"eth0"}`:                                     types.ErrInvalidEnvironmentVariables,
		`{"command":"DEL","containerID":"` + strings.Repeat("c", 300) + `","ifName":"eth0"}`:           types.ErrInvalidEnvironmentVariables,
		`{"command":"ADD","containerID":"c1","ifName":"a-name-that-is-too-long","config":{}}`:          types.ErrInvalidEnvironmentVariables,
		`{"command":"ADD","containerID":"c1","ifName":"eth0","config":{"network":["web"]}}`:            types.ErrDecodingFailure,
		`{"command":"ADD","containerID":"c1","ifName":"eth0","config":{}}`:                             types.ErrInvalidEnvironmentVariables,
		`{"command":"ADD","containerID":"c1","ifName":"eth0","netns":"/proc/self/ns","config":{}}`:     types.ErrInvalidEnvironmentVariables,
		`{"command":"ADD","containerID":"c1","ifName":"eth0","netns":"/proc/self/ns/net","config":{}}`: types.ErrInvalidEnvironmentVariables,
		`{"command":"GC","config":{"cni.dev/valid-attachments":[{"containerID":"c1"}]}}`:               types.ErrInvalidEnvironmentVariables,
	} {
		r, w := httptest.NewRequestWithContext(t.Context(), http.MethodPost, call.Path, strings.NewReader(body)), httptest.NewRecorder()
		s.serve(w, r)
		var a call.Answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Error == nil || a.Error.Code != want || a.Error.Msg == "" {
			t.Errorf("%s is answered with %s; want code %d", body, w.Body, want)
		}
	}
}

func TestConfigurationNamesItsNetworkByItselfOrByAGroup(t *testing.T) {
	t.Parallel()
	w := model.World{}.With(model.Change{Reset: true, Put: []model.Object{
		model.Network{Tenant: "default", Name: "default-net"}, model.Network{Tenant: "default", Name: "net"}, model.Network{Tenant: "blue", Name: "net"},
		model.Group{Tenant: "default", Name: "db", Network: "net"}, model.Group{Tenant: "blue", Name: "lost", Network: "gone"},
	}})
	for text, want := range map[string]string{
		`{}`: "default:default-net", `{"network": "net"}`: "default:net", `{"tenant": "blue", "network": "net"}`: "blue:net",
		`{"group": "db"}`: "default:net", `{"group": "db", "network": "net"}`: "default:net",
		`{"group": "db", "network": "default-net"}`: "is in network net, not in default-net",
		`{"group": "db", "tenant": "blue"}`:         "group db of tenant blue does not exist: create it with netctl group create -t blue NETWORK db",
		`{"group": "web", "network": "net"}`:        "netctl group create -t default net web",
		`{"group": "lost", "tenant": "blue"}`:       "network gone of tenant blue does not exist: create it with netctl net create -t blue -s SUBNET gone",
		`{"network": "nowhere"}`:                    "network nowhere of tenant default does not exist",
	} {
		conf, err := Call{Config: json.RawMessage(text)}.config()
		if err != nil {
			t.Fatal(err)
		}
		n, err := conf.networkIn(w)
		if err != nil && (!strings.Contains(err.Error(), want) || errorOf(err).Code != types.ErrInvalidNetworkConfig) || err == nil && n.Key() != want {
			t.Errorf("%s: network %s, error %v; want %s", text, n.Key(), err, want)
		}
	}
}

func TestErrorsTellARuntimeWhetherToTryAgain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err  error
		want uint
	}{
		{&api.UnreachableError{Masters: []string{"http://m:9999"}, Err: errors.New("refused")}, types.ErrTryAgainLater},
		{fmt.Errorf("attach: %w", &api.Error{Status: http.StatusServiceUnavailable, Text: "etcd is away"}), types.ErrTryAgainLater},
		{fmt.Errorf("attach: %w", context.DeadlineExceeded), types.ErrTryAgainLater},
		{fmt.Errorf("attach: %w", &api.Error{Status: http.StatusBadRequest, Text: "no"}), types.ErrInvalidNetworkConfig},
		{model.NotFound("network", "no network"), types.ErrInvalidNetworkConfig},
		{types.NewError(types.ErrUnknownContainer, "no container", ""), types.ErrUnknownContainer},
		{errors.New("disk full"), types.ErrInternal},
	} {
		if got := errorOf(row.err); got.Code != row.want || !strings.Contains(got.Error(), row.err.Error()) {
			t.Errorf("%v has code %d and says %q; want %d", row.err, got.Code, got, row.want)
		}
	}
}

func TestResultHasBothFamiliesAndTheirGatewaysInEveryVersion(t *testing.T) {
	t.Parallel()
	pool := func(subnet, gateway string) model.Pool {
		p, err := model.ParsePool(subnet, gateway, subnet[0] == '2')
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	n := model.Network{Tenant: "blue", Name: "web", IPv4: pool("10.1.2.0/24", "10.1.2.254"), IPv6: pool("2001:db8:2::/64", "2001:db8:2::1")}
	e := model.Endpoint{IPv4: netip.MustParseAddr("10.1.2.3"), IPv6: netip.MustParseAddr("2001:db8:2::3"), MAC: model.MAC{2, 2, 10, 1, 2, 3}}
	r := result(e, n, Call{IfName: "eth0", Netns: "/run/netns/c1"})
	for _, version := range []string{"1.1.0", "1.0.0", "0.4.0", "0.3.1"} {
		got, err := r.GetAsVersion(version)
		if err != nil {
			t.Fatalf("version %s: %v", version, err)
		}
		b, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{
			`"10.1.2.3/24"`, `"2001:db8:2::3/64"`, `"10.1.2.254"`, `"2001:db8:2::1"`, `"0.0.0.0/0"`, `"::/0"`,
			`"02:02:0a:01:02:03"`, `"eth0"`, `"/run/netns/c1"`, version,
		} {
			if !strings.Contains(string(b), word) {
				t.Errorf("version %s lacks %s: %s", version, word, b)
			}
		}
	}
	old, err := r.GetAsVersion("0.2.0")
	if err != nil {
		t.Fatal(err)
	}
	if got := old.(*types020.Result); got.IP4.IP.String() != "10.1.2.3/24" || got.IP6.Gateway.String() != "2001:db8:2::1" {
		t.Errorf("version 0.2.0 has %+v", got)
	}
}

func TestPrevResultWithOtherAddressesIsDrift(t *testing.T) {
	t.Parallel()
	given := []netip.Prefix{netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("2001:db8:2::3/64")}
	list := func(interfaces, ips string) string {
		return fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "k8s", "prevResult": {"cniVersion": "1.1.0", "interfaces": [%s], "ips": [%s]}}`, interfaces, ips)
	}
	const ours, other = `{"name": "eth0", "sandbox": "/run/netns/c1"}`, `{"name": "br0"}`
	for text, want := range map[string]uint{
		`{"cniVersion": "1.1.0", "name": "k8s"}`: 0,
		list(ours, `{"interface": 0, "address": "10.1.2.3/24"}, {"interface": 0, "address": "2001:db8:2::3/64"}`):      0,
		list(other+","+ours, `{"interface": 0, "address": "10.9.9.9/24"}, {"interface": 1, "address": "10.1.2.3/24"}`): 0,
		list(ours, `{"address": "10.9.9.9/24"}`):                                     0,
		list(ours, `{"interface": 9, "address": "10.1.2.9/24"}`):                     0,
		list(ours, `{"interface": 0, "address": "10.1.2.9/24"}`):                     types.ErrInternal,
		list(ours, `{"interface": 0, "address": "10.1.2.3/16"}`):                     types.ErrInternal,
		`{"cniVersion": "1.1.0", "name": "k8s", "prevResult": {"cniVersion": "99"}}`: types.ErrDecodingFailure,
	} {
		c := Call{IfName: "eth0", Netns: "/run/netns/c1", Config: json.RawMessage(text)}
		conf, err := c.config()
		if err != nil {
			t.Fatal(err)
		}
		if got := code(kept(conf, c, given)); got != want {
			t.Errorf("%s: code %d, want %d", text, got, want)
		}
	}
}

// pods is a Kubernetes that says the same of every pod.
type pods struct {
	where  Placement
	labels map[string]string
	err    error
}

func (p pods) Place(_ context.Context, _ Pod, otherwise Placement) (Placement, Told, error) {
	return p.where.Or(otherwise), Told{Labels: p.labels}, p.err
}

func (p pods) Told(Pod) (Told, bool) { return Told{Labels: p.labels}, true }

func (pods) Changed() <-chan struct{} { return nil }

func TestPodGoesWhereKubernetesSaysAndCarriesItsLabels(t *testing.T) {
	t.Parallel()
	c := Call{Args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1", Config: json.RawMessage(`{"name": "k8s"}`)}
	conf, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.pod(); got != (Pod{"shop", "web-0", "u1"}) {
		t.Errorf("the pod is %+v", got)
	}
	for _, row := range []struct {
		pods Pods
		args string
		want Placement
	}{
		{nil, c.Args, Placement{Tenant: "default", Network: "default-net"}},
		{pods{}, c.Args, Placement{Tenant: "default", Network: "default-net"}},
		{pods{where: Placement{Tenant: "blue"}}, c.Args, Placement{Tenant: "blue", Network: "default-net"}},
		{pods{where: Placement{Tenant: "blue", Group: "db"}}, c.Args, Placement{Tenant: "blue", Group: "db"}},
		{pods{where: Placement{Network: "web"}}, c.Args, Placement{Tenant: "default", Network: "web"}},
		{pods{where: Placement{Network: "web"}}, "K8S_POD_NAME=of-podman", Placement{Tenant: "default", Network: "default-net"}},
	} {
		s := &Server{Pods: row.pods}
		if got, _, err := s.place(t.Context(), Call{Args: row.args}, conf); err != nil || got != row.want {
			t.Errorf("%+v of %q: %+v, %v; want %+v", row.pods, row.args, got, err, row.want)
		}
	}
	s := &Server{Pods: pods{labels: map[string]string{"app": "web", labelConfig: "forged", labelPodName: "forged"}}}
	_, told, err := s.place(t.Context(), c, conf)
	labels := told.Labels
	if err != nil || labels["app"] != "web" || labels[labelConfig] != "k8s" || labels[labelPodName] != "web-0" || labels[labelPodNamespace] != "shop" {
		t.Errorf("labels %v, %v", labels, err)
	}
	if pod, ours, ok := podOf(labels); !ok || pod != c.pod() || len(ours) != 4 || len(joined(map[string]string{"app": "db"}, ours)) != 5 {
		t.Errorf("labels %v are of pod %+v, %v", labels, pod, ours)
	}
	s.Pods = pods{err: errors.New("no")}
	if _, _, err := s.place(t.Context(), c, conf); err == nil {
		t.Error("a pod of which nobody knows where it goes goes somewhere")
	}
}
