"""A root that looks like a bare Debian to the installer, and in which nothing is run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgehemo.errors import DeviceError
from edgehemo_firmware import layout
from edgehemo_firmware.target import Target

# What an ELF program begins with; its machine stands in bytes 18 and 19.
_ELF = b"\x7fELF" + b"\0" * 14
MACHINES = {"arm64": 183, "amd64": 62, "armhf": 40}
PACKAGES = ("python3", "python3-venv", "fonts-dejavu-core", "nftables", "udev", "cups", "chromium",
            "cage", "xwayland", "libpam-systemd", "overlayroot", "busybox",
            "python3-picamera2")  # fmt: skip


@dataclass(frozen=True, slots=True)
class BareTarget(Target):
    """Runs nothing: users are made as systemd-sysusers would, with the numbers of who runs the
    test, so that nobody need be root. ran: the commands that were asked for.
    """

    ran: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, command: Sequence[str], *, said: str = "") -> str:
        self.ran.append(tuple(command))
        if command[0] == "systemd-sysusers":
            self._make_users()
            return ""
        raise DeviceError(f"{command[0]}: nothing is run here")

    def _make_users(self) -> None:
        text = self.text("/etc/sysusers.d/edgehemo.conf") or ""
        members: dict[str, list[str]] = {}
        for line in text.splitlines():
            if line.startswith("m "):
                _, user, group = line.split()
                members.setdefault(group, []).append(user)
        users = [line.split()[1] for line in text.splitlines() if line.startswith("u ")]
        with (self.root / "etc/passwd").open("a") as passwd:
            passwd.writelines(f"{user}:x:{os.getuid()}:{os.getgid()}::/:/\n" for user in users)
        with (self.root / "etc/group").open("a") as groups:
            groups.writelines(f"{user}:x:{os.getgid()}:\n" for user in users)
            groups.writelines(f"{name}:x:44:{','.join(who)}\n" for name, who in members.items())


def bare_root(
    root: Path,
    *,
    packages: Sequence[str] = PACKAGES,
    architecture: str = "arm64",
    release: str = 'ID=debian\nVERSION_ID="13"\n',
    python: str = "3.13",
    config_txt: str | None = None,
) -> BareTarget:
    """Make one."""
    files = {
        "etc/os-release": release,
        "etc/passwd": f"root:x:{os.getuid()}:{os.getgid()}::/root:/bin/sh\n",
        "etc/group": f"root:x:{os.getgid()}:\n",
        "var/lib/dpkg/status": "".join(
            f"Package: {name}\nStatus: install ok installed\nVersion: 1\n\n" for name in packages
        ),
        f"usr/bin/python{python}": "",
    }
    if config_txt is not None:
        files["boot/firmware/config.txt"] = config_txt
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "usr/bin/python3").symlink_to(f"python{python}")
    machine = MACHINES[architecture].to_bytes(2, "little")
    (root / "usr/bin/dpkg").write_bytes(_ELF + machine)
    (root / "bin").symlink_to("usr/bin")
    return BareTarget(root.resolve())


def everything_in(root: Path) -> dict[str, str]:
    """Path -> what it is: where a link leads, a file's mode and content, a folder's mode."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        status = path.lstat()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = f"folder {status.st_mode & 0o7777:o}"
        else:
            found[name] = f"{status.st_mode & 0o7777:o} {status.st_mtime_ns} {path.read_bytes()!r}"
    return found


def settings_of(target: Target) -> str:
    """The text of the device's settings."""
    text = target.text(layout.CONFIGURATION)
    assert text is not None
    return text
