"""The engineer's live picture: the camera is set while it is looked at, and gives pictures."""

from __future__ import annotations

import asyncio
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehemo.capture.protocol import CameraSettings
from edgehemo.capture.simulated import SimulatedMicroscope
from edgehemo.device.configuration import load_profile
from edgehemo.errors import UsageError
from edgehemo.kiosk.camera_look import AGAIN_S, CameraLook
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.looking import LOOK_S, Looking, levels_of
from edgehemo.kiosk.messages import (
    LookFailed,
    LookOrder,
    Order,
    Report,
    SawLook,
    StopOrder,
    TookPicture,
)
from edgehemo.kiosk.work import WorkerProcess
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer

CAMERA = "simulated:?width=160&height=120"


class Orders:
    """A connection on which orders come after so many pictures; and a clock that goes with it."""

    def __init__(self, after: dict[int, Order]) -> None:
        self.after, self.polled, self.now_s = after, 0, 0.0

    def poll(self, timeout_s: float) -> bool:
        self.polled += 1
        self.now_s += 0.5
        return self.polled in self.after

    def recv(self) -> Order:
        return self.after[self.polled]

    def clock(self) -> float:
        return self.now_s


def looked(order: LookOrder, after: dict[int, Order]) -> tuple[list[Report], tuple[object, ...]]:
    said: list[Report] = []
    orders = Orders(after)
    looking = Looking(orders, said.append, lambda _: b"jpeg", orders.clock)
    return said, looking.look(order)


def test_a_look_ends_by_itself_when_nobody_asks_again() -> None:
    said, other = looked(LookOrder(1, CAMERA), {})
    assert other == ()
    assert len(said) == LOOK_S / 0.5
    assert all(isinstance(each, SawLook) for each in said)
    again, _ = looked(LookOrder(1, CAMERA), {5: LookOrder(1, CAMERA)})
    assert len(again) == len(said) + 5


def test_another_order_comes_first_and_is_handed_on() -> None:
    said, other = looked(LookOrder(1, CAMERA), {2: StopOrder()})
    assert other == (StopOrder(),)
    assert len(said) == 2


def test_settings_are_tried_live_and_what_is_refused_is_told() -> None:
    brighter = LookOrder(2, CAMERA, CameraSettings(exposure_us=14_000.0))
    refused = LookOrder(3, CAMERA, CameraSettings(gain=900.0))
    said, _ = looked(LookOrder(1, CAMERA), {1: brighter, 2: refused})
    first, second = said[0], said[1]
    assert isinstance(first, SawLook)
    assert isinstance(second, SawLook)
    assert second.settings.exposure_us == 14_000.0
    assert second.levels.bright_rgb[1] > first.levels.bright_rgb[1]
    failed = said[2]
    assert isinstance(failed, LookFailed)
    assert (failed.number, failed.code) == (3, "CAMERA_SETTING_REFUSED")
    assert isinstance(said[3], SawLook)


def test_pictures_are_kept_lossless_each_under_its_settings(tmp_path: Path) -> None:
    stack = tuple(CameraSettings(focus_um=each) for each in (-2.0, 0.0, 2.0))
    said, _ = looked(LookOrder(4, CAMERA, folder=str(tmp_path), pictures=stack), {})
    files = [Path(each.file) for each in said if isinstance(each, TookPicture)]
    assert [file.name for file in files] == ["0004-001.png", "0004-002.png", "0004-003.png"]
    sharp = []
    for file in files:
        picture = cv2.imread(str(file))
        assert picture is not None
        sharp.append(levels_of(np.asarray(picture[..., ::-1], np.uint8)).focus)
    assert sharp[1] > max(sharp[0], sharp[2])


def test_levels_tell_clipped_black_and_bright() -> None:
    pixels = np.full((100, 100, 3), 120, np.uint8)
    pixels[:10] = 255
    pixels[90:] = 0
    levels = levels_of(pixels)
    assert (levels.clipped, levels.black) == (0.1, 0.1)
    assert levels.bright_rgb == (255.0, 255.0, 255.0)
    assert sum(levels.histogram) == pytest.approx(1.0)


def test_a_look_is_said_again_while_pages_ask_and_not_too_often() -> None:
    now_s, said = 0.0, list[Order]()
    look = CameraLook(lambda call: call(), clock=lambda: now_s)
    look.send = said.append
    look.renew()
    assert not said
    look.show(CameraSettings(), CAMERA)
    look.renew()
    assert len(said) == 1
    now_s = AGAIN_S
    look.renew()
    assert said[1] == said[0]
    look.take(Path("folder"), (CameraSettings(),), CameraSettings(), source=CAMERA)
    assert isinstance(said[2], LookOrder)
    assert said[2].folder == "folder"
    assert look.seen.taking
    assert not look.hear(TookPicture(1, "of the look before"))
    assert look.hear(TookPicture(said[2].number, "0002-001.png"))
    assert not look.seen.taking
    now_s += AGAIN_S
    look.renew()
    assert isinstance(said[3], LookOrder)
    assert said[3].folder is None
    look.hear(LookFailed(said[3].number, "CAMERA_UNPLUGGED", "pulled"))
    assert look.seen.problem == ("CAMERA_UNPLUGGED", "pulled")
    look.forget()
    look.renew()
    assert len(said) == 4
    assert not look.is_open


def test_the_process_shows_and_keeps_pictures_for_the_engineer(tmp_path: Path) -> None:
    async def run() -> None:
        with Writer(RecordsFolder(tmp_path / "records")) as writer:
            kiosk = Kiosk(writer)
            kiosk.work = WorkerProcess(kiosk, load_profile("workstation"), CAMERA)
            await kiosk.start()
            try:
                folder = tmp_path / "pictures"
                folder.mkdir()
                kiosk.look.take(folder, (CameraSettings(),) * 2, CameraSettings(), move=True)
                seen = await asyncio.to_thread(kiosk.look.wait_taken, 60)
                assert len(seen.taken) == 2
                async with asyncio.timeout(20):
                    while not kiosk.look.facts() or not kiosk.view.jpeg:
                        await asyncio.sleep(0.05)
                assert sorted(path.name for path in folder.iterdir()) == [
                    Path(file).name for file in seen.taken
                ]
                assert kiosk.look.seen.settings.exposure_us == 10_000
            finally:
                await kiosk.stop()

    asyncio.run(run())


def test_the_simulated_microscope_has_calibration_slides() -> None:
    with SimulatedMicroscope.from_spec(f"{CAMERA}&slide=empty") as camera:
        assert levels_of(camera.frame(5.0).pixels).histogram[20:] != ()
        empty = float(camera.frame(5.0).pixels.std())
    with SimulatedMicroscope.from_spec(f"{CAMERA}&slide=ruling") as camera:
        first = camera.frame(5.0).pixels
        assert float(first.std()) > 3 * empty
        camera.move_to_next_field()
        assert np.abs(camera.frame(5.0).pixels.astype(int) - first).mean() > 20
    with pytest.raises(UsageError, match="no slide 'rulings'; did you mean ruling"):
        SimulatedMicroscope.from_spec(f"{CAMERA}&slide=rulings")
