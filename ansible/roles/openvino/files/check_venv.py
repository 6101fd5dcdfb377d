"""Print why a virtual environment has to be rebuilt, nothing if it is complete. Python 3.6 or later.

check_venv.py VENV SHA256   VENV was installed from VENV/requirements.txt, which should have this SHA-256
"""

import hashlib
import os
import platform
import subprocess
import sys

# Run by the environment's own Python: compares what is installed with the requirements that apply to this machine.
COMPARE = """
import importlib.metadata, platform, sys
from pip._vendor.packaging.requirements import Requirement
if platform.python_version_tuple()[:2] != tuple(sys.argv[2].split(".")[:2]):
    sys.exit("it has Python " + platform.python_version())
text = open(sys.argv[1]).read().replace("\\\\\\n", " ")
for line in text.splitlines():
    line = line.partition("#")[0].partition("--hash")[0].strip()
    if not line or line.startswith("-"):
        continue
    one = Requirement(line)
    if one.marker is None or one.marker.evaluate():
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            sys.exit(one.name + " is missing")
        if not one.specifier.contains(version):
            sys.exit("it has %s %s" % (one.name, version))
"""


def reason(venv, expected):
    """Why the environment has to be rebuilt, "" if it does not."""
    requirements = os.path.join(venv, "requirements.txt")
    try:
        with open(requirements, "rb") as stream:
            if hashlib.sha256(stream.read()).hexdigest() != expected:
                return "the requirements changed"
    except OSError:
        return "it is not installed completely"
    command = [os.path.join(venv, "bin/python"), "-I", "-c", COMPARE, requirements, platform.python_version()]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        return "its Python does not run: %s" % error
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else (lines or ["its Python does not run"])[-1]


if __name__ == "__main__":
    print(reason(*sys.argv[1:]))
