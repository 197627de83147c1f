"""An installed kiosk that boots under systemd in a container: read-only root, data on a partition.

The root is what `edgehemo_firmware.image.recipe` makes; the data partition is ext4 in a file, so a
plug can be pulled as a disk knows it: nothing more arrives, and what was not flushed is gone.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import DeviceError
from edgehemo.records.store import Store
from edgehemo.records.verifying import verify
from edgehemo_firmware import layout
from edgehemo_firmware.image.recipe import Recipe, make_root
from tests.lab import debian
from tests.support.kiosk_by_touch import add_all

SERVICE = "edgehemo-kiosk.service"
FAULT_SERVICE = "edgehemo-fault.service"
CONFIRM_SERVICE = "edgehemo-confirm.service"
# Where the stick is in the container that is plugged in.
MEDIA = "/media"
KEYS = "/etc/edgehemo/keys"
# A slide whose fields take a while; the file beside the records pulls the camera or lamp.
SAID = f"{layout.DATA}/said"
SLIDE = f"simulated:?seed=3&fields=40&bad=1&width=640&height=480&faults_from={SAID}"
SETTINGS = (f'camera.source="{SLIDE}"', "screening.fields_wanted=4")
# It boots with the kernel of this machine, and no screen of its own.
RECIPE = Recipe(
    ("debian_pc", "simulated", "touch_7_800x480"),
    kernel=False,
    screen=False,
    data_label=None,
    read_only=False,
    extra=("libfaketime",),
)
# Two versions and the records; of the file only what is written takes space.
PARTITION_MB = 3000
UPDATE_S = 900.0
# However busy the machine is; what it takes is told.
BOOT_S = 300.0
POLL_S = 0.1
# EXT4_IOC_SHUTDOWN, and EXT4_GOING_FLAGS_NOLOGFLUSH: nothing is written any more, the journal
# neither.
_EXT4_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
_NEW_NETWORK = 0x40000000


@dataclass
class DataPartition:
    """ext4 in a file, mounted below ``folder``."""

    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / "data.img"

    @property
    def mount(self) -> Path:
        return self.folder / "data"

    @property
    def data(self) -> Path:
        """What the device calls /data/edgehemo."""
        return self.mount / "edgehemo"

    def make(self, content: Path) -> None:
        self.mount.mkdir(parents=True)
        _run("mke2fs", "-q", "-t", "ext4", "-L", layout.DATA_LABEL, "-d", str(content),
             str(self.image), f"{PARTITION_MB}M")  # fmt: skip
        self.attach()

    def attach(self) -> None:
        _run("mount", "-o", "loop,noatime,nodev,nosuid", str(self.image), str(self.mount))

    def detach(self) -> None:
        _run("umount", str(self.mount))

    def plug_in_again(self) -> None:
        """The disk as the cut left it. It is read from a copy: whoever made a mount namespace on
        this machine meanwhile holds the file system that was shut down.
        """
        self.detach()
        copy = self.image.with_suffix(".copy")
        _run("cp", "--sparse=always", str(self.image), str(copy))
        copy.replace(self.image)
        self.attach()

    def pull_plug(self) -> None:
        """From now on nothing reaches the disk."""
        handle = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _EXT4_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)


@dataclass
class KioskContainer:
    """One device. settings: drop-in of the kiosk's unit, for what is shortened here."""

    root: Path
    partition: DataPartition
    drop_in: str = ""
    process: subprocess.Popen[bytes] | None = None
    leader: int = 0
    boots: int = 0
    url: str = field(init=False)

    def __post_init__(self) -> None:
        text = (self.partition.data / "settings/device.toml").read_text("utf-8")
        port = DeviceConfiguration.parse(text, "device.toml").kiosk.port
        self.url = f"http://127.0.0.1:{port}/"

    @property
    def console(self) -> Path:
        return self.partition.folder / f"console-{self.boots}.txt"

    @property
    def media(self) -> Path:
        """The stick that is plugged in; empty without one."""
        return self.partition.folder / "media"

    @property
    def keys(self) -> Path:
        """Public keys of whom the device trusts."""
        return self.partition.folder / "keys"

    @property
    def sticks(self) -> Path:
        """Where sticks lie that are not plugged in."""
        return self.partition.folder / "sticks"

    def plug_in(self, stick: Path) -> None:
        """A stick in the place of the one before."""
        for each in self.media.iterdir():
            shutil.rmtree(each)
        shutil.copytree(stick, self.media, copy_function=os.link, dirs_exist_ok=True)

    def trust(self, key: Path) -> None:
        """Have the device trust whoever signs sticks."""
        self.keys.mkdir(exist_ok=True)
        shutil.copyfile(key, self.keys / key.name)

    # -- power ------------------------------------------------------------------------------------

    def boot(self, *, ready: bool = True) -> float:
        """Switch it on; seconds until the kiosk was ready and its page answered."""
        self.boots += 1
        drop_ins = self.partition.folder / "drop-ins"
        shutil.rmtree(drop_ins, ignore_errors=True)
        drop_ins.mkdir()
        (drop_ins / "lab.conf").write_text(self.drop_in, "utf-8")
        for folder in (self.media, self.keys):
            folder.mkdir(exist_ok=True)
        begun = time.monotonic()
        with self.console.open("wb") as console:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}",
                 "--volatile=overlay", f"--machine=edgehemo-lab-{os.getpid()}-{self.boots}",
                 "--register=no", "--keep-unit", "--console=pipe", "--private-network",
                 f"--bind={self.partition.mount}:{layout.DATA_MOUNT}",
                 f"--bind-ro={drop_ins}:/etc/systemd/system/{SERVICE}.d",
                 f"--bind-ro={self.media}:{MEDIA}", f"--bind-ro={self.keys}:{KEYS}"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )  # fmt: skip
        self.leader = self._wait_for_leader()
        if ready:
            self.wait_ready()
        return time.monotonic() - begun

    def off(self) -> None:
        """Shut down as `poweroff` does, else at once."""
        if self.process is None:
            return
        # SIGRTMIN+4 is systemd's poweroff.
        with suppress(ProcessLookupError):
            os.kill(self.leader, signal.SIGRTMIN + 4)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self._kill()
        self.process = None

    def cut_power(self) -> None:
        """The plug is pulled: the disk takes nothing more, every process is gone; then the
        partition is mounted as at the next start.
        """
        self.partition.pull_plug()
        self._kill()
        self.partition.plug_in_again()

    def _kill(self) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.kill(self.leader, signal.SIGKILL)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self.process = None

    def _wait_for_leader(self) -> int:
        """The container's first process; before it nspawn has a helper as its child."""
        assert self.process is not None
        pid, ends = self.process.pid, time.monotonic() + BOOT_S
        children = Path(f"/proc/{pid}/task/{pid}/children")
        while time.monotonic() < ends and self.process.poll() is None:
            with suppress(OSError):
                for child in children.read_text().split():
                    if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                        return int(child)
            time.sleep(POLL_S)
        raise AssertionError(f"the container did not start: {self.console.read_text()[-2000:]}")

    # -- looking inside ---------------------------------------------------------------------------

    def inside(self, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "--", *command],
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def state(self, unit: str = SERVICE) -> str:
        return self.inside("systemctl", "is-active", unit).stdout.strip()

    def restarts(self) -> int:
        return int(self.of_unit(SERVICE, "NRestarts") or 0)

    def of_unit(self, unit: str, name: str) -> str:
        """What the service manager knows of a unit by this name."""
        return self.inside("systemctl", "show", "-P", name, unit).stdout.strip()

    def journal(self, unit: str) -> str:
        """What a unit said since the start."""
        return self.inside("journalctl", "--no-pager", "--boot", f"--unit={unit}").stdout

    def edgehemo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command in force there, as root would call it."""
        clean = ("/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin", "HOME=/root", "LANG=C.UTF-8")
        return self.inside(*clean, layout.COMMAND, *arguments, timeout_s=UPDATE_S)

    def version(self) -> str:
        """Of the version in force, which is the one that serves."""
        current = (self.partition.data / "current").readlink()
        if self.state() == "active":
            # A script is run by the Python of its version.
            (serves,) = (words for pid, words in self.processes().items() if pid == self.server())
            assert f"{layout.DATA}/{current}/bin/python" in serves, (current, serves)
        return self.edgehemo("--version").stdout.strip().rpartition(" ")[2]

    def processes(self) -> dict[int, str]:
        """The kiosk's, by their number outside: the server, what it starts; each's command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError):
                if SERVICE in (entry / "cgroup").read_text() and self._is_ours(entry):
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = words.decode("utf-8", "replace").strip()
        return found

    def _is_ours(self, process: Path) -> bool:
        """Whether a process is in this container, and not a service of this machine."""
        networks = {
            (each / "ns/net").readlink() for each in (process, Path(f"/proc/{self.leader}"))
        }
        return len(networks) == 1

    def server(self) -> int:
        """The process that serves, by its number outside."""
        (found,) = (pid for pid, words in self.processes().items() if words.endswith("kiosk"))
        return found

    def wait_ready(self, timeout_s: float = BOOT_S) -> float:
        """Until the unit is active and its page answers; seconds from now."""
        begun = time.monotonic()
        while time.monotonic() - begun < timeout_s:
            if self.answers() == 200 and self.state() == "active":
                return time.monotonic() - begun
            time.sleep(POLL_S)
        told = self.inside("journalctl", "--no-pager", "-n", "60").stdout
        raise AssertionError(f"not ready in {timeout_s:.0f} s: {self.state()}\n{told[-4000:]}")

    def answers(self) -> int:
        """Status of the page, 0 where nothing answers."""
        with self.network():
            try:
                return httpx.get(self.url, timeout=3, follow_redirects=True).status_code
            except httpx.HTTPError:
                return 0

    @contextmanager
    def network(self) -> Iterator[None]:
        """Sockets that this thread opens within lie in the container's network."""
        with Path("/proc/thread-self/ns/net").open() as ours:
            with Path(f"/proc/{self.leader}/ns/net").open() as theirs:
                _enter(theirs.fileno())
            try:
                yield
            finally:
                _enter(ours.fileno())

    # -- its records ------------------------------------------------------------------------------

    def results(self) -> list[tuple[str, str]]:
        """Sample and state of each stored result; the records are whole. It must be off."""
        with Store.below(self.partition.data).writer() as writer:
            assert writer.set_aside is None
            assert verify(writer).faults == ()
            found = [(row[0], row[1]) for row in writer.rows("SELECT sample, state FROM latest")]
        self.give_records()
        return sorted(found)

    def clock_of(self, sample: str) -> str:
        """Whether the clock was ``set`` or ``unset`` when a sample's result was made. It is off."""
        with Store.below(self.partition.data).writer() as writer:
            ((found,),) = writer.rows(
                "SELECT result.clock FROM result JOIN latest ON latest.result = result.number"
                " WHERE latest.sample = ?",
                (sample,),
            )
        self.give_records()
        return str(found)

    def add_users(self) -> None:
        with Store.below(self.partition.data).writer() as writer:
            add_all(writer)
        self.give_records()

    def give_records(self) -> None:
        """What this process made there belongs to the device's user."""
        number = layout.USER_NUMBERS[layout.USER]
        for path in (self.partition.data / "records").rglob("*"):
            os.chown(path, number, number, follow_symlinks=False)


def kept_root() -> Path:
    """The installed root; kept while its recipe and our package are the same. Skips where it cannot
    be made.
    """
    debian.need_tools(
        **{"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "mke2fs": "e2fsprogs",
           "nsenter": "util-linux"}
    )  # fmt: skip
    folder, whole = debian.kept("kiosk-root", f"{RECIPE}\n{debian.source_digest()}")
    root = folder / "root"
    if not whole:
        debian.make_room("kiosk-root", others=1)
        try:
            make_root(replace(RECIPE, settings=SETTINGS), root, lambda _: None)
        except DeviceError as error:
            pytest.skip(f"the root could not be made: {error}")
        debian.mark_whole(folder)
    return root


@contextmanager
def kiosk_container(folder: Path, drop_in: str = "") -> Iterator[KioskContainer]:
    """A device with the people of the tests, switched off; all of it is gone afterwards."""
    root = kept_root()
    partition = DataPartition(folder)
    partition.make(root / layout.DATA_MOUNT.lstrip("/"))
    container = KioskContainer(root, partition, drop_in)
    try:
        container.add_users()
        yield container
    finally:
        container.off()
        partition.detach()
        partition.image.unlink()
        for each in (container.media, container.sticks):
            shutil.rmtree(each, ignore_errors=True)


def written_outside(container: KioskContainer) -> Mapping[str, int]:
    """Files of the running root that were made or changed since it started, and whose they are.

    The overlay takes them all into memory; what the kiosk keeps must lie on the partition.
    """
    told = container.inside(
        "find", "/", "-xdev", "-newer", "/proc/1/environ", "-type", "f", "-printf", "%p %U\\n"
    ).stdout
    rows = (line.rpartition(" ") for line in told.splitlines())
    return {path: int(number) for path, _, number in rows}


def _enter(handle: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(handle, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "no way into the container's network")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
