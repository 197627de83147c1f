"""How often a field blurred by defocus is still accepted, and at which scale it is then read.

    python benchmarks/blurred_fields.py [--fields 28] [--set chula_disease ...] [--radii 7 9 11 14]

Whole thin-smear fields of each set, as a camera of 1280x960 px would give them (smaller ones are
enlarged, larger ones reduced), are blurred by discs of several radii in pixels and read as
`edgehemo quality` reads them, with the shipped finder and nothing known of the microscope: the
scale is read from the blurred cells themselves. A disc is laid over the light (what a lens does) or
over the stored counts (what a picture program does); after it comes nothing, the noise of a camera,
JPEG, or both.

Columns: ``accepted`` share of the fields, of those that are accepted unblurred; ``scale`` quartiles
of the scale as read over the one read of the sharp field; ``off`` share of fields whose scale was
read more than 15 % off that. The discs' radii in um at the sharp field's scale stand beside: a
blur of less than about 0.8 um is within what sharp objectives differ by. Every accepted field that
was blurred by 1 um or more is named at the end with what it was judged by.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
import real_fields

from edgehemo.device.equipment import open_equipment
from edgehemo.errors import FieldError
from edgehemo.images.frame import Frame
from edgehemo.screening.field import FieldReader, FieldReading
from edgehemo_export.data.sets import read_set

Pixels = NDArray[np.uint8]

WIDTH_PX = 1280
# As radii and as diameters, discs of 14 to 22 px, and what lies between and beyond.
RADII_PX = (5, 7, 9, 11, 14, 18, 22, 30)
SETS = ("chula_disease", "chula_rbc12", "uganda_phone", "anerbc", "bccd", "txl_pbc")
# Blurred by so much, a field is out of focus on any microscope.
CLEARLY_BLURRED_UM = 1.0
OFF_BY = 0.15
_GAMMA = 2.2


def _light(pixels: Pixels, radius_px: float) -> NDArray[np.float32]:
    light = (pixels.astype(np.float32) / 255.0) ** _GAMMA
    blurred = np.maximum(_spread(light, radius_px), 0.0)
    return (255.0 * blurred ** (1 / _GAMMA)).astype(np.float32)


def _counts(pixels: Pixels, radius_px: float) -> NDArray[np.float32]:
    return _spread(pixels.astype(np.float32), radius_px)


def _spread(picture: NDArray[np.float32], radius_px: float) -> NDArray[np.float32]:
    kernel = real_fields.disc(radius_px)
    blurred = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, dtype=np.float32)


def _bytes(picture: NDArray[np.float32]) -> Pixels:
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _noisy(picture: NDArray[np.float32], counts: float) -> Pixels:
    rng = np.random.default_rng(11)
    return _bytes(picture + rng.normal(0, counts, picture.shape).astype(np.float32))


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    _, coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)


DISCS: dict[str, Callable[[Pixels, float], NDArray[np.float32]]] = {
    "light": _light,
    "counts": _counts,
}
AFTER: dict[str, Callable[[NDArray[np.float32]], Pixels]] = {
    "nothing": _bytes,
    "noise 1.5": lambda picture: _noisy(picture, 1.5),
    "JPEG 90": lambda picture: _jpeg(_bytes(picture), 90),
    "noise 4, JPEG 75": lambda picture: _jpeg(_noisy(picture, 4.0), 75),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=28, help="fields a set")
    parser.add_argument("--set", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--radii", type=float, nargs="+", default=list(RADII_PX), help="px")
    parser.add_argument("--disc", nargs="+", default=list(DISCS), choices=list(DISCS))
    parser.add_argument("--after", nargs="+", default=list(AFTER), choices=list(AFTER))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    reader = open_equipment(None, None).judging_reader()
    named: list[str] = []
    start = time.monotonic()
    for name in options.set:
        named += _judge_set(name, reader, options)
        print(f"  ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"accepted though blurred by {CLEARLY_BLURRED_UM:g} um or more: {len(named)}")
    for line in named:
        print("  " + line)


def _judge_set(name: str, reader: FieldReader, options: argparse.Namespace) -> list[str]:
    """Print a set's table; lines on the accepted fields that should not be."""
    sharp = []
    refused = 0
    for path in _spread_over(name, options.fields):
        pixels = _as_camera(real_fields.read_rgb(path))
        reading = _read(pixels, path.name, reader)
        if reading is None or not reading.accepted:
            refused += 1
            continue
        sharp.append((path.name, pixels, reading.um_per_px))
    scales = [scale for _, _, scale in sharp]
    print(
        f"{name}: {len(sharp)} sharp fields, {refused} refused unblurred, "
        f"{np.median(scales) if scales else float('nan'):.3f} um/px"
    )
    accepted: defaultdict[tuple[str, str, float], list[bool]] = defaultdict(list)
    scale_read: defaultdict[tuple[str, str, float], list[float]] = defaultdict(list)
    named = []
    for file, pixels, scale in sharp:
        for radius in options.radii:
            for disc in options.disc:
                blurred = DISCS[disc](pixels, radius)
                for after in options.after:
                    key = (disc, after, radius)
                    reading = _read(AFTER[after](blurred), file, reader)
                    accepted[key].append(reading is not None and reading.accepted)
                    if reading is None:
                        continue
                    scale_read[key].append(reading.um_per_px / scale)
                    if reading.accepted and radius * scale >= CLEARLY_BLURRED_UM:
                        where = f"{name} {file} {disc} {after} {radius:g} px"
                        named.append(f"{where} = {radius * scale:.2f} um: {_judged_by(reading)}")
    typical = float(np.median(scales)) if scales else 0.0
    print("  disc    after               px    um  accepted        scale            off")
    for key, verdicts in sorted(accepted.items()):
        disc, after, radius = key
        ratios = np.array(scale_read[key])
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)) if len(ratios) else (0, 0, 0)
        off = np.mean(np.abs(np.log(ratios)) > np.log(1 + OFF_BY)) if len(ratios) else 0.0
        print(
            f"  {disc:8}{after:18}{radius:4g}  {radius * typical:4.2f}  "
            f"{sum(verdicts):3d}/{len(verdicts):3d} = {np.mean(verdicts):5.3f}  "
            f"{low:.2f} {middle:.2f} {high:.2f}  {off:.2f}"
        )
    return named


def _spread_over(name: str, count: int) -> Sequence[Path]:
    """At most so many fields of a set, evenly chosen from all of it."""
    files = sorted(picture.path for picture in read_set(real_fields.data_root(), name))
    chosen = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).astype(int))
    return [files[i] for i in chosen]


def _as_camera(pixels: Pixels) -> Pixels:
    """The field as wide as the camera's picture."""
    height, width = pixels.shape[:2]
    if width == WIDTH_PX:
        return pixels
    size = (WIDTH_PX, round(height * WIDTH_PX / width))
    how = cv2.INTER_AREA if width > WIDTH_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=how), dtype=np.uint8)


def _read(pixels: Pixels, name: str, reader: FieldReader) -> FieldReading | None:
    try:
        return reader.read(Frame(pixels, name))
    except FieldError:
        return None


def _judged_by(reading: FieldReading) -> str:
    values = {check.name: check for check in reading.quality.checks}
    said = [f"{reading.um_per_px:.4f} um/px"]
    for check in map(values.get, ("focus", "fine_detail", "finest_detail", "cell_widths")):
        if check is not None and check.value is not None:
            said.append(f"{check.name} {check.value:.2f} (limit {check.limit or 0:.2f})")
    return ", ".join(said)


if __name__ == "__main__":
    main()
