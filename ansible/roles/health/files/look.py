"""How a device is, as one JSON object on stdout. Python 3.6 or later; needs root to read every file of a release."""

import json
import os
import shutil
import subprocess
import sys


def said(*words, **options):
    """Exit code and what a program prints."""
    try:
        done = subprocess.run(
            words, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, **options
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout.decode(errors="replace").strip()


def failed_units():
    """What systemd could not keep running."""
    lines = said("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full")[1].splitlines()
    return [line.split()[0] for line in lines if line.split()]


def release(root, python):
    """What is wrong with the release that is served, or "" for nothing; and whether there is one."""
    folder = os.path.join(root, "current")
    if not os.path.exists(os.path.join(folder, "release.json")):
        return {"there": False, "wrong": ""}
    code, text = said(python, "-B", "-m", "device", "verify", folder, cwd=folder)
    return {"there": True, "wrong": "" if code == 0 else text[-500:]}


root, python = sys.argv[1:]
json.dump(
    {
        "failed_units": failed_units(),
        "runner": said("systemctl", "is-active", "toolkit-runner.service")[1],
        "release": release(root, python),
        "free_bytes": shutil.disk_usage(root if os.path.isdir(root) else "/").free,
    },
    sys.stdout,
)
