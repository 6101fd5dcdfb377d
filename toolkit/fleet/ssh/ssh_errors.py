"""Why a device could not be reached, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError, Problem


@contextmanager
def translate_errors(device: Device) -> Iterator[None]:
    """Turn what SSH raises in the block into a FleetError that names the device and the remedy."""
    import paramiko

    try:
        yield
    except (OSError, EOFError, paramiko.SSHException) as error:
        problem = to_problem(device, error)
        raise FleetError(problem.what, where=problem.where, remedy=problem.remedy) from error


def to_problem(device: Device, error: Exception) -> Problem:
    """The problem behind an exception of socket or paramiko."""
    import paramiko

    what, remedy = _file_problem(error) or _network_problem(device, error) or ("", "")
    if isinstance(error, paramiko.BadHostKeyException):
        what, remedy = _wrong_host_key(device, error)
    elif isinstance(error, paramiko.AuthenticationException):
        what, remedy = _refused_login(device)
    elif "not found in known_hosts" in str(error):
        what, remedy = _unknown_host_key(device)
    return Problem(what or f"SSH failed: {error}", device.name, remedy or f"try it by hand: {_by_hand(device)}")


def _file_problem(error: Exception) -> tuple[str, str] | None:
    """The key or the known_hosts file of this machine."""
    if isinstance(error, FileNotFoundError | PermissionError) and error.filename:
        return (
            f"cannot read {error.filename}: {error.strerror}",
            "check ansible_ssh_private_key_file and toolkit_known_hosts in the inventory",
        )
    return None


def _network_problem(device: Device, error: Exception) -> tuple[str, str] | None:
    """The way to the device."""
    import socket

    place = f"{device.host} port {device.port}"
    causes = _causes(error)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return f"the name {device.host} cannot be resolved", "check ansible_host in the inventory, or the network's DNS"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        start = "start it: toolkit fleet up" if "embedded" in device.groups else "check that sshd runs there"
        return f"{place} refuses connections", f"{start}; check ansible_port"
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return f"{place} does not answer", "check that the device is switched on and on the network, and ansible_host"
    if any(isinstance(cause, EOFError | ConnectionResetError) for cause in causes):
        return f"{place} hung up", "see its log (journalctl -u ssh); then run the command again"
    if any(isinstance(cause, OSError) for cause in causes):
        return f"{place} cannot be reached: {error}", "check the network between here and the device"
    if "session not active" in str(error):
        return "the connection was lost", "run the command again; what was sent is kept"
    if "banner" in str(error):
        return f"no SSH server answers at {place}", "check ansible_port"
    return None


def _causes(error: Exception) -> list[BaseException]:
    """The error and, where several addresses were tried, what each of them said."""
    tried = getattr(error, "errors", None)
    return [error, *tried.values()] if isinstance(tried, dict) else [error]


def _wrong_host_key(device: Device, error: Exception) -> tuple[str, str]:
    shown = getattr(error, "key", None)
    shows = f", which shows {shown.fingerprint}" if shown is not None else ""
    what = f"the host key of {device.host} port {device.port} is not the pinned one: another machine answers{shows}"
    forget = f"ssh-keygen -f {_known_hosts(device)} -R '{known_hosts_name(device)}'"
    return what, f"if the device was installed anew, check its key there, then {forget} and pin the new one"


def _unknown_host_key(device: Device) -> tuple[str, str]:
    return (
        f"no host key is pinned for {device.host} port {device.port}, and unknown hosts are refused",
        f"check the key at the device, then: ssh-keyscan -p {device.port} {device.host} >> {_known_hosts(device)}",
    )


def _refused_login(device: Device) -> tuple[str, str]:
    key = device.key_file or "the agent's keys"
    return (
        f"login as {device.user or 'the current user'} with {key} was refused",
        "check ansible_user and ansible_ssh_private_key_file, and ~/.ssh/authorized_keys on the device",
    )


def _known_hosts(device: Device) -> str:
    return device.known_hosts or "~/.ssh/known_hosts"


def known_hosts_name(device: Device) -> str:
    """How known_hosts names the device."""
    return device.host if device.port == 22 else f"[{device.host}]:{device.port}"


def _by_hand(device: Device) -> str:
    user = f"{device.user}@" if device.user else ""
    key = f" -i {device.key_file}" if device.key_file else ""
    return f"ssh -p {device.port}{key} {user}{device.host}"
