"""Programs that toolkit.fleet.transfer.staging runs on a device: a POSIX sh script, and the device code's receiver.

The receiver is sent compressed on stdin, so that a device needs only its Python, and nothing is left behind on it.
"""

from __future__ import annotations

import json
import zlib
from functools import cache

from toolkit.artifacts.fleet import Device
from toolkit.device.layout import CURRENT, STORE
from toolkit.fleet.transfer.tree import DEVICE_CODE

STATE = (
    f"current={CURRENT} store={STORE}"
    r"""
set -u
root=$1 destination=$2 wanted=$3 python=$4
place=$root
while [ ! -d "$place" ]; do place=$(dirname "$place"); done
echo "space $(stat -f -c '%a %S %d %c' "$place")"
echo "current $(readlink "$root/$current")"
echo "machine $(cat /proc/sys/kernel/random/boot_id 2>/dev/null) $(stat -c '%d:%i' "$place") $(readlink -m "$root")"
[ -w "$place" ] && echo writable
[ -d "$root/$store" ] || [ -d "$destination" ] || echo bare
command -v "$python" >/dev/null 2>&1 && echo python
sums=${destination%/*}/.${destination##*/}.sums
if [ -e "$sums" ] && [ "$(sha256sum < "$sums")" = "$wanted  -" ] && cd "$destination" && sha256sum --check --status "$sums"; then
  echo whole
fi
exit 0
"""
)
"""$1 is ROOT, $2 the destination, $3 the digest of its list of sums, $4 the device's Python."""

LOADER = """
import json,sys,types,zlib
read=sys.stdin.buffer
for name in ("device","device.release","device.runtime","device.activation"):
    package=types.ModuleType(name)
    package.__path__=[]
    sys.modules[name]=package
for name,text in json.loads(zlib.decompress(read.read(int(read.readline())))).items():
    module=types.ModuleType("device."+name)
    module.__package__,_,last=module.__name__.rpartition(".")
    sys.modules[module.__name__]=module
    setattr(sys.modules[module.__package__],last,module)
    exec(compile(text,name+".py","exec"),module.__dict__)
sys.exit(module.main(sys.argv[1:]))
"""
"""Runs the last module of the program on stdin."""
RECEIVER = ("layout", "release.store", "release.prune", "release.receiver")
"""Modules of the device code; each imports only those before it."""


def receiver(device: Device, *argv: str) -> list[str]:
    """Return the command that reads `program(RECEIVER)` from stdin, then the input of its arguments."""
    return [device.python, "-I", "-S", "-B", "-c", LOADER, *argv]


@cache
def program(modules: tuple[str, ...]) -> bytes:
    """Return modules of the device code, after a line with their length."""
    code = {name: (DEVICE_CODE / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8") for name in modules}
    packed = zlib.compress(json.dumps(code).encode(), 9)
    return b"%d\n%s" % (len(packed), packed)
