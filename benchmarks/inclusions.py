"""What the look for inclusions makes of real cells and of drawn ones whose truth is known.

    python benchmarks/inclusions.py [--fields 60] [--drawn 24]

Real sets hold, as far as anybody labelled them, no parasites: every red cell marked there is a
false mark (or a Howell-Jolly body, a stain deposit, a platelet that the finder missed), and every
white cell made red is lost. PBC's single cells are looked at one by one, at their own scale, with
the red cells about them. Drawn fields hold parasites (`SmearParameters.inclusion_fraction`) in
stains and optics drawn at random.

Columns: ``red`` and ``white`` cells as found; ``made red`` white ones that the look made red;
``found`` doubtful ones it added; ``marked`` red cells with an inclusion, their share, and in how
many fields the sample's finding would be made of that one field. Of drawn fields: the share of the
true inclusions that is marked, and of cells without one.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import real_fields

from edgehemo.cells.cell import FieldCells
from edgehemo.cells.finder import CellFinder
from edgehemo.cells.inclusions import with_inclusions
from edgehemo.device.equipment import open_equipment
from edgehemo.errors import FieldError
from edgehemo.field.canonical import CanonicalField, canonical_field
from edgehemo.images.frame import Frame
from edgehemo.screening.findings import inclusions_stand_out
from edgehemo.simulation.field import SimulatedField, simulate_field
from edgehemo.simulation.panels import draw_panel
from edgehemo.simulation.parameters import randomised_parameters
from edgehemo_export.data.sets import read_set

SETS = ("bccd", "chula_rbc12", "chula_disease", "txl_pbc", "anerbc", "uganda_phone")
PBC_UM_PER_PX = 0.23
PBC_CLASSES = ("erythroblast", "lymphocyte", "neutrophil", "platelet", "basophil", "ig")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=60, help="fields a set, cells a class")
    parser.add_argument("--drawn", type=int, default=24, help="drawn fields")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    finder = open_equipment(None, None).finder
    print(f"{'':28}  red  white  made red  found  marked            fields that say so")
    for name in SETS:
        files = sorted(p.path for p in read_set(real_fields.data_root(), name))
        _print(name, _looked(finder, _some(files, options.fields), None))
    for kind in PBC_CLASSES:
        files = sorted((real_fields.data_root() / "pbc" / kind).iterdir())
        _print(f"pbc {kind}", _looked(finder, _some(files, options.fields), PBC_UM_PER_PX))
    _drawn(finder, options.drawn)


def _some(files: list[Path], count: int) -> list[Path]:
    chosen = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).astype(int))
    return [files[i] for i in chosen]


def _looked(
    finder: CellFinder, files: Iterable[Path], um_per_px: float | None
) -> list[tuple[FieldCells, FieldCells]]:
    looked = []
    for path in files:
        try:
            field = canonical_field(
                Frame(real_fields.read_rgb(path), path.name), um_per_px=um_per_px
            )
        except (FieldError, OSError):
            continue
        found = finder.find(field)
        looked.append((found, with_inclusions(found, field)))
    return looked


def _print(name: str, looked: list[tuple[FieldCells, FieldCells]]) -> None:
    sums: Counter[str] = Counter()
    for before, after in looked:
        sums["red"] += before.counts["rbc"]
        sums["white"] += before.counts["wbc"]
        sums["made red"] += before.counts["wbc"] - after.counts["wbc"]
        sums["found"] += len(after.cells) - len(before.cells)
        marked = sum(cell.inclusion for cell in after.cells)
        sums["marked"] += marked
        sums["said"] += inclusions_stand_out(marked, after.counts["rbc"])
    share = sums["marked"] / max(1, sums["red"])
    print(
        f"{name:28}{sums['red']:6d}{sums['white']:6d}{sums['made red']:9d}{sums['found']:8d}"
        f"{sums['marked']:7d} = {share:6.4f}{sums['said']:10d}/{len(looked)}",
        flush=True,
    )


def _drawn(finder: CellFinder, count: int) -> None:
    """Fields of random look, each with and without parasites in a third of its red cells."""
    rng = np.random.default_rng(17)
    sums: Counter[str] = Counter()
    for _ in range(count):
        parameters = randomised_parameters(rng)
        smear = replace(parameters.smear, inclusion_fraction=0.3, white_cell_factor=0.0)
        optics = replace(parameters.optics, defocus_um=0.0)
        um_per_px = float(rng.uniform(0.1, 0.25))
        drawn = simulate_field(
            draw_panel(np.random.default_rng(2), hgb_g_per_l=130.0),
            rng=rng,
            width_px=640,
            height_px=480,
            um_per_px=um_per_px,
            smear=smear,
            stain=parameters.stain,
            optics=optics,
            sensor=parameters.sensor,
        )
        field = canonical_field(drawn.frame, um_per_px=um_per_px)
        before = finder.find(field)
        after = with_inclusions(before, field)
        sums["true red"] += len(drawn.truth.of_kind("rbc"))
        sums["red before"] += before.counts["rbc"]
        sums["red"] += after.counts["rbc"]
        sums["white before"] += before.counts["wbc"]
        sums["white"] += after.counts["wbc"]
        _matched(drawn, after, field, sums)
        marked = sum(cell.inclusion for cell in after.cells)
        sums["said"] += inclusions_stand_out(marked, after.counts["rbc"])
    print(
        f"drawn, {count} fields: {sums['true red']} red, none white; found before "
        f"{sums['red before']} red, {sums['white before']} white, after {sums['red']} red, "
        f"{sums['white']} white"
    )
    print(
        f"  marked {sums['hit']} of {sums['with']} cells with an inclusion, "
        f"{sums['false']} of {sums['without']} without; {sums['said']} of {count} fields say so"
    )


def _matched(
    drawn: SimulatedField, found: FieldCells, field: CanonicalField, sums: Counter[str]
) -> None:
    """Found red cells against the drawn ones whose centre is nearest, whole and not overlapped."""
    boxes = found.of_kind("rbc")
    for true in drawn.truth.of_kind("rbc"):
        whole = min(true.x0, true.y0) > 0
        whole &= true.x1 < field.frame_width and true.y1 < field.frame_height
        if not whole or true.overlapped:
            continue
        near = [
            cell
            for cell in boxes
            if abs(cell.centre[0] - true.x_px) < (true.x1 - true.x0) / 4
            and abs(cell.centre[1] - true.y_px) < (true.y1 - true.y0) / 4
        ]
        if not near:
            continue
        marked = any(cell.inclusion for cell in near)
        sums["with" if true.inclusion else "without"] += 1
        sums["hit" if true.inclusion else "false"] += marked


if __name__ == "__main__":
    main()
