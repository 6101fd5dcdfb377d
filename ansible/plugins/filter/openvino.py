"""Filters that answer from toolkit/compat.toml and the lock files which OpenVINO a device gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ansible.errors import AnsibleFilterError

REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements"
Facts = Mapping[str, str]
Version = tuple[int, ...]


def _version(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def openvino_generations(device: Facts, accelerator: str = "CPU") -> list[str]:
    """Names of the OpenVINO generations that run on a device, newest first; `device` has machine, python and glibc."""
    try:
        from toolkit.compat import known
    except ImportError as error:
        message = f"{error}; run the ansible-playbook of the project's own environment: .venv/bin/ansible-playbook"
        raise AnsibleFilterError(message) from error
    machine, python, glibc = device["machine"], _version(device["python"])[:2], _version(device["glibc"])
    return [
        generation.name
        for generation in reversed(known().generations.values())
        if accelerator in generation.accelerators.get(machine, ())
        and _version(generation.python[0]) <= python <= _version(generation.python[1])
        and machine in generation.glibc
        and _version(generation.glibc[machine]) <= glibc
    ]


def requirements_file(generation: str) -> str:
    """Name of the lock file of a generation: the newest one's is that of pyproject.toml's extra `device`."""
    if "archive" in generation:
        return "device-archive.txt"
    paths = (f"device-{generation}.txt", f"legacy/{generation}.txt")
    return next((path for path in paths if (REQUIREMENTS / path).exists()), "device.txt")


def missing_wheels(folder: str, device: Facts, accelerator: str = "CPU") -> list[str]:
    """Requirements of a device for which a folder on the controller has no wheel that fits its Python and glibc."""
    from packaging.tags import Tag, cpython_tags

    version = _version(device["python"])[:2]
    platforms = list(_platforms(device["machine"], device["glibc"]))
    tags = set(cpython_tags(version, platforms=platforms)) | {Tag("py3", "none", "any")}
    tags |= {Tag("py3", "none", platform) for platform in platforms} | {Tag("py2.py3", "none", "any")}
    wheels = {name for path in Path(folder).expanduser().glob("*.whl") for name in _fitting(path.name, tags)}
    return [name for name in _required(openvino_generations(device, accelerator)[0], device) if name not in wheels]


def _platforms(machine: str, glibc: str) -> Iterator[str]:
    for minor in range(_version(glibc)[1], 4, -1):
        yield f"manylinux_2_{minor}_{machine}"
    yield f"manylinux2014_{machine}"


def _fitting(wheel: str, tags: set[object]) -> Iterator[str]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, offered = parse_wheel_filename(wheel)
    except InvalidWheelFilename:
        return
    if offered & tags:
        yield f"{name}=={version}"


def _required(generation: str, device: Facts) -> Iterator[str]:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    version = ".".join(device["python"].split(".")[:2])
    environment = {"python_version": version, "python_full_version": device["python"], "sys_platform": "linux"}
    environment |= {"platform_machine": device["machine"], "platform_system": "Linux", "os_name": "posix"}
    text = (REQUIREMENTS / requirements_file(generation)).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        specification = line.partition("#")[0].partition("--hash")[0].strip()
        if specification:
            one = Requirement(specification)
            if one.marker is None or one.marker.evaluate(environment):
                yield f"{canonicalize_name(one.name)}{one.specifier}"


class FilterModule:
    """The filters by name, for Ansible."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters."""
        return {
            "openvino_generations": openvino_generations,
            "requirements_file": requirements_file,
            "missing_wheels": missing_wheels,
        }
