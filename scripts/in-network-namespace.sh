#!/usr/bin/env bash
# Run a command in a network namespace of its own, whose only addresses are loopback and 10.77.0.1: what listens in it,
# even on all addresses, cannot be reached from outside. Needs root or user namespaces, and iproute2.
set -euo pipefail
readonly setup='ip link set lo up && ip address add 10.77.0.1/32 dev lo && ip route add default dev lo src 10.77.0.1 && exec "$@"'
if [ "$(id -u)" = 0 ]; then user=(); else user=(--map-root-user); fi
unshare "${user[@]}" --net true 2>/dev/null || {
    echo "in-network-namespace: this machine does not allow network namespaces (unshare --net); run it as root" >&2
    exit 4
}
exec unshare "${user[@]}" --net sh -c "$setup" in-network-namespace "$@"
