# shellcheck shell=bash
# Sourced: a Docker Engine on directories of its own, without a bridge and firewall rules, for scripts that want one.

# start_engine STATE RUN CGROUP [MEMBERS]: dockerd with its data in STATE/docker, listening at RUN/sock; containers get
# cgroups below CGROUP. MEMBERS: more of its daemon.json. HTTP_PROXY and the like are dockerd's as well.
start_engine() {
  engine_state=$1 engine_run=$2 engine_cgroup=$3
  mkdir -p "$engine_run"
  # Before Docker 25 dockerd lowers its own oom_score_adj unless it is told not to, which wants CAP_SYS_RESOURCE.
  engine_oom=
  ! dockerd --version | grep -qE 'version (1[0-9]|2[0-4])\.' || engine_oom='"oom-score-adjust": 0, '
  cat >"$engine_state/docker.json" <<JSON
{"data-root": "$engine_state/docker", "exec-root": "$engine_run/exec", "pidfile": "$engine_run/pid",
 "hosts": ["unix://$engine_run/sock"], "cgroup-parent": "$engine_cgroup", "bridge": "none", "iptables": false,
 "ip-forward": false, "ip-masq": false, "userland-proxy": false, "live-restore": true, $engine_oom
 "exec-opts": ["native.cgroupdriver=cgroupfs"]${4:+, $4}}
JSON
  dockerd --config-file "$engine_state/docker.json" >"$engine_state/docker.log" 2>&1 9>&- &
  engine=$!
  for _ in $(seq 300); do
    [ -S "$engine_run/sock" ] && curl -sf --unix-socket "$engine_run/sock" http://docker/_ping >/dev/null && return
    kill -0 "$engine" 2>/dev/null || break
    sleep 0.1
  done
  echo "the Docker Engine did not start:" >&2
  tail -n 20 "$engine_state/docker.log" >&2
  return 1
}

# stop_engine: and what it leaves: its data root mounted on itself, and the parent of its containers' cgroups.
stop_engine() {
  [ -n "${engine:-}" ] || return 0
  kill -TERM "$engine" 2>/dev/null || true
  wait "$engine" 2>/dev/null || true
  engine=
  awk -v a="$engine_state/docker" -v b="$engine_run/" 'index($5, a) == 1 || index($5, b) == 1 {print $5}' \
    /proc/self/mountinfo | sort -r | xargs -r umount
  find /sys/fs/cgroup -depth -type d -path "*$engine_cgroup*" -exec rmdir {} + 2>/dev/null || true
  rm -rf "$engine_run"
}
