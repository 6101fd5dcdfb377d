"""What toolkit.deploy.commands runs on a device: POSIX sh with coreutils, so that a bare Debian will do. $1 is ROOT."""

LINK = r"""
link() {
  ln -s -f -T "$1" ".$2.new"
  mv -f -T ".$2.new" "$2"
}
"""

SWITCH = rf"""
set -eu
cd "$1"
{LINK}
old=$(readlink current || true)
new=releases/$2
if [ -n "$old" ] && [ "$old" != "$new" ]; then link "$old" previous; fi
link "$new" current
sync .
"""

SWITCH_BACK = rf"""
set -eu
cd "$1"
{LINK}
old=$(readlink current)
link "releases/$2" current
link "$old" previous
sync .
"""

RESTORE = rf"""
set -eu
cd "$1"
{LINK}
if [ -n "$2" ]; then link "releases/$2" current; else rm -f current; fi
if [ -n "$3" ] && [ -d "releases/$3" ]; then link "releases/$3" previous; else rm -f previous; fi
sync .
"""

LOCK = r"""
set -u
umask 022
root=$1 info=$2 break=$3 lock=$1/$4.lock
boot=
{ IFS= read -r boot < /proc/sys/kernel/random/boot_id; } 2>/dev/null
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

STATUS = r"""
cd "$1" 2>/dev/null || exit 0
QUOTING_STYLE=shell-always stat -c '%n:%Y %N' current previous 2>/dev/null
grep -a -s '' deploy.lock/info rollout.lock/info current/release.json current/manifest.json
storage=$(stat -f -c %T .)
if [ "$storage" = overlayfs ]; then # what counts is where it writes
  mount=$(df --output=target . | tail -n 1)
  while read -r _ _ _ _ target options; do
    case $options in *,upperdir=*) if [ "$target" = "$mount" ]; then upper=${options##*,upperdir=}; fi ;; esac
  done < /proc/self/mountinfo
  storage=$(stat -f -c %T "${upper%%,*}" 2>/dev/null)
fi
echo "storage:$storage"
exit 0
"""
"""Three processes where no overlay is mounted, because a Pi takes milliseconds to start one."""

FILES = r"""
cd "$1/releases/$2" 2>/dev/null || exit 0
cat release.json 2>/dev/null | tr -d '\n'
echo
find . -type f -exec sha256sum {} +
find . ! -type f ! -type d -exec printf 'special  %s\n' {} +
exit 0
"""

AUDIT = r"""
set -eu
umask 022
cd "$1"
if [ "$(stat -c %s audit.jsonl 2>/dev/null || echo 0)" -ge "$3" ]; then
  if [ -e audit.jsonl.1 ]; then mv -f audit.jsonl.1 audit.jsonl.2; fi
  mv -f audit.jsonl audit.jsonl.1
fi
printf '%s\n' "$2" >> audit.jsonl
"""

SUDO = r"""
as_root() { # with the password on stdin, if the inventory has one
  if [ "$(id -u)" = 0 ]; then "$@"
  elif [ "$with_password" = yes ]; then sudo -S -p '' "$@"
  else sudo -n "$@"
  fi
}
"""

RESTART = rf"""
{SUDO}
cd "$1" || exit 1
with_password=$4
if [ -n "$3" ]; then eval "$3" && echo "by its own command"; exit; fi
systemctl cat "$2" >/dev/null 2>&1 || {{ echo none; exit 0; }}
as_root systemctl restart "$2" && echo "$2"
"""

LOGS = r"""
cd "$1" 2>/dev/null || { echo "there is no $1"; exit 1; }
follow=$4
if systemctl cat "$2" >/dev/null 2>&1; then
  set -- journalctl --unit "$2" --lines "$3" --no-pager --output short-iso ${follow:+--follow}
  if [ "$(id -u)" != 0 ] && ! id -nG | grep -qwE 'adm|systemd-journal'; then set -- sudo -n "$@"; fi
else
  if [ -z "$follow" ] && [ ! -e audit.jsonl ]; then exit 0; fi
  set -- tail -n "$3" ${follow:+-F} audit.jsonl
fi
if [ -z "$follow" ]; then exec "$@"; fi
"$@" 2>&1 & # ends when stdin does, as it does when the connection is gone
trap 'kill $! 2>/dev/null' EXIT HUP TERM
cat > /dev/null
"""
