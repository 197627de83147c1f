"""Scale: what is stated of a set against what its red cells show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edgehemo.errors import EdgeHemoError
from edgehemo.field.canonical import scale_from_cells
from edgehemo.field.illumination import estimate_illumination
from edgehemo.images.reading import read_frame
from edgehemo_export.data.checking.findings import Code, Finding, finding
from edgehemo_export.data.manifest import DataManifest, ManifestRow

# Pictures of a source that are measured, spread over it, and how many must show their cells.
MEASURED = 12
ENOUGH = 4
# How far the median may be from what is stated, as a factor: normal red cells differ by a tenth in
# width from laboratory to laboratory, and one picture's measure by as much again.
AGREES = 1.25


@dataclass(frozen=True)
class MeasuredScale:
    """Of a source: medians in um per pixel of the files as they are. stated: None where nobody
    states one. measured: None where too few pictures show their cells. pictures: that did.
    """

    source: str
    set_name: str
    stated_um_per_px: float | None
    measured_um_per_px: float | None
    pictures: int


def measured_scales(
    root: Path, manifest: DataManifest, progress: Callable[[int, int], None] | None = None
) -> tuple[list[MeasuredScale], list[Finding]]:
    """The scale of every source that shows fields, and where it is not as stated.

    Pictures of single cells are left out: there are too few red cells on them.
    """
    sources: dict[str, list[ManifestRow]] = {}
    for row in manifest.rows:
        if row.kind == "field":
            sources.setdefault(row.source, []).append(row)
    chosen = {source: _spread(rows) for source, rows in sources.items()}
    total = sum(len(rows) for rows in chosen.values())
    done = 0
    scales: list[MeasuredScale] = []
    out: list[Finding] = []
    for source, rows in chosen.items():
        ratios: list[float] = []
        values: list[float] = []
        for row in rows:
            value = _measure(root / row.path)
            if value is not None:
                values.append(value)
                if row.um_per_px is not None:
                    ratios.append(value / row.um_per_px)
            done += 1
            if progress is not None:
                progress(done, total)
        stated = [row.um_per_px for row in rows if row.um_per_px is not None]
        scale = MeasuredScale(
            source=source,
            set_name=rows[0].set_name,
            stated_um_per_px=round(median(stated), 5) if stated else None,
            measured_um_per_px=round(median(values), 5) if len(values) >= ENOUGH else None,
            pictures=len(values),
        )
        scales.append(scale)
        out += _finding(scale, rows, ratios)
    return scales, out


def _finding(
    scale: MeasuredScale, rows: Sequence[ManifestRow], ratios: Sequence[float]
) -> list[Finding]:
    files = [row.path for row in rows]
    if scale.measured_um_per_px is None:
        says = (
            f"{scale.source}: only {scale.pictures} of {len(rows)} pictures show enough red cells "
            "to measure the scale by"
        )
        return [finding("scale_not_measured", scale.set_name, says, files)]
    if len(ratios) < ENOUGH or abs(math.log(median(ratios))) <= math.log(AGREES):
        return []
    published = rows[0].scale_known == "published"
    code: Code = "scale_contradicted" if published else "scale_differs"
    says = (
        f"{scale.source}: {scale.stated_um_per_px:.3f} um/px are stated, red cells of 7.5 um say "
        f"{scale.measured_um_per_px:.3f} (median of {scale.pictures} pictures)"
    )
    return [finding(code, scale.set_name, says, files)]


def _spread(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Some pictures, evenly over all."""
    count = min(MEASURED, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]


def _measure(path: Path) -> float | None:
    try:
        pixels = read_frame(path).pixels
        estimate = scale_from_cells(pixels, estimate_illumination(pixels))
    except EdgeHemoError:
        return None
    return None if estimate is None else estimate.um_per_px
