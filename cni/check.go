// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/contivnet/contiv/agent"
	"github.com/contivnet/contiv/model"
)

// check tells where a container differs from what it was given (specification 1.1.0, CHECK).
func (s *Server) check(c Call) error {
	id, err := c.endpointID()
	if err != nil {
		return err
	}
	conf, err := c.config()
	if err != nil {
		return err
	}
	e, ok := s.Agent.Prepared(id)
	if !ok || e.Port == "" {
		return types.NewError(types.ErrUnknownContainer, "Contiv: the container is not attached", id)
	}
	if err := agent.CheckSandbox(c.Netns); err != nil {
		return types.NewError(types.ErrInvalidEnvironmentVariables, "Contiv: CNI_NETNS: "+err.Error(), "")
	}
	n, ok := s.Agent.World().Networks.Get(e.NetworkKey())
	if !ok {
		return model.NotFound("network", "network %s of the container does not exist any more", e.NetworkKey())
	}
	want := device(e, n, c.IfName)
	if err := kept(conf, c, want.Addrs); err != nil {
		return err
	}
	drift, err := s.Agent.Drift(id, c.Netns, want)
	if err != nil {
		return err
	}
	published, err := conf.published()
	if err != nil {
		return err
	}
	if drift == "" {
		drift = s.Agent.Unpublished(id, published)
	}
	if drift != "" {
		return types.NewError(types.ErrInternal, "Contiv: "+drift, "")
	}
	return nil
}

// kept refuses a configuration whose runtime believes that the interface has other addresses than it was given: prevResult, which is
// the result of the last program of a list and may have more interfaces than ours.
func kept(conf config, c Call, given []netip.Prefix) error {
	if conf.RawPrevResult == nil {
		return nil
	}
	if err := version.ParsePrevResult(&conf.NetConf); err != nil {
		return types.NewError(types.ErrDecodingFailure, "Contiv: prevResult cannot be read", err.Error())
	}
	result, err := current.NewResultFromResult(conf.PrevResult)
	if err != nil {
		return types.NewError(types.ErrDecodingFailure, "Contiv: prevResult cannot be read", err.Error())
	}
	for _, ip := range result.IPs {
		if ip.Interface == nil || *ip.Interface < 0 || *ip.Interface >= len(result.Interfaces) {
			continue
		}
		i := result.Interfaces[*ip.Interface]
		if i == nil || i.Name != c.IfName || i.Sandbox != c.Netns {
			continue
		}
		if believed := prefixOf(ip.Address); !slices.Contains(given, believed) {
			return types.NewError(types.ErrInternal, fmt.Sprintf("Contiv: interface %s of the container has %v, and prevResult says %s", c.IfName, given, believed), "")
		}
	}
	return nil
}
