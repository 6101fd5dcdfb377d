"""Write metrics of a device's runner to a text file that Prometheus' node exporter reads. Python 3.6 or later.

toolkit-metrics.py ROOT OUTPUT
"""

import json
import os
import subprocess
import sys

PROPERTIES = ("ActiveState", "NRestarts", "MemoryCurrent")


def unit_properties(unit):
    """Properties of a systemd unit."""
    command = ["systemctl", "show", unit, "--property=" + ",".join(PROPERTIES)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def throttled():
    """The firmware's throttling flags; None where there is no such firmware."""
    try:
        output = subprocess.check_output(["vcgencmd", "get_throttled"], stderr=subprocess.DEVNULL)
        return int(output.decode().strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def count_sticks(sys_usb="/sys/bus/usb/devices"):
    """How many Neural Compute Sticks are on the USB, by product id: boot ROM (2485) or running firmware (f63b)."""
    counts = {"2485": 0, "f63b": 0}
    for name in os.listdir(sys_usb) if os.path.isdir(sys_usb) else ():
        ids = [first_line(os.path.join(sys_usb, name, part)) for part in ("idVendor", "idProduct")]
        if ids[0] == "03e7" and ids[1] in counts:
            counts[ids[1]] += 1
    return counts


def first_line(path):
    """First line of a file, or "" if it cannot be read."""
    try:
        with open(path) as stream:
            return stream.readline().strip()
    except OSError:
        return ""


def current_release(root):
    """Digests of the current release and its bundle, and the time of the switch; None without a release."""
    link = os.path.join(root, "current")
    try:
        with open(os.path.join(link, "release.json")) as stream:
            bundle = json.load(stream).get("bundle", "")
        return os.path.basename(os.readlink(link)), bundle, os.lstat(link).st_mtime
    except (OSError, ValueError):
        return None


def metrics(root):
    """Yield name, type, help text and samples (by labels) of each metric."""
    unit = unit_properties("toolkit-runner.service")
    yield "up", "gauge", "Whether the runner service is active.", {"": int(unit["ActiveState"] == "active")}
    yield "restarts_total", "counter", "Restarts of the runner by systemd.", {"": int(unit["NRestarts"] or 0)}
    if unit["MemoryCurrent"].isdigit() and int(unit["MemoryCurrent"]) < 2**63:
        yield "memory_bytes", "gauge", "Memory of the runner's processes.", {"": int(unit["MemoryCurrent"])}
    release = current_release(root)
    if release is not None:
        labels = 'release="%s",bundle="%s"' % release[:2]
        yield "release_info", "gauge", "The current release.", {labels: 1}
        yield "release_switched_seconds", "gauge", "Unix time of the last switch.", {"": round(release[2], 3)}
    flags = throttled()
    if flags is not None:
        yield "throttled", "gauge", "The firmware's get_throttled flags; 0 is healthy.", {"": flags}
    sticks = {'product="%s"' % product: count for product, count in sorted(count_sticks().items())}
    yield "sticks", "gauge", "Neural Compute Sticks on the USB.", sticks


def render(root):
    """Yield the lines of the file."""
    for name, kind, description, samples in metrics(root):
        yield "# HELP toolkit_%s %s\n# TYPE toolkit_%s %s\n" % (name, description, name, kind)
        for labels, value in samples.items():
            yield "toolkit_%s%s %s\n" % (name, "{%s}" % labels if labels else "", value)


def main(root, output):
    """Write a temporary file and rename it: the exporter must only read complete files."""
    part = output + ".part"
    with open(part, "w") as stream:
        stream.writelines(render(root))
    os.chmod(part, 0o644)
    os.rename(part, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
