// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/contivnet/contiv/agent"
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// patience is how long a call may take before the runtime is told to try again. Kubelet and containerd
// give a pod's network some minutes; a master that restarts needs seconds.
const patience = 30 * time.Second

// Server answers the CNI program.
type Server struct {
	Agent  *agent.Agent
	Socket string // SocketPath, unless a test wants another
	Log    *slog.Logger
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(s.Socket), 0o755); err != nil {
		return fmt.Errorf("make the directory of the CNI socket: %w", err)
	}
	if err := os.Remove(s.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the last run's CNI socket: %w", err)
	}
	l, err := net.Listen("unix", s.Socket)
	if err != nil {
		return fmt.Errorf("listen for CNI calls: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+CallPath, s.serve)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve CNI calls: %w", err)
	}
	return nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	var a Answer
	c, err := readCall(http.MaxBytesReader(w, r.Body, api.MaxBody))
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		a, err = s.handle(ctx, c)
	}
	if err != nil {
		a.Error = errorOf(err)
		s.Log.Warn("a CNI call failed", "command", c.Command, "container", c.ContainerID, "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // the runtime has given up if it fails
}

// readCall reads what the CNI program sent.
func readCall(r io.Reader) (Call, error) {
	var c Call
	if err := json.NewDecoder(r).Decode(&c); err != nil {
		return c, types.NewError(types.ErrDecodingFailure, "the call is not JSON", err.Error())
	}
	return c, nil
}

// errorOf gives any error a code of the specification.
func errorOf(err error) *types.Error {
	var already *types.Error
	var unreachable *api.UnreachableError
	switch {
	case errors.As(err, &already):
		return already
	case errors.As(err, &unreachable), errors.Is(err, context.DeadlineExceeded):
		return types.NewError(types.ErrTryAgainLater, "Contiv: "+err.Error(), "")
	case errors.Is(err, model.ErrInvalid), errors.Is(err, model.ErrNotFound):
		return types.NewError(types.ErrInvalidNetworkConfig, "Contiv: "+err.Error(), "")
	}
	return types.NewError(types.ErrInternal, "Contiv: "+err.Error(), "")
}

func (s *Server) handle(ctx context.Context, c Call) (Answer, error) {
	switch c.Command {
	case Add:
		return s.add(ctx, c)
	case Del:
		id, err := c.endpointID()
		if err != nil {
			return Answer{}, err
		}
		return Answer{}, s.Agent.Detach(ctx, id)
	case Check:
		return Answer{}, s.check(c)
	case GC:
		return Answer{}, s.collect(ctx, c)
	case Status:
		return Answer{}, s.status(ctx)
	}
	return Answer{}, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_COMMAND %q is unknown", c.Command), "")
}

func (s *Server) add(ctx context.Context, c Call) (Answer, error) {
	id, err := c.endpointID()
	if err != nil {
		return Answer{}, err
	}
	conf, err := c.config()
	if err != nil {
		return Answer{}, err
	}
	if c.Netns == "" {
		return Answer{}, types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_NETNS is empty", "")
	}
	n, ok := s.Agent.World().Networks.Get(model.NetworkKey(conf.Tenant, conf.Network))
	if !ok {
		return Answer{}, model.NotFound("network", "network %s of tenant %s does not exist: create it with netctl net create -t %s -s SUBNET %s",
			conf.Network, conf.Tenant, conf.Tenant, conf.Network)
	}
	e, known := s.Agent.Prepared(id)
	if !known {
		e = model.Endpoint{ID: id, Tenant: conf.Tenant, Network: conf.Network, Runtime: "cni", Container: c.ContainerID}
		if err := s.allocate(ctx, n, &e); err != nil {
			return Answer{}, err
		}
		if err := s.Agent.Prepare(ctx, e); err != nil {
			return Answer{}, err
		}
	}
	if e, err = s.Agent.Attach(ctx, e, c.Netns); err != nil {
		return Answer{}, err
	}
	if err := s.Agent.Equip(e.ID, c.Netns, device(e, n, c.IfName)); err != nil {
		return Answer{}, errors.Join(err, s.Agent.Detach(ctx, id))
	}
	return Answer{Result: result(e, n, c)}, nil
}

// allocate asks a master for an address of each family that the network has.
func (s *Server) allocate(ctx context.Context, n model.Network, e *model.Endpoint) error {
	for _, family := range []struct {
		has bool
		v6  bool
		to  *netip.Addr
	}{{!n.IPv4.IsZero(), false, &e.IPv4}, {!n.IPv6.IsZero(), true, &e.IPv6}} {
		if !family.has {
			continue
		}
		var got api.Address
		ask := api.AddressRequest{Node: s.Agent.NodeName(), IPv6: family.v6}
		if _, err := s.Agent.Masters().Post(ctx, api.AddressesPath(n.Key()), ask, &got); err != nil {
			return fmt.Errorf("ask for an address of network %s: %w", n.Key(), err)
		}
		*family.to = got.IPAddress
	}
	return nil
}

func (s *Server) check(c Call) error {
	id, err := c.endpointID()
	if err != nil {
		return err
	}
	e, ok := s.Agent.Prepared(id)
	if !ok || e.Port == "" {
		return types.NewError(types.ErrUnknownContainer, "Contiv: the container is not attached", id)
	}
	n, ok := s.Agent.World().Networks.Get(e.NetworkKey())
	if !ok {
		return model.NotFound("network", "network %s of the container does not exist any more", e.NetworkKey())
	}
	drift, err := s.Agent.Drift(id, c.Netns, device(e, n, c.IfName))
	if err != nil {
		return err
	}
	if drift != "" {
		return types.NewError(types.ErrInternal, "Contiv: "+drift, "")
	}
	return nil
}

// collect detaches what the runtime does not have any more.
func (s *Server) collect(ctx context.Context, c Call) error {
	conf, err := c.config()
	if err != nil {
		return err
	}
	valid := map[string]bool{}
	for _, a := range conf.ValidAttachments {
		id, err := Call{ContainerID: a.ContainerID, IfName: a.IfName}.endpointID()
		if err != nil {
			return err
		}
		valid[id] = true
	}
	var failed error
	for _, e := range s.Agent.Attached() {
		// Other configurations' containers are not this call's business.
		if e.Runtime == "cni" && e.Tenant == conf.Tenant && e.Network == conf.Network && !valid[e.ID] {
			failed = errors.Join(failed, s.Agent.Detach(ctx, e.ID))
		}
	}
	return failed
}

func (s *Server) status(ctx context.Context) error {
	select {
	case <-s.Agent.Ready():
		return nil
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	return types.NewError(types.ErrPluginNotAvailable, "Contiv: no master has been heard since netplugin started", "")
}
