// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultEngine is where Docker engines listen.
const DefaultEngine = "/var/run/docker.sock"

// newestAPI is the newest minor version 1.x of the engine's API that this package was written against: 1.48 can
// make networks without IPv4. Older engines are spoken to in their own.
const newestAPI = 48

// Engine is a Docker engine, asked over its unix socket. Safe for concurrent use.
type Engine struct {
	socket string
	driver string
	http   *http.Client

	mu  sync.Mutex
	api string // the version that both sides speak, as v1.41; "" before the engine was asked
}

// NewEngine is the engine at the socket, of which the networks of the driver (as netplugin) are ours.
func NewEngine(socket, driver string) *Engine {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	return &Engine{socket: socket, driver: driver, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     30 * time.Second,
	}}}
}

// engineError is the engine's refusal.
type engineError struct {
	status  int
	Message string `json:"message"`
}

func (e *engineError) Error() string { return e.Message }

func engineStatus(err error) int {
	var refusal *engineError
	if errors.As(err, &refusal) {
		return refusal.status
	}
	return 0
}

// awayError says that the engine did not answer.
type awayError struct {
	socket string
	err    error
}

func (e *awayError) Error() string {
	return fmt.Sprintf("the Docker engine does not answer at %s: %v", e.socket, e.err)
}
func (e *awayError) Unwrap() error { return e.err }

func isAway(err error) bool {
	var away *awayError
	return errors.As(err, &away)
}

// engineNetwork is a network as the engine shows it.
type engineNetwork struct {
	ID         string `json:"Id"`
	Name       string
	Driver     string
	EnableIPv6 bool
	Internal   bool
	Options    map[string]string
	Labels     map[string]string
	IPAM       engineIPAM
	// Containers are by container id, or by ep-<endpoint id> while the container is being connected. A list
	// of networks does not have them.
	Containers map[string]struct {
		Name       string
		EndpointID string
	}
}

type engineIPAM struct {
	Driver  string
	Options map[string]string `json:",omitempty"`
	Config  []ipamConfig
}

// ipamConfig is one subnet of a network. What was not asked for is "".
type ipamConfig struct {
	Subnet             string
	IPRange            string            `json:",omitempty"`
	Gateway            string            `json:",omitempty"`
	AuxiliaryAddresses map[string]string `json:",omitempty"`
}

// newNetwork is a request for a network.
type newNetwork struct {
	Name           string
	CheckDuplicate bool // engines before 25 allow two networks of one name otherwise
	Driver         string
	Internal       bool
	Attachable     bool
	EnableIPv4     *bool `json:",omitempty"` // nil: true
	EnableIPv6     bool
	IPAM           engineIPAM
	Options        map[string]string
	Labels         map[string]string
}

// listedContainer is what a list of containers shows of one.
type listedContainer struct {
	ID              string `json:"Id"`
	Names           []string
	Labels          map[string]string
	NetworkSettings struct {
		Networks map[string]containerNetwork
	}
}

// engineContainer is what an inspection shows.
type engineContainer struct {
	ID     string `json:"Id"`
	Name   string // with a leading slash
	Config struct {
		Labels map[string]string
	}
	NetworkSettings struct {
		Networks map[string]containerNetwork
	}
}

type containerNetwork struct {
	EndpointID string
	Aliases    []string
}

// event is one of the engine's events.
type event struct {
	Type   string
	Action string
	Actor  struct {
		ID         string
		Attributes map[string]string
	}
}

func (e *Engine) networks(ctx context.Context) ([]engineNetwork, error) {
	var out []engineNetwork
	if err := e.call(ctx, http.MethodGet, "/networks", nil, &out); err != nil {
		return nil, fmt.Errorf("list the engine's networks: %w", err)
	}
	return out, nil
}

func (e *Engine) network(ctx context.Context, id string) (engineNetwork, error) {
	var out engineNetwork
	if err := e.call(ctx, http.MethodGet, "/networks/"+url.PathEscape(id), nil, &out); err != nil {
		return out, fmt.Errorf("read network %s: %w", short(id), err)
	}
	return out, nil
}

func (e *Engine) createNetwork(ctx context.Context, n newNetwork) (id string, err error) {
	var out struct{ ID string }
	if err := e.call(ctx, http.MethodPost, "/networks/create", n, &out); err != nil {
		return "", err
	}
	return out.ID, nil
}

// removeNetwork succeeds when the network is not there.
func (e *Engine) removeNetwork(ctx context.Context, id string) error {
	err := e.call(ctx, http.MethodDelete, "/networks/"+url.PathEscape(id), nil, nil)
	if engineStatus(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// container blocks while the engine starts, stops or connects the container: never call it from a driver call.
func (e *Engine) container(ctx context.Context, id string) (engineContainer, error) {
	var out engineContainer
	if err := e.call(ctx, http.MethodGet, "/containers/"+url.PathEscape(id)+"/json", nil, &out); err != nil {
		return out, fmt.Errorf("read container %s: %w", short(id), err)
	}
	return out, nil
}

// containers are the running ones; or, when a name is given, the one that has it in any state.
func (e *Engine) containers(ctx context.Context, name string) ([]listedContainer, error) {
	path := "/containers/json"
	if name != "" {
		filter, err := json.Marshal(map[string][]string{"name": {"^/" + regexp.QuoteMeta(name) + "$"}})
		if err != nil {
			return nil, err
		}
		path += "?all=1&filters=" + url.QueryEscape(string(filter))
	}
	var out []listedContainer
	if err := e.call(ctx, http.MethodGet, path, nil, &out); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return out, nil
}

// events calls handle with each event of networks and containers until the engine or ctx ends. connected
// is called when the engine has begun to send.
func (e *Engine) events(ctx context.Context, connected func(), handle func(event)) error {
	filter := url.QueryEscape(`{"type":["network","container"]}`)
	resp, err := e.send(ctx, http.MethodGet, "/events?filters="+filter, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	connected()
	lines := json.NewDecoder(resp.Body)
	for {
		var ev event
		if err := lines.Decode(&ev); err != nil {
			return &awayError{e.socket, fmt.Errorf("its events ended: %w", err)}
		}
		handle(ev)
	}
}

// Live gives the ids of the endpoints that the engine has in networks of our driver. known is false when it
// cannot be asked.
func (e *Engine) Live(ctx context.Context) (ids map[string]bool, known bool) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	networks, err := e.networks(ctx)
	if err != nil {
		return nil, false
	}
	ids = map[string]bool{}
	for _, n := range networks {
		if n.Driver != e.driver {
			continue
		}
		n, err := e.network(ctx, n.ID)
		if engineStatus(err) == http.StatusNotFound {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, false
		}
		for key, c := range n.Containers {
			ids[c.EndpointID] = true
			if id, ok := strings.CutPrefix(key, "ep-"); ok {
				ids[id] = true
			}
		}
	}
	delete(ids, "")
	return ids, true
}

// call sends in and reads the answer into out; both may be nil.
func (e *Engine) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
	}
	resp, err := e.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return refusal(resp)
	}
	if out == nil {
		_, _ = io.Copy(io.Discard, resp.Body) // so that the connection can be used again
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return &awayError{e.socket, fmt.Errorf("its answer cannot be read: %w", err)}
	}
	return nil
}

func refusal(resp *http.Response) error {
	refusal := &engineError{status: resp.StatusCode}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || json.Unmarshal(b, refusal) != nil || refusal.Message == "" {
		refusal.Message = fmt.Sprintf("the Docker engine answered %s: %s", resp.Status, bytes.TrimSpace(b[:min(len(b), 200)]))
	}
	return refusal
}

func (e *Engine) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	version, err := e.version(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := e.raw(ctx, method, "/"+version+path, body)
	if err != nil {
		// What comes back may be another engine.
		e.mu.Lock()
		e.api = ""
		e.mu.Unlock()
	}
	return resp, err
}

func (e *Engine) raw(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := e.http.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // its URL is not one that an operator knows
		}
		return nil, &awayError{e.socket, err}
	}
	return resp, nil
}

// version is the API version to use, as v1.41.
func (e *Engine) version(ctx context.Context) (string, error) {
	e.mu.Lock()
	known := e.api
	e.mu.Unlock()
	if known != "" {
		return known, nil
	}
	resp, err := e.raw(ctx, http.MethodGet, "/version", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", refusal(resp)
	}
	var has struct{ ApiVersion, MinAPIVersion string }
	if err := json.NewDecoder(resp.Body).Decode(&has); err != nil {
		return "", &awayError{e.socket, fmt.Errorf("its version cannot be read: %w", err)}
	}
	newest, oldest := minor(has.ApiVersion), minor(has.MinAPIVersion)
	if newest == 0 {
		return "", fmt.Errorf("the Docker engine at %s speaks API %q, which is not 1.x", e.socket, has.ApiVersion)
	}
	v := "v1." + strconv.Itoa(max(oldest, min(newest, newestAPI)))
	e.mu.Lock()
	e.api = v
	e.mu.Unlock()
	return v, nil
}

// minor is x of 1.x, or 0.
func minor(version string) int {
	x, ok := strings.CutPrefix(version, "1.")
	if !ok {
		return 0
	}
	n, _ := strconv.Atoi(x) // what is not a number is 0
	return n
}

func short(id string) string { return id[:min(len(id), 12)] }
