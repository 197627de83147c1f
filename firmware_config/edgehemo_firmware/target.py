"""The system that is installed into: the one that runs, or a mounted root of another.

Nothing outside of the root is read or written, wherever its links lead: an absolute link inside is
followed from the root.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import DeviceError
from edgehemo.files.atomic import flush_folder, write_bytes_atomically

_MAX_LINKS = 40
# Of this machine, which mean nothing inside another root.
_NOT_PASSED = ("VIRTUAL_ENV", "PIP_FIND_LINKS", "PYTHONPATH", "PYTHONHOME", "EDGEHEMO_DEVICE")
_COMMAND_TIMEOUT_S = 3600


# There where systemd runs the system.
MANAGER_FOLDER = "/run/systemd/system"


@dataclass(frozen=True, slots=True)
class Target:
    """root: ``/`` for the system that runs."""

    root: Path

    @property
    def running(self) -> bool:
        """Whether it is the system that runs."""
        return self.root == Path("/")

    @property
    def managed(self) -> bool:
        """Whether its service manager runs: not in a container, nor in a chroot."""
        return self.running and self.is_folder(MANAGER_FOLDER)

    def place(self, path: str, *, last: bool = False) -> Path:
        """Where an absolute path of the target lies on this machine. last: follow a link that the
        path itself is, not only those on the way.
        """
        if self.running:
            return Path(os.path.realpath(path)) if last else _parent_followed(path)
        parts = [part for part in path.split("/") if part]
        done: list[str] = []
        links = 0
        while parts:
            part = parts.pop(0)
            if part == ".":
                continue
            if part == "..":
                done = done[:-1]
                continue
            here = self.root.joinpath(*done, part)
            if here.is_symlink() and (parts or last):
                links += 1
                if links > _MAX_LINKS:
                    raise DeviceError(f"{path}: leads round in links below {self.root}")
                leads = str(here.readlink())
                if leads.startswith("/"):
                    done = []
                parts = [each for each in leads.split("/") if each] + parts
                continue
            done.append(part)
        return self.root.joinpath(*done)

    # -- looking ----------------------------------------------------------------------------------

    def read(self, path: str) -> bytes | None:
        """A file's content; None where there is none, or it is a link, a folder or a device."""
        here = self.place(path)
        try:
            if not stat.S_ISREG(here.lstat().st_mode):
                return None
            return here.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def text(self, path: str) -> str | None:
        """The same as text; links are followed inside the root."""
        try:
            return self.place(path, last=True).read_text("utf-8", "replace")
        except OSError:
            return None

    def link(self, path: str) -> str | None:
        """Where a link leads; None where the path is none."""
        here = self.place(path)
        return str(here.readlink()) if here.is_symlink() else None

    def exists(self, path: str) -> bool:
        """Whether something stands there; a link that leads nowhere is something."""
        return os.path.lexists(self.place(path))

    def is_folder(self, path: str) -> bool:
        return self.place(path, last=True).is_dir()

    def status(self, path: str) -> os.stat_result | None:
        try:
            return self.place(path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def digest(self, path: str) -> str | None:
        """SHA-256 of a file, or of what a link says; None where there is neither."""
        led = self.link(path)
        data = led.encode() if led is not None else self.read(path)
        return None if data is None else sha256(data)

    def number_of(self, name: str, kind: str) -> int | None:
        """Number of a user or group of the target; None where it has none of the name. kind:
        ``passwd`` or ``group``.
        """
        if self.running:
            try:
                return pwd.getpwnam(name).pw_uid if kind == "passwd" else grp.getgrnam(name).gr_gid
            except KeyError:
                return None
        for line in (self.text(f"/etc/{kind}") or "").splitlines():
            parts = line.split(":")
            if parts[0] == name and len(parts) > 2 and parts[2].isdigit():
                return int(parts[2])
        return None

    # -- changing ---------------------------------------------------------------------------------

    def write(self, path: str, data: bytes, mode: int, owner: str = "root") -> None:
        """A file in the place of whatever file or link stood there."""
        here = self.place(path)
        here.parent.mkdir(parents=True, exist_ok=True)
        if here.is_symlink():
            here.unlink()
        write_bytes_atomically(here, data)
        here.chmod(mode)
        self.give(path, owner, owner)

    def make_link(self, path: str, leads: str) -> None:
        """A link, put into its place in one step."""
        here = self.place(path)
        here.parent.mkdir(parents=True, exist_ok=True)
        new = here.with_name(f".edgehemo-{os.getpid()}.part")
        new.unlink(missing_ok=True)
        new.symlink_to(leads)
        new.replace(here)
        flush_folder(here.parent)

    def make_folder(self, path: str, mode: int, owner: str, group: str) -> None:
        here = self.place(path)
        here.mkdir(parents=True, exist_ok=True)
        self.give(path, owner, group)
        here.chmod(mode)

    def give(self, path: str, owner: str, group: str) -> None:
        """Let it belong to a user and a group of the target."""
        user, numbered = self.number_of(owner, "passwd"), self.number_of(group, "group")
        if user is None or numbered is None:
            raise DeviceError(f"{path}: the system has no user or group {owner}:{group}")
        os.chown(self.place(path), user, numbered, follow_symlinks=False)

    def remove(self, path: str) -> None:
        """A file or link; nothing where it is gone already."""
        self.place(path).unlink(missing_ok=True)

    def remove_tree(self, path: str) -> None:
        """A folder with all that is in it; links in it are not followed."""
        here = self.place(path)
        if here.is_dir() and not here.is_symlink():
            shutil.rmtree(here)

    def remove_empty(self, path: str) -> bool:
        """A folder that holds nothing; whether it is gone."""
        try:
            self.place(path).rmdir()
        except OSError:
            return False
        return True

    # -- running ----------------------------------------------------------------------------------

    def run(self, command: Sequence[str], *, said: str = "") -> str:
        """A program of the target, in its root; what it printed. DeviceError where it fails, with
        its last words. said: what it was for.
        """
        whole = list(command) if self.running else ["chroot", str(self.root), *command]
        environment = {k: v for k, v in os.environ.items() if k not in _NOT_PASSED}
        environment |= {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        try:
            done = subprocess.run(
                whole,
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                cwd="/",
                timeout=_COMMAND_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(
                f"{said or command[0]}: {command[0]} could not run ({error})"
            ) from None
        if done.returncode:
            words = (done.stderr.strip() or done.stdout.strip()).splitlines()
            last = " ".join(words[-2:]) or f"exit code {done.returncode}"
            raise DeviceError(f"{said or ' '.join(command)}: {last}")
        return done.stdout

    def has_program(self, name: str) -> bool:
        """Whether the target has a program of this name where programs of the system lie."""
        return any(
            self.exists(f"{folder}/{name}") for folder in ("/usr/bin", "/usr/sbin", "/bin", "/sbin")
        )


def sha256(data: bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(data).hexdigest()


def _parent_followed(path: str) -> Path:
    folder, name = os.path.split(path.rstrip("/"))
    return Path(os.path.realpath(folder)) / name if name else Path("/")
