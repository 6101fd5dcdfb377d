"""SSH failures as problems: what happened, on which device, and what to do."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError, Problem

_KEY_VARIABLE = "ansible_ssh_private_key_file"


@contextmanager
def translate_errors(device: Device) -> Iterator[None]:
    """Turn what paramiko and sockets raise in the block into a FleetError with the device and a remedy."""
    import paramiko

    try:
        yield
    except FleetError:
        raise
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise _fleet_error(to_problem(device, error)) from error
    except Exception as error:
        if not type(error).__module__.startswith(("paramiko", "fabric", "invoke", "cryptography", "nacl")):
            raise
        raise _fleet_error(to_problem(device, error)) from error  # such as an unknown kind of key of an agent


def _fleet_error(problem: Problem) -> FleetError:
    return FleetError(problem.what, where=problem.where, remedy=problem.remedy)


def to_problem(device: Device, error: Exception) -> Problem:
    """Return the problem behind an exception of a socket or of paramiko."""
    import paramiko

    what, remedy = _file_problem(error) or _network_problem(device, error) or ("", "")
    text = str(error)
    if isinstance(error, paramiko.BadHostKeyException):
        shown = getattr(error, "key", None)
        what, remedy = _wrong_host_key(device, f", which shows {shown.fingerprint}" if shown is not None else "")
    elif isinstance(error, paramiko.AuthenticationException) or "No existing session" in text:
        what, remedy = _refused_login(device, text)
    elif "not found in known_hosts" in text:
        what, remedy = _unknown_host_key(device)
    elif isinstance(error, paramiko.ChannelException):
        what, remedy = _refused_channel(error)
    return Problem(what or f"SSH failed: {text}", device.name, remedy or f"try it by hand: {_by_hand(device)}")


def openssh_can_help(device: Device, error: BaseException | None) -> str:
    """Return why the program `ssh` may reach a device that fabric could not; "" if it cannot either."""
    import paramiko

    if isinstance(error, paramiko.BadHostKeyException) or error is None:
        return ""
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return "the server's algorithms are unknown to paramiko"
    if isinstance(error, paramiko.PasswordRequiredException):
        return "its key is encrypted"
    if isinstance(error, paramiko.AuthenticationException):
        return "the login needs what paramiko does not offer" if device.password is None else ""
    if isinstance(error, OSError | EOFError) or any(part in str(error) for part in ("known_hosts", "banner", "active")):
        return ""
    return f"paramiko failed: {error}"


def openssh_error(device: Device, output: str) -> FleetError:
    """Return the error behind what the program `ssh` printed."""
    what, remedy = _openssh_problem(device, output)
    if not what:
        lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(("@", "**"))]
        what = f"SSH failed: {'; '.join(lines[-2:]) or 'no connection in time'}"
    return FleetError(what, where=device.name, remedy=remedy or f"try it by hand: {_by_hand(device)}")


def _openssh_problem(device: Device, output: str) -> tuple[str, str]:
    place = f"{device.host} port {device.port}"
    if "REVOKED" in output or "revoked" in output:
        return f"the host key of {place} is revoked in known_hosts", "install the device anew, and pin its new key"
    if "IDENTIFICATION HAS CHANGED" in output:
        return _wrong_host_key(device, "")
    if "host key is known for" in output:
        return _unknown_host_key(device)
    if "Too many authentication failures" in output or "Permission denied" in output:
        return _refused_login(device, output)
    if "Could not resolve" in output:
        return _unresolved(device)
    if "no matching" in output or "Unable to negotiate" in output:
        offer = output[output.find("Unable") :].strip().splitlines()[0]
        return f"{place} and this machine share no algorithm: {offer}", "update OpenSSH on the older of the two"
    if "Connection refused" in output:
        return _refused_connection(device)
    if "timed out" in output or "No route to host" in output:
        return _silent(device)
    return "", ""


def session_error(device: Device) -> FleetError:
    """Return the error of a server that opens no session."""
    what = "the SSH server refuses further sessions"
    return FleetError(what, where=device.name, remedy="raise MaxSessions in the device's sshd_config to 2 or more")


def forwarding_error(device: Device) -> FleetError:
    """Return the error of a server that forwards no port."""
    what = "the SSH server forwards no ports, so the app cannot be reached through it"
    remedy = "allow it in the device's sshd_config: AllowTcpForwarding local, without DisableForwarding"
    return FleetError(what, where=device.name, remedy=remedy)


def _refused_channel(error: Exception) -> tuple[str, str]:
    if getattr(error, "code", None) == 1:  # administratively prohibited
        return "the SSH server forwards no ports", "allow it in the device's sshd_config: AllowTcpForwarding local"
    return f"the SSH server opened no channel: {error}", ""


def _file_problem(error: Exception) -> tuple[str, str] | None:
    """A key or known_hosts file of this machine."""
    if isinstance(error, FileNotFoundError | PermissionError) and error.filename:
        remedy = f"check {_KEY_VARIABLE} and toolkit_known_hosts in the inventory"
        return f"cannot read {error.filename}: {error.strerror}", remedy
    return None


def _network_problem(device: Device, error: Exception) -> tuple[str, str] | None:
    """The network between here and the device."""
    place = f"{device.host} port {device.port}"
    causes = _causes(error)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return _unresolved(device)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return _refused_connection(device)
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return _silent(device)
    if any(isinstance(cause, EOFError | ConnectionResetError) for cause in causes):
        return f"{place} hung up", "see its log (journalctl -u ssh); then run the command again"
    if any(isinstance(cause, OSError) for cause in causes):
        return f"{place} cannot be reached: {error}", "check the network between here and the device"
    if "session not active" in str(error):
        return "the connection was lost", "run the command again; it continues where it stopped"
    if "banner" in str(error):
        return f"no SSH server answers at {place}", "check ansible_port"
    return None


def _causes(error: Exception) -> list[BaseException]:
    """Return the error and, if several addresses were tried, the error of each."""
    errors = getattr(error, "errors", None)
    return [error, *errors.values()] if isinstance(errors, dict) else [error]


def _unresolved(device: Device) -> tuple[str, str]:
    remedy = "check ansible_host in the inventory, or the network's DNS"
    return f"the name {device.host} cannot be resolved", remedy + _own_config(device)


def _own_config(device: Device) -> str:
    """Return advice for a device that the user's own configuration of ssh may describe."""
    own = os.path.expanduser("~/.ssh/config")  # noqa: PTH111 - HOME may be unset
    if device.variables.get("toolkit_ssh_config") or not os.path.exists(own):  # noqa: PTH110
        return ""
    return "; if ~/.ssh/config defines how to reach it, set toolkit_ssh_config: true"


def _refused_connection(device: Device) -> tuple[str, str]:
    start = "start it: toolkit fleet up" if "local_fleet" in device.groups else "check that sshd runs there"
    return f"{device.host} port {device.port} refuses connections", f"{start}; check ansible_port{_own_config(device)}"


def _silent(device: Device) -> tuple[str, str]:
    remedy = "check that the device is switched on and on the network, and ansible_host"
    return f"{device.host} port {device.port} does not answer", remedy + _own_config(device)


def _wrong_host_key(device: Device, shows: str) -> tuple[str, str]:
    what = f"the host key of {device.host} port {device.port} is not the pinned one: another machine answers{shows}"
    forget = f"ssh-keygen -f {_known_hosts(device)} -R '{known_hosts_name(device)}'"
    return what, f"if the device was installed anew, check its key there, then {forget} and pin the new one"


def _unknown_host_key(device: Device) -> tuple[str, str]:
    return (
        f"no host key is pinned for {device.host} port {device.port}, and unknown hosts are refused",
        f"check the key at the device, then: ssh-keyscan -p {device.port} {device.host} >> {_known_hosts(device)}",
    )


def _refused_login(device: Device, text: str) -> tuple[str, str]:
    user = device.user or "the current user"
    if device.key_file is None and ("Too many" in text or "No existing session" in text):
        return f"login as {user} was refused: the agent offers too many keys", f"name one key: {_KEY_VARIABLE}"
    credential = "the inventory's password" if device.password else device.key_file or "the agent's keys"
    remedy = f"check ansible_user and {_KEY_VARIABLE}, and ~/.ssh/authorized_keys on the device"
    if device.password:
        remedy = "check ansible_user and ansible_password, and PasswordAuthentication in the device's sshd_config"
    return f"login as {user} with {credential} was refused", remedy + _own_config(device)


def _known_hosts(device: Device) -> str:
    return device.known_hosts or "~/.ssh/known_hosts"


def known_hosts_name(device: Device) -> str:
    """Return the device's name in known_hosts."""
    return device.host if device.port == 22 else f"[{device.host}]:{device.port}"


def _by_hand(device: Device) -> str:
    user = f"{device.user}@" if device.user else ""
    key = f" -i {device.key_file}" if device.key_file else ""
    return f"ssh -p {device.port}{key} {user}{device.host}"
