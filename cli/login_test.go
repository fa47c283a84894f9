// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
)

// proxy is an authenticating proxy before the test's master. It knows one user, and one token is good.
func proxy(t *testing.T) (*master, string) {
	t.Helper()
	m, _ := newMaster(t)
	m.put(t, api.Tenants, "blue", api.Tenant{Key: "blue", TenantName: "blue"})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/auth_proxy/login/" && r.Method == http.MethodPost {
			var who struct{ Username, Password string }
			err := json.NewDecoder(r.Body).Decode(&who)
			switch {
			case err == nil && who.Username == "admin" && who.Password == " pass word":
				w.Write([]byte(`{"token":"good"}`))
			case who.Username == "broken":
				http.Error(w, "the directory is away", http.StatusInternalServerError)
			default:
				w.WriteHeader(http.StatusUnauthorized)
			}
			return
		}
		if r.Header.Get("X-Auth-Token") != "good" {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		m.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that clients break off, as they should
	s.StartTLS()
	t.Cleanup(s.Close)
	return m, s.URL
}

// at runs netctl with a home and something typed.
func at(t *testing.T, home, url, typed, args string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	exit := Run(t.Context(), strings.Fields(args), Env{Stdin: strings.NewReader(typed), Stdout: &stdout, Stderr: &stderr,
		Getenv: func(name string) string { return map[string]string{"NETMASTER": url, "HOME": home}[name] }})
	return outcome{exit, stdout.String(), stderr.String()}
}

func TestATokenIsKeptForItsUserAloneAndSentFromThenOn(t *testing.T) {
	t.Parallel()
	_, url := proxy(t)
	home := t.TempDir()
	file := filepath.Join(home, ".netctl", "config.json")

	if got := at(t, home, url, "", "--insecure tenant ls -q"); got.exit != ExitRefused || !strings.HasSuffix(got.stderr, "\nLog in first: netctl login\n") {
		t.Errorf("without a token: %+v", got)
	}
	if got := at(t, home, url, "", "tenant ls -q"); got.exit != ExitUnreachable || !strings.Contains(got.stderr, "certificate") {
		t.Errorf("with an unknown certificate: %+v", got)
	}
	got := at(t, home, url, " admin \n pass word\n", "-insecure login")
	if got != (outcome{ExitDone, "Username: Password: \nLogin succeeded.\n", ""}) {
		t.Fatalf("login: %+v", got)
	}
	for path, mode := range map[string]os.FileMode{filepath.Dir(file): 0o700 | os.ModeDir, file: 0o600} {
		if i, err := os.Stat(path); err != nil || i.Mode() != mode {
			t.Errorf("%s is %v, %v; want %v", path, i.Mode(), err, mode)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != `{"token":"good"}` {
		t.Errorf("kept is %q, %v", b, err)
	}
	if got := at(t, home, url, "", "--insecure tenant ls -q"); got != (outcome{ExitDone, "blue\n", ""}) {
		t.Errorf("with the token: %+v", got)
	}
}

func TestATokenIsNotSentInClear(t *testing.T) {
	t.Parallel()
	m, url := newMaster(t)
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".netctl"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, ".netctl", "config.json")
	for content, want := range map[string]string{
		`{"token":"good"}`: "netctl: error processing netctl config: failed to set auth token: setting auth token requires a https auth_proxy URL, not " + url +
			"; to log out, delete " + file + "\n",
		`{"token":`: "netctl: error processing netctl config: failed to unmarshal JSON of " + file + ": unexpected end of JSON input; log in again, or delete it\n",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got := at(t, home, url, "", "tenant ls")
		if got.exit != ExitRefused || got.stdout != "" || got.stderr != want || len(m.seen()) > 0 {
			t.Errorf("%s: %+v, requests %v", content, got, m.seen())
		}
	}
}

func TestALoginThatFailsKeepsNothing(t *testing.T) {
	t.Parallel()
	_, url := proxy(t)
	_, plain := newMaster(t)
	home := t.TempDir()
	for _, c := range []struct{ url, typed, stderr string }{
		{plain, "", "netctl: login requires a https auth_proxy URL; name it with --netmaster or NETMASTER\n"},
		{url + "," + plain, "", "netctl: login requires a https auth_proxy URL; name it with --netmaster or NETMASTER\n"},
		{url, "\n", "netctl: you must specify a username\n"},
		{url, "admin\nwrong\n", "netctl: Login failed: Bad username or password.\n"},
		{url, "admin", "netctl: Login failed: Bad username or password.\n"},
		{url, "broken\nx\n", "netctl: Login failed: unexpected response code (500)\nthe master answered 500 Internal Server Error: the directory is away\n"},
		{url, strings.Repeat("x", 5000), "netctl: what was typed has more than 4096 characters\n"},
	} {
		got := at(t, home, c.url, c.typed, "--insecure login")
		if got.exit != ExitRefused || got.stderr != c.stderr {
			t.Errorf("typed %.20q at %s: %+v", c.typed, c.url, got)
		}
	}
	if files, err := os.ReadDir(home); err != nil || len(files) > 0 {
		t.Errorf("kept is %v, %v", files, err)
	}
	if got := at(t, "", url, "admin\n pass word\n", "--insecure login"); got.exit != ExitRefused || !strings.Contains(got.stderr, "HOME is not set") {
		t.Errorf("without a home: %+v", got)
	}
}
