// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	reader           podReader
	client           metadata.Interface // for namespaces
	pods, namespaces cache.SharedIndexInformer

	mu      sync.Mutex
	away    map[string]error // by resource: why it could not be read last
	changed chan struct{}    // closed when something has been heard
}

// New is a node's, which has heard nothing yet.
func New(o Options) (*Pods, error) {
	client, err := metadata.NewForConfig(o.Config)
	reader, err2 := newPodReader(o.Config)
	if err := errors.Join(err, err2); err != nil {
		return nil, fmt.Errorf("make a client of Kubernetes' API server: %w", err)
	}
	p := &Pods{Options: o, reader: reader, client: client, away: map[string]error{}, changed: make(chan struct{})}
	p.pods, err = p.follow(pods, &podObject{}, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = p.mine().String()
			return reader.List(ctx, metav1.NamespaceAll, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = p.mine().String()
			return reader.Watch(ctx, o)
		},
	})
	if err != nil {
		return nil, err
	}
	p.namespaces, err = p.follow(namespaces, &metav1.PartialObjectMetadata{}, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return p.namespace().List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return p.namespace().Watch(ctx, o)
		},
	})
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

// mine selects the node's pods.
func (p *Pods) mine() fields.Selector { return fields.OneTermEqualSelector("spec.nodeName", p.Node) }

// named selects the object of a name.
func named(name string) fields.Selector {
	return fields.OneTermEqualSelector(metav1.ObjectNameField, name)
}

func (p *Pods) namespace() metadata.ResourceInterface {
	return p.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: namespaces})
}

// follow makes what keeps a copy of a resource, whose objects are like example.
func (p *Pods) follow(resource string, example runtime.Object, from *cache.ListWatch) (cache.SharedIndexInformer, error) {
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			out, err := from.ListWithContext(ctx, o)
			p.heard(resource, err)
			return out, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			out, err := from.WatchWithContext(ctx, o)
			if o.SendInitialEvents == nil || !apierrors.IsInvalid(err) { // who cannot start a watch with a list is asked for the list next
				p.heard(resource, err)
			}
			return out, err
		},
	}
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(lw, p.client), example, 0, nil)
	tell := func(any) { p.tell() }
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: tell, UpdateFunc: func(_, _ any) { p.tell() }, DeleteFunc: tell})
	return informer, errors.Join(err, informer.SetTransform(trim),
		informer.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {})) // heard has told
}

// trim leaves of an object what we ask for.
func trim(o any) (any, error) {
	if m, ok := o.(metav1.Object); ok {
		m.SetManagedFields(nil)
		m.SetOwnerReferences(nil)
		m.SetFinalizers(nil)
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
func (p *Pods) Place(ctx context.Context, pod cni.Pod, otherwise cni.Placement) (cni.Placement, cni.Told, error) {
	patience, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	var ask <-chan time.Time
	if p.silent() != nil {
		ask = time.After(0)
	}
	for {
		changed := p.Changed()
		if is, namespace := p.find(pod); is != nil && namespace != nil {
			return place(is, namespace, otherwise), is.told(), nil
		}
		select {
		case <-changed:
			continue
		case <-ask:
			if is, namespace, err := p.ask(patience, pod); err == nil {
				return place(is, namespace, otherwise), is.told(), nil
			}
			ask = time.After(askEvery)
			continue
		case <-patience.Done():
		}
		if ctx.Err() != nil {
			return otherwise, cni.Told{}, ctx.Err()
		}
		silent := p.silent()
		if silent == nil {
			return otherwise, cni.Told{}, types.NewError(types.ErrTryAgainLater,
				fmt.Sprintf("Contiv: Kubernetes' API server has no pod %s/%s (UID %s) on node %s: if that is not this node's name there, start netplugin with --kube-node",
					pod.Namespace, pod.Name, cmp.Or(pod.UID, "unknown"), p.Node), "")
		}
		p.Log.Warn("whether a pod has labels is not known, as Kubernetes' API server is away: it goes where its network configuration says; delete it if that is not where it belongs",
			"pod", pod.Namespace+"/"+pod.Name, "tenant", otherwise.Tenant, "network", otherwise.Network, "error", silent)
		return otherwise, cni.Told{}, nil
	}
}

// ask asks the API server for the pod and its namespace. It asks for lists of one: who listens has to be allowed lists, and need not be allowed more.
func (p *Pods) ask(ctx context.Context, pod cni.Pod) (is *podObject, namespace *metav1.PartialObjectMetadata, err error) {
	found, err := p.reader.List(ctx, pod.Namespace, metav1.ListOptions{FieldSelector: fields.AndSelectors(named(pod.Name), p.mine()).String()})
	switch {
	case err != nil:
		return nil, nil, err
	case len(found.Items) == 0:
		return nil, nil, fmt.Errorf("node %s has no pod %s/%s", p.Node, pod.Namespace, pod.Name)
	case !found.Items[0].meant(pod):
		return nil, nil, fmt.Errorf("pod %s/%s has the UID %s, not %s", pod.Namespace, pod.Name, found.Items[0].UID, pod.UID)
	}
	in, err := p.namespace().List(ctx, metav1.ListOptions{FieldSelector: named(pod.Namespace).String()})
	switch {
	case err != nil:
		return nil, nil, err
	case len(in.Items) == 0:
		return nil, nil, fmt.Errorf("there is no namespace %s", pod.Namespace)
	}
	return &found.Items[0], &in.Items[0], nil
}

// Told is the pod as the API server told of it last. See cni.Pods.
func (p *Pods) Told(pod cni.Pod) (cni.Told, bool) {
	is, _ := p.find(pod)
	if is == nil {
		return cni.Told{}, false
	}
	return is.told(), true
}

// hashOfStatic is the annotation by which the API server's image of a static pod tells the UID that the kubelet gave it.
const hashOfStatic = "kubernetes.io/config.hash"

// meant tells whether the pod is meant, and not another of its name.
func (p *podObject) meant(pod cni.Pod) bool {
	return pod.UID == "" || string(p.UID) == pod.UID || p.Annotations[hashOfStatic] == pod.UID
}

// told is what is said of the pod. Nobody writes to what it holds.
func (p *podObject) told() cni.Told {
	return cni.Told{Labels: p.Labels, Ports: p.Spec.ports(), Probed: p.Spec.probed(), Ending: p.DeletionTimestamp != nil}
}

// find is the pod and its namespace; nil for what is not known yet.
func (p *Pods) find(pod cni.Pod) (is *podObject, namespace *metav1.PartialObjectMetadata) {
	if o, ok, _ := p.pods.GetStore().GetByKey(pod.Namespace + "/" + pod.Name); ok { // its error is that of other stores
		if have := o.(*podObject); have.meant(pod) {
			is = have
		}
	}
	if o, ok, _ := p.namespaces.GetStore().GetByKey(pod.Namespace); ok {
		namespace = o.(*metav1.PartialObjectMetadata)
	}
	return is, namespace
}
