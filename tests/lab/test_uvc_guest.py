"""The kernel's own UVC driver with a USB camera of ours, in an emulated 64-bit ARM guest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgehemo.capture.guard import FAULT_NOTICED_S
from tests.lab import guest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

PARTS = Path(__file__).with_name("parts")
PACKAGE = Path(__file__).parents[2] / "edgehemo"
WHEELS = ("numpy", "opencv-python-headless", "msgspec")
GUEST_LIMIT_S = 240
# JPEG at quality 90 with 4:2:0 chroma.
COLOUR_TOLERANCE = 5.0
QUARTERS = ((150, 40, 50), (45, 140, 60), (50, 60, 160), (130, 128, 126))
GREY = np.array(QUARTERS[3], float)
# What stops within its own deadline may be this much later in an emulated guest.
EMULATION_SLACK_S = 1.5


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `parts/uvc_in_guest.py` reports from inside the guest."""
    folder = guest.build(WHEELS)
    source = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "bundles")
    shutil.copytree(PACKAGE, source / "edgehemo", ignore=ignored)
    shutil.copytree(PARTS, source / "parts", ignore=ignored)
    console = guest.run(folder, source, "uvc_in_guest.py", limit_s=GUEST_LIMIT_S)
    lines = [line for line in console.splitlines() if line.startswith("RESULT ")]
    assert lines, console[-3000:]
    result: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return result


def test_colours_arrive_as_rgb(seen: dict[str, Any]) -> None:
    for found, shown in zip(seen["quarters"], QUARTERS, strict=True):
        assert np.abs(np.subtract(found, shown)).max() <= COLOUR_TOLERANCE, (found, shown)


def test_the_automatics_are_off_and_settings_read_back(seen: dict[str, Any]) -> None:
    assert seen["taken"] == {"exposure_us": 15_600.0, "gain": 10.0, "white_balance_k": 4600.0}
    # Exposure mode manual on the camera terminal, automatic white balance off on the processor.
    assert [1, 2, 1] in seen["controls"] and [2, 11, 0] in seen["controls"]


def test_settings_act_on_the_pixels(seen: dict[str, Any]) -> None:
    assert np.allclose(seen["half_exposure"], GREY / 2, atol=COLOUR_TOLERANCE)
    assert np.allclose(seen["gain_60"], GREY * 160 / 110, atol=COLOUR_TOLERANCE)
    red, _, blue = seen["warm"]
    assert red - blue > 20  # 6500 K asked for: blue is taken back, red raised


def test_a_setting_that_did_not_take_is_named(seen: dict[str, Any]) -> None:
    code, message, _ = seen["refused"]
    assert code == "CAMERA_SETTING_REFUSED" and "gain" in message


def test_a_wedged_camera_keeps_the_deadline(seen: dict[str, Any]) -> None:
    """OpenCV's own read blocks for ten seconds there."""
    code, message, seconds = seen["wedged"]
    assert code == "CAMERA_TIMEOUT", message
    assert seconds <= FAULT_NOTICED_S + EMULATION_SLACK_S


def test_a_pulled_plug_is_told_in_time(seen: dict[str, Any]) -> None:
    code, seconds = seen["unplugged"]
    assert code == "CAMERA_UNPLUGGED"
    assert seconds <= FAULT_NOTICED_S + EMULATION_SLACK_S


def test_a_camera_that_comes_back_is_reopened_with_its_settings(seen: dict[str, Any]) -> None:
    assert np.allclose(seen["after_wedge"], GREY, atol=COLOUR_TOLERANCE)
    assert np.allclose(seen["after_replug"], GREY, atol=COLOUR_TOLERANCE)
    assert seen["reopened"] >= 1
    assert [1, 4, 156] in seen["controls_after_replug"]


@pytest.mark.parametrize("name", ["frozen", "dark"])
def test_useless_pictures_are_faults(seen: dict[str, Any], name: str) -> None:
    assert seen[name][0] == f"CAMERA_{name.upper()}", seen[name]
