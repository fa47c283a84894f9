#!/usr/bin/env bash
# Installs Contiv on a Kubernetes cluster by contiv.yaml, which lies beside this file. Run it where kubectl is the cluster's administrator. Running it again
# changes what is installed.
set -euo pipefail

usage() {
  cat <<'END'
usage: install.sh -n ADDRESS[,ADDRESS,ADDRESS] [flags]

What was given when it was installed, and is not given now, stays.

  -n ADDRESS   of the node on which netmaster runs, as other nodes reach it; three, with commas between, for three masters that share their state
  -m IMAGE     the container image (default: contiv/contiv:latest)
  -e URLS      an etcd that you have, as http://192.168.2.20:2379, instead of the masters' own
  -t DIR       with ca.crt, which signs that etcd's certificates (https), and tls.crt and tls.key, by which masters show who they are where it asks
               for that; without -e for three masters, between each other
  -k HOST:PORT where the API server answers nodes (default: as kubectl reaches it, where there is no kube-proxy)
  -v DEVICES   on whose wire VLANs are, with commas between
  -w MODE      routing or bridge (default: routing)
  -i SUBNET    of the network contivh1, in which nodes reach pods (default: 132.1.1.0/24)
  -g ADDRESS   the gateway of that network (default: 132.1.1.1)
  -I SUBNET    its IPv6 one (default: fd00:132:1:1::/64 where a node has an IPv6 address, else none)
  -G ADDRESS   the gateway of that (default: fd00:132:1:1::1)
  -f           to another store also where no master gives what is in the old one, which stays there: the new one begins empty
END
}

masters= image= server= force= certificates= infra=132.1.1.0/24 gateway=132.1.1.1 infra6= gateway6=fd00:132:1:1::1
while getopts n:m:e:t:k:v:w:i:g:I:G:fh flag; do
  case $flag in
    n) masters=$OPTARG ;; m) image=$OPTARG ;; e) etcd=$OPTARG ;; k) server=$OPTARG ;; v) uplinks=$OPTARG ;; w) mode=$OPTARG ;;
    t) certificates=$OPTARG ;; i) infra=$OPTARG ;; g) gateway=$OPTARG ;; I) infra6=$OPTARG ;; G) gateway6=$OPTARG ;; f) force=yes ;; h) usage; exit 0 ;; *) usage >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ -n "$masters" ] && [ $# -eq 0 ] || { usage >&2; exit 2; }
fail() { echo "install.sh: $*" >&2; exit 1; }
here=$(dirname "$(readlink -f "$0")")
settings() { kubectl -n kube-system get configmap contiv --ignore-not-found -o "jsonpath={.data${1:-}}"; }
netctl() { kubectl -n kube-system exec -i deployment/contiv-netmaster -- netctl "$@"; }
secret=contiv-etcd
certified() { kubectl -n kube-system get secret $secret --ignore-not-found -o "jsonpath=$1"; }
command -v kubectl >/dev/null || fail "there is no kubectl in \$PATH: run it on a node that has it, or with PATH=..."
nodes=$(kubectl get nodes -o 'jsonpath={range .items[*]}{.metadata.labels.kubernetes\.io/hostname}{range .status.addresses[*]} {.address}{end}{"\n"}{end}') ||
  fail "the API server does not answer kubectl: see above, and set KUBECONFIG"

cluster=$(kubectl get namespace kube-system -o 'jsonpath={.metadata.uid}')
kept=${XDG_STATE_HOME:-${HOME:-/root}/.local/state}/contiv/$cluster.yaml
stored=$(settings .CONTIV_NETMASTER_ETCD_ENDPOINTS)
shared=$(settings .CONTIV_NETMASTER_PEERS)
etcd=${etcd-$stored}
uplinks=${uplinks-$(settings .CONTIV_NETPLUGIN_VLAN_UPLINKS)}
mode=${mode-$(settings .CONTIV_NETMASTER_FORWARD_MODE)}

# The masters' nodes, by their addresses.
names= urls= peers= count=0
IFS=, read -ra addresses <<<"$masters"
for a in "${addresses[@]}"; do
  name=$(awk -v a="$a" '{ for (i = 2; i <= NF; i++) if ($i == a) print $1 }' <<<"$nodes" | head -n 1)
  [ -n "$name" ] || fail "no node has the address $a; the nodes are
$nodes"
  url=$a
  case $a in *:*) url="[$a]" ;; esac
  # Not port 2380, which is that of Kubernetes' own etcd.
  names="$names,\"$name\"" urls="$urls,http://$url:9999" peers="$peers,$url:6667" count=$((count + 1))
done
[ $count -gt 1 ] && [ -z "$etcd" ] || peers=
[ -z "$shared" ] || [ -n "$etcd$peers" ] ||
  fail "three masters that share their state do not become one: give them an etcd (-e URLS), remove /var/lib/contiv/etcd on their nodes, and run this again with -e ''"

# The certificates for the masters' store.
has=$(certified '{.data}')
if [ -n "$certificates" ]; then
  [ -r "$certificates/ca.crt" ] || fail "-t $certificates: there is no ca.crt in it"
  has=ca.crt files=("--from-file=$certificates/ca.crt")
  if [ -e "$certificates/tls.crt" ] || [ -e "$certificates/tls.key" ]; then
    [ -r "$certificates/tls.crt" ] && [ -r "$certificates/tls.key" ] || fail "-t $certificates: tls.crt and tls.key belong together, and one of them is not in it"
    has="$has tls.crt" files+=("--from-file=$certificates/tls.crt" "--from-file=$certificates/tls.key")
  fi
fi
[ -n "$etcd$peers" ] || { [ -z "$certificates" ] || fail "-t $certificates is for an etcd that you have (-e), or for three masters (-n)"; has=; }
case $etcd,$has in *https://*,) fail "-e $etcd: say with -t DIR in which directory ca.crt is, the authority that signs its certificates" ;; esac

# Where there is no kube-proxy nobody carries the API server's service before Contiv runs. One that is there goes on with its work.
found=$(kubectl -n kube-system get daemonset kube-proxy --ignore-not-found -o name)
proxy=replace
[ -z "$found" ] || proxy=keep
if [ -z "$server" ] && [ $proxy = replace ]; then
  server=$(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
  server=${server#https://} server=${server%%/*}
  case $server in
    127.* | localhost* | "[::1]"*) fail "kubectl reaches the API server at $server, which nodes cannot: say with -k where it answers them" ;;
    *"]") server=$server:443 ;;
    *:[0-9]*) ;;
    *) server=$server:443 ;;
  esac
fi

work=$(mktemp -d)
left() { [ ! -e "$kept" ] || echo "install.sh: what masters had is kept in $kept: run this again, here, and their store gets it; remove it where it should not" >&2; }
trap 'rm -rf "$work"; left' EXIT
cp "$here/contiv.yaml" "$work/contiv.yaml"
{
  echo "resources: [contiv.yaml]"
  if [ -n "$image" ]; then
    case ${image##*/} in *:*) tag=${image##*:} name=${image%:*} ;; *) tag=latest name=$image ;; esac
    echo "images: [{name: contiv/contiv, newName: $name, newTag: \"$tag\"}]"
  fi
  cat <<END
patches:
- patch: |-
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: contiv, namespace: kube-system}
    data:
      CONTIV_NETPLUGIN_NETMASTER: "${urls#,}"
      CONTIV_NETMASTER_PEERS: "${peers#,}"
      CONTIV_NETMASTER_ETCD_ENDPOINTS: "$etcd"
      CONTIV_NETMASTER_FORWARD_MODE: "$mode"
      CONTIV_NETPLUGIN_VLAN_UPLINKS: "$uplinks"
      CONTIV_NETPLUGIN_KUBE_PROXY: $proxy
END
  [ -z "$server" ] || echo "      KUBERNETES_SERVICE_HOST: \"$(tr -d '[]' <<<"${server%:*}")\"
      KUBERNETES_SERVICE_PORT: \"${server##*:}\""
  [ -z "$has" ] || echo "      CONTIV_NETMASTER_ETCD_CA: /etc/contiv/etcd/ca.crt"
  case $has in *tls.crt*) echo "      CONTIV_NETMASTER_ETCD_CERT: /etc/contiv/etcd/tls.crt
      CONTIV_NETMASTER_ETCD_KEY: /etc/contiv/etcd/tls.key" ;; esac
  cat <<END
- patch: |-
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: contiv-netmaster, namespace: kube-system}
    spec:
      replicas: $count
      template:
        spec:
          affinity:
            nodeAffinity:
              requiredDuringSchedulingIgnoredDuringExecution:
                nodeSelectorTerms:
                - matchExpressions:
                  - {key: kubernetes.io/hostname, operator: In, values: [${names#,}]}
END
  [ -z "$has" ] || cat <<END
          containers:
          - name: netmaster
            volumeMounts: [{name: etcd, mountPath: /etc/contiv/etcd, readOnly: true}]
          volumes: [{name: etcd, secret: {secretName: $secret}}]
END
} >"$work/kustomization.yaml"

echo "Installing Contiv ..."
before=$(settings)
# What masters have goes with them to another store. Until that has it, it is kept in a file: a run that fails leaves masters that cannot be asked, or that
# have nothing, so the next one asks nobody and goes on with the file.
if [ -e "$kept" ]; then
  echo "Their store gets what masters had on $(date -r "$kept"), which is kept in $kept."
elif [ -n "$before" ] && [ "$stored" != "$etcd" ]; then
  if (umask 077 && mkdir -p "${kept%/*}" && netctl export </dev/null >"$kept.part"); then
    mv "$kept.part" "$kept"
  else
    rm -f "$kept.part"
    [ -n "$force" ] || fail "what is in the store of the masters until now cannot be taken to the new one, see above: ${stored:-their own}
Nothing was changed. If a run before this one failed, run this where that ran. Else have a master run again, or add -f to begin empty."
  fi
fi
known=$(certified '{.metadata.resourceVersion}')
if [ -n "$certificates" ]; then
  kubectl -n kube-system create secret generic $secret "${files[@]}" --dry-run=client -o yaml | kubectl apply -f -
fi
# In a store of their own masters are one or three, which wait for each other: so the old ones go first.
restarted=(deployment/contiv-netmaster daemonset/contiv-netplugin)
if [ -n "$before" ] && [ "$shared/$stored" != "${peers#,}/$etcd" ]; then
  kubectl -n kube-system delete deployment contiv-netmaster --ignore-not-found --cascade=foreground --timeout=5m
  restarted=(daemonset/contiv-netplugin)
fi
kubectl apply -k "$work"
# Pods read their settings when they start.
if [ -n "$before" ] && [ "$before/$known" != "$(settings)/$(certified '{.metadata.resourceVersion}')" ]; then
  kubectl -n kube-system rollout restart "${restarted[@]}"
fi
echo "Waiting for netmaster and for netplugin on each node ..."
# await waits for one of them, and says after a minute what keeps its pods.
await() {
  local app=${1#*/} minutes
  for minutes in 1 4; do
    ! kubectl -n kube-system rollout status "$1" --timeout=${minutes}m || return 0
    {
      echo "install.sh: $app is not ready everywhere. Its pods, what is said of them, and what they said last:"
      kubectl -n kube-system get pods -o wide -l "app=$app"
      kubectl -n kube-system get events --field-selector type=Warning -o 'jsonpath={range .items[*]}{.involvedObject.name}: {.message}{"\n"}{end}' |
        grep "^$app" | sort | uniq -c | tail -n 5
      kubectl -n kube-system logs --prefix --tail=3 -l "app=$app" | tail -n 12
    } >&2 || true
  done
  exit 1
}
await deployment/contiv-netmaster
if [ -e "$kept" ]; then
  netctl apply -f - <"$kept" || fail "the new store does not take what was in the old one, see above"
  rm "$kept"
fi
await daemonset/contiv-netplugin
case $nodes in *:*) infra6=${infra6:-fd00:132:1:1::/64} ;; esac
netctl net inspect contivh1 </dev/null >/dev/null 2>&1 ||
  netctl net create -n infra -s "$infra" -g "$gateway" ${infra6:+-s6 "$infra6" -g6 "$gateway6"} contivh1 </dev/null

cat <<END
Installation is complete
=========================================================

Contiv's API is at ${urls#,}: export NETMASTER=${urls#,} for netctl.
Where that is not installed: kubectl -n kube-system exec deployment/contiv-netmaster -- netctl ...

Configure forwarding mode (optional, default is routing)
  netctl global set --fwd-mode routing
Create a default network, for pods that name none
  netctl net create -t default --subnet=<CIDR> default-net
  For example, netctl net create -t default --subnet=20.1.1.0/24 -g 20.1.1.1 ${infra6:+-s6 fd00:20:1:1::/64 -g6 fd00:20:1:1::1 }default-net

=========================================================
END
