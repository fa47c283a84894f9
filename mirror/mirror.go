// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/contivnet/contiv/model"
)

// Store is what is kept equal to the API server.
type Store interface {
	// World is the newest that is known.
	World() model.World
	// Write puts and removes, and does not write what is so already. An error that is model.ErrInvalid says that this is more than the store
	// takes at once.
	Write(ctx context.Context, put []model.Object, remove []model.Ref) error
}

// Options say what is followed.
type Options struct {
	Config *rest.Config // how the API server is reached
	Log    *slog.Logger
}

// Run keeps the store equal to the API server until ctx ends, or the API server has been silent for a minute.
func Run(ctx context.Context, o Options, s Store) error { return run(ctx, o, s, kinds(), usual()) }

func run(ctx context.Context, o Options, s Store, kinds []kind, p pace) error {
	client, err := clientOf(o.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, k := range kinds {
		f := follower{kind: k, client: client, store: s, log: o.Log.With("resource", k.resource.Resource), pace: p}
		wg.Go(func() { cancel(f.run(ctx)) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// Forget removes all that was taken over, where there is no Kubernetes any more.
func Forget(ctx context.Context, s Store) error {
	for _, k := range kinds() {
		if err := s.Write(ctx, nil, kept(s.World(), k.becomes, nil)); err != nil {
			return fmt.Errorf("remove what Kubernetes said of %s: %w", k.resource.Resource, err)
		}
	}
	return nil
}

// kept are the objects of a kind that the World has, but for those with the keys.
func kept(w model.World, kind model.Kind, but map[string]bool) (out []model.Ref) {
	for o := range w.Of(kind) {
		if !but[o.Key()] {
			out = append(out, model.RefOf(o))
		}
	}
	return out
}

// clientOf makes a client that gives JSON as it comes.
func clientOf(config *rest.Config) (rest.Interface, error) {
	if config == nil {
		return nil, errors.New("no way to Kubernetes' API server is given")
	}
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	c := rest.CopyConfig(config)
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.ContentType, c.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	c.WarningHandler = rest.NoWarnings{}
	c.QPS = -1 // there are a few requests a minute, and all at once at the start
	client, err := rest.UnversionedRESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("make a client of Kubernetes' API server: %w", err)
	}
	return client, nil
}
