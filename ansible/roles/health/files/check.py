"""Report the health of a device as one JSON object on stdout. Python 3.6 or later; runs as root and changes nothing.

check.py ROOT USER   ROOT is toolkit_root, USER the account of the runner

The current release is verified by the root-owned agent as USER: code that a release brings never runs as root.
"""

import json
import os
import shutil
import subprocess
import sys

AGENT = "/usr/lib/toolkit-agent/toolkit-agent"


def run(*command):
    """Exit code and output of a program."""
    try:
        done = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", timeout=300
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout.decode(errors="replace").strip()


def failed_units():
    """Units that systemd could not keep running."""
    lines = run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full")[1].splitlines()
    return [line.split()[0] for line in lines if line.split()]


def check_release(root, user):
    """Whether there is a current release, and what is wrong with it ("" for nothing)."""
    folder = os.path.join(root, "current")
    if not os.path.exists(os.path.join(folder, "release.json")):
        return {"exists": False, "problem": ""}
    if not os.path.exists(AGENT):
        return {"exists": True, "problem": AGENT + " is missing: run provision-pi.yml with --tags runner"}
    as_user = ("setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups", "--no-new-privs")
    code, output = run(*as_user, AGENT, "verify", folder)
    return {"exists": True, "problem": "" if code == 0 else output[-500:] or "verify failed"}


def codename():
    """Name of the Debian release."""
    with open("/etc/os-release") as lines:
        return next((line.strip().partition("=")[2] for line in lines if line.startswith("VERSION_CODENAME=")), "")


def main(root, user):
    """Print the report."""
    report = {
        "codename": codename(),
        "failed_units": failed_units(),
        "runner": run("systemctl", "is-active", "toolkit-runner.service")[1],
        "release": check_release(root, user),
        "free_bytes": shutil.disk_usage(root if os.path.isdir(root) else "/").free,
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
