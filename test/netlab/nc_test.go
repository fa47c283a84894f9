// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

func TestImagesNetcatScansAPort(t *testing.T) {
	t.Parallel()
	if _, err := lookPath("busybox"); err != nil {
		t.Skip("needs busybox, of which the test image is made: ", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	scan := func() (string, error) {
		out, err := exec.CommandContext(t.Context(), "busybox", "sh", "nc.sh", "-nzvw", "1", "127.0.0.1", port).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	if out, err := scan(); err != nil || out != "127.0.0.1 (127.0.0.1:"+port+") open" {
		t.Errorf("an open port: %q, %v", out, err)
	}
	l.Close()
	if out, err := scan(); err == nil || out != "nc: 127.0.0.1 (127.0.0.1:"+port+"): Connection refused" {
		t.Errorf("a closed port: %q, %v", out, err)
	}
}
