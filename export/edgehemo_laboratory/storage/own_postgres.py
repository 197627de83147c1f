"""A PostgreSQL of one's own in a folder, run by its programs as an ordinary user: for trying out
and for tests. It listens at a socket in the folder and at no address.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgehemo_laboratory.errors import StorageError

# Where Debian puts the programs, a folder a version.
_DEBIAN = Path("/usr/lib/postgresql")
_NEEDED = ("initdb", "postgres")
# It refuses to run as root; who it is run as there, the first that exists.
_ORDINARY = ("postgres", "nobody")
_STARTS_WITHIN_S = 60.0
_STOPS_WITHIN_S = 30.0


def programs() -> Path | None:
    """The folder with PostgreSQL's programs, of its newest version; None where it is not here."""
    found = sorted(
        (path / "bin" for path in _DEBIAN.glob("*") if path.name.isdecimal()),
        key=lambda path: int(path.parent.name),
    )
    on_path = shutil.which("postgres")
    folders = [*reversed(found), *([] if on_path is None else [Path(on_path).resolve().parent])]
    for folder in folders:
        if all((folder / name).exists() for name in _NEEDED):
            return folder
    return None


@dataclass
class OwnPostgres:
    """A cluster in a folder. settings: of ``postgres``, over those that it has."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _sockets: Path | None = None

    @property
    def url(self) -> str:
        """As `open_storage` takes it."""
        assert self._sockets is not None, "it was not started"
        return f"postgresql://edgehemo@/postgres?host={quote(str(self._sockets), safe='')}"

    @property
    def _data(self) -> Path:
        # Absolute: its programs run elsewhere.
        return self.folder.resolve() / "postgresql"

    def start(self) -> None:
        """Make the cluster where there is none, and run it. StorageError where that fails."""
        place = programs()
        if place is None:
            raise StorageError("PostgreSQL is not installed: apt-get install postgresql")
        self._make_folders()
        try:
            self._start(place)
        except BaseException:
            self.kill()
            self._gone()
            raise

    def _start(self, place: Path) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._run([
                str(place / "initdb"), "--pgdata", str(self._data), "--username", "edgehemo",
                "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-instructions",
            ])  # fmt: skip
        assert self._sockets is not None
        options = {
            "listen_addresses": "", "unix_socket_directories": str(self._sockets),
            "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", **self.settings,
        }  # fmt: skip
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        log = (self._data / "server.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [str(place / "postgres"), "-D", str(self._data), *given],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                **_as_ordinary(),
            )  # fmt: skip
        self._wait()

    def _make_folders(self) -> None:
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._sockets is None:
            # The path of a socket has 107 bytes at most: that of the cluster may be longer.
            self._sockets = Path(tempfile.mkdtemp(prefix="edgehemo-pg-"))
        owner = _ordinary()
        if owner is not None:
            for folder in (self._data, self._sockets):
                os.chown(folder, owner.pw_uid, owner.pw_gid)
            _let_through(self._data.parent, owner.pw_uid)

    def _wait(self) -> None:
        assert self.process is not None and self._sockets is not None
        until = time.monotonic() + _STARTS_WITHIN_S
        state = self._data / "postmaster.pid"
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise StorageError(f"PostgreSQL did not start: {self._last_words()}")
            with contextlib.suppress(OSError, IndexError):
                lines = state.read_text("utf-8", "replace").splitlines()
                # The eighth line is the state; the first whose it is, not that of a killed one.
                if int(lines[0]) == self.process.pid and lines[7].strip() == "ready":
                    return
            time.sleep(0.05)
        raise StorageError(f"PostgreSQL did not start in time: {self._last_words()}")

    def _last_words(self) -> str:
        try:
            lines = (self._data / "server.log").read_text("utf-8", "replace").splitlines()
        except OSError:
            return "it left no log"
        return lines[-1][:200] if lines else "it said nothing"

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **_as_ordinary())
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise StorageError(f"PostgreSQL was not set up: {said[-1] if said else 'no words'}")

    def stop(self) -> None:
        """End it in order; what is under way is rolled back."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(_STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._gone()

    def kill(self) -> None:
        """As a power cut ends it: all its processes at once, nothing tidied up."""
        if self.process is not None:
            own = self.process.pid
            with contextlib.suppress(ProcessLookupError):
                # It makes no further process while the others are ended.
                os.kill(own, signal.SIGSTOP)
            children = _children(own)
            for each in (*children, own):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            self.process.wait()
            # One that waits for the disk ends only then; before, its memory is in use.
            until = time.monotonic() + _STOPS_WITHIN_S
            while any(_lives(each) for each in children) and time.monotonic() < until:
                time.sleep(0.02)
        self.process = None

    def _gone(self) -> None:
        self.process = None
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None


@contextlib.contextmanager
def own_postgres(folder: Path, **settings: str) -> Iterator[OwnPostgres]:
    """A cluster that runs for as long as the context lasts."""
    cluster = OwnPostgres(folder, settings)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def _ordinary() -> pwd.struct_passwd | None:
    """Who it is run as; None for whoever runs this."""
    if os.geteuid() != 0:
        return None
    for name in _ORDINARY:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise StorageError("PostgreSQL does not run as root, and there is no user to run it as")


def _as_ordinary() -> dict[str, Any]:
    owner = _ordinary()
    if owner is None:
        return {}
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _let_through(folder: Path, user: int) -> None:
    """Let another user pass through folders of ours, and read nothing in them."""
    for each in (folder, *folder.parents):
        status = each.stat()
        if status.st_uid in (user, os.geteuid()) and not status.st_mode & 0o001:
            if status.st_uid == user:
                continue
            each.chmod(status.st_mode | 0o001)


def _lives(process: int) -> bool:
    """Whether a process has memory yet; one that ended and was not asked for has none."""
    try:
        after = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2]
    except OSError:
        return False
    return after.split()[0] not in ("Z", "X")


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            after = path.read_text("utf-8", "replace").rpartition(")")[2].split()
            if int(after[1]) == parent:
                found.append(int(path.parent.name))
    return found
