// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kubectl plays a cluster of one node, whose masters have a file for each store and do not start with one that is called typo. $PLAY holds what there is.
const kubectl = `#!/usr/bin/env bash
set -eu
etcd=$(sed -n 's/.*MASTER_ETCD_ENDPOINTS: "\(.*\)"/\1/p' "$PLAY/settings" 2>/dev/null || true)
up() { [ "$etcd" != typo ] && [ ! -e "$PLAY/down" ] || { echo "no master answers" >&2; exit 1; }; }
case "$*" in
  "get nodes"*) echo "node1 192.168.2.54" ;;
  "get namespace"*) echo 7d0f ;;
  *"get configmap"*MASTER_ETCD_ENDPOINTS*) printf %s "$etcd" ;;
  *"get configmap"*"{.data}") cat "$PLAY/settings" 2>/dev/null || true ;;
  *"get daemonset kube-proxy"*) echo daemonset/kube-proxy ;;
  "apply -k "*) cp "$3/kustomization.yaml" "$PLAY/settings" ;;
  *"rollout status deployment"*) up ;;
  *"netctl export") up; cat "$PLAY/store-$etcd" ;;
  *"netctl apply -f -") up; [ ! -e "$PLAY/refuses" ] || exit 1; cat >>"$PLAY/store-$etcd" ;;
esac
`

func TestInstallingLosesNothingOfWhatMastersHadWhenTheyMoveToAnotherStore(t *testing.T) {
	t.Parallel()
	const net = "kind: network\n"
	for name, runs := range map[string][]struct {
		flags string
		there string // a file that the cluster has during the run
		fails string // what the run says when it fails
	}{
		"at once":                             {{flags: "-e right"}},
		"after a typo":                        {{flags: "-e typo", fails: "is kept in"}, {flags: "-e right"}},
		"after two typos":                     {{flags: "-e typo", fails: "is kept in"}, {flags: "-e typo", fails: "is kept in"}, {flags: "-e right"}},
		"once the store is up":                {{flags: "-e right", there: "down", fails: "cannot be taken"}, {flags: "-e right"}},
		"once the new store takes it":         {{flags: "-e right", there: "refuses", fails: "does not take"}, {flags: ""}},
		"back and to another":                 {{flags: "-e typo", fails: "is kept in"}, {flags: "-e ''"}, {flags: "-e right"}},
		"with -f, as there is something kept": {{flags: "-e typo", fails: "is kept in"}, {flags: "-f -e right"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			play := func(file, text string) {
				t.Helper()
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			play("kubectl", kubectl)
			play("settings", `CONTIV_NETMASTER_ETCD_ENDPOINTS: ""`)
			play("store-", net)
			for _, r := range runs {
				if r.there != "" {
					play(r.there, "")
				}
				cmd := exec.CommandContext(t.Context(), "bash", "-c", "k8s/install.sh -n 192.168.2.54 "+r.flags)
				cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "PLAY="+dir, "XDG_STATE_HOME="+dir)
				out, err := cmd.CombinedOutput()
				if (err != nil) != (r.fails != "") || !strings.Contains(string(out), r.fails) {
					t.Fatalf("install.sh %s: %v, want %q: %s", r.flags, err, r.fails, out)
				}
				if r.there != "" {
					if err := os.Remove(filepath.Join(dir, r.there)); err != nil {
						t.Fatal(err)
					}
				}
				if s, err := os.Stat(filepath.Join(dir, "contiv/7d0f.yaml")); err == nil && s.Mode().Perm() != 0o600 {
					t.Errorf("others may do %s with what is kept", s.Mode())
				}
			}
			if got, err := os.ReadFile(filepath.Join(dir, "store-right")); err != nil || !strings.Contains(string(got), net) {
				t.Errorf("in the new store is %q, %v", got, err)
			}
			if left, err := os.ReadDir(filepath.Join(dir, "contiv")); err != nil || len(left) != 0 {
				t.Errorf("kept is %v, %v", left, err)
			}
		})
	}
}

func TestInstallingWithForceBeginsEmptyWhereNoMasterGivesWhatItHas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for file, text := range map[string]string{"kubectl": kubectl, "settings": `CONTIV_NETMASTER_ETCD_ENDPOINTS: "typo"`} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, flags := range []string{"", "-f"} {
		cmd := exec.CommandContext(t.Context(), "k8s/install.sh", strings.Fields("-n 192.168.2.54 -e right "+flags)...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "PLAY="+dir, "XDG_STATE_HOME="+dir)
		if out, err := cmd.CombinedOutput(); (err == nil) != (flags == "-f") {
			t.Errorf("install.sh %s: %v: %s", flags, err, out)
		}
	}
}
