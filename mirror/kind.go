// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/contivnet/contiv/model"
)

// kinds are all that is taken over.
func kinds() []kind {
	return []kind{
		kindOf(corev1.SchemeGroupVersion.WithResource("namespaces"), namespaceOf),
		kindOf(corev1.SchemeGroupVersion.WithResource("services"), serviceOf),
		kindOf(corev1.SchemeGroupVersion.WithResource("nodes"), nodeOf),
		kindOf(discoveryv1.SchemeGroupVersion.WithResource("endpointslices"), endpointSliceOf),
		kindOf(networkingv1.SchemeGroupVersion.WithResource("networkpolicies"), networkPolicyOf).thatStays(),
		kindOf(schema.GroupVersionResource{Group: "policy.networking.k8s.io", Version: "v1alpha2", Resource: "clusternetworkpolicies"}, clusterNetworkPolicyOf).thatStays(),
	}
}

// kind is one of Kubernetes' kinds, and what becomes of it.
type kind struct {
	resource schema.GroupVersionResource
	becomes  model.Kind
	// translate reads an object as JSON. What it becomes is nil where that is nothing. An error beside an object says what of it cannot be read.
	translate func([]byte) (model.Object, error)
	// stays says that an object that cannot be taken over any more stays as it was: without it more would pass.
	stays bool
}

func (k kind) thatStays() kind {
	k.stays = true
	return k
}

// path is the collection's, of all namespaces.
func (k kind) path() []string {
	r := k.resource
	if r.Group == "" {
		return []string{"api", r.Version, r.Resource}
	}
	return []string{"apis", r.Group, r.Version, r.Resource}
}

// kindOf makes a kind of a function that translates one of Kubernetes' objects; wanted is false for one that becomes nothing. An error beside a wanted
// one says what of it cannot be read.
func kindOf[From any, To model.Object](resource schema.GroupVersionResource, translate func(*From) (o To, wanted bool, err error)) kind {
	var zero To
	return kind{resource: resource, becomes: zero.Kind(), translate: func(b []byte) (model.Object, error) {
		var from From
		if err := json.Unmarshal(b, &from); err != nil {
			return nil, fmt.Errorf("it cannot be read: %w", err)
		}
		o, wanted, err := translate(&from)
		if !wanted {
			return nil, err
		}
		return o, err
	}}
}

// named is what all of Kubernetes' objects have.
type named struct {
	Metadata struct {
		Namespace       string `json:"namespace"`
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
}

// key is the object's in the store.
func (n named) key() string {
	if n.Metadata.Namespace == "" {
		return n.Metadata.Name
	}
	return n.Metadata.Namespace + "/" + n.Metadata.Name
}

// said is what the API server has said of one object.
type said struct {
	key     string
	version string
	object  model.Object // nil: there is none, or it becomes nothing
	err     error        // why it cannot be taken over or, beside an object, not all of it
}

// hear reads an object. The error says that it does not even have a name.
func (k kind) hear(b []byte, gone bool) (said, error) {
	var n named
	if err := json.Unmarshal(b, &n); err != nil {
		return said{}, fmt.Errorf("read an object of %s: %w", k.resource.Resource, err)
	}
	s := said{key: n.key(), version: n.Metadata.ResourceVersion}
	if n.Metadata.Name == "" {
		return said{}, fmt.Errorf("read an object of %s: it has no name", k.resource.Resource)
	}
	if gone {
		return s, nil
	}
	if s.object, s.err = k.translate(b); s.object != nil && s.object.Key() != s.key {
		s.object, s.err = nil, errors.New("it became one of another name: "+s.object.Key())
	}
	return s, nil
}

// list is a page of a collection.
type list struct {
	Metadata metav1.ListMeta   `json:"metadata"`
	Items    []json.RawMessage `json:"items"`
}

// event is what a watch tells.
type event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}
