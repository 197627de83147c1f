"""The kiosk stands still while versions change under it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from edgehemo.errors import UpdateError

KIOSK = "edgehemo-kiosk.service"
# The manager of services runs the machine where this folder is.
_MANAGER = Path("/run/systemd/system")
_TIMEOUT_S = 120


@contextlib.contextmanager
def around_the_kiosk(root: Path) -> Iterator[None]:
    """Stop the kiosk of this machine for as long, and start it again whatever came of it.

    Nothing where it does not run, or of an image.
    """
    if root != Path("/") or not _MANAGER.is_dir() or shutil.which("systemctl") is None:
        yield
        return
    if _systemctl("is-active", "--quiet", KIOSK):
        yield
        return
    if _systemctl("stop", KIOSK):
        raise UpdateError(f"{KIOSK} could not be stopped; see `journalctl -u {KIOSK}`")
    try:
        yield
    finally:
        _systemctl("start", KIOSK)


def _systemctl(*arguments: str) -> int:
    try:
        return subprocess.run(
            ["systemctl", *arguments], capture_output=True, timeout=_TIMEOUT_S
        ).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpdateError(f"systemctl could not be asked ({error})") from None
