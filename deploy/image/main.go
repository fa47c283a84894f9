// SPDX-License-Identifier: Apache-2.0

// Command image makes the container image of our programs, without an engine and without a registry: one layer with static programs and nothing
// else, as the archive that docker load, podman load and ctr images import take. Equal programs give equal archives.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

func main() {
	out := flag.String("o", "", "the archive to write")
	names := flag.String("names", "", "the image's names with their tags, separated by commas")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: image -o ARCHIVE -names NAME:TAG[,NAME:TAG…] PROGRAM…")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *out == "" || *names == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := write(*out, strings.Split(*names, ","), flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// write writes the archive, whole or not at all.
func write(out string, names, programs []string) error {
	layer, err := layerOf(programs)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := archive(&b, names, layer); err != nil {
		return err
	}
	next := out + ".new"
	if err := os.WriteFile(next, b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(next, out)
}

// programDir is where the programs are in the image: all in one, as netplugin installs the CNI program that lies beside it.
const programDir = "usr/local/bin"

// layerOf is the root file system.
func layerOf(programs []string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range []string{"etc", "proc", "run", "sys", "tmp", "usr", "usr/local", programDir, "var", "var/run"} {
		mode := int64(0o755)
		if dir == "tmp" {
			mode = 0o1777
		}
		if err := entry(w, tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: mode}, nil); err != nil {
			return nil, err
		}
	}
	// Runtimes and engines name namespaces and sockets by either path; /var/run itself holds the pod's own secrets.
	for _, name := range []string{"netns", "docker", "docker.sock"} {
		if err := entry(w, tar.Header{Typeflag: tar.TypeSymlink, Name: "var/run/" + name, Linkname: "/run/" + name, Mode: 0o777}, nil); err != nil {
			return nil, err
		}
	}
	for _, p := range programs {
		content, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("read a program (make build makes them): %w", err)
		}
		if err := entry(w, tar.Header{Typeflag: tar.TypeReg, Name: path.Join(programDir, filepath.Base(p)), Mode: 0o755}, content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// archive writes an image of one layer under the names (Docker Image Specification v1.2, "combined image JSON + filesystem changeset format").
func archive(to io.Writer, names []string, layer []byte) error {
	type m = map[string]any
	config, err := json.Marshal(m{
		"architecture": runtime.GOARCH, "os": "linux", "created": time.Unix(0, 0).UTC(),
		"config": m{"Env": []string{"PATH=/" + programDir}, "WorkingDir": "/"},
		"rootfs": m{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return err
	}
	configName, layerName := digest(config)+".json", digest(layer)+"/layer.tar"
	manifest, err := json.Marshal([]m{{"Config": configName, "RepoTags": names, "Layers": []string{layerName}}})
	if err != nil {
		return err
	}
	w := tar.NewWriter(to)
	for _, f := range []struct {
		name    string
		content []byte
	}{{layerName, layer}, {configName, config}, {"manifest.json", manifest}} {
		if err := entry(w, tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644}, f.content); err != nil {
			return err
		}
	}
	return w.Close()
}

func entry(w *tar.Writer, h tar.Header, content []byte) error {
	h.Size, h.ModTime = int64(len(content)), time.Unix(0, 0)
	err := w.WriteHeader(&h)
	if err == nil {
		_, err = w.Write(content)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", h.Name, err)
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
