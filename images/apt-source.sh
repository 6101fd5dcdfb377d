#!/usr/bin/env bash
# Print this machine's Debian sources for another suite, as one-line sources. The project thus names no host, and a machine
# behind a mirror builds from that mirror.
#
#   apt-source.sh SUITE
#
# DEBIAN_MIRROR replaces the machine's mirrors with another one; DEBIAN_SNAPSHOT with a snapshot of one, whose release files
# have expired. apt rejects expired release files otherwise, so that nobody can offer yesterday's packages: except for the
# suite that is no longer updated.
set -euo pipefail
shopt -s nullglob

readonly suite=${1:?suite}
readonly unmaintained=bullseye

# Each address and suite of the machine's own release, with the suite replaced: "ADDRESS trixie-security".
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

mirror=${DEBIAN_SNAPSHOT:-${DEBIAN_MIRROR:-}}
offered=${mirror:+$mirror $suite}
offered=${offered:-$(sources)}
if [ -z "$offered" ]; then
    echo "apt-source: /etc/apt has no Debian source of this release; set DEBIAN_MIRROR to the address of a mirror." >&2
    exit 4
fi
options=
if [ -n "${DEBIAN_SNAPSHOT:-}" ] || [ "$suite" = "$unmaintained" ]; then options='[check-valid-until=no] '; fi
while read -r address name; do
    printf 'deb %s%s %s main\n' "$options" "$address" "$name"
done <<<"$offered"
