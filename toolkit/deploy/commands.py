"""The commands that run on a device, as argument vectors. Pure, so that tests compare whole commands without a device.

Their scripts are POSIX sh with coreutils, so that a bare Debian is enough; $1 is ROOT.

They read a device's ROOT, as toolkit.device.layout describes it. What changes a device runs there, as
toolkit.device.activation; see toolkit.deploy.session.
"""

from __future__ import annotations

from toolkit.artifacts.fleet import Device
from toolkit.device.layout import (
    AUDIT_LOG,
    CURRENT,
    DEPLOY_LOCK,
    LOCK_INFO,
    MANIFEST,
    PREVIOUS,
    RELEASE,
    RELEASES,
    ROLLOUT_LOCK,
    STATE_FILE,
    release_path,
)
from toolkit.fleet.transfer.scripts import LOADER

SERVICE, RESTART, HEALTH = "toolkit_service", "toolkit_restart", "toolkit_health"
"""The inventory's variables: the systemd unit that runs the release, what to run instead of restarting it, its address."""
UNIT = "toolkit-runner.service"
AGENT = "/usr/lib/toolkit-agent/toolkit-agent"
"""Where Ansible's role `runner` installs the agent."""

_SESSION = r"""
if [ -x "$3" ] && [ "$(stat -c %u "$3")" = 0 ]; then exec "$3" session "$1"; fi
exec "$2" -I -S -B -c "$4" "$1"
"""
"""$2 is the device's Python, $3 the agent, $4 what runs the code on stdin."""

_LOCKS = f"{DEPLOY_LOCK}/{LOCK_INFO} {ROLLOUT_LOCK}/{LOCK_INFO}"
STATUS = (
    rf"""
cd "$1" 2>/dev/null || exit 0
QUOTING_STYLE=shell-always stat -c '%n:%Y %N' {CURRENT} {PREVIOUS} 2>/dev/null
grep -a -s '' {_LOCKS} {CURRENT}/{RELEASE} {CURRENT}/{MANIFEST} {STATE_FILE}
"""
    r"""
storage=$(stat -f -c %T .)
if [ "$storage" = overlayfs ]; then # what counts is where it writes
  mount=$(df --output=target . | tail -n 1)
  while read -r _ _ _ _ target options; do
    case $options in *,upperdir=*) if [ "$target" = "$mount" ]; then upper=${options##*,upperdir=}; fi ;; esac
  done < /proc/self/mountinfo
  storage=$(stat -f -c %T "${upper%%,*}" 2>/dev/null)
fi
echo "storage:$storage"
stat -c 'agent:%u %a' "$2" 2>/dev/null
exit 0
"""
)
"""$2 is the agent. Few processes where no overlay is mounted, because a Pi takes milliseconds to start one."""

_FILES = rf"""
cd "$1/{RELEASES}/$2" 2>/dev/null || exit 0
cat {RELEASE} 2>/dev/null | tr -d '\n'
echo
find . -type f -exec sha256sum {{}} +
find . ! -type f ! -type d -exec printf 'special  %s\n' {{}} +
exit 0
"""

_LOGS = (
    f"audit={AUDIT_LOG}"
    r"""
cd "$1" 2>/dev/null || { echo "there is no $1"; exit 1; }
follow=$4
if systemctl cat "$2" >/dev/null 2>&1; then
  set -- journalctl --unit "$2" --lines "$3" --no-pager --output short-iso ${follow:+--follow}
  if [ "$(id -u)" != 0 ] && ! id -nG | grep -qwE 'adm|systemd-journal'; then set -- sudo -n "$@"; fi
else
  if [ -z "$follow" ] && [ ! -e "$audit" ]; then exit 0; fi
  set -- tail -n "$3" ${follow:+-F} "$audit"
fi
if [ -z "$follow" ]; then exec "$@"; fi
"$@" 2>&1 & # ends when stdin does, as it does when the connection is gone
trap 'kill $! 2>/dev/null' EXIT HUP TERM
cat > /dev/null
"""
)


def release_folder(device: Device, release: str) -> str:
    """Return a release's folder on the device."""
    return f"{device.root}/{release_path(release)}"


def session(device: Device) -> list[str]:
    """Start a session of the device's agent if root owns one there, else of the code that comes on stdin."""
    return ["/bin/sh", "-c", _SESSION, "sh", device.root, device.python, AGENT, LOADER]


def status(device: Device) -> list[str]:
    """Print what the device serves; needs no Python there."""
    return ["/bin/sh", "-c", STATUS, "sh", device.root, AGENT]


def files(device: Device, release: str) -> list[str]:
    """Print the release's index on the first line, then each file's digest and path; nothing if there is no release."""
    return ["/bin/sh", "-c", _FILES, "sh", device.root, release]


def logs(device: Device, lines: int, *, follow: bool) -> list[str]:
    """Print the service's journal; without a unit, the device's audit log."""
    return ["/bin/sh", "-c", _LOGS, "sh", device.root, service(device), str(lines), "yes" if follow else ""]


def service(device: Device) -> str:
    """Return the systemd unit that runs the release."""
    return str(device.variables.get(SERVICE) or UNIT)
