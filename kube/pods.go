// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/contivnet/contiv/cni"
)

// Options say which API server is read, and for whom.
type Options struct {
	Config *rest.Config
	Node   string // this node's name in Kubernetes
	// Patience is how long a pod is awaited of which the API server has not told. If it has not answered by then, the pod goes where
	// its network configuration says.
	Patience time.Duration
	Log      *slog.Logger
}

// Pods is what the API server has said of the node's pods. Make one with New and Run it; Place may be called from any goroutine.
type Pods struct {
	Options
	client           metadata.Interface
	pods, namespaces cache.SharedIndexInformer

	mu      sync.Mutex
	away    map[string]error // by resource: why it could not be read last
	changed chan struct{}    // closed when something has been heard
}

// New is a node's, which has heard nothing yet.
func New(o Options) (*Pods, error) {
	client, err := metadata.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("make a client of Kubernetes' API server: %w", err)
	}
	p := &Pods{Options: o, client: client, away: map[string]error{}, changed: make(chan struct{})}
	if p.pods, err = p.follow(pods, fields.OneTermEqualSelector("spec.nodeName", o.Node)); err != nil {
		return nil, err
	}
	p.namespaces, err = p.follow(namespaces, fields.Everything())
	return p, err
}

// Run listens until ctx ends. An API server that is away is tried again for ever.
func (p *Pods) Run(ctx context.Context) error {
	// What the library says of its troubles; ours are logged by heard.
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(slog.DiscardHandler))
	var wg sync.WaitGroup
	wg.Go(func() { p.pods.RunWithContext(ctx) })
	wg.Go(func() { p.namespaces.RunWithContext(ctx) })
	wg.Wait()
	return nil
}

// Resources of group "", version v1.
const (
	pods       = "pods"
	namespaces = "namespaces"
)

func (p *Pods) resource(name string) metadata.Getter {
	return p.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: name})
}

// follow makes what keeps a copy of the metadata of a resource.
func (p *Pods) follow(resource string, which fields.Selector) (cache.SharedIndexInformer, error) {
	from := p.resource(resource)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = which.String()
			out, err := from.List(ctx, o)
			p.heard(resource, err)
			return out, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = which.String()
			out, err := from.Watch(ctx, o)
			if o.SendInitialEvents == nil || !apierrors.IsInvalid(err) { // who cannot start a watch with a list is asked for the list next
				p.heard(resource, err)
			}
			return out, err
		},
	}
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(lw, p.client), &metav1.PartialObjectMetadata{}, 0, nil)
	tell := func(any) { p.tell() }
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: tell, UpdateFunc: func(_, _ any) { p.tell() }, DeleteFunc: tell})
	return informer, errors.Join(err, informer.SetTransform(trim),
		informer.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {})) // heard has told
}

// trim leaves of an object what we ask for.
func trim(o any) (any, error) {
	if m, ok := o.(*metav1.PartialObjectMetadata); ok {
		m.ManagedFields, m.OwnerReferences, m.Finalizers = nil, nil, nil
	}
	return o, nil
}

// heard notes whether the API server answered about the resource. It logs changes.
func (p *Pods) heard(resource string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.away[resource]
	p.away[resource] = err
	switch {
	case err != nil && before == nil && !errors.Is(err, context.Canceled):
		p.Log.Warn("Kubernetes' API server cannot be read; it is tried again", "resource", resource, "error", err)
	case err == nil && before != nil:
		p.Log.Info("Kubernetes' API server can be read again", "resource", resource)
	}
}

// tell wakes all who wait.
func (p *Pods) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
}

// Changed is closed when something is heard after it. See cni.Pods.
func (p *Pods) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// silent is why the API server cannot be read now; nil where it can, and has told all that it has.
func (p *Pods) silent() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, err := range p.away {
		if err != nil {
			return err
		}
	}
	if !p.pods.HasSynced() || !p.namespaces.HasSynced() {
		return errors.New("it has not answered yet")
	}
	return nil
}

// askEvery is how often a pod that is awaited is asked for where it is not told. One who listens learns that the API server is back
// later than the kubelet: up to half a minute.
const askEvery = time.Second

// Place says where the pod goes, as the API server has it; a pod that it has not told of is awaited. See cni.Pods.
func (p *Pods) Place(ctx context.Context, pod cni.Pod, otherwise cni.Placement) (cni.Placement, map[string]string, error) {
	patience, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	var ask <-chan time.Time
	if p.silent() != nil {
		ask = time.After(0)
	}
	for {
		changed := p.Changed()
		if meta, namespace := p.find(pod); meta != nil && namespace != nil {
			return place(meta, namespace, otherwise), maps.Clone(meta.GetLabels()), nil
		}
		select {
		case <-changed:
			continue
		case <-ask:
			if meta, namespace, err := p.ask(patience, pod); err == nil {
				return place(meta, namespace, otherwise), meta.GetLabels(), nil
			}
			ask = time.After(askEvery)
			continue
		case <-patience.Done():
		}
		if ctx.Err() != nil {
			return otherwise, nil, ctx.Err()
		}
		silent := p.silent()
		if silent == nil {
			return otherwise, nil, types.NewError(types.ErrTryAgainLater,
				fmt.Sprintf("Contiv: Kubernetes' API server has no pod %s/%s (UID %s) on node %s: if that is not this node's name there, start netplugin with --kube-node",
					pod.Namespace, pod.Name, cmp.Or(pod.UID, "unknown"), p.Node), "")
		}
		p.Log.Warn("whether a pod has labels is not known, as Kubernetes' API server is away: it goes where its network configuration says; delete it if that is not where it belongs",
			"pod", pod.Namespace+"/"+pod.Name, "tenant", otherwise.Tenant, "network", otherwise.Network, "error", silent)
		return otherwise, nil, nil
	}
}

// ask asks the API server for the pod and its namespace.
func (p *Pods) ask(ctx context.Context, pod cni.Pod) (meta, namespace *metav1.PartialObjectMetadata, err error) {
	meta, err = p.resource(pods).Namespace(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if err == nil && !is(meta, pod) {
		err = fmt.Errorf("pod %s/%s has the UID %s, not %s", pod.Namespace, pod.Name, meta.UID, pod.UID)
	}
	if err != nil {
		return nil, nil, err
	}
	namespace, err = p.resource(namespaces).Get(ctx, pod.Namespace, metav1.GetOptions{})
	return meta, namespace, err
}

// Labels are the pod's as the API server told them last. See cni.Pods.
func (p *Pods) Labels(pod cni.Pod) (labels map[string]string, ending, ok bool) {
	meta, _ := p.find(pod)
	if meta == nil {
		return nil, false, false
	}
	return meta.GetLabels(), meta.GetDeletionTimestamp() != nil, true
}

// hashOfStatic is the annotation by which the API server's image of a static pod tells the UID that the kubelet gave it.
const hashOfStatic = "kubernetes.io/config.hash"

// is tells whether m is of the pod, and not of another of its name.
func is(m *metav1.PartialObjectMetadata, pod cni.Pod) bool {
	return pod.UID == "" || string(m.UID) == pod.UID || m.Annotations[hashOfStatic] == pod.UID
}

// find is the pod and its namespace; nil for what is not known yet.
func (p *Pods) find(pod cni.Pod) (meta, namespace metav1.Object) {
	if o, ok, _ := p.pods.GetStore().GetByKey(pod.Namespace + "/" + pod.Name); ok { // its error is that of other stores
		if m := o.(*metav1.PartialObjectMetadata); is(m, pod) {
			meta = m
		}
	}
	if o, ok, _ := p.namespaces.GetStore().GetByKey(pod.Namespace); ok {
		namespace = o.(*metav1.PartialObjectMetadata)
	}
	return meta, namespace
}
