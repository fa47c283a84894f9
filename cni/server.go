// SPDX-License-Identifier: Apache-2.0

package cni

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
	"sync"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/contivnet/contiv/agent"
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/cni/call"
	"github.com/contivnet/contiv/model"
)

// patience is how long a call may take before the runtime is told to try again. Kubelet and containerd
// give a pod's network some minutes; a master that restarts needs seconds.
const patience = 30 * time.Second

// Server answers the CNI program.
type Server struct {
	Agent  *agent.Agent
	Pods   Pods   // nil: all go where their network configuration says
	Socket string // call.SocketPath, unless a test wants another
	// Listening, where it is given, is called once calls reach the server.
	Listening func()
	Log       *slog.Logger
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(s.Socket), 0o755); err != nil {
		return fmt.Errorf("make the directory of the CNI socket: %w", err)
	}
	l, err := listen(s.Socket)
	if err != nil {
		return err
	}
	if s.Listening != nil {
		s.Listening()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+call.Path, s.serve)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	following, end := context.WithCancel(ctx)
	var done sync.WaitGroup
	defer done.Wait()
	defer end()
	if s.Pods != nil {
		done.Go(func() { follow(following, s.Pods, s.Agent, s.Log) })
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve CNI calls: %w", err)
	case <-ctx.Done():
	}
	// Calls on their way get an answer, or their runtime would not know what it has.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if server.Shutdown(closing) != nil {
		_ = server.Close() // its error would be that of the listener, which is closed
	}
	return nil
}

// listen takes the place of a run that was killed. That only one agent runs on a node is seen to elsewhere.
func listen(path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("look for the last run's CNI socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there already and is not a socket: move it away", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the last run's CNI socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for CNI calls: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("keep others off the CNI socket: %w", err), l.Close())
	}
	return l, nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	var a call.Answer
	c, err := readCall(http.MaxBytesReader(w, r.Body, api.MaxBody))
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		a, err = s.handle(ctx, c)
	}
	if err != nil {
		a.Error = errorOf(err)
		s.Log.Warn("a CNI call failed", "command", c.Command, "container", c.ContainerID, "error", err)
	} else if c.Command == call.Add || c.Command == call.Del {
		s.Log.Info("a CNI call", "command", c.Command, "container", c.ContainerID, "took", time.Since(began))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // the runtime has given up if it fails
}

// readCall reads what the CNI program sent.
func readCall(r io.Reader) (Call, error) {
	var c Call
	if err := json.NewDecoder(r).Decode(&c); err != nil {
		return c, types.NewError(types.ErrDecodingFailure, "Contiv: the call cannot be read", err.Error())
	}
	return c, nil
}

// errorOf gives any error a code of the specification.
func errorOf(err error) *types.Error {
	var already *types.Error
	var unreachable *api.UnreachableError
	var refusal *api.Error
	switch {
	case errors.As(err, &already):
		return already
	case errors.As(err, &unreachable), errors.As(err, &refusal) && refusal.Retry(), errors.Is(err, context.DeadlineExceeded):
		return types.NewError(types.ErrTryAgainLater, "Contiv: "+err.Error(), "")
	case errors.Is(err, model.ErrInvalid), errors.Is(err, model.ErrNotFound):
		return types.NewError(types.ErrInvalidNetworkConfig, "Contiv: "+err.Error(), "")
	}
	return types.NewError(types.ErrInternal, "Contiv: "+err.Error(), "")
}

func (s *Server) handle(ctx context.Context, c Call) (call.Answer, error) {
	switch c.Command {
	case call.Add:
		return s.add(ctx, c)
	case call.Del:
		id, err := c.endpointID()
		if err != nil {
			return call.Answer{}, err
		}
		return call.Answer{}, s.Agent.Detach(ctx, id)
	case call.Check:
		return call.Answer{}, s.check(c)
	case call.GC:
		return call.Answer{}, s.collect(ctx, c)
	case call.Status:
		return call.Answer{}, s.status(ctx)
	}
	return call.Answer{}, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("Contiv: CNI_COMMAND %q is unknown", c.Command), "")
}

func (s *Server) add(ctx context.Context, c Call) (call.Answer, error) {
	id, err := c.endpointID()
	if err != nil {
		return call.Answer{}, err
	}
	conf, err := c.config()
	if err != nil {
		return call.Answer{}, err
	}
	if err := agent.CheckSandbox(c.Netns); err != nil {
		return call.Answer{}, types.NewError(types.ErrInvalidEnvironmentVariables, "Contiv: CNI_NETNS: "+err.Error(), "")
	}
	published, err := conf.published()
	if err != nil {
		return call.Answer{}, err
	}
	spec, err := conf.spec()
	if err != nil {
		return call.Answer{}, err
	}
	e, known := s.Agent.Prepared(id)
	if in := s.Agent.Elsewhere(id, c.Netns); in != "" {
		return call.Answer{}, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("Contiv: CNI_NETNS: interface %s of the container is in %s already, not in %s: DEL it first", c.IfName, in, c.Netns), "")
	}
	where, told := Placement{e.Tenant, e.Network, e.Group}, Told{Labels: e.Labels, Ports: e.NamedPorts(), Probed: e.Probed()}
	if pod := c.pod(); !known || e.Labels[labelPodName] == "" || e.Labels[labelPodNamespace] != pod.Namespace || e.Labels[labelPodName] != pod.Name {
		// A pod that is asked for again stays where it is, also when its labels have changed since or nobody can be asked.
		if where, told, err = s.place(ctx, c, conf); err != nil {
			return call.Answer{}, err
		}
	}
	n, err := s.network(ctx, where)
	if err != nil {
		return call.Answer{}, err
	}
	switch {
	case known && e.Group != where.Group:
		return call.Answer{}, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("Contiv: interface %s of the container is in group %q already, not in %q: DEL it first", c.IfName, e.Group, where.Group), "")
	case known && e.NetworkKey() != n.Key():
		return call.Answer{}, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("Contiv: interface %s of the container is in network %s already: DEL it first", c.IfName, e.NetworkKey()), "")
	case !known:
		e = model.Endpoint{
			ID: id, Tenant: n.Tenant, Network: n.Name, Group: where.Group, Runtime: "cni", Container: c.ContainerID, Name: c.pod().Name,
			Labels: told.Labels, Spec: spec.WithPorts(told.Ports, told.Probed),
		}
	}
	again := e.Port != "" // it was attached before this call, so a failure is no reason to take it away
	if e, err = s.Agent.Attach(ctx, e, c.Netns); err != nil {
		return call.Answer{}, err
	}
	if err = s.Agent.Equip(e.ID, c.Netns, device(e, n, c.IfName)); err == nil {
		err = s.publish(ctx, id, published)
	}
	if err != nil {
		if !again {
			err = errors.Join(err, s.Agent.Detach(ctx, id))
		}
		return call.Answer{}, err
	}
	return call.Answer{Result: result(e, n, c)}, nil
}

// worldPatience is how long a network may take from a master to this node.
const worldPatience = 2 * time.Second

// network is the one that is meant. It may have been made a moment ago, or this node not have heard a master yet.
func (s *Server) network(ctx context.Context, where Placement) (model.Network, error) {
	late := time.After(worldPatience)
	for {
		changed := s.Agent.Changed()
		n, err := where.networkIn(s.Agent.World())
		if err == nil {
			return n, nil
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
			return model.Network{}, ctx.Err()
		case <-late:
		}
		if !s.Agent.Fresh() {
			return n, types.NewError(types.ErrTryAgainLater, "Contiv: this node has not heard a netmaster yet, so all that it knows is that "+err.Error(), "")
		}
		return n, err
	}
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
		// Other configurations' containers are not this call's business. Where they are says nothing: pods go where their labels say.
		if e.Runtime == "cni" && e.Labels[labelConfig] == conf.Name && !valid[e.ID] {
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
