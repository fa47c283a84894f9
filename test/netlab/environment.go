// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// searchPath is where programs are looked for: this program's PATH, and the system's directories, which PATH lacks for
// users who became root by sudo or su.
func searchPath() string {
	return os.Getenv("PATH") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

// lookPath finds a program as a host does.
func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return filepath.Abs(name)
	}
	for dir := range strings.SplitSeq(searchPath(), ":") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && filepath.IsAbs(path) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("find program %q in %s: %w", name, searchPath(), fs.ErrNotExist)
}

// environment is this program's, without what would send the Docker CLI elsewhere.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DOCKER_") && !strings.HasPrefix(v, "PATH=") && !strings.HasPrefix(v, marker+"=") {
			env = append(env, v)
		}
	}
	return append(env, "PATH="+searchPath())
}

// Missing names the package to install when this machine lacks a program that labs need; nil when it lacks none.
func Missing() error {
	var err error
	for program, pkg := range map[string]string{"tini": "tini", "dockerd": "docker.io", "docker": "docker.io (or docker-cli)", "busybox": "busybox-static"} {
		err = errors.Join(err, Has(program, pkg))
	}
	return err
}

// Has names the package to install when this machine lacks a program; nil when it has it.
func Has(program, pkg string) error {
	if _, err := lookPath(program); err != nil {
		return fmt.Errorf("%s is missing: install the package %s", program, pkg)
	}
	return nil
}
