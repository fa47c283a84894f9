// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
)

// registry gives one root file system under whatever name it is asked for (OCI distribution specification 1.1). What is
// named pause waits to be killed.
type registry struct {
	manifests map[bool][]byte // by whether it is pause
	blobs     map[string][]byte
	types     map[string]string // of manifests, by digest
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// newRegistry takes the file system as a tar archive.
func newRegistry(root []byte) (*registry, error) {
	r := &registry{manifests: map[bool][]byte{}, blobs: map[string][]byte{}, types: map[string]string{}}
	type m = map[string]any
	for _, pause := range []bool{false, true} {
		command := []string{"sh"}
		if pause {
			command = []string{"sleep", "1000000000"}
		}
		config, err := json.Marshal(m{
			"architecture": runtime.GOARCH, "os": "linux",
			"config": m{"Env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, "Cmd": command},
			"rootfs": m{"type": "layers", "diff_ids": []string{digest(root)}},
		})
		if err != nil {
			return nil, err
		}
		manifest, err := json.Marshal(m{
			"schemaVersion": 2, "mediaType": manifestType,
			"config": m{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
			"layers": []m{{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(root), "size": len(root)}},
		})
		if err != nil {
			return nil, err
		}
		r.manifests[pause] = manifest
		r.types[digest(manifest)] = manifestType
		for _, b := range [][]byte{root, config, manifest} {
			r.blobs[digest(b)] = b
		}
	}
	return r, nil
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
		b, ok = r.manifests[strings.HasSuffix(name, "pause")], true
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
