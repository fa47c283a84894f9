// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"bufio"
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The image's shell finds its applets before what is in PATH, so nc is tried from the shell.
func TestImagesNetcatScansAndListens(t *testing.T) {
	t.Parallel()
	if _, err := lookPath("busybox"); err != nil {
		t.Skip("needs busybox, of which the test image is made: ", err)
	}
	image, err := alpine()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", root, "bin")
	unpack.Stdin = bytes.NewReader(image)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpack the image: %v: %s", err, out)
	}
	bin := filepath.Join(root, "bin")
	shell := func(line string) *exec.Cmd {
		c := exec.CommandContext(t.Context(), filepath.Join(bin, "busybox"), "sh", "-c", line)
		c.Env = []string{"PATH=" + bin}
		return c
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	scan := func() (string, error) {
		out, err := shell("nc -nzvw 1 127.0.0.1 " + port).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := scan(); err != nil || out != "127.0.0.1 (127.0.0.1:"+port+") open" {
		t.Errorf("an open port: %q, %v", out, err)
	}
	l.Close()
	if out, err := scan(); err == nil || out != "nc: 127.0.0.1 (127.0.0.1:"+port+"): Connection refused" {
		t.Errorf("a closed port: %q, %v", out, err)
	}

	c := shell("nc -l " + port)
	said, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var conn net.Conn
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if conn, err = net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "hello\n" {
		t.Errorf("it hears %q, %v", line, err)
	}
	conn.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}
