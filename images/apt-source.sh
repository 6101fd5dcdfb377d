#!/usr/bin/env bash
# Print this machine's own Debian sources with another suite in place of the running release's, as one-line sources.
# So no host is written in the project, and a machine behind a mirror builds from that mirror.
#
#   apt-source.sh SUITE
#
# DEBIAN_MIRROR names one mirror, or a snapshot of one, to take instead of the machine's.
set -euo pipefail
shopt -s nullglob

readonly suite=${1:?suite}

# Each address and suite that the machine has for its release: "ADDRESS bookworm-security".
sources() {
    local codename files=(/etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list)
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    [ ! -f /etc/apt/sources.list ] || files+=(/etc/apt/sources.list)
    [ "${#files[@]}" -gt 0 ] || return 0
    awk -v codename="$codename" '
        function offer(uri, suite) { if (uri != "" && suite ~ "^" codename "(-updates|-security)?$") print uri, suite }
        /^[[:space:]]*#/ { next }
        FNR == 1 || /^$/ { uri = "" }
        /^URIs:/ { uri = $2 }
        /^Suites:/ { for (i = 2; i <= NF; i++) offer(uri, $i) }
        /^deb / { sub(/\[[^]]*\] */, ""); offer($2, $3) }
    ' "${files[@]}" | sed "s/ $codename/ $suite/" | sort -u
}

offered=${DEBIAN_MIRROR:+$DEBIAN_MIRROR $suite}
offered=${offered:-$(sources)}
if [ -z "$offered" ]; then
    echo "apt-source: no Debian source of this release found under /etc/apt; set DEBIAN_MIRROR to a mirror's address." >&2
    exit 4
fi
while read -r address name; do
    printf 'deb [check-valid-until=no] %s %s main\n' "$address" "$name"
done <<<"$offered"
