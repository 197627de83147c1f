"""The records attacked: killed, the plug pulled, the disk full, two writers, a thousand samples.

What was acknowledged (its identifier printed) must be there afterwards, whole, and nothing else: no
picture without a row, no row without its picture. With SQLite's ``synchronous = OFF`` and without
our own flushing the same must fail, or the attack would show nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from edgehemo.capture import FRAME_DEADLINE_S
from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.device.equipment import open_equipment
from edgehemo.device.recorded import recorded_screening
from edgehemo.errors import EdgeHemoError
from edgehemo.images.frame import Frame
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.recording import Recording
from edgehemo.records.results import listed
from edgehemo.records.store import Writer, set_aside_files
from edgehemo.records.verifying import verify
from edgehemo.screening.field import FieldReading
from edgehemo.screening.labels import SampleLabels
from edgehemo.screening.provenance import provenance_of
from edgehemo.screening.sample import Screening, UnreadableImage, screen_frames
from soak.attack import Figures, Scene, is_one_line

# ext4's order to stop at once, as a pulled plug does; 2: without writing its log.
EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_LOG = 2
DISK_MB = 192
# The smallest slide that a screening accepts: the attacks are on what is stored.
SLIDE = "simulated:?seed={seed}&fields=2&width=400&height=300"
STORED = "stored as: "

# Screens one sample after the other in one process; argument: how SQLite syncs. With OFF our own
# flushing is left out as well.
SCREENER = """
import os, sys
from edgehemo.records import store
from edgehemo import cli
if sys.argv[1] == "OFF":
    store.SYNCHRONOUS = "OFF"
    os.fsync = lambda handle: None
for seed in range(1, 1000):
    cli.run(["screen", f"simulated:?seed={seed}&fields=2&width=400&height=300", "--record"])
    sys.stdout.flush()
"""


def device_at(scene: Scene, data: Path) -> dict[str, str]:
    """The environment of a device whose data lie in a folder, and which refuses no sample."""
    file = scene.folder / "records-device.toml"
    file.write_text(
        'schema = "edgehemo.device/1"\nname = "soak"\nboard = "workstation"\n'
        f'[paths]\ndata = "{data}"\n[records]\nrefuse_below_mb = 0\nwarn_below_mb = 0\n'
    )
    return {**scene.environment(), "EDGEHEMO_DEVICE": str(file), "OMP_NUM_THREADS": "1"}


def acknowledged(said: str) -> list[str]:
    """The identifiers that were printed whole."""
    lines = [line for line in said.splitlines(keepends=True) if line.endswith("\n")]
    return [line[len(STORED) :].strip() for line in lines if line.startswith(STORED)]


def harm_done(data: Path, acked: list[str]) -> dict[str, int]:
    """What is lost or left over in the records of a data folder, each counted."""
    folder = RecordsFolder.below(data)
    with Writer(folder) as writer:
        there = {row.id for row in listed(writer, limit=10_000)}
        found = verify(writer)
        named = {row[0] for row in writer.rows("SELECT sha256 FROM content")}
        files = {path.name for path in (folder.path / "contents").rglob("*") if path.is_file()}
        taking = len(writer.rows("SELECT 1 FROM taking"))
        intended = len(writer.rows("SELECT 1 FROM intended"))
    return {
        "lost": len(set(acked) - there),
        "not whole": len(found.faults),
        "leftovers": len(files ^ named) + taking + intended,
        "set aside": len(set_aside_files(folder)),
    }


def killed(scene: Scene) -> Figures:
    """``screen --record`` killed at a random moment; every fourth time just after it said that the
    result is stored.
    """
    data = scene.folder / "killed"
    environment = device_at(scene, data)
    figures: Figures = {"rounds": 0, "killed": 0, "acknowledged": 0}
    harm: dict[str, int] = {}
    acked: list[str] = []
    longest_s = 4.0
    for number in scene.rounds():
        command = [
            str(Path(sys.executable).with_name("edgehemo")),
            "screen", SLIDE.format(seed=number), "--record",
        ]  # fmt: skip
        started = time.monotonic()
        process = subprocess.Popen(
            command, env={**environment, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        said = ""
        assert process.stdout is not None
        if number % 4 == 3:
            for line in process.stdout:
                said += line
                if line.startswith(STORED):
                    longest_s = min(10.0, max(1.0, time.monotonic() - started))
                    break
            time.sleep(scene.rng.uniform(0, 0.02))
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(scene.rng.uniform(0.3, 1.1) * longest_s)
        figures["killed"] += process.poll() is None
        process.kill()
        said += process.communicate()[0]
        acked += acknowledged(said)
        figures["rounds"] += 1
        for name, count in harm_done(data, acked).items():
            harm[name] = harm.get(name, 0) + count
    figures["acknowledged"] = len(acked)
    return {**figures, **harm, "broken": sum(harm.values())}


def pulled_plug(scene: Scene) -> Figures:
    """The plug pulled while samples are stored on a file system of their own."""
    return _pulled(scene, "FULL", new_each_time=False)


def pulled_plug_unsynced(scene: Scene) -> Figures:
    """The control: without syncing, results are lost or the database is damaged."""
    figures = _pulled(scene, "OFF", new_each_time=True)
    if "not run" in figures:
        return figures
    harm = figures.pop("broken")
    # That it does harm is what is wanted here.
    return {**figures, "harm as it must be": harm, "broken": int(harm == 0)}


def _pulled(scene: Scene, synchronous: str, *, new_each_time: bool) -> Figures:
    mount = scene.folder / "disk"
    mount.mkdir()
    image = scene.folder / "disk.img"
    figures: Figures = {"rounds": 0, "acknowledged": 0}
    harm = {"lost": 0, "not whole": 0, "leftovers": 0, "set aside": 0, "not opened": 0}
    acked: list[str] = []
    for number in scene.rounds():
        if number == 0 or new_each_time:
            acked = []
            if not _new_disk(image):
                return {"not run": "a file system cannot be made here", "broken": 0}
        if _run("mount", "-o", "loop", image, mount):
            return {"not run": "a file system cannot be mounted here", "broken": 0}
        said = _screen_until_the_plug(scene, mount, synchronous)
        _run("umount", mount)
        _run("mount", "-o", "loop", image, mount)
        try:
            new = acknowledged(said)
            acked += new
            figures["rounds"] += 1
            figures["acknowledged"] += len(new)
            for name, count in harm_done(mount / "data", acked).items():
                harm[name] += count
        except (EdgeHemoError, OSError):
            harm["not opened"] += 1
        finally:
            _run("umount", mount)
    return {**figures, **harm, "broken": sum(harm.values())}


def _screen_until_the_plug(scene: Scene, mount: Path, synchronous: str) -> str:
    """Store samples until the plug is pulled at a random moment; returns what was printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCREENER, synchronous],
        env=device_at(scene, mount / "data"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=scene.folder,
    )  # fmt: skip
    time.sleep(scene.rng.uniform(2.5, 8.0))
    handle = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_LOG))
    finally:
        os.close(handle)
    process.kill()
    return process.communicate()[0]


def _new_disk(image: Path) -> bool:
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(DISK_MB * 1024 * 1024)
    try:
        return _run("mkfs.ext4", "-q", "-F", image) == 0
    except FileNotFoundError:
        return False


def _run(*command: object) -> int:
    return subprocess.run([str(part) for part in command], capture_output=True).returncode


def full_disk(scene: Scene) -> Figures:
    """Less and less missing on a small disk: every write of a sample fails once, in one line."""
    mount = scene.folder / "small"
    mount.mkdir()
    figures: Figures = {"rounds": 0, "refused": 0, "stored": 0}
    harm = {"lost": 0, "not whole": 0, "leftovers": 0, "set aside": 0, "not one line": 0}
    if _run("mount", "-t", "tmpfs", "-o", "size=64m", "soak", mount):
        return {"not run": "a small disk cannot be mounted here (it needs root)", "broken": 0}
    try:
        data = mount / "data"
        scene_device = device_at(scene, data)
        command = [str(Path(sys.executable).with_name("edgehemo")), "screen", "--record"]
        acked: list[str] = []
        filler = mount / "filler"
        for number in scene.rounds():
            left_kb = (number * 12) % 700 if number else 40_000
            free = os.statvfs(mount)
            size = max(0, free.f_bavail * free.f_bsize - 1024 * left_kb)
            filler.write_bytes(bytes(size))
            done = subprocess.run(
                [*command, SLIDE.format(seed=number)],
                env=scene_device, capture_output=True, text=True,
            )  # fmt: skip
            filler.unlink()
            figures["rounds"] += 1
            new = acknowledged(done.stdout)
            acked += new
            figures["stored"] += len(new)
            full = done.returncode == 2
            figures["refused"] += full
            if done.returncode not in (0, 1, 2) or (
                full and (not is_one_line(done.stderr) or "space" not in done.stderr)
            ):
                harm["not one line"] += 1
                figures.setdefault("said", []).append(done.stderr[-300:])
            for name, count in harm_done(data, acked).items():
                harm[name] += count
    finally:
        _run("umount", mount)
    return {**figures, **harm, "broken": sum(harm.values())}


def two_writers(scene: Scene) -> Figures:
    """Two screenings store at once: one waits for nobody, the other is refused in one line."""
    data = scene.folder / "two"
    environment = device_at(scene, data)
    figures: Figures = {"rounds": 0, "stored": 0, "refused": 0, "broken": 0}
    acked: list[str] = []
    for number in scene.rounds():
        running = [
            subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("edgehemo")), "screen",
                    SLIDE.format(seed=10 * number + index), "--record",
                ],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for index in range(2)
        ]  # fmt: skip
        for process in running:
            out, err = process.communicate()
            new = acknowledged(out)
            acked += new
            refused = process.returncode == 2 and "another edgehemo is writing" in err
            figures["stored"] += len(new)
            figures["refused"] += refused
            figures["broken"] += not is_one_line(err) or (not new and not refused)
        figures["rounds"] += 1
        figures["broken"] += sum(harm_done(data, acked).values())
    return figures


def many_samples(scene: Scene) -> Figures:
    """One process stores sample after sample: memory, open files and threads stay."""
    device_at(scene, scene.folder / "many")
    os.environ["EDGEHEMO_DEVICE"] = str(scene.folder / "records-device.toml")
    equipment = open_equipment(None, None)
    reader = equipment.reader()
    options = SimulatedOptions(seed=5, fields=1, width_px=400, height_px=300)
    with SimulatedMicroscope(options) as slide:
        frame = slide.frame(FRAME_DEADLINE_S)
    figures: Figures = {"rounds": 0, "broken": 0}
    at: dict[int, tuple[float, int, int]] = {}
    for number in scene.rounds():
        screening = Screening(reader, bundle_sha256=equipment.bundle.digest)
        labels = SampleLabels(sample=f"S-{number}")
        # Another picture each time, as each sample's is.
        pixels = frame.pixels.copy()
        pixels[0, 0] = [number % 256, number // 256 % 256, 0]
        with recorded_screening(equipment, screening, None, labels) as recording:
            one = screen_frames(
                [replace(frame, pixels=pixels)], screening, partial(_keep, recording, screening)
            )
            made_with = provenance_of(
                equipment.bundle, None, None, um_per_px=None, simulated=True,
                now=datetime.now().astimezone(),
            )  # fmt: skip
            figures["broken"] += recording.finish(one, made_with) is None
        figures["rounds"] += 1
        if number % 50 == 0:
            gc.collect()
            at[number] = _held()
    early, late = at[min(at, key=lambda n: abs(n - 100))], at[max(at)]
    figures |= {
        "MB at first": round(early[0], 1), "MB at last": round(late[0], 1),
        "open files at first": early[1], "open files at last": late[1],
        "threads at first": early[2], "threads at last": late[2],
    }  # fmt: skip
    figures["broken"] += late[0] > early[0] + 20 or late[1] > early[1] or late[2] > early[2]
    return figures


def _keep(
    recording: Recording,
    screening: Screening,
    result: FieldReading | UnreadableImage,
    frame: Frame | None,
) -> None:
    recording.add(len(screening.images) - 1, result, frame)


def _held() -> tuple[float, int, int]:
    """Resident memory in MB, open files and threads of this process."""
    fields = dict(_status())
    return (
        int(fields["VmRSS"].split()[0]) / 1000,
        len(list(Path("/proc/self/fd").iterdir())),
        int(fields["Threads"]),
    )


def _status() -> Iterator[tuple[str, str]]:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        yield name, value.strip()


ATTACKS: dict[str, Any] = {
    "records: killed": killed,
    "records: pulled plug": pulled_plug,
    "records: pulled plug without syncing": pulled_plug_unsynced,
    "records: full disk": full_disk,
    "records: two writers": two_writers,
    "records: many samples": many_samples,
}
