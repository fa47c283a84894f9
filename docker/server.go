// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// PluginDir is where engines look for the sockets of plugins.
const PluginDir = "/run/docker/plugins"

// maxRequest is the largest request in bytes that is read. Those of engines have a few hundred.
const maxRequest = 1 << 20

// listen makes the plugin's socket. One that a killed run left is replaced; one at which somebody answers is not.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of plugin sockets: %w", err)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("look for another plugin's socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there already and is not a socket; move it away, or choose another plugin name", path)
	default:
		conn, err := net.DialTimeout("unix", path, 2*time.Second)
		if err == nil {
			defer conn.Close()
			return nil, fmt.Errorf("%s is served by %s; stop it, or choose another plugin name", path, peer(conn))
		}
		if !errors.Is(err, unix.ECONNREFUSED) {
			return nil, fmt.Errorf("find out whether %s is in use: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the socket of a run that was killed: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("make the plugin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("keep others off the plugin socket: %w", err), l.Close())
	}
	return l, nil
}

// peer names the process at the other end, as well as can be.
func peer(conn net.Conn) string {
	const nobody = "another process"
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nobody
	}
	var cred *unix.Ucred
	if err := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || cred == nil || cred.Pid == 0 {
		return nobody
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cred.Pid))
	if err != nil {
		return fmt.Sprintf("process %d", cred.Pid)
	}
	return fmt.Sprintf("process %d (%s)", cred.Pid, strings.TrimSpace(string(comm)))
}

// method answers one of the plugin protocol's calls.
type method func(ctx context.Context, body []byte) (any, error)

// answering makes a method of a function over decoded requests.
func answering[Req, Resp any](fn func(context.Context, Req) (Resp, error)) method {
	return func(ctx context.Context, body []byte) (any, error) {
		var req Req
		if len(body) > 0 {
			if err := json.Unmarshal(body, &req); err != nil {
				return nil, fmt.Errorf("the engine's request cannot be read: %w", err)
			}
		}
		return fn(ctx, req)
	}
}

// nothing is an answer without content, and a request of which nothing is needed.
type nothing struct{}

func done(context.Context, nothing) (nothing, error) { return nothing{}, nil }

// methods are all calls that engines make.
func (d *Driver) methods() map[string]method {
	return map[string]method{
		"Plugin.Activate":   answering(activate),
		"Plugin.Deactivate": answering(done),

		"NetworkDriver.GetCapabilities":             answering(capabilities),
		"NetworkDriver.GwAllocCheck":                answering(gatewayCheck),
		"NetworkDriver.CreateNetwork":               answering(d.createNetwork),
		"NetworkDriver.DeleteNetwork":               answering(d.deleteNetwork),
		"NetworkDriver.CreateEndpoint":              answering(d.createEndpoint),
		"NetworkDriver.EndpointOperInfo":            answering(operInfo),
		"NetworkDriver.DeleteEndpoint":              answering(d.deleteEndpoint),
		"NetworkDriver.Join":                        answering(d.join),
		"NetworkDriver.Leave":                       answering(done),
		"NetworkDriver.ProgramExternalConnectivity": answering(d.publish),
		"NetworkDriver.RevokeExternalConnectivity":  answering(d.unpublish),
		"NetworkDriver.DiscoverNew":                 answering(done),
		"NetworkDriver.DiscoverDelete":              answering(done),

		"IpamDriver.GetCapabilities":         answering(ipamCapabilities),
		"IpamDriver.GetDefaultAddressSpaces": answering(addressSpaces),
		"IpamDriver.RequestPool":             answering(d.requestPool),
		"IpamDriver.ReleasePool":             answering(d.releasePool),
		"IpamDriver.RequestAddress":          answering(d.requestAddress),
		"IpamDriver.ReleaseAddress":          answering(d.releaseAddress),
	}
}

// handler speaks the plugin protocol. A refusal has status 500 and {"Err"}, the one form that engines
// understand from network and IPAM drivers both.
func handler(methods map[string]method, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		fn, ok := methods[name]
		if !ok {
			reply(w, http.StatusNotFound, refused{fmt.Sprintf("netplugin has no method %.80q", name)})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			reply(w, http.StatusInternalServerError, refused{fmt.Sprintf("the engine's request cannot be read: %v", err)})
			return
		}
		began := time.Now()
		out, err := fn(r.Context(), body)
		log.Debug("the engine called", "method", name, "request", string(body), "took", time.Since(began), "error", err)
		if err != nil {
			reply(w, http.StatusInternalServerError, refused{err.Error()})
			return
		}
		reply(w, http.StatusOK, out)
	})
}

type refused struct{ Err string }

func reply(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"Err":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/vnd.docker.plugins.v1.2+json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // an engine that is gone asks again
}
