// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

func TestRegistryGivesAnImageUnderEveryName(t *testing.T) {
	t.Parallel()
	root := []byte("a root file system")
	upper := []byte("what lies over it")
	r, err := newRegistry(map[string]Image{
		"": {Layers: [][]byte{root}, Command: []string{"sh"}}, "pause": {Layers: [][]byte{root}, Command: []string{"sleep"}},
		"agnhost": {Layers: [][]byte{root, upper}, Entrypoint: []string{"/agnhost"}, Command: []string{"pause"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	get := func(path, kind string) []byte {
		t.Helper()
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != kind || w.Header().Get("Docker-Content-Digest") != digest(w.Body.Bytes()) {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		return w.Body.Bytes()
	}
	type blob struct{ Digest string }
	for name, want := range map[string]string{"contiv/alpine": "sh", "library/busybox": "sh", "pause": "sleep", "e2e-test-images/agnhost": "pause"} {
		layers := [][]byte{root}
		if want == "pause" {
			layers = append(layers, upper)
		}
		var manifest struct {
			Config blob
			Layers []blob
		}
		text := get("/v2/"+name+"/manifests/latest", manifestType)
		if err := json.Unmarshal(text, &manifest); err != nil || len(manifest.Layers) != len(layers) {
			t.Fatalf("%s: %v: %s", name, err, text)
		}
		if again := get("/v2/"+name+"/manifests/"+digest(text), manifestType); !slices.Equal(again, text) {
			t.Errorf("%s is another by its digest: %s", name, again)
		}
		for i, l := range manifest.Layers {
			if layer := get("/v2/"+name+"/blobs/"+l.Digest, "application/octet-stream"); !slices.Equal(layer, layers[i]) {
				t.Errorf("%s has the layer %s", name, layer)
			}
		}
		var config struct{ Config struct{ Cmd []string } }
		if err := json.Unmarshal(get("/v2/"+name+"/blobs/"+manifest.Config.Digest, "application/octet-stream"), &config); err != nil || config.Config.Cmd[0] != want {
			t.Errorf("%s runs %v, %v", name, config.Config.Cmd, err)
		}
	}
	for _, path := range []string{"/v2/contiv/alpine/blobs/sha256:00", "/v2/nothing", "/other"} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
