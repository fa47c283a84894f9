// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// EngineOptions say which Docker engine to start, and how.
type EngineOptions struct {
	Binary string   // the daemon. Empty: dockerd, from the PATH
	Path   string   // a directory before all others in the engine's PATH, for the runc and docker-proxy that go with it
	Flags  []string // for the daemon, besides those that say where its files are
}

// Engine is a host's dockerd, with the containerd that it starts. Kill kills dockerd alone: containerd and containers go on.
type Engine struct{ *Process }

// engineName is the engine's among the host's daemons.
const engineName = "dockerd"

// StartEngine starts the host's Docker engine and waits until it answers.
func (h *Host) StartEngine(ctx context.Context, o EngineOptions) (*Engine, error) {
	if o.Binary == "" {
		o.Binary = "dockerd"
	}
	args := append([]string{
		"--data-root", "/var/lib/docker", "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid",
		"-H", "unix:///run/docker.sock",
		"--cgroup-parent", h.Cgroup(),
		// A host has no systemd to ask for cgroups.
		"--exec-opt", "native.cgroupdriver=cgroupfs",
	}, o.Flags...)
	var env []string
	if o.Path != "" {
		env = append(env, "PATH="+o.Path+":"+searchPath())
	}
	// The file of an engine that was killed would stop this one if its pid is in use again.
	if p, err := h.Process(engineName); err != nil || !p.Running() {
		if err := os.Remove(filepath.Join(h.Root(), "run/docker.pid")); !absent(err) && h.On() {
			return nil, fmt.Errorf("host %s: remove the dead engine's pid file: %w", h.Name(), err)
		}
	}
	p, err := h.start(engineName, env, o.Binary, args...)
	if err != nil {
		return nil, fmt.Errorf("start the engine (is docker.io installed?): %w", err)
	}
	e := &Engine{p}
	if err := e.answers(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("host %s: the engine does not answer: %w; the end of its log:\n%s", h.Name(), err, p.logTail()), p.Kill())
	}
	return e, nil
}

// answers waits until the engine does.
func (e *Engine) answers(ctx context.Context) error {
	ended := false
	err := poll(ctx, time.Minute, func() bool {
		ended = !e.Running()
		return ended || e.host.ping(ctx) == nil
	})
	if err == nil && ended {
		return errors.New("it ended")
	}
	return err
}

// Engine finds the engine that was started, by this program or another.
func (h *Host) Engine() (*Engine, error) {
	p, err := h.Process(engineName)
	if err != nil {
		return nil, err
	}
	return &Engine{p}, nil
}

// EngineSocket is the path of the engine's socket, outside the host. It changes with each Boot.
func (h *Host) EngineSocket() string { return filepath.Join(h.Root(), "run/docker.sock") }

// EngineClient speaks HTTP to the engine, wherever a URL points to; for its API.
func (h *Host) EngineClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // nothing to close
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", h.EngineSocket())
		},
	}}
}

func (h *Host) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
	if err != nil {
		return err
	}
	resp, err := h.EngineClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// Docker runs the docker command line against the host's engine and gives what it wrote to stdout, without surrounding space. An error
// holds what it said. The command itself runs outside the host.
func (h *Host) Docker(ctx context.Context, args ...string) (string, error) {
	docker, err := lookPath("docker")
	if err != nil {
		return "", err
	}
	if !h.On() {
		return "", fmt.Errorf("docker on host %s: %w", h.Name(), ErrOff)
	}
	var out, say bytes.Buffer
	cmd := exec.CommandContext(ctx, docker, append([]string{"-H", "unix://" + h.EngineSocket()}, args...)...)
	// Not the user's own configuration: it may name another engine.
	cmd.Env = append(environment(), "DOCKER_CONFIG="+h.path("docker-cli"))
	cmd.Stdout, cmd.Stderr = &out, &say
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Run(); err != nil {
		return strings.TrimSpace(out.String()), fmt.Errorf("host %s: docker %s: %w: %s", h.Name(), strings.Join(args, " "), err, strings.TrimSpace(say.String()))
	}
	return strings.TrimSpace(out.String()), nil
}
