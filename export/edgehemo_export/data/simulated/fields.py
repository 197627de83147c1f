"""Fields of the simulated microscope as training examples, their truth exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.cell import CELL_KINDS
from edgehemo.commands.progress import tracked
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, canonical_field
from edgehemo.simulation.field import SimulatedField, simulate_field
from edgehemo.simulation.panels import draw_panel
from edgehemo.simulation.parameters import randomised_parameters
from edgehemo_export.data.cache import prepared
from edgehemo_export.data.canonical_set import KNOWN, MIN_VISIBLE_SHARE, UNKNOWN, CanonicalExample

SOURCE = "simulated"
# From 100x oil on a common camera to the low magnification of AneRBC.
UM_PER_PX_RANGE = (0.12, 0.40)


def simulated_examples(
    count: int, *, side_px: int, seed: int, cache: Path | None = None, progress: bool = False
) -> list[CanonicalExample]:
    """``count`` examples of side_px canonical pixels; example i depends on (seed, i) alone."""
    return [
        _cached(i, side_px, seed, cache)
        for i in tracked(range(count), "simulated fields", count, shown=progress)
    ]


def simulated_example(index: int, *, side_px: int, seed: int) -> CanonicalExample:
    """One widely randomised field, through the device's canonical-field function."""
    made, um_per_px = simulated_field(index, side_px=side_px, seed=seed)
    field = canonical_field(made.frame, um_per_px=um_per_px)
    across, down = field.frame_px_per_canonical_px
    boxes, kinds = labels_of(made)
    return CanonicalExample(
        name=f"{SOURCE}/{seed}-{index}",
        source=SOURCE,
        group=f"{SOURCE}-{index}",
        codes=field.to_uint8(),
        boxes=(boxes / np.array([across, down, across, down])).astype(np.float32),
        kinds=kinds,
        doubt=np.where(field.valid, KNOWN, UNKNOWN).astype(np.uint8),
        complete=frozenset(CELL_KINDS),
    )


def simulated_field(index: int, *, side_px: int, seed: int) -> tuple[SimulatedField, float]:
    """The field behind `simulated_example`, and its scale in um/px."""
    rng = np.random.default_rng([seed, index])
    um_per_px = float(np.exp(rng.uniform(*np.log(UM_PER_PX_RANGE))))
    side = round(side_px * CANONICAL_UM_PER_PX / um_per_px)
    parameters = randomised_parameters(rng)
    made = simulate_field(
        draw_panel(rng),
        rng=rng,
        width_px=side,
        height_px=side,
        um_per_px=um_per_px,
        smear=parameters.smear,
        stain=parameters.stain,
        optics=parameters.optics,
        sensor=parameters.sensor,
    )
    return made, um_per_px


def labels_of(made: SimulatedField) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Boxes clipped to the frame, px, and kinds, of every cell of which enough is inside."""
    boxes, kinds = [], []
    width, height = made.frame.width, made.frame.height
    for cell in made.truth.cells:
        x0, y0, x1, y1 = max(0.0, cell.x0), max(0.0, cell.y0), cell.x1, cell.y1
        x1, y1 = min(float(width), x1), min(float(height), y1)
        area = (cell.x1 - cell.x0) * (cell.y1 - cell.y0)
        if x1 <= x0 or y1 <= y0 or (x1 - x0) * (y1 - y0) < MIN_VISIBLE_SHARE * area:
            continue
        boxes.append((x0, y0, x1, y1))
        kinds.append(CELL_KINDS.index(cell.kind))
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.intp)


def _cached(index: int, side_px: int, seed: int, cache: Path | None) -> CanonicalExample:
    def make() -> dict[str, NDArray[Any]]:
        made = simulated_example(index, side_px=side_px, seed=seed)
        return {"codes": made.codes, "boxes": made.boxes, "kinds": made.kinds, "doubt": made.doubt}

    depends_on = {"index": index, "side_px": side_px, "seed": seed, "um_per_px": UM_PER_PX_RANGE}
    stored = prepared(cache, "simulated-field", depends_on, make)
    return CanonicalExample(
        name=f"{SOURCE}/{seed}-{index}",
        source=SOURCE,
        group=f"{SOURCE}-{index}",
        codes=stored["codes"],
        boxes=stored["boxes"],
        kinds=stored["kinds"],
        doubt=stored["doubt"],
        complete=frozenset(CELL_KINDS),
    )
