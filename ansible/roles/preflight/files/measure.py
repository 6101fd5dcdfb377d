"""What must be known of a machine before it is touched, as one JSON object on stdout. Python 3.6 or later."""

import json
import os
import platform
import pwd
import shutil
import struct
import subprocess
import sys
import time


def nearest(path):
    """The folder itself, or the nearest one above it that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def throttled():
    """The firmware's word on power and heat as an integer, or null where there is no such firmware."""
    try:
        said = subprocess.check_output(["vcgencmd", "get_throttled"], stderr=subprocess.DEVNULL)
        return int(said.decode().strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def keys_of(user):
    """How many keys may log in as `user`."""
    try:
        with open(os.path.join(pwd.getpwnam(user).pw_dir, ".ssh", "authorized_keys")) as lines:
            return sum(1 for line in lines if line.strip() and not line.startswith("#"))
    except (KeyError, OSError):
        return 0


def os_release():
    """ID, VERSION_ID and what else /etc/os-release says."""
    with open("/etc/os-release") as lines:
        pairs = (line.strip().partition("=") for line in lines if "=" in line)
        return {key: value.strip('"') for key, _, value in pairs}


release = os_release()
user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
json.dump(
    {
        "machine": platform.machine(),
        "bits": struct.calcsize("P") * 8,
        "system": release.get("ID", ""),
        "release": int(release.get("VERSION_ID", "0").split(".")[0]),
        "python": platform.python_version(),
        "glibc": platform.libc_ver()[1],
        "free_bytes": shutil.disk_usage(nearest(sys.argv[1])).free,
        "epoch": time.time(),
        "throttled": throttled(),
        "systemd": os.path.isdir("/run/systemd/system"),
        "container": os.path.exists("/run/systemd/container"),
        "raspberry_os": os.path.exists("/etc/rpi-issue"),
        "user": user,
        "authorized_keys": keys_of(user),
    },
    sys.stdout,
)
