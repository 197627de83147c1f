"""The live picture: small, steady, never an old one, and going on while a field is read."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgehemo.errors import CaptureError
from edgehemo.images.frame import Frame
from edgehemo.kiosk import events
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.live_picture import LIVE_SIDE_PX, Pace, jpeg
from edgehemo.kiosk.messages import CaptureOrder, HasEnough, ReadField, Report, SawPicture
from edgehemo.kiosk.reading_beside import ReadingBeside
from edgehemo.kiosk.worker import _Worker
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.screening.sample import Screening, UnreadableImage

FRAME = Frame(np.zeros((8, 8, 3), np.uint8), "one")


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((640, 480), (640, 480)),
        ((1280, 960), (640, 480)),
        ((2028, 1520), (507, 380)),
        ((4056, 3040), (579, 434)),
        ((97, 61), (97, 61)),
    ],
)
def test_a_picture_is_made_smaller_by_a_whole_number(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    across = np.linspace(0, 255, size[0], dtype=np.uint8)
    pixels = np.broadcast_to(across[None, :, None], (size[1], size[0], 3)).copy()
    pixels[..., 2] = 10
    seen = cv2.imdecode(
        np.frombuffer(jpeg(pixels, LIVE_SIDE_PX, 90), np.uint8), cv2.IMREAD_COLOR_RGB
    )
    assert seen is not None
    assert (seen.shape[1], seen.shape[0]) == shown
    middle = seen[shown[1] // 2]
    assert int(middle[0, 0]) < 12 and int(middle[-1, 0]) > 240
    assert int(middle[:, 2].max()) < 40  # blue stayed blue


def test_the_pace_is_kept_and_a_late_turn_hurries_none() -> None:
    at_s = [0.0]
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        at_s[0] += seconds

    pace = Pace(10.0, wait, lambda: at_s[0])
    for _ in range(3):
        pace.keep()
    assert waited == pytest.approx([0.1, 0.1])
    at_s[0] += 5.0
    pace.keep()
    pace.keep()
    assert waited == pytest.approx([0.1, 0.1, 0.1])


def test_fields_are_read_beside_in_their_order_until_there_are_enough() -> None:
    read: list[str] = []
    go_on = threading.Event()

    def one(frame: Frame) -> bool:
        go_on.wait(5)
        read.append(frame.source)
        return len(read) < 2

    with ReadingBeside(one) as beside:
        for name in ("a", "b", "c"):
            beside.take(Frame(FRAME.pixels, name))
        assert beside.unread == 3
        assert not beside.enough
        go_on.set()
        ends = time.monotonic() + 5
        while beside.unread and time.monotonic() < ends:
            time.sleep(0.005)
        assert beside.enough
    assert read == ["a", "b"]


def test_what_is_left_is_not_read_and_an_error_is_raised_where_pictures_are_taken() -> None:
    read: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(frame: Frame) -> bool:
        begun.set()
        go_on.wait(5)
        read.append(frame.source)
        return True

    with ReadingBeside(slow) as beside:
        beside.take(Frame(FRAME.pixels, "a"))
        beside.take(Frame(FRAME.pixels, "b"))
        assert begun.wait(5)
        threading.Timer(0.05, go_on.set).start()
    assert read == ["a"]

    def fails(frame: Frame) -> bool:
        raise CaptureError("no", code="CAMERA_TIMEOUT", action="x")

    def all_read() -> None:
        with ReadingBeside(fails) as beside:
            beside.take(FRAME)
            while beside.unread:
                time.sleep(0.005)

    with pytest.raises(CaptureError, match="no"):
        all_read()


def test_no_two_small_pictures_have_one_address_not_even_after_another_start(
    tmp_path: Path,
) -> None:
    """A browser that stays on the page shows again what it once had at an address."""
    numbers: list[int] = []
    for _ in range(2):
        with Writer(RecordsFolder(tmp_path)) as writer:
            kiosk = Kiosk(writer)
            for sample in range(2):
                kiosk.forget_fields()
                for position in range(6):
                    kiosk.show_field(position, True, "", f"{sample} {position}".encode())
                numbers += [each.number for each in kiosk.shown_fields]
                assert [each.position for each in kiosk.shown_fields] == [2, 3, 4, 5]
                pictures = [kiosk.small_pictures[each.number] for each in kiosk.shown_fields]
                assert pictures == [f"{sample} {each}".encode() for each in (2, 3, 4, 5)]
                assert len(kiosk.small_pictures) == 4
    assert len(set(numbers)) == len(numbers) == 16


@pytest.mark.parametrize("hand", ["", "&hand=1.0"])
def test_pictures_come_while_a_field_is_read(hand: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small pictures, so that drawing them does not hold up the simulated camera.
    source = f"simulated:?fields=6&width=200&height=150{hand}"
    reading_s = 1.5

    def slow(self: Screening, item: Any) -> UnreadableImage:
        time.sleep(reading_s)
        result = UnreadableImage(item.source, "slow")
        self.images.append(result)
        return result

    monkeypatch.setattr(Screening, "consider", slow)
    here, there = multiprocessing.Pipe()
    worker = _Worker(there, source)
    monkeypatch.setattr(worker, "_rule", lambda _: StopRuleOfTwo)
    thread = threading.Thread(target=worker.work, daemon=True)
    thread.start()
    here.send(CaptureOrder(1, 7, source, None, ()))
    said: list[tuple[float, Report]] = []
    while not said or not isinstance(said[-1][1], HasEnough):
        assert here.poll(30), "the worker says nothing"
        said.append((time.monotonic(), here.recv()))
    here.send(None)
    thread.join(10)
    read = [(at, each) for at, each in said if isinstance(each, ReadField)]
    assert [each.position for _, each in read] == [0, 1]
    assert {each.run for _, each in read} == {7}
    for at, _ in read:
        during = [
            when for when, each in said if isinstance(each, SawPicture) and 0 < at - when < 1.4
        ]
        # Fifteen a second were twenty; a machine that does other work shows fewer.
        assert len(during) >= 4
        assert max(np.diff([*during, at])) < 1.0


class StopRuleOfTwo:
    """Two images are enough, whatever they are."""

    examined_fields = 6

    @staticmethod
    def reached(*, accepted: int, examined: int, counting_error: float | None) -> str | None:
        return "fields" if examined >= 2 else None


def test_no_picture_is_shown_twice_and_none_of_the_sample_before(tmp_path: Path) -> None:
    async def run() -> None:
        with Writer(RecordsFolder(tmp_path / "records")) as writer:
            kiosk = Kiosk(writer)
            await kiosk.start()
            try:
                assert await kiosk.next_view(0, 0.01) is None
                kiosk.show_view(b"one", 0.5, "MOVE_ON")
                view = await kiosk.next_view(0, 0.01)
                assert view is not None and view.jpeg == b"one"
                assert await kiosk.next_view(view.number, 0.01) is None
                waiting = asyncio.create_task(kiosk.next_view(view.number, 5))
                await asyncio.sleep(0)
                kiosk.show_view(b"two", 0.5, "MOVE_ON")
                later = await waiting
                assert later is not None and later.jpeg == b"two"
                kiosk.forget_fields()
                assert await kiosk.next_view(0, 0.01) is None
            finally:
                await kiosk.stop()

    asyncio.run(run())


def test_a_mere_sign_of_life_has_no_page_load_anew(tmp_path: Path) -> None:
    async def run() -> None:
        with Writer(RecordsFolder(tmp_path / "records")) as writer:
            kiosk = Kiosk(writer)
            await kiosk.start()
            try:
                for event in (
                    events.ChooseUser("amina"),
                    events.SignIn("amina", "operator", "screen-1"),
                    events.OpenPractice(),
                    events.NewSample(slide="good"),
                    events.GivePerson(40, "female", 0),
                    events.SelfChecked(()),
                    events.StartCapture(),
                ):
                    await kiosk.tell(event)
                before = kiosk.version
                at_s = kiosk.state.sample.progress.at_s if kiosk.state.sample else None
                await kiosk.tell(events.WorkerAlive(1))
                assert kiosk.version == before
                assert kiosk.state.sample is not None
                assert kiosk.state.sample.progress.at_s != at_s
                await kiosk.tell(events.WorkerAlive(1, 0.5))
                assert kiosk.version == before + 1
            finally:
                await kiosk.stop()

    asyncio.run(run())
