"""Round isolated cells of every microscope drawn into the long types, ready to be learnt from."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.cells.outline import outline_in_middle
from edgehemo_export.data.cache import prepared
from edgehemo_export.data.cell_crops import CellCrops, joined
from edgehemo_export.models.classifiers.morphology.data import MORPHOLOGY_CLASSES
from edgehemo_export.models.classifiers.morphology.drawn_shapes import DRAWN, reshaped
from edgehemo_export.models.classifiers.morphology.isolated_cells import IsolatedCells, is_round

# Cells drawn of each source at most, of all kinds together: so many of each microscope.
DRAWN_A_SOURCE = 2000
# Shapes that are tried for one cell before it is given up: a drawn cell must not reach its
# neighbours, and those stand on some sides only.
_TRIES = 4
# The labelled types that are drawn from: round, and with nothing inside that a warp would bend.
FROM_TYPES = ("normal", "spherocyte", "hypochromia")


def drawn_cells(isolated: IsolatedCells, labelled: CellCrops, cache: Path | None) -> CellCrops:
    """Cells of the types in `DRAWN`, about as many of each, at most `DRAWN_A_SOURCE` a source.

    isolated: whose round ones are drawn. labelled: whose round ones of `FROM_TYPES` are. A drawn
    cell bears the source, group, file and key of the cell that it was.
    """
    wanted = np.isin(labelled.labels, [labelled.classes.index(name) for name in FROM_TYPES])
    known = labelled.where(wanted)
    bases = isolated.crops.where(isolated.round())
    base = joined([known, bases]) if len(bases) else known

    def make() -> dict[str, NDArray[Any]]:
        codes: list[NDArray[np.uint8]] = []
        owners: list[int] = []
        types: list[int] = []
        for source in sorted(set(base.sources.tolist())):
            for owner, type_, drawn in _drawn_of_source(base, source):
                codes.append(drawn)
                owners.append(owner)
                types.append(type_)
        return {
            "codes": np.stack(codes) if codes else np.zeros((0, *base.codes.shape[1:]), np.uint8),
            "owners": np.array(owners, np.intp),
            "types": np.array(types, np.intp),
        }

    depends_on = {
        "codes": base.codes,
        "names": base.names.tolist(),
        "sources": base.sources.tolist(),
        "kinds": DRAWN,
        "most": DRAWN_A_SOURCE,
        "tries": _TRIES,
    }
    stored = prepared(cache, "drawn-cells", depends_on, make)
    owners, types = stored["owners"], stored["types"]
    names = [
        f"{base.names[i]} as {MORPHOLOGY_CLASSES[t]}" for i, t in zip(owners, types, strict=True)
    ]
    return dataclasses.replace(
        base,
        codes=stored["codes"],
        labels=types,
        sources=base.sources[owners],
        groups=base.groups[owners],
        names=np.array(names, np.str_),
        files=tuple(base.files[i] for i in owners) if base.files else (),
        keys=tuple(base.keys[i] for i in owners) if base.keys else (),
    )


def _drawn_of_source(base: CellCrops, source: str) -> list[tuple[int, int, NDArray[np.uint8]]]:
    """Places in ``base``, types and codes of one source's drawn cells."""
    rng = np.random.default_rng(zlib.crc32(source.encode()))
    here = np.flatnonzero(base.sources == source)
    pairs = [(int(i), name) for i in here for name in DRAWN]
    found: list[tuple[int, int, NDArray[np.uint8]]] = []
    round_ones: dict[int, bool] = {}
    for at in rng.permutation(len(pairs)).tolist():
        if len(found) == DRAWN_A_SOURCE:
            break
        owner, name = pairs[at]
        if owner not in round_ones:
            outline = outline_in_middle(base.codes[owner])
            round_ones[owner] = outline is not None and is_round(outline)
        if not round_ones[owner]:
            continue
        for _ in range(_TRIES):
            drawn = reshaped(base.codes[owner], DRAWN[name].draw(rng))
            if drawn is not None:
                found.append((owner, MORPHOLOGY_CLASSES.index(name), drawn))
                break
    return found
