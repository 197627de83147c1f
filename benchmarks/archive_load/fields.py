"""Real-size fields in any number: drawn once, then turned, mirrored, cut and made noisy anew.

No field shows real blood. What is measured on them is time and whether all are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.files.atomic import write_bytes_atomically
from edgehemo.images.frame import Frame
from edgehemo.report.pictures import png
from edgehemo.simulation.field import simulate_field
from edgehemo.simulation.panels import draw_panel
from edgehemo_laboratory.archive.sources import Arrival, Labels

# As a camera of two megapixels before a 40x objective gives them.
WIDTH_PX, HEIGHT_PX, UM_PER_PX = 1600, 1200, 0.1
BASES = 16
# Cut from each side at most; the size stays the same for all.
_SHIFT_PX = 48
_NOISE = 2.0
JPEG_QUALITY = 85
FIELDS_A_SAMPLE, SAMPLES_A_SITE = 20, 50


def bases(folder: Path) -> list[NDArray[np.uint8]]:
    """The drawn fields, uint8 RGB; drawn where they are not in the folder yet."""
    found = []
    for number in range(BASES):
        path = folder / f"base_{number}.png"
        if not path.exists():
            rng = np.random.default_rng([11, number])
            made: Frame = simulate_field(
                draw_panel(rng), rng=rng, width_px=WIDTH_PX, height_px=HEIGHT_PX,
                um_per_px=UM_PER_PX,
            ).frame  # fmt: skip
            write_bytes_atomically(path, png(made.pixels))
        pixels = cv2.imread(str(path))
        assert pixels is not None
        found.append(np.ascontiguousarray(pixels[..., ::-1].astype(np.uint8)))
    return found


def variation(pictures: list[NDArray[np.uint8]], number: int) -> bytes:
    """The JPEG of the field of a number: always the same, and no two alike."""
    rng = np.random.default_rng([13, number])
    pixels = pictures[number % len(pictures)]
    x, y = (int(value) for value in rng.integers(0, _SHIFT_PX, 2))
    height, width = HEIGHT_PX - _SHIFT_PX, WIDTH_PX - _SHIFT_PX
    cut = pixels[y : y + height, x : x + width]
    turn = (number // len(pictures)) % 4
    if turn & 1:
        cut = cut[:, ::-1]
    if turn & 2:
        cut = cut[::-1]
    # One strip of noise, laid on at another place each time: no digest comes twice.
    strip = np.random.default_rng(7).normal(0, _NOISE, height * width + 4096).astype(np.int8)
    start = int(rng.integers(0, 4096))
    noise = strip[start : start + height * width].reshape(height, width, 1)
    noisy = np.clip(cut.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    ok, coded = cv2.imencode(".jpg", noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert ok
    return coded.tobytes()


def arrivals(pictures: list[NDArray[np.uint8]], numbers: range) -> Iterator[Arrival]:
    """The fields of these numbers as they come into an archive: twenty a sample."""
    for number in numbers:
        sample, position = divmod(number, FIELDS_A_SAMPLE)
        labels = Labels(
            sample=f"S-{sample:05d}",
            site=f"site-{sample // SAMPLES_A_SITE:03d}",
            um_per_px=UM_PER_PX,
            simulated=True,
        )
        yield Arrival(
            partial(variation, pictures, number),
            f"field_{number}.jpg",
            position,
            labels,
            "a benchmark",
        )


def digests_differ(pictures: list[NDArray[np.uint8]], count: int) -> bool:
    """Whether so many fields have as many digests."""
    found = {hashlib.sha256(variation(pictures, number)).digest() for number in range(count)}
    return len(found) == count
