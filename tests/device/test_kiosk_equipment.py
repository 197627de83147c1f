"""The engineer's page of the camera: settings tried live, kept or taken back; screen and site."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.capture.protocol import SETTING_RANGES, CameraSettings
from edgehemo.device.configuration import load_device
from edgehemo.device.machine import Machine, this_machine
from edgehemo.kiosk.engineering.equipment import EquipmentArea
from edgehemo.kiosk.engineering.levels_view import levels_view
from edgehemo.kiosk.engineering.settings_view import (
    STEPS,
    setting_rows,
    stepped,
    typed_number,
    with_partner,
)
from edgehemo.kiosk.messages import Levels, LookFailed, LookOrder, Order, SawLook
from edgehemo.kiosk.state import Sample
from edgehemo.words.language import Words
from tests.support.engineer_page import AtArea, engineer_at

WORDS = Words("en")
LEVELS = Levels((178.0, 177.0, 176.0), 0.012, 0.0, (0.0,) * 20 + (0.5,) * 2 + (0.0,) * 10, 3.0)
AT_FIRST = CameraSettings(exposure_us=10_000.0, gain=1.0, red_gain=1.1, blue_gain=1.3)


@given(
    st.sampled_from(sorted(STEPS)).flatmap(
        lambda name: st.tuples(st.just(name), st.floats(*SETTING_RANGES[name]))
    ),
    st.booleans(),
)
def test_a_touch_goes_its_way_and_never_out_of_the_range(at: tuple[str, float], up: bool) -> None:
    name, value = at
    low, high = SETTING_RANGES[name]
    after = stepped(name, value, up)
    assert low <= after <= high
    if low + STEPS[name].amount < value < high - STEPS[name].amount:
        assert (after > value) == up


def test_a_usb_cameras_gain_goes_in_whole_steps() -> None:
    assert stepped("gain", 64.0, True) == 70.0
    assert stepped("gain", 1.0, True) == 1.1


@pytest.mark.parametrize(
    ("text", "value"),
    [("9000", 9000.0), (" 1,5 ", 1.5), ("-2.5", -2.5), ("x", None), ("nan", None)],
)
def test_a_number_is_typed_with_a_point_or_a_comma(text: str, value: float | None) -> None:
    assert typed_number(text) == value


def test_only_what_the_camera_has_is_shown_and_what_is_tried_says_so() -> None:
    rows = setting_rows(AT_FIRST, CameraSettings(gain=1.0), WORDS)
    assert [row.name for row in rows] == ["exposure_us", "gain", "red_gain", "blue_gain"]
    assert [row.kept for row in rows] == [True, False, True, True]
    assert rows[0].value == "10,000"


def test_the_gains_of_red_and_blue_go_together() -> None:
    both = with_partner(CameraSettings(red_gain=2.0), AT_FIRST)
    assert (both.red_gain, both.blue_gain) == (2.0, 1.3)
    assert with_partner(CameraSettings(gain=2.0), AT_FIRST).red_gain is None


def test_the_light_is_told_in_numbers() -> None:
    view = levels_view(LEVELS, WORDS)
    assert (view.rgb, view.clipped) == ("178 · 177 · 176", "1.2 %")
    assert view.bars[20] == (0.0, 40.0)
    assert levels_view(None, WORDS).rgb == "…"


def camera_of(at: AtArea) -> tuple[list[LookOrder], Callable[[CameraSettings], None]]:
    """Have a made-up camera in the place of the process; what it is asked, and what it says."""
    asked: list[LookOrder] = []

    def send(order: Order) -> None:
        assert isinstance(order, LookOrder)
        asked.append(order)

    def says(settings: CameraSettings) -> None:
        at.kiosk.look.hear(SawLook(asked[-1].number, b"", 1.0, LEVELS, settings))

    at.kiosk.look.send, at.kiosk.look.source = send, "uvc:/dev/video0"
    return asked, says


def test_a_setting_is_tried_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, EquipmentArea()) as at:
            asked, says = camera_of(at)
            assert "…" in (await at.get()).text
            await asyncio.sleep(0)
            says(AT_FIRST)
            assert "178 · 177 · 176" in (await at.get()).text
            assert "10,000" in (await at.get("settings")).text
            text = (await at.post("try", name="exposure_us", way="up")).text
            assert "11,000" in text
            assert "tried" in text
            assert asked[-1].settings.exposure_us == 11_000
            says(CameraSettings(exposure_us=10_990.0, gain=1.0, red_gain=1.1, blue_gain=1.3))
            text = (await at.post("type", name="red_gain", value="1,4")).text
            assert asked[-1].settings.given() == {
                "exposure_us": 11_000.0, "red_gain": 1.4, "blue_gain": 1.3,
            }  # fmt: skip
            says(CameraSettings(exposure_us=10_990.0, gain=1.0, red_gain=1.39, blue_gain=1.3))
            assert "Kept." in (await at.post("keep")).text
            kept = load_device(None).camera
            # As the camera took it, which is what it can take again.
            assert (kept.exposure_us, kept.red_gain, kept.blue_gain) == (10_990.0, 1.39, 1.3)
            assert at.app.device.camera == kept
            assert at.chain("configuration changed")[0]["by"] == "Ines"
            assert "tried" not in (await at.get("settings")).text

    asyncio.run(run())


def test_what_is_tried_is_taken_back_and_what_is_refused_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, EquipmentArea()) as at:
            asked, says = camera_of(at)
            await at.get()
            await asyncio.sleep(0)
            says(AT_FIRST)
            text = (await at.post("type", name="gain", value="99999")).text
            assert "Gain lies between 0.00 and 1,023.00." in text
            await at.post("type", name="gain", value="900")
            said = "uvc: gain was set to 900 and reads back 64"
            at.kiosk.look.hear(LookFailed(asked[-1].number, "CAMERA_SETTING_REFUSED", said))
            text = (await at.get("settings")).text
            assert "The camera refuses a setting" in text
            assert "reads back 64" in text
            assert "nothing is kept" in (await at.post("keep")).text
            assert load_device(None).camera.gain is None
            await at.post("before")
            # First the camera is given what it had; the page then leaves it as it is.
            assert asked[-2].settings.given() == AT_FIRST.given()
            assert asked[-1].settings == CameraSettings()
            assert (await at.post("try", name="gain", way="sideways")).status_code == 404
            assert (await at.get("value?name=nothing")).status_code == 404

    asyncio.run(run())


def board(root: Path) -> Machine:
    """A machine with a USB camera and a sensor."""
    for node, name in (("video0", "HD USB Camera"), ("v4l-subdev0", "imx477 10-001a")):
        folder = root / "sys" / "class" / "video4linux" / node
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n", encoding="utf-8")
    real = this_machine()
    return Machine(root, real.now, real.command, real.version, real.requires, real.unfound)


def test_a_camera_that_is_there_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        area = EquipmentArea(board(tmp_path / "root"))
        async with engineer_at(tmp_path, monkeypatch, area) as at:
            text = (await at.get("cameras")).text
            assert "HD USB Camera" in text
            assert "imx477" in text
            refused = await at.post("choose", source="uvc:/dev/video7")
            assert "not there any more" in refused.text
            told: list[str] = []
            at.app.desk = replace(at.app.desk, use_camera=told.append)
            waits = Sample(ref=1, owner="amina", step="capture", number="26-1")
            before = at.kiosk.state
            at.kiosk.state = before.model_copy(update={"samples": (waits,)})
            assert "A sample waits" in (await at.post("choose", source="picamera2:0")).text
            at.kiosk.state = before
            assert load_device(None).camera.source is None and not told
            text = (await at.post("choose", source="picamera2:0")).text
            assert "The kiosk uses it from now on." in text
            assert load_device(None).camera.source == "picamera2:0"
            assert told == ["picamera2:0"]

    asyncio.run(run())


def test_the_screen_is_measured_with_a_ruler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, EquipmentArea()) as at:
            assert 'width="284.0"' in (await at.get("screen")).text
            assert 'width="304.0"' in (await at.get("screen?px=6")).text
            await at.post("screen/keep", px="6")
            assert load_device(None).kiosk.px_per_mm == 6.0
            assert "--mm: 6px" in (await at.browser.get("/screen.css")).text

    asyncio.run(run())


def test_the_site_is_kept_and_a_wrong_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, EquipmentArea()) as at:
            right = {"language": "fr", "unit": "g/dL", "theme": "dark", "site": "clinic-3"}
            text = (await at.post("site/keep", altitude_m="9000", **right)).text
            assert "from -450 to 4,999" in text
            text = (await at.post("site/keep", altitude_m="1200", **{**right, "site": "§"})).text
            assert "Not kept: kiosk.site" in text
            assert load_device(None).kiosk.language == "en"
            await at.post("site/keep", altitude_m="1200", **right)
            kiosk = load_device(None).kiosk
            assert (kiosk.language, kiosk.unit, kiosk.theme) == ("fr", "g/dL", "dark")
            assert (kiosk.altitude_m, kiosk.site) == (1200.0, "clinic-3")
            # The page itself is as the site has it from now on.
            assert 'data-theme="dark"' in (await at.get("site")).text

    asyncio.run(run())


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is shut to the superuser")
def test_a_shut_configuration_says_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, EquipmentArea()) as at:
            at.device_file.chmod(0o444)
            text = (await at.post("screen/keep", px="6")).text
            assert "may not be written" in text
            assert "px_per_mm = 6.0" in text

    asyncio.run(run())
