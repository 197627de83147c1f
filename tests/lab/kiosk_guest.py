"""An emulated 64-bit ARM computer that is a kiosk: Debian's kernel and systemd, and no network.

QEMU emulates all of it: processor, disks, a hardware watchdog. What a person does there arrives
over a serial line (`parts/guest_agent.py`). Emulated times say nothing about any board.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from edgehemo_firmware import layout
from edgehemo_firmware.dependencies.targets import Target
from tests.lab import arm64_root, debian

TARGET = Target("aarch64", debian.GUEST_PYTHON[0] + "." + debian.GUEST_PYTHON[1:])
# A computer with Debian as its installer leaves it: it starts, finds its devices, has a Python.
PACKAGES = (
    "systemd-sysv",
    "udev",
    "dbus",
    "kmod",
    "e2fsprogs",
    "python3",
    "libstdc++6",
    "linux-image-arm64",
    "initramfs-tools",
    "zstd",
)
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
PARTS_FOLDER = Path(__file__).with_name("parts")
LAB, LAB_LABEL = "/opt/lab", "LAB"
AGENT_LINE = "edgehemo.lab"
SLIDE_STATE = "/run/lab-slide"
CAMERA = "/dev/video0"
# The virtual hub that the camera is plugged into; the board's watchdog.
MODULES = ("vhci-hcd", "i6300esb")
# What of the lab runs in there. It is no part of the device.
UNITS: Mapping[str, str] = {
    "opt-lab.mount": f"""[Unit]
Description=what the lab needs in here
[Mount]
What=/dev/disk/by-label/{LAB_LABEL}
Where={LAB}
Options=ro
[Install]
WantedBy=multi-user.target
""",
    "lab-agent.service": f"""[Unit]
Description=hands of the lab
RequiresMountsFor={LAB}
[Service]
ExecStart=/usr/bin/python3 -B {LAB}/guest_agent.py /dev/virtio-ports/{AGENT_LINE}
Restart=always
RestartSec=1
""",
    "lab-camera.service": f"""[Unit]
Description=a USB microscope
RequiresMountsFor={LAB} {layout.DATA}
ConditionPathExists={layout.CURRENT}/bin/python
[Service]
ExecStart={layout.CURRENT}/bin/python -B {LAB}/slide_under_usb_camera.py {LAB}/places {SLIDE_STATE}
Restart=always
RestartSec=1
""",
}
STARTED = ("lab-agent.service", "lab-camera.service")
# Its start holds what this emulated computer needs, and no driver for any other.
INITRAMFS: Mapping[str, str] = {
    "etc/initramfs-tools/conf.d/lab": "MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=1\n",
    "usr/share/initramfs-tools/modules.d/lab": "virtio_pci\nvirtio_blk\next4\noverlay\n",
}

# Its clock goes by what its processor has done, a nanosecond an instruction: however busy the
# machine that emulates it, its own deadlines are those of a slow computer and not of a halted one.
CLOCK = ("-icount", "shift=0,sleep=on", "-rtc", "base=utc,clock=vm")

SYSTEM_MB, DATA_MB, LAB_MB = 1600, 2500, 200
MEMORY_MB = 2048
BUILD_TIMEOUT_S, START_S, ANSWER_S = 7200.0, 3600.0, 900.0
# A request of the line itself may wait behind a start of the emulated machine.
LINE_S = 20.0
READY_POLL_S = 5.0
PORT = 8321


def bare_system() -> Path:
    """The kept root of a bare Debian for ARM. Skips where it cannot be made."""
    debian.need_tools(
        **{
            "mmdebstrap": "mmdebstrap",
            "qemu-system-aarch64": "qemu-system-arm",
            arm64_root.EMULATOR: "qemu-user-static",
            "mke2fs": "e2fsprogs",
            "debugfs": "e2fsprogs",
        }
    )
    recipe = "\n".join((*PACKAGES, *UNITS.values(), *MODULES, *INITRAMFS.values()))
    folder, whole = debian.kept("arm64-bare", f"{recipe}\n{debian.SUITE}")
    root = folder / "root"
    if whole:
        return root
    debian.make_room("arm64-bare")
    arm64_root.register()
    # Before the kernel's own script makes what it starts with, and for whenever that is made again.
    starts = folder / "initramfs"
    for name, text in INITRAMFS.items():
        file = starts / name
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
    debian.bootstrap(
        root,
        PACKAGES,
        variant="minbase",
        architecture="arm64",
        options=[
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
            f"--essential-hook=sync-in {starts} /",
        ],
        # Every script of a package runs on an emulated processor.
        timeout_s=BUILD_TIMEOUT_S,
    )
    units = root / layout.UNITS.lstrip("/")
    for name, text in UNITS.items():
        (units / name).write_text(text, encoding="utf-8")
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    for name in STARTED:
        (wants / name).symlink_to(f"{layout.UNITS}/{name}")
    (root / "etc/modules-load.d/lab.conf").write_text("\n".join(MODULES) + "\n", "utf-8")
    (root / LAB.lstrip("/")).mkdir(parents=True, exist_ok=True)
    (root / "etc/machine-id").write_text("", "utf-8")
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
    debian.mark_whole(folder)
    return root


@dataclass
class Line:
    """The serial line to the agent. path: of QEMU's end, a Unix socket."""

    path: Path
    _socket: socket.socket | None = None
    _read: bytes = b""
    _number: int = 0

    def ask(self, limit_s: float, **asked: Any) -> dict[str, Any]:
        """One answer; TimeoutError where none comes in time, as while the machine starts."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(str(self.path))
        self._number += 1
        request = {"number": self._number, "limit_s": limit_s, **asked}
        ends = time.monotonic() + limit_s + LINE_S
        self._socket.settimeout(LINE_S)
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while time.monotonic() < ends:
            while b"\n" in self._read:
                text, _, self._read = self._read.partition(b"\n")
                with suppress(ValueError):
                    answer: dict[str, Any] = json.loads(text)
                    if answer.get("number") == self._number:
                        return answer
            self._socket.settimeout(max(0.1, ends - time.monotonic()))
            self._read += self._socket.recv(65_536)
        raise TimeoutError(f"no answer within {limit_s:.0f} s")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._read = b""


class Loopback(httpx.BaseTransport):
    """Requests to the machine's own loopback, by the line. limit_s: of each."""

    def __init__(self, line: Line, limit_s: float) -> None:
        self._line, self._limit_s = line, limit_s

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            answer = self._line.ask(
                self._limit_s,
                port=request.url.port or 80,
                method=request.method,
                path=request.url.raw_path.decode("ascii"),
                headers=[
                    (name, value)
                    for name, value in request.headers.items()
                    if name not in ("connection", "accept-encoding")
                ],
                body=base64.b64encode(request.read()).decode("ascii"),
            )
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error), request=request) from None
        if "failed" in answer:
            raise httpx.ConnectError(answer["failed"], request=request)
        headers = [(name, value) for name, value in answer["headers"]
                   if name.lower() != "transfer-encoding"]  # fmt: skip
        return httpx.Response(
            answer["status"], headers=headers, content=base64.b64decode(answer["body"])
        )


@dataclass
class KioskGuest:
    """One computer. folder: of its disks, sockets and console."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    url: str = f"http://127.0.0.1:{PORT}/"
    line: Line = field(init=False)
    _events: socket.socket | None = None
    _events_read: bytes = b""

    def __post_init__(self) -> None:
        self.line = Line(self.folder / "line")

    # -- its disks --------------------------------------------------------------------------------

    @property
    def system(self) -> Path:
        return self.folder / "system.img"

    @property
    def data(self) -> Path:
        return self.folder / "data.img"

    @property
    def console(self) -> Path:
        return self.folder / f"console-{self.starts}.txt"

    def make_disks(self, root: Path, lab: Path) -> None:
        """System and data partition of an installed root, and the lab's folder as a third."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = root / layout.DATA_MOUNT.lstrip("/")
        make_ext4(self.data, DATA_MB, layout.DATA_LABEL, data)
        aside = root.with_name(f"{root.name}.data")
        data.rename(aside)
        data.mkdir()
        make_ext4(self.system, SYSTEM_MB, "SYSTEM", root)
        data.rmdir()
        aside.rename(data)
        make_ext4(self.folder / "lab.img", LAB_MB, LAB_LABEL, lab)

    def _boot_files(self) -> tuple[Path, Path]:
        """Kernel and initial RAM disk as they lie on the system's disk now."""
        listed = _run("debugfs", "-R", "ls -p /boot", str(self.system))
        names = [parts[5] for row in listed.splitlines() if len(parts := row.split("/")) > 5]
        kernel, initial = self.folder / "kernel", self.folder / "initrd"
        for start, file in (("vmlinuz-", kernel), ("initrd.img-", initial)):
            (name,) = (each for each in names if each.startswith(start))
            _run("debugfs", "-R", f"dump /boot/{name} {file}", str(self.system))
        return kernel, initial

    @contextmanager
    def mounted_data(self) -> Iterator[Path]:
        """The data partition on this machine, to read and to write; the computer is off."""
        assert self.process is None
        place = self.folder / "data"
        place.mkdir(exist_ok=True)
        _run("mount", "-o", "loop,nodev,nosuid", str(self.data), str(place))
        try:
            yield place / Path(layout.DATA).name
        finally:
            _run("umount", str(place))

    # -- power ------------------------------------------------------------------------------------

    def start(self) -> float:
        """Switch it on; seconds until its lab answers."""
        assert self.process is None
        self.starts += 1
        kernel, initial = self._boot_files()
        begun = time.monotonic()
        for name in ("line", "monitor"):
            (self.folder / name).unlink(missing_ok=True)
        command = [
            "nice", "-n", "10",
            "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "2",
            "-m", str(MEMORY_MB), "-accel", "tcg,thread=single", *CLOCK,
            "-display", "none", "-nic", "none",
            "-serial", f"file:{self.console}",
            "-kernel", str(kernel), "-initrd", str(initial),
            "-append", "console=ttyAMA0 root=/dev/vda rw systemd.gpt_auto=no",
            "-chardev", f"socket,id=line,path={self.folder}/line,server=on,wait=off",
            "-device", "virtio-serial-pci",
            "-device", f"virtserialport,chardev=line,name={AGENT_LINE}",
            "-qmp", f"unix:{self.folder}/monitor,server=on,wait=off",
            # A hardware watchdog as boards have one: what it bites is started again.
            "-device", "i6300esb", "-action", "watchdog=reset",
        ]  # fmt: skip
        for number, disk in enumerate((self.system, self.data, self.folder / "lab.img")):
            command += ["-drive", f"if=none,id=d{number},file={disk},format=raw,cache=writeback",
                        "-device", f"virtio-blk-pci,drive=d{number}"]  # fmt: skip
        with (self.folder / "qemu.txt").open("wb") as said:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip
        self._listen()
        self.wait_for_line()
        return time.monotonic() - begun

    def off(self) -> None:
        """Shut down as `poweroff` does, else at once."""
        if self.process is None:
            return
        with suppress(OSError, AssertionError):
            self.run("systemctl", "--no-block", "poweroff")
            self.process.wait(ANSWER_S)
        self.kill()

    def kill(self) -> None:
        """Its plug is pulled."""
        self.line.close()
        if self._events is not None:
            self._events.close()
            self._events = None
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def wait_for_line(self, limit_s: float = START_S) -> None:
        """Until the lab's agent answers."""
        ends = time.monotonic() + limit_s
        while time.monotonic() < ends:
            assert self.process is not None and self.process.poll() is None, self.told()
            with suppress(OSError):
                if self.line.ask(5.0, run=["true"]).get("rc") == 0:
                    return
            time.sleep(READY_POLL_S)
        raise AssertionError(f"it does not start: {self.told()}")

    def told(self) -> str:
        """The end of what it and QEMU said."""
        files = (self.console, self.folder / "qemu.txt")
        return "\n".join(
            path.read_text("utf-8", "replace")[-3000:] for path in files if path.exists()
        )

    # -- QEMU's own account -----------------------------------------------------------------------

    def _listen(self) -> None:
        ends = time.monotonic() + 60
        while True:
            try:
                self._events = socket.socket(socket.AF_UNIX)
                self._events.connect(str(self.folder / "monitor"))
                break
            except OSError:
                assert time.monotonic() < ends, self.told()
                time.sleep(0.2)
        self._events_read = b""
        self._events.sendall(b'{"execute": "qmp_capabilities"}\n')

    def event(self, name: str, limit_s: float) -> dict[str, Any] | None:
        """The next event of a name; None where none comes in time."""
        assert self._events is not None
        ends = time.monotonic() + limit_s
        while True:
            while b"\n" in self._events_read:
                text, _, self._events_read = self._events_read.partition(b"\n")
                said: dict[str, Any] = json.loads(text)
                if said.get("event") == name:
                    return said
            left_s = ends - time.monotonic()
            if left_s <= 0:
                return None
            self._events.settimeout(left_s)
            with suppress(TimeoutError):
                self._events_read += self._events.recv(65_536)

    # -- what is done there -----------------------------------------------------------------------

    def run(
        self, *command: str, given: str = "", limit_s: float = ANSWER_S, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A program in it, as root. check: it must end well."""
        answer = self.line.ask(limit_s, run=command, given=given)
        assert "failed" not in answer, (command, answer)
        done = subprocess.CompletedProcess(command, answer["rc"], answer["out"], answer["err"])
        assert not check or done.returncode == 0, (
            command,
            done.stdout[-2000:],
            done.stderr[-3000:],
        )
        return done

    def edgehemo(self, *arguments: str, given: str = "", limit_s: float = ANSWER_S) -> str:
        """The version in force there, as the service's user; what it said."""
        command = ("setpriv", f"--reuid={layout.USER}", f"--regid={layout.USER}", "--init-groups",
                   "env", f"HOME={layout.DATA}", layout.COMMAND)  # fmt: skip
        return self.run(*command, *arguments, given=given, limit_s=limit_s).stdout

    def slide(self, state: str) -> None:
        """What lies under the microscope, see `parts/slide_under_usb_camera.py`."""
        self.run("tee", SLIDE_STATE, given=state)

    def loopback(self, limit_s: float = ANSWER_S) -> Loopback:
        return Loopback(self.line, limit_s)

    def wait_ready(self, limit_s: float = START_S) -> float:
        """Until the kiosk's service is active and its page answers; seconds from now."""
        begun = time.monotonic()
        while time.monotonic() - begun < limit_s:
            with suppress(OSError):
                state = self.run("systemctl", "is-active", "edgehemo-kiosk", check=False)
                if state.stdout.strip() == "active" and self.answers() == 200:
                    return time.monotonic() - begun
            time.sleep(READY_POLL_S)
        journal = self.run("journalctl", "--no-pager", "-n", "60", check=False)
        raise AssertionError(f"not ready in {limit_s:.0f} s\n{journal.stdout[-5000:]}")

    def wait_camera(self, limit_s: float = START_S) -> None:
        """Until the kernel's driver has found the microscope's camera on its USB."""
        ends = time.monotonic() + limit_s
        while self.run("test", "-e", CAMERA, check=False).returncode:
            assert time.monotonic() < ends, self.told()
            time.sleep(READY_POLL_S)

    def answers(self) -> int:
        """Status of the page, 0 where nothing answers."""
        with httpx.Client(transport=self.loopback(60.0), follow_redirects=True) as client:
            try:
                return client.get(self.url).status_code
            except httpx.HTTPError:
                return 0


def make_ext4(file: Path, mb: int, label: str, content: Path) -> None:
    """A file system in a file, sparse, of a folder's content."""
    file.unlink(missing_ok=True)
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-d", str(content), str(file), f"{mb}M")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr[-2000:])
    return done.stdout
