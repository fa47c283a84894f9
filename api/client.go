// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contivnet/contiv/model"
)

// TokenHeader carries what an authenticating proxy gave at login.
const TokenHeader = "X-Auth-Token"

// ClientOptions are what a client needs beyond masters' addresses.
type ClientOptions struct {
	Token    string // for an authenticating proxy; "": none. It is never sent without TLS
	Insecure bool   // believe any certificate
}

// Client speaks to any of several equal masters. It stays with the one that answered last and moves on when
// it does not. Safe for concurrent use.
type Client struct {
	masters []string
	http    *http.Client
	patient *http.Client // for what a master may take ApplySeconds for
	token   string
	last    atomic.Int32 // index of the master to ask first
	hung    []hung       // by index
}

// hung is closed and replaced whenever a master is found to answer nothing, so that who follows it leaves it too.
type hung struct {
	mu sync.Mutex
	ch chan struct{}
}

func (h *hung) found() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ch == nil {
		h.ch = make(chan struct{})
	}
	return h.ch
}

func (h *hung) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ch != nil {
		close(h.ch)
		h.ch = nil
	}
}

// Where there are other masters, one is waited for mostWait: each says within 5 s that its store is away, so one that is silent for longer
// hangs. A caller that has less time gives it half, but no less than LeastWait.
const (
	mostWait  = 6 * time.Second
	LeastWait = 2500 * time.Millisecond
	applyWait = (ApplySeconds + 5) * time.Second
)

// NewClient speaks to the masters, given as http://host:port. An address without a scheme is taken as http.
func NewClient(masters ...string) (*Client, error) { return ClientOptions{}.NewClient(masters...) }

// NewClient is NewClient with options.
func (o ClientOptions) NewClient(masters ...string) (*Client, error) {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: o.Insecure},
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
		// A master that accepts and does not answer counts as one that is down.
		ResponseHeaderTimeout: 15 * time.Second,
	}
	slow := transport.Clone()
	slow.ResponseHeaderTimeout = applyWait
	c := &Client{token: o.Token, http: &http.Client{Transport: transport}, patient: &http.Client{Transport: slow}}
	for _, list := range masters {
		for m := range strings.SplitSeq(list, ",") {
			m = strings.TrimRight(strings.TrimSpace(m), "/")
			if m == "" {
				continue
			}
			if !strings.Contains(m, "://") {
				m = "http://" + m
			}
			if !strings.HasPrefix(m, "http://") && !strings.HasPrefix(m, "https://") {
				return nil, fmt.Errorf("master %q is not a URL: it must begin with http:// or https://", m)
			}
			if o.Token != "" && !strings.HasPrefix(m, "https://") {
				return nil, fmt.Errorf("setting auth token requires a https auth_proxy URL, not %s", m)
			}
			c.masters = append(c.masters, m)
		}
	}
	if o.Token != "" { // a redirect would carry it to wherever it points
		for _, h := range []*http.Client{c.http, c.patient} {
			h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		}
	}
	if len(c.masters) == 0 {
		return nil, errors.New("no master is named: give --netmaster http://host:9999")
	}
	c.hung = make([]hung, len(c.masters))
	return c, nil
}

// Masters are the URLs that the client tries.
func (c *Client) Masters() []string { return c.masters }

// Get reads path into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	_, err := c.do(ctx, http.MethodGet, path, nil, out)
	return err
}

// Put creates or updates what is at path; out, when not nil, receives what the master made of it.
// The revision is the store's after the write, or the one at which it was seen to be done already.
func (c *Client) Put(ctx context.Context, path string, in, out any) (revision int64, err error) {
	return c.do(ctx, http.MethodPut, path, in, out)
}

// Post sends in to path, for what is not an object.
func (c *Client) Post(ctx context.Context, path string, in, out any) (revision int64, err error) {
	return c.do(ctx, http.MethodPost, path, in, out)
}

// Apply has all objects be, or none; dry: only says what would come of it. A master is given the time that it may take.
func (c *Client) Apply(ctx context.Context, dry bool, in ApplyRequest, out *ApplyAnswer) error {
	path := ApplyPath
	if dry {
		path += "?dry-run=true"
	}
	_, err := c.doWith(ctx, c.patient, http.MethodPost, path, in, out)
	return err
}

// Delete removes what is at path. Removing nothing succeeds.
func (c *Client) Delete(ctx context.Context, path string) (revision int64, err error) {
	revision, err = c.do(ctx, http.MethodDelete, path, nil, nil)
	if errors.Is(err, model.ErrNotFound) {
		return 0, nil
	}
	return revision, err
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) (int64, error) {
	return c.doWith(ctx, c.http, method, path, in, out)
}

// doWith tries each master once, beginning with the one that answered last.
func (c *Client) doWith(ctx context.Context, via *http.Client, method, path string, in, out any) (int64, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return 0, fmt.Errorf("encode the request to %s: %w", path, err)
		}
	}
	var failed error
	first := int(c.last.Load())
	for i := range c.masters {
		at := (first + i) % len(c.masters)
		trying, tried := ctx, func() {}
		if i < len(c.masters)-1 && via == c.http {
			trying, tried = patient(ctx)
		}
		began := time.Now()
		rev, err := c.ask(trying, via, method, c.masters[at]+path, body, out)
		tried()
		var refusal *Error
		if err != nil && !errors.As(err, &refusal) && time.Since(began) >= LeastWait {
			c.hung[at].tell()
		}
		if errors.As(err, &refusal) && refusal.Status == http.StatusServiceUnavailable && len(c.masters) > 1 {
			failed = err // its store is away; another master's may not be
			continue
		}
		if err == nil || refusal != nil {
			c.last.Store(int32(at))
			return rev, err
		}
		failed = err
		c.last.CompareAndSwap(int32(at), int32((at+1)%len(c.masters))) // the next call may have less time
		if ctx.Err() != nil {
			break
		}
	}
	var refusal *Error
	if errors.As(failed, &refusal) {
		return 0, refusal
	}
	return 0, &UnreachableError{Masters: c.masters, Err: failed}
}

// patient bounds how long one master is waited for.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	wait := mostWait
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, max(LeastWait, time.Until(deadline)/2))
	}
	return context.WithTimeout(ctx, wait)
}

func (c *Client) ask(ctx context.Context, via *http.Client, method, url string, body []byte, out any) (int64, error) {
	resp, err := c.sendWith(ctx, via, method, url, body)
	if err != nil {
		return 0, err
	}
	return answer(resp, out)
}

func (c *Client) send(ctx context.Context, method, url string, body []byte) (*http.Response, error) {
	return c.sendWith(ctx, c.http, method, url, body)
}

func (c *Client) sendWith(ctx context.Context, via *http.Client, method, url string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set(TokenHeader, c.token)
	}
	return via.Do(req)
}

// answer reads a whole response. A refusal is an *Error, a broken answer any other error.
func answer(resp *http.Response, out any) (int64, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		e := &Error{Status: resp.StatusCode}
		if json.Unmarshal(b, e) != nil || e.Text == "" {
			e.Text = fmt.Sprintf("the master answered %s: %s", resp.Status, bytes.TrimSpace(b[:min(len(b), 200)]))
		}
		return 0, e
	}
	rev, _ := strconv.ParseInt(resp.Header.Get(RevisionHeader), 10, 64) // reads carry none
	if out == nil {
		return rev, nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return rev, fmt.Errorf("the master's answer is not what was expected: %w", err)
	}
	return rev, nil
}
