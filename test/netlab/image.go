// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// imageFiles are what the image has besides busybox.
var imageFiles = map[string]string{
	"etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
	"etc/group":         "root:x:0:\nnogroup:x:65534:\n",
	"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	"etc/os-release":    "NAME=\"busybox from the machine\"\nID=netlab\n",
}

// netcat knows the flags of nc that the tutorials use, and leaves the rest to the applet that it calls hiddenNetcat.
//
//go:embed nc.sh
var netcat string

// hiddenNetcat is the applet nc in the image. Its shell would take an applet of a command's name before any file.
const hiddenNetcat = "nd"

// hidden renames an applet in busybox's table of names, which is sorted and has to stay so.
func hidden(busybox []byte, applet, as string) ([]byte, error) {
	from, to := []byte("\x00"+applet+"\x00"), []byte("\x00"+as+"\x00")
	if n := bytes.Count(busybox, from); n != 1 || len(from) != len(to) {
		return nil, fmt.Errorf("busybox names its applet %s %d times, not once", applet, n)
	}
	return bytes.Replace(busybox, from, to, 1), nil
}

// imageDirs are the image's directories, parents first.
var imageDirs = []string{"bin", "dev", "etc", "home", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "var", "var/run", "www"}

// needed are the applets that tests and tutorials use.
var needed = []string{"sh", "ping", "nc", "ifconfig", "ip", "wget", "httpd", "nslookup", "sleep", "cat", "traceroute"}

// alpine makes a root file system of the machine's busybox, as a tar archive: what the tests call alpine, where no registry is
// in reach. Equal busyboxes give equal archives.
func alpine() ([]byte, error) {
	path, err := lookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("make the test image (install the package busybox-static): %w", err)
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("make the test image: %w", err)
	}
	if !static(binary) {
		return nil, fmt.Errorf("make the test image: %s needs libraries (install the package busybox-static)", path)
	}
	list, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list the applets of %s: %w", path, err)
	}
	applets := strings.Fields(string(list))
	for _, name := range needed {
		if !slices.Contains(applets, name) {
			return nil, fmt.Errorf("make the test image: %s has no %s (install the package busybox-static)", path, name)
		}
	}
	if binary, err = hidden(binary, "nc", hiddenNetcat); err != nil {
		return nil, fmt.Errorf("make the test image: %w", err)
	}
	return archive(binary, applets)
}

func static(binary []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

func archive(busybox []byte, applets []string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	var failed error
	add := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		h.ModTime = time.Unix(0, 0)
		err := w.WriteHeader(&h)
		if err == nil {
			_, err = w.Write(content)
		}
		failed = errors.Join(failed, err)
	}
	for _, dir := range imageDirs {
		mode := int64(0o755)
		if dir == "tmp" {
			mode = 0o1777
		}
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: mode}, nil)
	}
	for _, name := range slices.Sorted(maps.Keys(imageFiles)) {
		add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, []byte(imageFiles[name]))
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, busybox)
	for _, name := range applets {
		switch name {
		case "nc":
			add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/nc", Mode: 0o755}, []byte(netcat))
		case "busybox":
		default:
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	return out.Bytes(), errors.Join(failed, w.Close())
}

// Image is the root file system of the test image, as a tar archive, for engines that are given it in another way.
func (l *Lab) Image() ([]byte, error) { return l.image() }

// LoadImage gives the host's engine an image alpine:latest, made of the machine's static busybox.
func (h *Host) LoadImage(ctx context.Context) error {
	image, err := h.lab.image()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	query := url.Values{"fromSrc": {"-"}, "repo": {"alpine"}, "tag": {"latest"}, "changes": {`CMD ["/bin/sh"]`}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://docker/images/create?"+query.Encode(), bytes.NewReader(image))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-tar")
	resp, err := h.EngineClient().Do(req)
	if err != nil {
		return fmt.Errorf("host %s: import the test image: %w", h.Name(), err)
	}
	defer resp.Body.Close()
	// The engine reports in a stream of objects; it may fail after it has said 200.
	var said struct{ Error, Message string }
	for d := json.NewDecoder(resp.Body); err == nil && said.Error == ""; {
		err = d.Decode(&said)
	}
	if resp.StatusCode != http.StatusOK || said.Error != "" || !errors.Is(err, io.EOF) {
		return fmt.Errorf("host %s: import the test image: %s: %s%s: %w", h.Name(), resp.Status, said.Error, said.Message, err)
	}
	return nil
}
