"""What toolkit/compat.toml says about a device, as a filter for roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible.errors import AnsibleFilterError

Version = tuple[int, ...]


def _version(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def openvino_eras(device: Mapping[str, str], accelerator: str = "CPU") -> list[str]:
    """The names of the eras that serve a device, newest first; `device` has machine, python and glibc."""
    try:
        from toolkit.compat import known
    except ImportError as error:
        message = f"{error}; run the ansible-playbook of the project's own environment: .venv/bin/ansible-playbook"
        raise AnsibleFilterError(message) from error
    machine, python, glibc = device["machine"], _version(device["python"])[:2], _version(device["glibc"])
    return [
        era.name
        for era in reversed(known().eras.values())
        if accelerator in era.accelerators.get(machine, ())
        and _version(era.python[0]) <= python <= _version(era.python[1])
        and machine in era.glibc
        and _version(era.glibc[machine]) <= glibc
    ]


class FilterModule:
    """How Ansible finds them."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Filters by name."""
        return {"openvino_eras": openvino_eras}
