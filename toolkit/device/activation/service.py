"""The service that runs the current release, and how to restart it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..errors import DeviceError
from .child import Children

UNIT = "toolkit-runner.service"
RESTART_S = 120.0
_RESTART = r"""
as_root() { # with the password on stdin, if there is one
  if [ "$(id -u)" = 0 ]; then "$@"
  elif [ "$with_password" = yes ]; then sudo -S -p '' "$@"
  else sudo -n "$@"
  fi
}
cd "$1" || exit 1
with_password=$4
if [ -n "$3" ]; then eval "$3" && echo "by its own command"; exit; fi
systemctl cat "$2" >/dev/null 2>&1 || { echo none; exit 0; }
as_root systemctl restart "$2" && echo "$2"
"""


@dataclass(frozen=True)
class Service:
    """The systemd unit that runs the release, or a command that restarts it."""

    unit: str = UNIT
    command: str = ""
    """What to run instead of restarting the unit."""
    password: Optional[str] = None
    """For sudo; None if it asks for none."""

    def restart(self, root: Path, children: Children) -> Optional[str]:
        """Restart the service on the current release; return what was restarted, None if there is no service.

        Raises:
            DeviceError: it could not be restarted.
        """
        with_password = "no" if self.password is None else "yes"
        argv = ["/bin/sh", "-c", _RESTART, "sh", str(root), self.unit, self.command, with_password]
        password = b"" if self.password is None else f"{self.password}\n".encode()
        done = children.run(argv, timeout_s=RESTART_S, stdin=password)
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
            why = "; ".join(lines) or "it printed no reason"
            remedy = (
                f"let the account that deploys run systemctl restart {self.unit} by sudo without a password, or give "
                "its password: with -K (--ask-become-pass), or as ansible_become_password in the inventory"
            )
            raise DeviceError(f"restarting the service failed (exit code {done.returncode}): {why}", remedy=remedy)
        name = done.stdout.strip().rpartition("\n")[2]
        return None if name == "none" else name
