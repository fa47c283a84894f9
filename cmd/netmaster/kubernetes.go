// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/contivnet/contiv/cmd/internal/kubeconfig"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/mirror"
	"github.com/contivnet/contiv/model"
)

// noKubernetes stands for the path of a kubeconfig where there is no Kubernetes any more.
const noKubernetes = "none"

// kubernetes is what a master does for Kubernetes while it leads; nil where it does nothing.
func (o options) kubernetes() (func(context.Context, *master.Lead) error, error) {
	switch o.kubeconfig {
	case "":
		return nil, nil
	case noKubernetes:
		return func(ctx context.Context, l *master.Lead) error {
			if err := mirror.Forget(ctx, l); err != nil {
				return err
			}
			<-ctx.Done() // leading on, lest another one takes it over again
			return ctx.Err()
		}, nil
	}
	config, err := kubeconfig.Read(o.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	config.UserAgent = "netmaster/" + version
	return func(ctx context.Context, l *master.Lead) error {
		return mirror.Run(ctx, mirror.Options{Config: config, Log: o.log}, l)
	}, nil
}

// leadKubernetes does it whenever the master leads, until ctx ends. Wait for what it returns.
func leadKubernetes(ctx context.Context, m *master.Master, do func(context.Context, *master.Lead) error) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if do != nil {
			m.Lead(ctx, model.LeadMirror, do)
		}
	}()
	return ended
}
