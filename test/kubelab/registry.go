// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/contivnet/contiv/test/netlab"
)

// Image is what a container is started from.
type Image struct {
	Layers     [][]byte // tar archives, the lowest first
	Entrypoint []string
	Command    []string
}

// registry gives images by the last part of their names, under whatever tag (OCI distribution specification 1.1).
type registry struct {
	manifests map[string][]byte // by name; "": what any other name is given
	blobs     map[string][]byte
	types     map[string]string // of manifests, by digest
}

// ServeImages answers containerds at the listener until that is closed: the test image under whatever name it is asked for, but for more, whose layers
// lie over it.
func ServeImages(l net.Listener, lab *netlab.Lab, more map[string]Image) error {
	root, err := lab.Image()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	layer := [][]byte{root}
	images := map[string]Image{"": {Layers: layer, Command: []string{"sh"}}, "pause": {Layers: layer, Command: []string{"sleep", "1000000000"}}}
	for name, i := range more {
		i.Layers = append(slices.Clone(layer), i.Layers...)
		images[name] = i
	}
	r, err := newRegistry(images)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	defer server.Close()
	return server.Serve(l)
}

// ListenForImages takes the port at which containerds ask, on the first host, in which the caller is.
func ListenForImages() (net.Listener, error) {
	return net.Listen("tcp", ":"+registryPort)
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func newRegistry(images map[string]Image) (*registry, error) {
	r := &registry{manifests: map[string][]byte{}, blobs: map[string][]byte{}, types: map[string]string{}}
	for name, i := range images {
		if err := r.add(name, i); err != nil {
			return nil, fmt.Errorf("image %s: %w", name, err)
		}
	}
	return r, nil
}

func (r *registry) add(name string, i Image) error {
	type m = map[string]any
	var layers []m
	var contents []string
	for _, l := range i.Layers {
		layers = append(layers, m{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": r.keep(l), "size": len(l)})
		contents = append(contents, digest(l))
	}
	config, err := json.Marshal(m{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": m{"Env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, "Entrypoint": i.Entrypoint, "Cmd": i.Command},
		"rootfs": m{"type": "layers", "diff_ids": contents},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(m{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": m{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": r.keep(config), "size": len(config)},
		"layers": layers,
	})
	if err != nil {
		return err
	}
	r.manifests[name] = manifest
	r.types[r.keep(manifest)] = manifestType
	return nil
}

// keep takes a blob and gives its name.
func (r *registry) keep(b []byte) string {
	d := digest(b)
	r.blobs[d] = b
	return d
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func (r *registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	path := strings.TrimPrefix(q.URL.Path, "/v2/")
	if path == "" {
		return
	}
	at := strings.LastIndexByte(path, '/')
	name, which := path[:max(at, 0)], path[at+1:]
	b, ok := r.blobs[which]
	if name, manifest := strings.CutSuffix(name, "/manifests"); !ok && manifest {
		if b, ok = r.manifests[name[strings.LastIndexByte(name, '/')+1:]]; !ok {
			b, ok = r.manifests[""]
		}
	}
	if !ok {
		http.NotFound(w, q)
		return
	}
	kind := r.types[digest(b)]
	if kind == "" {
		kind = "application/octet-stream"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Docker-Content-Digest", digest(b))
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	_, _ = w.Write(b) // who has gone away has seen that
}
