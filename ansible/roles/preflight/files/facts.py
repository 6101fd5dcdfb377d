"""Facts about a machine before it is changed, as one JSON object on stdout. Python 3.6 or later.

facts.py ROOT USER…   ROOT is toolkit_root, USER the accounts whose groups are reported
"""

import glob
import grp
import json
import os
import platform
import pwd
import shutil
import stat
import struct
import subprocess
import sys
import time


def output_of(*command):
    """What a program prints, "" if it is missing or fails."""
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL).decode(errors="replace")
    except (OSError, subprocess.CalledProcessError):
        return ""


def existing_parent(path):
    """The folder itself, or its nearest parent that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def unsafe_parents(path):
    """Parents of `path` that another user than root owns or may write to."""
    unsafe = []
    while path != "/":
        path = os.path.dirname(path)
        if os.path.isdir(path):
            entry = os.stat(path)
            if entry.st_uid != 0 or entry.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                unsafe.append(path)
    return unsafe


def throttled():
    """The firmware's throttling flags as an integer, null where there is no such firmware."""
    try:
        return int(output_of("vcgencmd", "get_throttled").strip().partition("=")[2], 16)
    except ValueError:
        return None


def authorized_keys(user):
    """How many keys may log in as `user`."""
    try:
        with open(os.path.join(pwd.getpwnam(user).pw_dir, ".ssh", "authorized_keys")) as lines:
            return sum(1 for line in lines if line.strip() and not line.startswith("#"))
    except (KeyError, OSError):
        return 0


def groups_of(user):
    """Names of the groups of a user, its own first; [] for an unknown user."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return []
    own = grp.getgrgid(account.pw_gid).gr_name
    return [own] + sorted(group.gr_name for group in grp.getgrall() if user in group.gr_mem)


def shares_group(user):
    """Whether another account is in the user's own group."""
    account = pwd.getpwnam(user)
    members = [name for name in grp.getgrgid(account.pw_gid).gr_mem if name != user]
    return bool(members or [one for one in pwd.getpwall() if one.pw_gid == account.pw_gid and one.pw_name != user])


def os_release():
    """The fields of /etc/os-release."""
    with open("/etc/os-release") as lines:
        pairs = (line.strip().partition("=") for line in lines if "=" in line)
        return {key: value.strip('"') for key, _, value in pairs}


def packages():
    """Names of the installed packages."""
    lines = output_of("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n").splitlines()
    return sorted({line.split()[1] for line in lines if line.startswith("installed ")})


def enabled_units():
    """Names of the units that start at boot."""
    command = ("systemctl", "list-unit-files", "--state=enabled", "--plain", "--no-legend")
    return [line.split()[0] for line in output_of(*command).splitlines() if line.strip()]


def started_units():
    """Names of the units that run, start or reload.

    A unit that reloads is not "active": since OpenSSH 9.8, sshd says that it reloads, for seconds on a busy machine.
    """
    command = ("systemctl", "list-units", "--state=active,activating,reloading", "--plain", "--no-legend", "--full")
    return [line.split()[0] for line in output_of(*command).splitlines() if line.strip()]


def timezone():
    """Name of the time zone that /etc/localtime links to, "" if it links to none."""
    try:
        target = os.readlink("/etc/localtime")
    except OSError:
        return ""
    return target.partition("/zoneinfo/")[2] if os.path.exists("/etc/localtime") else ""


def swaps():
    """What the system swaps to now."""
    try:
        with open("/proc/swaps") as lines:
            return [line.split()[0] for line in lines][1:]
    except OSError:
        return []


def mounts():
    """Mount point, type and options of every mounted file system, the newest last."""
    with open("/proc/self/mountinfo") as lines:
        halves = [line.rstrip("\n").split(" - ", 1) for line in lines]
    return [(own.split()[4], rest.split()[0], rest.split()[-1].split(",")) for own, rest in halves]


def root_in_memory(mounted, container):
    """Whether the root is in memory, so that a restart forgets changes: a tmpfs, or an overlay that writes to one.

    What an overlay writes to may be out of sight; it is then taken for memory, except in a container.
    """
    kinds = {target: (kind, options) for target, kind, options in mounted}
    kind, options = kinds.get("/", ("", []))
    if kind != "overlay":
        return kind in ("tmpfs", "ramfs")
    upper = next((option.partition("=")[2] for option in options if option.startswith("upperdir=")), "")
    parents = [target for target in kinds if target != "/" and (upper + "/").startswith(target + "/")]
    if parents:
        return kinds[max(parents, key=len)][0] in ("tmpfs", "ramfs")
    return not container


def main(root, *users):
    """Print the facts."""
    release = os_release()
    container = os.path.exists("/run/systemd/container") or os.path.exists("/.dockerenv")
    user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    enabled, started = enabled_units(), started_units()
    facts = {
        "machine": platform.machine(),
        "bits": struct.calcsize("P") * 8,
        "system": release.get("ID", ""),
        "release": int(release.get("VERSION_ID", "0").split(".")[0]),
        "codename": release.get("VERSION_CODENAME", ""),
        "python": platform.python_version(),
        "glibc": platform.libc_ver()[1],
        "free_bytes": shutil.disk_usage(existing_parent(root)).free,
        "unsafe_parents": unsafe_parents(root),
        "epoch": time.time(),
        "throttled": throttled(),
        "systemd": os.path.isdir("/run/systemd/system"),
        "container": os.path.exists("/run/systemd/container"),
        "root_in_memory": root_in_memory(mounts(), container),
        "raspberry_os": os.path.exists("/etc/rpi-issue"),
        "firmware_config": next(iter(glob.glob("/boot/firmware/config.txt") or glob.glob("/boot/config.txt")), ""),
        "user": user,
        "group": groups_of(user)[0],
        "shared_group": user != "root" and shares_group(user),
        "authorized_keys": authorized_keys(user),
        "groups": {name: groups_of(name) for name in (user,) + users},
        "packages": packages(),
        "enabled_units": enabled,
        "running_units": sorted(set(enabled) & set(started)),
        "timezone": timezone(),
        "swaps": swaps(),
    }
    json.dump(facts, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
