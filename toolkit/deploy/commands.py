"""What runs on a device, as words: pure, so that tests read whole commands and need no device.

ROOT/releases/<digest>/   a release, read-only
ROOT/current, previous    links to releases, each switched by one rename
ROOT/deploy.lock/         there while somebody changes the device: info says who, since when and why
"""

from __future__ import annotations

from toolkit.artifacts import Device

_LINK = r"""
link() {
  rm -f ".$2.new"
  ln -s "$1" ".$2.new"
  mv -f -T ".$2.new" "$2"
}
"""

_SWITCH = rf"""
set -eu
cd "$1"
{_LINK}
old=$(readlink current || true)
new=releases/$2
if [ -n "$old" ] && [ "$old" != "$new" ]; then link "$old" previous; fi
link "$new" current
sync .
"""

_SWITCH_BACK = rf"""
set -eu
cd "$1"
{_LINK}
old=$(readlink current)
link "releases/$2" current
link "$old" previous
sync .
"""

_LOCK = r"""
set -u
umask 022
root=$1 info=$2 break=$3 lock=$1/deploy.lock
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
drop() { # whatever signal comes meanwhile; what is ignored here, rm ignores as well
  trap '' HUP INT TERM PIPE
  held=
  { IFS= read -r held < "$lock/info"; } 2>/dev/null
  if [ "$held" = "$info" ]; then rm -rf "$lock"; fi
}
mkdir -p "$root"
if [ -d "$lock" ] && { [ "$break" = yes ] || [ "$(cat "$lock/boot" 2>/dev/null || echo "$boot")" != "$boot" ]; }; then
  mv -T "$lock" "$lock.$$" && rm -rf "$lock.$$"
fi
if mkdir "$lock" 2>/dev/null; then
  trap drop EXIT
  trap 'drop; exit 129' HUP INT TERM PIPE
  printf '%s\n' "$info" > "$lock/info"
  printf '%s\n' "$boot" > "$lock/boot"
  echo held
  cat > /dev/null
elif [ -d "$lock" ]; then
  echo "taken $(cat "$lock/info")"
else
  echo "cannot be made: $lock"
fi
"""

_STATUS = r"""
cd "$1" 2>/dev/null || exit 0
echo "current = $(readlink current)"
echo "previous = $(readlink previous)"
echo "since = $(stat -c %Y current 2>/dev/null)"
echo "lock = $(cat deploy.lock/info 2>/dev/null)"
echo "release = $(cat current/release.json 2>/dev/null)"
echo "manifest = $(cat current/manifest.json 2>/dev/null)"
"""

_DEVICE_CODE = 'cd "$1" && shift && exec "$@"'


def releases_path(release: str) -> str:
    """Where a release is, relative to ROOT."""
    return f"releases/{release}"


def release_folder(device: Device, release: str) -> str:
    """Where a release is on the device."""
    return f"{device.root}/{releases_path(release)}"


def verify(device: Device, release: str) -> list[str]:
    """Every byte of the release against its digests, by its own code."""
    return _by_device_code(device, release, "verify")


def golden(device: Device, release: str) -> list[str]:
    """The golden pictures answered there, by its own code, on the device's accelerator."""
    return [*_by_device_code(device, release, "golden"), "--accelerator", device.accelerator]


def _by_device_code(device: Device, release: str, command: str) -> list[str]:
    folder = release_folder(device, release)
    return ["/bin/sh", "-c", _DEVICE_CODE, "sh", folder, device.python, "-B", "-m", "device", command, folder]


def switch(device: Device, release: str) -> list[str]:
    """Serve the release from now on and remember the one before; cut between the two renames, the old one serves."""
    return ["/bin/sh", "-c", _SWITCH, "sh", device.root, release]


def switch_back(device: Device, release: str) -> list[str]:
    """Serve the previous release again; cut between the two renames, it serves already."""
    return ["/bin/sh", "-c", _SWITCH_BACK, "sh", device.root, release]


def lock(device: Device, info: str, *, break_lock: bool) -> list[str]:
    """Take the device's lock by an atomic mkdir and keep it until stdin ends, however the controller goes.

    A lock from before the device's last start is taken over; prints "held", or "taken" and the info of who has it.
    """
    return ["/bin/sh", "-c", _LOCK, "sh", device.root, info, "yes" if break_lock else "no"]


def status(device: Device) -> list[str]:
    """What it serves, one `name = value` a line; needs no Python there."""
    return ["/bin/sh", "-c", _STATUS, "sh", device.root]
