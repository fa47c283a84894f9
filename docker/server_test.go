// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
)

func TestSocketOfAKilledRunIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "plugins", "netplugin.sock")
	first, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, error %v", info, err)
	}
}

func TestSocketThatIsServedIsLeftAndItsOwnerNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "netplugin.sock")
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	_, err = listen(path)
	if want := fmt.Sprintf("is served by process %d (%s)", os.Getpid(), strings.TrimSpace(string(comm))); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the other's socket was touched: %v", err)
	}
	_ = conn.Close()
}

func TestFileThatIsNoSocketIsLeft(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "netplugin.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "is not a socket; move it away") {
		t.Errorf("error %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file has %q, error %v", b, err)
	}
}

func TestProtocolAnswers(t *testing.T) {
	t.Parallel()
	_, n := cluster(t)
	h := handler(n.driver.methods(), slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		method, body string
		status       int
		want         string
	}{
		{"Plugin.Activate", "", 200, `{"Implements":["NetworkDriver","IpamDriver"]}`},
		{"NetworkDriver.GetCapabilities", "{}", 200, `{"Scope":"local","GwAllocChecker":true}`},
		{"NetworkDriver.GwAllocCheck", `{"Options":{}}`, 200, `{"SkipIPv4":true,"SkipIPv6":true}`},
		{"IpamDriver.GetCapabilities", "{}", 200, `{"RequiresMACAddress":false}`},
		{"NetworkDriver.Leave", `{"NetworkID":"x","EndpointID":"y"}`, 200, `{}`},
		{"NetworkDriver.RevokeExternalConnectivity", `{}`, 200, `{}`},
		{"NetworkDriver.EndpointOperInfo", `{}`, 200, `{"Value":{}}`},
		{"NetworkDriver.DeleteEndpoint", `{"EndpointID":"nobody"}`, 200, `{}`},
		{"NetworkDriver.DeleteNetwork", `{"NetworkID":"nobody"}`, 200, `{}`},
		{"IpamDriver.ReleasePool", `{"PoolID":"10.1.2.0/24#00"}`, 200, `{}`},
		{"IpamDriver.ReleaseAddress", `{"PoolID":"10.1.2.0/24#00","Address":"10.1.2.3"}`, 200, `{}`},
		{"NetworkDriver.AllocateNetwork", `{}`, 404, `{"Err":"netplugin has no method \"NetworkDriver.AllocateNetwork\""}`},
		{"NetworkDriver.Join", `[1]`, 500, `{"Err":"the engine's request cannot be read: json: cannot unmarshal array into Go value of type docker.joinRequest"}`},
		{"IpamDriver.RequestAddress", `{"PoolID":"nonsense"}`, 500, `{"Err":"address pool \"nonsense\" is not one that netplugin on node1 knows; remove the network and make it again"}`},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+c.method, strings.NewReader(c.body)))
		if w.Code != c.status || w.Body.String() != c.want {
			t.Errorf("%s: %d %s\nwant %d %s", c.method, w.Code, w.Body, c.status, c.want)
		}
	}
}

func TestHugeRequestIsRefused(t *testing.T) {
	t.Parallel()
	h := handler(map[string]method{"Plugin.Activate": answering(activate)}, slog.New(slog.DiscardHandler))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/Plugin.Activate", io.LimitReader(zeros{}, maxRequest+1)))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d", w.Code)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestUnreadableRecordIsNamedWithItsRemedy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, recordFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{StateDir: dir, Socket: "x.sock"}); err == nil || !strings.Contains(err.Error(), "move it away and start again") {
		t.Errorf("error %v", err)
	}
}

// FuzzRequests sends anything to any method of a driver whose masters and engine are away: whatever comes, there is an
// answer in JSON, and a refusal says why.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		`{"PoolID":"default:web|4","Address":"10.1.2.3","Options":{"RequestAddressType":"com.docker.network.gateway"}}`,
		`{"AddressSpace":"contiv","Pool":"10.1.2.0/24","SubPool":"10.1.2.128/25","V6":false}`,
		`{"NetworkID":"n","Options":{"com.docker.network.generic":{"tenant":"blue","pkt-tag":"7"}},"IPv4Data":[{"AddressSpace":"contiv","Pool":"10.1.2.0/24","Gateway":"10.1.2.0/24"}]}`,
		`{"NetworkID":"n","EndpointID":"e","Interface":{"Address":"10.1.2.3/24","MacAddress":""},"Options":{"group":"web"}}`,
		`{"NetworkID":1}`, `null`, ``,
	} {
		for i := range fuzzed {
			f.Add(uint8(i), []byte(seed))
		}
	}
	d := driverAlone(f)
	h := handler(d.methods(), slog.New(slog.DiscardHandler))
	ended, cancel := context.WithCancel(f.Context())
	cancel() // so that nothing is waited for
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ended, http.MethodPost, "/"+fuzzed[int(which)%len(fuzzed)], strings.NewReader(string(body)))
		h.ServeHTTP(w, r)
		var got struct{ Err *string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("answer %q: %v", w.Body, err)
		}
		if (w.Code == http.StatusOK) != (got.Err == nil) || got.Err != nil && *got.Err == "" {
			t.Fatalf("status %d with %s", w.Code, w.Body)
		}
	})
}

var fuzzed = []string{
	"NetworkDriver.CreateNetwork", "NetworkDriver.DeleteNetwork", "NetworkDriver.CreateEndpoint", "NetworkDriver.Join", "NetworkDriver.DeleteEndpoint",
	"IpamDriver.RequestPool", "IpamDriver.ReleasePool", "IpamDriver.RequestAddress", "IpamDriver.ReleaseAddress",
}

// driverAlone is a driver without master and engine, which is not running.
func driverAlone(t testing.TB) *Driver {
	t.Helper()
	client, err := api.NewClient("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	m := &fakeMaster{changed: make(chan struct{})}
	d, err := New(Options{
		Agent:  &fakeAgent{node: "node1", master: m, client: client},
		Engine: NewEngine("/nonexistent", "netplugin"), Socket: "netplugin.sock", StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// shortDir is a directory whose path leaves room for a socket's name: 107 characters in all.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
