"""What toolkit.fleet.transfer runs on a device: POSIX sh with coreutils and tar, so that a bare Debian will do.

Each reads lines of "SHA256 PATH" on stdin (SEND: a tar archive); $1 is ROOT, $2 the destination.
"""

SURVEY = r"""
set -u
root=$1 destination=$2
lines=$(cat)
place=$root
while [ ! -d "$place" ]; do place=$(dirname "$place"); done
echo "room $(stat -f -c '%a %S %d %c' "$place")"
check() { sha256sum -c 2>/dev/null | sed "s/^/$1 /"; }
found=
if cd "$destination" 2>/dev/null; then
  found=$(printf '%s\n' "$lines" | while read -r sha path; do
    if [ -f "$path" ]; then echo "$sha  $path"; fi
  done | check file)
  printf '%s\n' "$found" | sed '/^$/d'
fi
if [ "$(printf '%s\n' "$found" | grep -c ': OK$')" != "$(printf '%s\n' "$lines" | grep -c .)" ]; then
  if cd "$root/store" 2>/dev/null; then
    printf '%s\n' "$lines" | cut -d ' ' -f 1 | sort -u | while read -r sha; do
      if [ -f "$sha" ]; then echo "$sha  $sha"; fi
    done | check store
  fi
fi
exit 0
"""

SEND = r"""
set -eu
umask 022
mkdir -p "$1/store"
cd "$1/store"
find . -name '*.part' -mmin +60 -exec rm -f {} +
exec tar -x -o -m -f -
"""

SETTLE = r"""
set -u
cd "$1/store" || exit 1
cut -d ' ' -f 1 | while read -r sha; do
  if [ -f "$sha.part" ]; then echo "$sha  $sha.part"; fi
done | sha256sum -c 2>/dev/null | while read -r name verdict; do
  part=${name%:}
  if [ "$verdict" = OK ] && chmod 444 "$part" && sync "$part" && mv -f "$part" "${part%.part}"; then
    echo "$part: OK"
  else
    rm -f "$part"
  fi
done
sync .
exit 0
"""

ASSEMBLE = r"""
set -eu
umask 022
root=$1 destination=$2 base=$2
if [ -d "$base" ]; then
  chmod -R u+w "$base"
else
  base=${destination%/*}/.${destination##*/}.part
  if [ -e "$base" ]; then chmod -R u+w "$base"; rm -rf "$base"; fi
  mkdir -p "$base"
fi
while read -r sha path; do
  case $path in */*) mkdir -p "$base/${path%/*}" ;; esac
  rm -f "$base/$path.part"
  ln "$root/store/$sha" "$base/$path.part" 2>/dev/null || cp "$root/store/$sha" "$base/$path.part"
  mv -f "$base/$path.part" "$base/$path"
done
chmod -R a-w "$base"
find "$base" -type d -exec sync {} +
if [ "$base" != "$destination" ]; then mv -T "$base" "$destination"; fi
sync "${destination%/*}"
"""
