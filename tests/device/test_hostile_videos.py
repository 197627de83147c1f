"""What a video may cost: a hostile one ends a process of its own, in time, and nothing else."""

from __future__ import annotations

import os
import resource
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.capture import FailedSource, footage, replay
from edgehemo.capture.footage import Footage
from edgehemo.capture.replay import path_frames, video_frames
from edgehemo.capture.video_process import VideoProcess
from edgehemo.errors import ImageError
from edgehemo.images.frame import Frame

Pixels = NDArray[np.uint8]
JPEG_START = b"\xff\xc0\x00\x11\x08"


def slide(seed: int = 3, height: int = 240, width: int = 320) -> Pixels:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 255, (12, 16, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def recorded(path: Path, pictures: list[Pixels], code: str = "MJPG") -> Path:
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 20.0, (width, height))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


@pytest.fixture
def opened_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[VideoProcess]]:
    """Lets `video_frames` open its video with other limits; the processes that it opened."""

    def use(**limits: float) -> list[VideoProcess]:
        opened: list[VideoProcess] = []

        def open_video(path: Path) -> VideoProcess:
            opened.append(VideoProcess(path, **limits))  # type: ignore[arg-type]  # one is in bytes
            return opened[-1]

        monkeypatch.setattr(replay, "_opened", open_video)
        return opened

    return use


def the_failure(items: list[Frame | FailedSource]) -> str:
    (failed,) = [item for item in items if isinstance(item, FailedSource)]
    assert failed is items[-1]
    assert "\n" not in failed.error
    return failed.error


def test_a_size_that_the_container_claims_is_refused_before_a_frame_is_decoded(
    tmp_path: Path,
) -> None:
    path = recorded(tmp_path / "a.avi", [slide()] * 20)
    data = bytearray(path.read_bytes())
    # The container and each picture claim it: 64 Mpx, of 20 kB.
    struct.pack_into("<ii", data, data.index(b"strf") + 12, 8000, 8000)
    at = -1
    while (at := data.find(JPEG_START, at + 1)) >= 0:
        struct.pack_into(">HH", data, at + 5, 8000, 8000)
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (item,) = video_frames(path)
    assert isinstance(item, FailedSource)
    assert "8000x8000 px" in item.error or "holds no frame" in item.error
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_size_that_only_the_frames_claim_is_not_made_room_for(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.webm", [slide()] * 20, "VP80")
    data = bytearray(path.read_bytes())
    at, changed = -1, 0
    while (at := data.find(b"\x9d\x01\x2a", at + 1)) >= 0:
        struct.pack_into("<HH", data, at + 3, 16_383, 16_383)
        changed += 1
    assert changed
    path.write_bytes(data)
    assert "holds no frame that can be read" in the_failure(list(video_frames(path)))


def test_a_frame_that_takes_too_long_is_given_up(
    tmp_path: Path, opened_with: Callable[..., list[VideoProcess]]
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (3000, 4000, 3)).astype(np.uint8)
    path = recorded(tmp_path / "slow.avi", [noise] * 2)
    opened_with(look_s=0.02)
    started = time.monotonic()
    assert "takes more than 0.02 s to give a frame" in the_failure(list(video_frames(path)))
    assert time.monotonic() - started < 30.0


def test_a_process_that_stalls_is_given_up(tmp_path: Path) -> None:
    path = recorded(tmp_path / "a.avi", [slide(number // 20) for number in range(80)])
    with VideoProcess(path, look_s=0.5) as video:
        assert video.look(0.0) is not None
        assert video.pid is not None
        os.kill(video.pid, signal.SIGSTOP)
        pid, started = video.pid, time.monotonic()
        with pytest.raises(ImageError, match=r"takes more than 0\.5 s to give a frame"):
            video.look(1.0)
        assert time.monotonic() - started < 2.0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_breaks_down_is_one_line_and_what_was_read_stands(
    tmp_path: Path, opened_with: Callable[..., list[VideoProcess]]
) -> None:
    path = recorded(tmp_path / "a.avi", [slide(number // 20) for number in range(80)])
    opened = opened_with()
    items: Iterator[Frame | FailedSource] = video_frames(path)
    assert isinstance(next(items), Frame)
    assert opened[0].pid is not None
    os.kill(opened[0].pid, signal.SIGKILL)
    assert "cannot be read to its end: it is damaged" in the_failure(list(items))


def test_a_video_without_end_is_left_when_its_time_is_up(
    tmp_path: Path, opened_with: Callable[..., list[VideoProcess]]
) -> None:
    coded = cv2.imencode(".jpg", slide())[1].tobytes()
    path = tmp_path / "endless.mjpeg"
    path.write_bytes(coded * 4000)
    opened_with(whole_s=0.25)
    items = list(path_frames(path))
    assert isinstance(items[0], Frame)
    assert "minutes to read; cut it" in the_failure(items)


class _Endless:
    """A video whose frames never end and whose time never goes on."""

    grabbed = 0

    def isOpened(self) -> bool:  # noqa: N802  # as OpenCV calls it
        return True

    def get(self, prop: int) -> float:
        return {cv2.CAP_PROP_POS_MSEC: 100.0, cv2.CAP_PROP_FPS: 25.0}.get(prop, 64.0)

    def grab(self) -> bool:
        self.grabbed += 1
        return True

    def retrieve(self) -> tuple[bool, Pixels]:
        return True, slide()

    def release(self) -> None:
        """Nothing is held."""


def test_the_frames_looked_at_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footage, "MAX_VIDEO_FRAMES", 500)
    endless = _Endless()
    video = Footage(endless)  # type: ignore[arg-type]  # stands in
    assert video.look(0.0) is not None
    assert video.look(0.5) is None
    assert endless.grabbed == 500


def test_the_memory_of_the_process_is_bounded(
    tmp_path: Path, opened_with: Callable[..., list[VideoProcess]]
) -> None:
    path = recorded(tmp_path / "a.avi", [slide(height=2400, width=3200)] * 3)
    (frame,) = video_frames(path)
    assert isinstance(frame, Frame)
    opened_with(memory_bytes=8_000_000)
    said = the_failure(list(video_frames(path)))
    assert "cannot be read" in said or "holds no frame" in said


def test_the_process_is_gone_when_nobody_looks_any_more(
    tmp_path: Path, opened_with: Callable[..., list[VideoProcess]]
) -> None:
    path = recorded(tmp_path / "a.avi", [slide(number // 20) for number in range(80)])
    opened = opened_with()
    items = video_frames(path)
    next(iter(items))
    pid = opened[0].pid
    assert pid is not None
    items.close()  # type: ignore[attr-defined]  # a generator
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_process_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recorded(tmp_path / "a.avi", [slide()] * 3)
    monkeypatch.setattr("edgehemo.images.child.sys.executable", "/nowhere/python")
    assert "no process can be started for" in the_failure(list(video_frames(path)))
