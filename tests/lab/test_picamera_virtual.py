"""The real picamera2 and libcamera on libcamera's virtual camera, which serves our pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.lab import debian

pytestmark = pytest.mark.lab

PARTS = Path(__file__).with_name("parts")
PACKAGE = Path(__file__).parents[2] / "edgehemo"
# The four quarters of the served picture, RGB; the last one is a clear field's near-white.
QUARTERS = ((200, 30, 40), (30, 180, 60), (40, 60, 210), (230, 225, 235))
# JPEG at quality 95 and 4:2:0 chroma change a flat patch by a count or two.
COLOUR_TOLERANCE = 3.0
VIRTUAL_CAMERA = """%YAML 1.1
---
"Microscope":
  supported_formats:
  - width: 1280
    height: 960
    frame_rates:
    - 30
  frames:
    path: "/opt/frames"
  location: "CameraLocationExternal"
  model: "imx477"
"""
PACKAGES = (
    "python3",
    "python3-pip",
    "python3-venv",
    "python3-dev",
    "ca-certificates",
    "gcc",
    "libc6-dev",
    "python3-libcamera",
    "libcamera-ipa",
    "python3-prctl",
    "python3-numpy",
    "python3-pil",
)
INSTALL = (
    "python3 -m venv --system-site-packages /opt/v && "
    "/opt/v/bin/pip install --quiet picamera2 opencv-python-headless msgspec"
)


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What `parts/picamera_on_virtual.py` reports from inside the root."""
    debian.need_tools(mmdebstrap="mmdebstrap", chroot="coreutils")
    root, whole = debian.kept("virtual-camera", "\n".join((*PACKAGES, INSTALL, debian.SUITE)))
    if not whole:
        debian.bootstrap(root, PACKAGES, variant="minbase")
        debian.give_network(root)
        made = debian.in_root(root, "bash", "-c", INSTALL)
        if made.returncode:
            pytest.skip(f"picamera2 could not be installed in the root: {made.stderr[-300:]}")
        debian.mark_whole(root)
    served = root / "opt/frames"
    shutil.rmtree(served, ignore_errors=True)
    served.mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(served / f"{number}.jpg"), _picture(number), [cv2.IMWRITE_JPEG_QUALITY, 95])
    described = root / "usr/share/libcamera/pipeline/virtual"
    described.mkdir(parents=True, exist_ok=True)
    (described / "virtual.yaml").write_text(VIRTUAL_CAMERA, encoding="utf-8")
    source = root / "opt/source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(PACKAGE, source / "edgehemo", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PARTS, source / "parts", ignore=shutil.ignore_patterns("__pycache__"))
    # libcamera 0.4 starts its virtual pipeline in a race that it now and then loses: a second try.
    for _ in range(2):
        done = debian.in_root(
            root,
            "/opt/v/bin/python",
            "/opt/source/parts/picamera_on_virtual.py",
            timeout_s=120,
            PYTHONPATH="/opt/source:/opt/source/parts",
            LIBCAMERA_LOG_LEVELS="*:ERROR",
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if lines:
            break
    assert lines, f"exit {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}"
    result: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return result


def test_known_colours_arrive_as_full_range_rgb(seen: dict[str, Any]) -> None:
    """A swap of red and blue, or a studio-range conversion, is off by 20 counts and more."""
    assert seen["metadata"]["pixel_format"] == "NV12"  # asked for RGB888, read back
    for found, served in zip(seen["quarters"], QUARTERS, strict=True):
        assert np.abs(np.subtract(found, served)).max() <= COLOUR_TOLERANCE, (found, served)


def test_frames_pass_the_guard(seen: dict[str, Any]) -> None:
    means = seen["guarded_means"]
    assert len(means) == 3 and all(isinstance(value, float) for value in means), means
    assert seen["shape"] == [960, 1280, 3]


def test_a_control_the_camera_has_not_is_named(seen: dict[str, Any]) -> None:
    """This camera has neither exposure nor gain: taking the setting silently would be a lie."""
    code, message = seen["settings"]
    assert code == "CAMERA_SETTING_REFUSED"
    assert "ExposureTime" in message and "AnalogueGain" in message


def test_an_absent_camera_is_told(seen: dict[str, Any]) -> None:
    assert seen["absent"][0] == "CAMERA_NOT_FOUND"


def _picture(number: int) -> np.ndarray[Any, Any]:
    """BGR for OpenCV: the quarters, and a grey disc that differs from picture to picture."""
    picture = np.zeros((960, 1280, 3), np.uint8)
    for place, colour in enumerate(QUARTERS):
        row, column = divmod(place, 2)
        picture[row * 480 : (row + 1) * 480, column * 640 : (column + 1) * 640] = colour
    cv2.circle(picture, (640, 480), 30 + 10 * number, (128, 128, 128), cv2.FILLED)
    return picture[..., ::-1]
