"""The disk of ``make image`` in an emulated PC, started by UEFI and by its kernel alone.

``python -m soak.image FOLDER --out FILE``: FOLDER is what ``make image`` made. The PC is emulated
instruction by instruction, with a clock that counts instructions, so that a busy machine changes
nothing: its seconds are of no computer. Each start ends by its power button.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2

from edgehemo.files.atomic import write_json_atomically
from edgehemo.version import __version__
from edgehemo_firmware.image.disk import KERNEL_LINE, kernel_of
from edgehemo_firmware.image.recipe import size_mb

NEEDED = ("qemu-system-x86_64",)
FIRMWARE = Path("/usr/share/OVMF")
CODE, VARIABLES = FIRMWARE / "OVMF_CODE_4M.fd", FIRMWARE / "OVMF_VARS_4M.fd"
MEMORY_MB = 2048
# The oldest that the libraries run on: x86-64-v2, with SSE 4.2.
PROCESSOR = "Nehalem"
# What its service manager does goes to the serial console, with times.
TOLD = "loglevel=7 printk.devkmsg=on systemd.log_target=kmsg systemd.show_status=0"
# Each a start of a unit, in the order that they come.
MARKS = ("data.mount", "edgehemo-firewall.service", "edgehemo-confirm.service",
         "edgehemo-kiosk.service", "edgehemo-screen.service")  # fmt: skip
POLL_S, LOOK_S = 2.0, 30.0
# A console is nearly black, and the kiosk's page nearly white: the mean of all pixels, of 255.
PAGE_BRIGHTNESS = 100.0


def by_kernel(folder: Path, work: Path) -> list[str]:
    """The kernel and what it starts with from the root; no firmware and no start partition."""
    kernel, initial = kernel_of(folder / "root")
    return ["-kernel", str(kernel), "-initrd", str(initial), "-append", f"{KERNEL_LINE} {TOLD}"]


def by_uefi(folder: Path, work: Path) -> list[str]:
    """The disk alone, as a PC starts it. The words for the console come by what the firmware tells
    of the computer, which systemd's starter reads.
    """
    variables = work / "variables.fd"
    shutil.copyfile(VARIABLES, variables)
    flash = "if=pflash,format=raw,unit="
    return [
        "-drive", f"{flash}0,readonly=on,file={CODE}", "-drive", f"{flash}1,file={variables}",
        "-smbios", f"type=11,value=io.systemd.boot.kernel-cmdline-extra={TOLD}",
    ]  # fmt: skip


WAYS = {"kernel": by_kernel, "uefi": by_uefi}
NAMES = {
    "kernel": "started by its kernel alone",
    "uefi": "started by UEFI, as a PC starts it",
}


class Computer:
    """One that is on. console: what came from its serial port."""

    def __init__(self, process: subprocess.Popen[bytes], work: Path) -> None:
        self.process = process
        self.work = work

    @property
    def console(self) -> str:
        return (self.work / "console").read_text("utf-8", "replace")

    def wait(self, pattern: str, limit_s: float) -> re.Match[str]:
        """Until it stands on the console. Raises TimeoutError, with the console's end."""
        ends = time.monotonic() + limit_s
        while time.monotonic() < ends and self.process.poll() is None:
            if found := re.search(pattern, self.console):
                return found
            time.sleep(POLL_S)
        raise TimeoutError(f"{pattern} never came:\n{self.console[-3000:]}")

    def ask(self, command: str) -> None:
        """A command of the emulator's own."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self.work / "monitor"))
            monitor.settimeout(30)
            told = b""
            while not told.endswith(b"(qemu) "):
                told += monitor.recv(4096)
            monitor.sendall(f"{command}\n".encode())
            told = b""
            while not told.endswith(b"(qemu) "):
                told += monitor.recv(4096)

    def look(self, picture: Path, limit_s: float) -> None:
        """Until the page stands on its screen; the screen is kept. Raises TimeoutError."""
        ends = time.monotonic() + limit_s
        while time.monotonic() < ends and self.process.poll() is None:
            self.ask(f"screendump {picture} -f png")
            pixels = cv2.imread(str(picture))
            if pixels is not None and float(pixels.mean()) > PAGE_BRIGHTNESS:
                return
            time.sleep(LOOK_S)
        raise TimeoutError(f"no page stands on the screen, see {picture}")


@contextmanager
def started(folder: Path, way: str, work: Path) -> Iterator[Computer]:
    """A computer with the disk, whose writes are forgotten."""
    command = [
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-icount", "shift=0",
        "-cpu", PROCESSOR, "-m", str(MEMORY_MB), "-smp", "1", "-vga", "std", "-display", "none",
        "-nic", "none", "-no-reboot", "-snapshot",
        "-drive", f"file={folder / 'edgehemo.img'},format=raw,if=virtio",
        "-serial", f"file:{work / 'console'}",
        "-monitor", f"unix:{work / 'monitor'},server=on,wait=off",
        *WAYS[way](folder, work),
    ]  # fmt: skip
    (work / "console").touch()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield Computer(process, work)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def start(folder: Path, way: str, limit_s: float, picture: Path) -> Mapping[str, float | str]:
    """Start it, look at its screen, switch it off; seconds of its own clock."""
    with tempfile.TemporaryDirectory(prefix="edgehemo-pc-") as place:
        work, begun = Path(place), time.monotonic()
        with started(folder, way, work) as computer:
            figures: dict[str, float | str] = {}
            for mark in MARKS:
                done = rf"\[\s*([0-9.]+)\] systemd\[1\]: (?:Mounted|Finished|Started) {mark}"
                figures[f"{mark}_s"] = round(float(computer.wait(done, limit_s)[1]), 1)
                print(f"{way}: {mark} after {figures[f'{mark}_s']} s", flush=True)
            computer.look(picture, limit_s)
            print(f"{way}: the page is shown, see {picture}", flush=True)
            figures["on_its_screen"] = "the kiosk's page"
            figures["this_machine_s"] = round(time.monotonic() - begun)
            computer.ask("system_powerdown")
            computer.wait("Power down", limit_s)
            figures["switched_off"] = "by its power button"
        return figures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--way", choices=sorted(WAYS), action="append", help="default: both")
    parser.add_argument("--limit-s", type=float, default=3600.0, help="for each step")
    parser.add_argument("--pictures", type=Path, default=Path(), help="folder of the screens")
    parser.add_argument("--built-s", type=float, help="how long `make image` took, to be kept")
    parser.add_argument("--out", type=Path, help="the figures as a JSON file")
    asked = parser.parse_args(arguments)
    missing = [name for name in NEEDED if shutil.which(name) is None]
    missing += [str(path) for path in (CODE, VARIABLES) if not path.is_file()]
    if missing:
        print(f"left out: needs {', '.join(missing)}; apt-get install qemu-system-x86 ovmf")
        return 0
    folder, pictures = asked.folder.resolve(), asked.pictures.resolve()
    image = (folder / "edgehemo.img").stat()
    starts = {
        NAMES[way]: start(folder, way, asked.limit_s, pictures / f"{way}.png")
        for way in asked.way or sorted(WAYS)
    }
    if asked.out is not None:
        write_json_atomically(
            asked.out,
            {
                "made_on": {
                    "version": __version__,
                    "what": "emulated PC, one processor, its clock counts instructions",
                    "kernel": platform.release(),
                },
                "scenes": {
                    "made": {
                        **({} if asked.built_s is None else {"build_s": round(asked.built_s)}),
                        "system_and_data_mb": round(size_mb(folder / "root")),
                        "disk_mb": round(image.st_size / 1e6),
                        "of_it_written_mb": round(image.st_blocks * 512 / 1e6),
                    },
                    **starts,
                },
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
