#!/usr/bin/env bash
# Takes Contiv off a Kubernetes cluster: all that contiv.yaml made, and what netplugin and netmaster have put onto the nodes. Run it where kubectl is
# the cluster's administrator. Running it again, also after it was interrupted, goes on; where there is nothing it does nothing.
set -euo pipefail

usage() {
  cat <<'END'
usage: uninstall.sh [-f] [-k] [-m IMAGE]

  -f         also while pods are attached, which lose their network
  -k         keep the masters' state (networks, policies ...), under /var/lib/contiv on their nodes, and what install.sh kept of a move that failed
  -m IMAGE   the container image (default: what is installed)
END
}

force= keep= image=
while getopts fkm:h flag; do
  case $flag in f) force=--force ;; k) keep=yes ;; m) image=$OPTARG ;; h) usage; exit 0 ;; *) usage >&2; exit 2 ;; esac
done
fail() { echo "uninstall.sh: $*" >&2; exit 1; }
here=$(dirname "$(readlink -f "$0")")
k() { kubectl -n kube-system "$@"; }
nodes=$(kubectl get nodes -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}') || fail "the API server does not answer kubectl: see above, and set KUBECONFIG"

# Also those that are not running yet, once they have a node.
attached=$(kubectl get pods -A --field-selector=status.phase!=Succeeded,status.phase!=Failed,spec.nodeName!= -o \
  'jsonpath={range .items[*]}{.spec.hostNetwork}{" "}{.metadata.namespace}{"/"}{.metadata.name}{"\n"}{end}' | sed -n 's/^ //p')
[ -n "$force" ] || [ -z "$attached" ] || fail "these pods would lose their network; delete them first, or add -f:
$attached"
[ -n "$image" ] || image=$(k get daemonset contiv-netplugin --ignore-not-found -o 'jsonpath={.spec.template.spec.containers[0].image}')
[ -n "$image" ] || image=$(sed -n 's/^ *image: //p' "$here/contiv.yaml" | head -n 1)
data=/var/lib/contiv
[ -z "$keep" ] || data=$data/netplugin

echo "Stopping netplugin and netmaster ..."
k delete daemonset/contiv-netplugin deployment/contiv-netmaster --ignore-not-found --cascade=foreground --timeout=5m
echo "Removing what they put onto the nodes ..."
k delete job -l app=contiv-uninstall --ignore-not-found --cascade=foreground --timeout=5m
for node in $nodes; do
  cat <<END
---
apiVersion: batch/v1
kind: Job
metadata:
  generateName: contiv-uninstall-
  namespace: kube-system
  labels: {app: contiv-uninstall}
spec:
  backoffLimit: 0
  template:
    metadata:
      labels: {app: contiv-uninstall}
    spec:
      nodeName: $node
      hostNetwork: true
      automountServiceAccountToken: false
      restartPolicy: Never
      tolerations: [{operator: Exists}]
      containers:
      - name: netplugin
        image: $image
        imagePullPolicy: IfNotPresent
        envFrom: [{configMapRef: {name: contiv, optional: true}}]
        command: [netplugin, uninstall, --data-dir=$data${force:+, $force}]
        securityContext: {privileged: true}
        volumeMounts:
        - {name: run, mountPath: /run}
        - {name: lib, mountPath: /var/lib}
        - {name: bpf, mountPath: /sys/fs/bpf}
        - {name: cni-conf, mountPath: /etc/cni/net.d}
        - {name: cni-bin, mountPath: /opt/cni/bin}
      volumes:
      - {name: run, hostPath: {path: /run}}
      - {name: lib, hostPath: {path: /var/lib}}
      - {name: bpf, hostPath: {path: /sys/fs/bpf}}
      - {name: cni-conf, hostPath: {path: /etc/cni/net.d}}
      - {name: cni-bin, hostPath: {path: /opt/cni/bin}}
END
done | k create -f -
jobs=$(k get job -l app=contiv-uninstall -o name)
for job in $jobs; do
  for ((i = 0; i < 300; i++)); do
    state=$(k get "$job" -o 'jsonpath={.status.succeeded}/{.status.failed}')
    case $state in 1/*) break ;; /[1-9]*) k logs "$job" >&2; fail "a node is not clean, see above; run this again, with -f for its --force, and on nodes that are down once they are back" ;; esac
    sleep 1
  done
  [ "$i" -lt 300 ] || fail "$job does not end: is its node up? Run this again once it is"
done
k delete job -l app=contiv-uninstall --cascade=foreground --timeout=5m
release=$(k get configmap contiv --ignore-not-found -o 'jsonpath={.metadata.annotations.meta\.helm\.sh/release-name}')
[ -z "$release" ] || k delete secret -l "owner=helm,name=$release"
k delete secret contiv-etcd --ignore-not-found
# What install.sh keeps of a move to another store that failed.
cluster=$(kubectl get namespace kube-system -o 'jsonpath={.metadata.uid}')
[ -n "$keep" ] || rm -f "${XDG_STATE_HOME:-${HOME:-/root}/.local/state}/contiv/$cluster.yaml"
kubectl delete -f "$here/contiv.yaml" --ignore-not-found --timeout=5m
echo "Contiv is gone. Nodes have no network for pods until another is installed."
