#!/usr/bin/env bash
# Set up a container engine to build and test images, on a machine that may have none.
#
#   engine.sh check             report what is missing and how to install it; exit 4 if anything is
#   engine.sh install           install engine, buildx, emulation and mmdebstrap (root, Debian 12)
#   engine.sh up                start an engine if none runs, and register the emulation of arm64
#   engine.sh down              stop the engine that `up` started; leave an engine alone that ran before
#   engine.sh with COMMAND…     up, run COMMAND, then down if this call started the engine
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly state=${EDGE_VISION_ENGINE_STATE:-/run/edge-vision-toolkit/engine}
readonly log=$state/dockerd.log
readonly lists=${XDG_CACHE_HOME:-$HOME/.cache}/edge-vision-toolkit/apt-engine
readonly suite=trixie # Debian 12's engine does not store multi-platform images with attestations
readonly engine_packages=(docker.io docker-cli containerd docker-buildx)
readonly own_packages=(runc docker-registry qemu-user-static binfmt-support mmdebstrap arch-test)

say() { printf 'engine: %s\n' "$@" >&2; }
fail() {
    say "$@"
    exit 4
}

running() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
# The engine's version, its image store and docker's plugins: three lines from one call, which takes a tenth of a second.
engine_info() {
    docker info --format '{{.ServerVersion}}{{"\n"}}{{.DriverStatus}}{{"\n"}}{{range .ClientInfo.Plugins}}{{.Name}} {{end}}' \
        2>/dev/null || true
}
emulates_arm64() {
    [ "$(uname -m)" = aarch64 ] || grep -qsx enabled /proc/sys/fs/binfmt_misc/qemu-aarch64
}

# One line for each missing thing, nothing if all is there.
missing() {
    local version='' store='' plugins=''
    command -v mmdebstrap >/dev/null || echo "no mmdebstrap (it builds the root filesystems of the base images)"
    emulates_arm64 || echo "arm64 programs do not run on this machine (packages qemu-user-static and binfmt-support; then: $here/engine.sh up)"
    command -v docker >/dev/null || { echo "no docker command" && return; }
    { read -r version && read -r store && read -r plugins; } < <(engine_info) || true
    [[ " $plugins " == *" buildx "* ]] || echo "docker has no buildx plugin"
    if [ -z "$version" ]; then
        echo "no container engine is running (as root: $here/engine.sh up)"
    elif [[ $store != *io.containerd.snapshotter* ]]; then
        echo 'the engine lacks the containerd image store: add {"features": {"containerd-snapshotter": true}} to its daemon.json'
    fi
}

check() {
    local problems
    problems=$(missing)
    [ -z "$problems" ] && return
    while IFS= read -r line; do say "$line"; done <<<"$problems"
    fail "on Debian 12, as root: $here/engine.sh install && $here/engine.sh up"
}

need_root() { [ "$(id -u)" = 0 ] || fail "$1 needs root."; }

# This machine's Debian sources with the suite replaced, so that no host is named here.
sources_for_engine() { # FOLDER
    local file
    mkdir -p "$1/sources.list.d" "$1/preferences.d"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        [ -s "$file" ] && grep -q debian "$file" && cp "$file" "$1/sources.list.d/"
    done
    "$here/apt-source.sh" "$suite" >"$1/sources.list.d/engine.list"
    printf 'Package: *\nPin: release n=%s*\nPin-Priority: 100\n' "$suite" >"$1/preferences.d/engine"
}

installed() {
    local package
    for package in "${engine_packages[@]}" "${own_packages[@]}"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || return 1
    done
}

# The sources of the newer suite are in a temporary folder: the machine's apt configuration is not changed.
install_packages() {
    local folder options
    need_root install
    installed && return
    grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || fail "this installs on Debian 12 only; on other systems, install" \
        "docker >= 26 with buildx, qemu-user-static with binfmt, and mmdebstrap from your system's packages."
    folder=$(mktemp -d)
    mkdir -p "$lists/partial"
    sources_for_engine "$folder"
    options=(-o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$folder/sources.list.d"
        -o "Dir::Etc::PreferencesParts=$folder/preferences.d" -o "Dir::State::Lists=$lists"
        -o "Acquire::Retries=3" -o "APT::Sandbox::User=root")
    apt-get "${options[@]}" -qq update >&2
    # No service may start: `up` starts the engine, and only if none runs.
    printf '#!/bin/sh\nexit 101\n' >"$folder/policy-rc.d"
    chmod +x "$folder/policy-rc.d"
    POLICYRCD=$folder/policy-rc.d DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" -qq install -y \
        --no-install-recommends "${engine_packages[@]/%//$suite}" "${own_packages[@]}" iptables >&2
    rm -rf "$folder"
    say "installed $(dockerd --version)"
}

emulate_arm64() {
    emulates_arm64 && return
    mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    command -v update-binfmts >/dev/null || fail "emulating arm64 needs the packages qemu-user-static and binfmt-support."
    update-binfmts --enable qemu-aarch64 >&2
    emulates_arm64 || fail "the kernel did not accept the emulation of arm64."
}

start_engine() {
    local waited=0
    mkdir -p "$state"
    command -v dockerd >/dev/null || fail "no container engine is installed ($here/engine.sh install)."
    printf '{"features": {"containerd-snapshotter": true}}\n' >"$state/daemon.json"
    setsid dockerd --config-file "$state/daemon.json" --pidfile "$state/dockerd.pid" >"$log" 2>&1 </dev/null &
    until running; do
        kill -0 $! 2>/dev/null || fail "the engine did not start:" "$(tail -n 5 "$log")"
        [ "$waited" -lt 600 ] || fail "the engine did not answer within 60 s; its log is $log"
        waited=$((waited + 1))
        sleep 0.1
    done
    say "started dockerd, pid $(cat "$state/dockerd.pid")"
}

up() {
    if ! running; then
        need_root "starting an engine"
        start_engine
    fi
    emulates_arm64 || { need_root "registering the emulation of arm64" && emulate_arm64; }
    check
}

down() {
    local pid waited=0
    [ -f "$state/dockerd.pid" ] || return 0
    pid=$(cat "$state/dockerd.pid")
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do
        [ "$waited" -lt 300 ] || fail "dockerd (pid $pid) did not stop within 30 s."
        waited=$((waited + 1))
        sleep 0.1
    done
    rm -f "$state/dockerd.pid"
    say "stopped dockerd, pid $pid"
}

with() {
    running || trap down EXIT
    [ "$(id -u)" != 0 ] || installed || command -v dockerd >/dev/null || install_packages
    up
    "$@"
}

case "${1:-}" in
check | up | down) "$1" ;;
install) install_packages ;;
with)
    shift
    with "$@"
    ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
