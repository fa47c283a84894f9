// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unpack reads a tar archive: the content of files, and "-> target" of links.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(b)
		if h.Typeflag == tar.TypeSymlink {
			out[h.Name] = "-> " + h.Linkname
		}
		if h.Typeflag == tar.TypeReg && strings.HasPrefix(h.Name, programDir) && h.Mode != 0o755 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
	}
}

func TestImageHoldsTheProgramsUnderAllItsNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var programs []string
	for _, name := range []string{"netplugin", "contivk8s"} {
		programs = append(programs, filepath.Join(dir, name))
		if err := os.WriteFile(programs[len(programs)-1], []byte("program "+name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var made [2][]byte
	for i := range made {
		out := filepath.Join(dir, "image.tar")
		if err := write(out, []string{"contiv/contiv:v1", "contiv/contiv:latest"}, programs); err != nil {
			t.Fatal(err)
		}
		var err error
		if made[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("equal programs give another archive")
	}
	files := unpack(t, made[0])
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal([]byte(files["manifest.json"]), &manifest); err != nil || len(manifest) != 1 || len(manifest[0].Layers) != 1 {
		t.Fatalf("the manifest is %s, %v", files["manifest.json"], err)
	}
	if !slices.Equal(manifest[0].RepoTags, []string{"contiv/contiv:v1", "contiv/contiv:latest"}) {
		t.Errorf("the names are %q", manifest[0].RepoTags)
	}
	layer := files[manifest[0].Layers[0]]
	var config struct {
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal([]byte(files[manifest[0].Config]), &config); err != nil || !slices.Equal(config.Rootfs.DiffIDs, []string{"sha256:" + digest([]byte(layer))}) {
		t.Errorf("the configuration is %s, %v", files[manifest[0].Config], err)
	}
	root := unpack(t, []byte(layer))
	for path, want := range map[string]string{"usr/local/bin/netplugin": "program netplugin", "usr/local/bin/contivk8s": "program contivk8s", "var/run/netns": "-> /run/netns"} {
		if root[path] != want {
			t.Errorf("%s is %q, want %q", path, root[path], want)
		}
	}
	if err := write(filepath.Join(dir, "none.tar"), []string{"x:y"}, []string{filepath.Join(dir, "absent")}); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("a program that is not there: %v", err)
	}
}
