// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigurationOfTheAPIServerThatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad.conf")
	if err := os.WriteFile(bad, []byte("clusters: 7"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/nowhere.conf", bad, InCluster} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
