"""What the runner of a device is doing, as a text file that Prometheus' node exporter reads. Python 3.6 or later.

toolkit-metrics.py ROOT OUTPUT
"""

import json
import os
import subprocess
import sys

PROPERTIES = ("ActiveState", "NRestarts", "MemoryCurrent")


def shown(unit):
    """What systemd says of a unit."""
    words = ["systemctl", "show", unit, "--property=" + ",".join(PROPERTIES)]
    lines = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def throttled():
    """The firmware's word on power and heat; None where there is no such firmware."""
    try:
        said = subprocess.check_output(["vcgencmd", "get_throttled"], stderr=subprocess.DEVNULL)
        return int(said.decode().strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def sticks(sys_usb="/sys/bus/usb/devices"):
    """How many Neural Compute Sticks wait for their firmware, and how many run it."""
    found = {"2485": 0, "f63b": 0}
    for name in os.listdir(sys_usb) if os.path.isdir(sys_usb) else ():
        ids = [line(os.path.join(sys_usb, name, part)) for part in ("idVendor", "idProduct")]
        if ids[0] == "03e7" and ids[1] in found:
            found[ids[1]] += 1
    return found


def line(path):
    """A file's first line, or "" if there is none."""
    try:
        with open(path) as stream:
            return stream.readline().strip()
    except OSError:
        return ""


def release(root):
    """The digests of what is served: the release and its bundle; and when it was switched to."""
    link = os.path.join(root, "current")
    try:
        with open(os.path.join(link, "release.json")) as stream:
            bundle = json.load(stream).get("bundle", "")
        return os.path.basename(os.readlink(link)), bundle, os.lstat(link).st_mtime
    except (OSError, ValueError):
        return None


def metrics(root):
    """Every metric: name, kind, what it is, and its samples by their labels."""
    unit = shown("toolkit-runner.service")
    yield "up", "gauge", "Whether the runner's service is active.", {"": int(unit["ActiveState"] == "active")}
    yield "restarts_total", "counter", "How often systemd started it anew.", {"": int(unit["NRestarts"] or 0)}
    if unit["MemoryCurrent"].isdigit() and int(unit["MemoryCurrent"]) < 2**63:
        yield "memory_bytes", "gauge", "The memory of its processes.", {"": int(unit["MemoryCurrent"])}
    serves = release(root)
    if serves is not None:
        labels = 'release="%s",bundle="%s"' % serves[:2]
        yield "release_info", "gauge", "What is served.", {labels: 1}
        yield "release_switched_seconds", "gauge", "Since when, in seconds since 1970.", {"": round(serves[2], 3)}
    word = throttled()
    if word is not None:
        yield "throttled", "gauge", "The firmware's get_throttled; 0 is well.", {"": word}
    yield (
        "sticks",
        "gauge",
        "Neural Compute Sticks on the USB.",
        {'product="%s"' % product: count for product, count in sorted(sticks().items())},
    )


def written(root):
    """The whole file."""
    for name, kind, told, samples in metrics(root):
        yield "# HELP toolkit_%s %s\n# TYPE toolkit_%s %s\n" % (name, told, name, kind)
        for labels, value in samples.items():
            yield "toolkit_%s%s %s\n" % (name, "{%s}" % labels if labels else "", value)


def main(root, output):
    """Write beside it and rename: the exporter reads whole files only."""
    part = output + ".part"
    with open(part, "w") as stream:
        stream.writelines(written(root))
    os.chmod(part, 0o644)
    os.rename(part, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
