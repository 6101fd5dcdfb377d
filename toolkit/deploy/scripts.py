"""What toolkit.deploy.commands runs on a device: POSIX sh with coreutils, so that a bare Debian will do. $1 is ROOT."""

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
)

SESSION = r"""
if [ -x "$3" ] && [ "$(stat -c %u "$3")" = 0 ]; then exec "$3" session "$1"; fi
exec "$2" -I -S -B -c "$4" "$1"
"""
"""$2 is the device's Python, $3 the agent, $4 what runs the code on stdin."""

_LOCKS = f"{DEPLOY_LOCK}/{LOCK_INFO} {ROLLOUT_LOCK}/{LOCK_INFO}"
STATUS = (
    rf"""
cd "$1" 2>/dev/null || exit 0
QUOTING_STYLE=shell-always stat -c '%n:%Y %N' {CURRENT} {PREVIOUS} 2>/dev/null
grep -a -s '' {_LOCKS} {CURRENT}/{RELEASE} {CURRENT}/{MANIFEST}
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

FILES = rf"""
cd "$1/{RELEASES}/$2" 2>/dev/null || exit 0
cat {RELEASE} 2>/dev/null | tr -d '\n'
echo
find . -type f -exec sha256sum {{}} +
find . ! -type f ! -type d -exec printf 'special  %s\n' {{}} +
exit 0
"""

LOGS = (
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
