#!/bin/bash
# A node: containerd and kubelet, as the first process of PID, mount and cgroup namespaces of its own (node.py calls
# unshare), so that everything in it ends with it and no mount stays.
#   node.sh run FOLDER STORE KUBE        until SIGTERM
#   node.sh import FOLDER STORE ARCHIVE… only imports images into containerd, and removes those not in $KEEP
set -euo pipefail
command=$1 folder=$2 store=$3
shift 3

# Folders that containerd and the kubelet use beside their own, for sockets as well.
for directory in /run/containerd /run/netns /var/lib/kubelet /var/log/containers /var/lib/cni; do
  mkdir -p $directory
  mount -t tmpfs tmpfs $directory
done

start_containerd() {
  containerd --config "$folder/containerd.toml" >"$folder/containerd.log" 2>&1 &
  containerd=$!
  local tries
  for tries in {1..200}; do
    ! ctr version >/dev/null 2>&1 || return 0
    kill -0 $containerd || break
    sleep 0.1
  done
  echo "containerd does not answer; the end of $folder/containerd.log:" >&2
  tail -n 20 "$folder/containerd.log" >&2
  exit 1
}

import() {
  local archive
  for archive in "$@"; do ctr --namespace k8s.io images import "$archive"; done
  # By digest: each image has a second name in containerd, which would keep 5 GB of an old trainer.
  ctr --namespace k8s.io images list | awk -v keep="$KEEP" '
    BEGIN { split(keep, names, " "); for (i in names) kept[names[i]] }
    NR > 1 { digest[$1] = $3; if ($1 in kept) sound[$3] }
    END { for (name in digest) if (!(digest[name] in sound)) print name }' |
    while read -r name; do ctr --namespace k8s.io images rm --sync "$name"; done
  kill $containerd
  wait $containerd || true
}

# Mounts the cgroup hierarchies again, so that they are seen from the root of this namespace, and creates the
# kubelet's folder in each of them.
mount_cgroups() {
  local own=$1 mount controllers
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p /sys/fs/cgroup/$own
    return
  fi
  for mount in /sys/fs/cgroup/*/; do
    mount=${mount%/}
    [ ! -L "$mount" ] || continue
    controllers=${mount##*/}
    umount "$mount" 2>/dev/null || continue
    case $controllers in
      unified) continue ;; # the kubelet would mistake a hybrid for version 2
      systemd) controllers=none,name=systemd ;;
    esac
    mount -t cgroup -o "$controllers" cgroup "$mount"
    mkdir -p "$mount/$own"
  done
  cat /sys/fs/cgroup/cpuset/cpuset.cpus >/sys/fs/cgroup/cpuset/$own/cpuset.cpus
  cat /sys/fs/cgroup/cpuset/cpuset.mems >/sys/fs/cgroup/cpuset/$own/cpuset.mems
}

# A killed node left entries of its containers in containerd.
forget_containers() {
  local container
  for container in $(ctr --namespace k8s.io containers list --quiet); do
    ctr --namespace k8s.io containers rm "$container" || true
  done
}

run() {
  local kube=$1
  mount_cgroups connected-cars
  forget_containers
  "$kube" kubelet --config "$folder/kubelet.yaml" --kubeconfig "$folder/kubelet.kubeconfig" \
    --hostname-override localhost --node-ip 192.0.2.2 --root-dir "$folder/kubelet" --cert-dir "$folder/kubelet-pki" \
    >"$folder/kubelet.log" 2>&1 &
  kubelet=$!
  trap 'kill $kubelet; wait $kubelet || true; kill $containerd; wait $containerd || true; exit 0' TERM
  # The node ends with either of them; the supervisor restarts it.
  wait -n $kubelet $containerd || true
  echo "kubelet or containerd ended; see their logs in $folder" >&2
  exit 1
}

start_containerd
"$command" "$@"
