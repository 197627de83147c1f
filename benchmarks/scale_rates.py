"""How often the scale is read wrongly, and whether a field of a wrong scale is then accepted.

    python benchmarks/scale_rates.py [--fields 100] [--set chula_disease ...]

Real fields are read with nothing known of the microscope, as they are and as other cameras and
objectives would give them: enlarged, reduced, and cut to a part. Where all fields of a set are of
one microscope, the scale that one should have is the median over the fields of its size as they
are; where they differ (phones at eyepieces, crops of two scanners) it is the field's own, read as
it is. Of what was done to the picture the rest follows by arithmetic. A sample's macrocytes and
microcytes are truly wider and narrower: they may take up a part of the 15 %.

Columns: ``first`` share of fields whose first reading, by the round parts of the picture, is more
than 15 % off; ``settled`` the same after the finder's boxes were asked; ``accepted and off`` of
these the accepted ones, which is what must not happen; ``refused`` share of fields refused.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
import real_fields

from edgehemo.device.equipment import open_equipment
from edgehemo.errors import FieldError
from edgehemo.field.canonical import canonical_field
from edgehemo.images.frame import Frame
from edgehemo.screening.field import FieldReader
from edgehemo_export.data.sets import read_set

Pixels = NDArray[np.uint8]

OFF_BY = 0.15
# Sets whose fields are of one microscope and magnification, at the size given; of the others each
# field stands for itself.
ONE_MICROSCOPE = ("bccd", "chula_rbc12", "chula_disease", "anerbc")
SETS = ("bccd", "chula_rbc12", "chula_disease", "txl_pbc", "anerbc", "uganda_phone")


def _resized(factor: float) -> Callable[[Pixels], Pixels]:
    def made(pixels: Pixels) -> Pixels:
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        out = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=how)
        return np.asarray(out, dtype=np.uint8)

    return made


def _part(share: float) -> Callable[[Pixels], Pixels]:
    """The middle of the picture, this share of its sides."""

    def made(pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        rows, columns = round(height * share), round(width * share)
        top, left = (height - rows) // 2, (width - columns) // 2
        return np.ascontiguousarray(pixels[top : top + rows, left : left + columns])

    return made


# What is done to a picture, and by how much its scale is divided.
VIEWS: dict[str, tuple[Callable[[Pixels], Pixels], float]] = {
    "as it is": (lambda pixels: pixels, 1.0),
    "half the pixels": (_resized(0.5), 0.5),
    "twice the pixels": (_resized(2.0), 2.0),
    "its middle half": (_part(0.5), 1.0),
    "its middle half, twice": (lambda pixels: _resized(2.0)(_part(0.5)(pixels)), 2.0),
}


@dataclass(frozen=True, slots=True)
class Read:
    """One field read. Scales in um/px of the untouched picture; first None where none was read."""

    file: str
    first: float | None
    settled: float
    size: tuple[int, int]
    source: str
    accepted: bool
    faults: tuple[str, ...]
    red: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=100, help="fields a set")
    parser.add_argument("--set", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--view", nargs="+", default=list(VIEWS), choices=list(VIEWS))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    reader = open_equipment(None, None).cells_reader()
    reader = FieldReader(reader.finder, envelope=reader.envelope, measure=False, keep_refused=True)
    start = time.monotonic()
    print(
        "set            view                      fields  first  settled  accepted and off  refused"
    )
    for name in options.set:
        files = _spread_over(name, options.fields)
        truth: dict[str, float] = {}
        for view in ["as it is", *(v for v in options.view if v != "as it is")]:
            reads = [read for file in files if (read := _read(file, view, reader)) is not None]
            if not truth:
                truth = _truth(name, reads)
            if view in options.view:
                _print(name, view, reads, truth)
        print(f"  ({time.monotonic() - start:.0f} s)", flush=True)


def _truth(name: str, reads: Sequence[Read]) -> dict[str, float]:
    """The scale that each file should have."""
    if name in ONE_MICROSCOPE:
        by_size = {
            size: float(np.median([read.settled for read in reads if read.size == size]))
            for size in {read.size for read in reads}
        }
        print(f"{name}: " + ", ".join(f"{w} px {s:.3f} um/px" for (w, _), s in by_size.items()))
        return {read.file: by_size[read.size] for read in reads}
    return {read.file: read.settled for read in reads if read.source == "red_cells"}


def _print(name: str, view: str, reads: Sequence[Read], truth: dict[str, float]) -> None:
    def off(scale: float | None, file: str) -> bool:
        return scale is None or abs(np.log(scale / truth[file])) > np.log(1 + OFF_BY)

    judged = [read for read in reads if read.file in truth]
    first = np.mean([off(read.first, read.file) for read in judged])
    settled = [read for read in judged if off(read.settled, read.file)]
    wrong = [read for read in settled if read.accepted]
    refused = np.mean([not read.accepted for read in judged])
    print(
        f"{name:15}{view:26}{len(judged):6d}  {first:5.3f}  {len(settled) / len(judged):7.3f}  "
        f"{len(wrong):4d} = {len(wrong) / len(judged):5.3f}      {refused:7.3f}",
        flush=True,
    )
    for read in settled:
        print(
            f"      {read.file}: {read.settled / truth[read.file]:.2f} of {truth[read.file]:.3f} "
            f"um/px (first {0 if read.first is None else read.first / truth[read.file]:.2f}), "
            f"{read.red} red, {'accepted' if read.accepted else ', '.join(read.faults)}"
        )


def _read(file: Path, view: str, reader: FieldReader) -> Read | None:
    change, divided = VIEWS[view]
    frame = Frame(change(real_fields.read_rgb(file)), file.name)
    try:
        first = canonical_field(frame)
        reading = reader.read(frame)
    except FieldError as error:
        print(f"      {error}")
        return None
    return Read(
        file=file.name,
        first=first.frame_um_per_px * divided if first.scale_source == "red_cells" else None,
        settled=reading.um_per_px * divided,
        size=(frame.width, frame.height),
        source=reading.scale_source,
        accepted=reading.accepted,
        faults=reading.quality.faults,
        red=reading.cells.counts["rbc"] if reading.cells is not None else 0,
    )


def _spread_over(name: str, count: int) -> Sequence[Path]:
    """At most so many fields of a set, evenly chosen from all of it."""
    files = sorted(picture.path for picture in read_set(real_fields.data_root(), name))
    chosen = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).astype(int))
    return [files[i] for i in chosen]


if __name__ == "__main__":
    main()
