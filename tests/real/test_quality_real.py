"""Quality on real smears: ordinary fields pass, spoilt ones do not."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.field.canonical import canonical_field
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.quality import QualityReport, check_field
from edgehemo.quality.focus import edge_sharpness
from edgehemo.quality.regions import field_regions
from tests.support.smears import set_files

pytestmark = pytest.mark.real

# um/px of the sets (their README).
SETS = {"bccd": 0.085, "chula_rbc12": 0.20, "chula_disease": 0.10, "anerbc": 0.37}
FIELDS = 6


def real_frames(root: Path, name: str) -> list[Frame]:
    files = set_files(root, name)
    chosen = np.linspace(0, len(files) - 1, FIELDS + 2).astype(int)[1:-1]
    return [read_frame(files[i]) for i in chosen]


def judge(frame: Frame, um_per_px: float) -> QualityReport:
    return check_field(canonical_field(frame, um_per_px=um_per_px), frame)


def scale_of(frame: Frame, name: str) -> float:
    field = canonical_field(frame)
    known = SETS[name]
    believable = field.scale_source == "red_cells" and 0.4 < field.frame_um_per_px / known < 2.5
    return field.frame_um_per_px if believable else known


def blurred(frame: Frame, radius_px: float) -> Frame:
    """Blurred by a disc on linear light, with noise of 1.5 counts."""
    half = int(np.ceil(radius_px)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    disc = np.clip(radius_px + 0.5 - np.hypot(x, y), 0.0, 1.0)
    light = (frame.pixels.astype(np.float32) / 255.0) ** 2.2
    spread = cv2.filter2D(light, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)
    counts = 255.0 * np.maximum(spread, 0.0) ** (1 / 2.2)
    counts += np.random.default_rng(1).normal(0, 1.5, counts.shape)
    pixels: NDArray[np.uint8] = np.clip(np.round(counts), 0, 255).astype(np.uint8)
    return Frame(pixels, frame.source)


@pytest.mark.parametrize("name", SETS)
def test_ordinary_fields_are_accepted_and_blurred_ones_are_not(data_root: Path, name: str) -> None:
    frames = real_frames(data_root, name)
    scales = [scale_of(frame, name) for frame in frames]
    accepted = [judge(f, s).accepted for f, s in zip(frames, scales, strict=True)]
    # One of six may be a truly soft or odd field.
    assert sum(accepted) >= len(frames) - 1
    for frame, scale in zip(frames, scales, strict=True):
        report = judge(blurred(frame, 1.1 / scale), scale)
        assert "OUT_OF_FOCUS" in {check.code for check in report.failed}


@pytest.mark.parametrize("name", ["bccd", "chula_rbc12", "chula_disease"])
def test_sharpness_falls_with_blur(data_root: Path, name: str) -> None:
    for frame in real_frames(data_root, name)[:3]:
        scale = scale_of(frame, name)
        values = []
        for radius_um in (0.0, 0.5, 1.0, 2.0, 4.0):
            seen = blurred(frame, radius_um / scale) if radius_um else frame
            field = canonical_field(seen, um_per_px=scale)
            values.append(edge_sharpness(field, field_regions(field)) or 0.0)
        assert all(b < a for a, b in itertools.pairwise(values)), (frame.source, values)


@pytest.mark.parametrize("name", SETS)
def test_dark_and_overexposed_fields_are_refused(data_root: Path, name: str) -> None:
    frame = real_frames(data_root, name)[0]
    scale = scale_of(frame, name)
    for gain, code in ((0.2, "LIGHT_TOO_DARK"), (2.0, "LIGHT_TOO_BRIGHT")):
        pixels = np.clip(frame.pixels * gain, 0, 255).astype(np.uint8)
        report = judge(Frame(pixels, frame.source), scale)
        assert code in {check.code for check in report.failed}


@pytest.mark.parametrize("name", ["bccd", "chula_rbc12", "anerbc"])
def test_real_fields_in_grey_are_said_to_have_no_colour(data_root: Path, name: str) -> None:
    files = sorted((data_root / name / "images").iterdir())
    for path in files[:: max(1, len(files) // 3)][:3]:
        frame = read_frame(path)
        grey = cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2GRAY)
        toned = Frame(np.repeat(grey[..., None], 3, axis=2), "grey")
        report = check_field(canonical_field(toned), toned)
        assert report.failed[0].code == "COLOUR_MISSING", path.name
        assert not {"NOT_A_SMEAR", "NUCLEATED_RED_CELLS"} & set(report.faults), path.name
