"""Does the scanner give the class away? Cells set into the other scanner's surroundings, and back.

PBC and LMU share one class, the neutrophil, and differ in all others: a classifier could name
myeloblasts by LMU's background, stain or focus. Here each cell is cut out, set into surroundings of
the other set, and, harmonised, given the other set's stain; and the surroundings are shown without
any cell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Metric
from edgehemo.field.canonical import CLEAR_FIELD_CODE
from edgehemo_export.data.cache import prepared
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.cell_masks import middle_cells
from edgehemo_export.models.classifiers.evaluation import share_metric
from edgehemo_export.models.classifiers.variation import exchange_surroundings, optical_density

# The class that both sets hold: its stain tells one scanner's from the other's.
SHARED_CLASS = "neutrophil"
Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
# Crops of a source, and its name, to the crops in the other source's stain.
Restain = Callable[[NDArray[np.uint8], str], NDArray[np.uint8]]


def stain_gains(
    crops: CellCrops, masks: NDArray[np.bool_], own: str, other: str
) -> NDArray[np.float64]:
    """Factors of optical density per channel that turn one set's stain into another's, (3,).

    From the cells of the class that both hold, so that no class's own colour enters; nucleus and
    cytoplasm on their own (Otsu's threshold in red), so that it does not matter how much of a mask
    each of them fills. The gain is the geometric mean of the two ratios.
    """
    shared = crops.labels == crops.classes.index(SHARED_CLASS)
    found = []
    for source in (own, other):
        chosen = np.flatnonzero(shared & (crops.sources == source) & masks.any(axis=(1, 2)))
        found.append(np.mean([_two_densities(crops.codes[i][masks[i]]) for i in chosen], axis=0))
    ratios = np.maximum(found[1], 1e-3) / np.maximum(found[0], 1e-3)
    return np.asarray(np.sqrt(ratios[0] * ratios[1]), np.float64)


def _two_densities(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean optical density of a cell's dark and light part, (2, 3); pixels: uint8 (n, 3)."""
    density = optical_density(pixels)
    threshold, _ = cv2.threshold(pixels[:, :1], 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    dark = pixels[:, 0] <= threshold
    whole = density.mean(axis=0)
    return np.stack([density[part].mean(axis=0) if part.any() else whole for part in (dark, ~dark)])


def exchanged(
    crops: CellCrops,
    masks: NDArray[np.bool_],
    pair: tuple[str, str],
    *,
    restain: Restain | None,
    seed: int,
) -> tuple[CellCrops, NDArray[np.bool_]]:
    """The maskable cells of two sets, each on surroundings of the other; and their masks.

    restain: with it, each cell first takes the other set's stain.
    """
    usable = masks.any(axis=(1, 2)) & np.isin(crops.sources, pair)
    crops, masks = crops.where(usable), masks[usable]
    rng = np.random.default_rng(seed)
    codes = crops.codes.copy()
    for own, other in (pair, pair[::-1]):
        mine = np.flatnonzero(crops.sources == own)
        theirs = np.flatnonzero(crops.sources == other)
        if not len(mine) or not len(theirs):
            continue
        hosts = rng.choice(theirs, size=len(mine))
        cells = crops.codes[mine] if restain is None else restain(crops.codes[mine], own)
        codes[mine] = exchange_surroundings(cells, masks[mine], crops.codes[hosts], masks[hosts])
    return dataclasses.replace(crops, codes=codes), masks


def without_cell(crops: CellCrops, masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Each crop with its cell replaced by clear field: what the surroundings alone tell."""
    empty = np.full_like(crops.codes, CLEAR_FIELD_CODE)
    nothing = np.zeros_like(masks)
    nothing[:, 0, 0] = True  # a mask of one corner pixel: the host's cell is what is taken away
    return exchange_surroundings(empty, nothing, crops.codes, masks)


def exchange_metrics(
    crops: CellCrops,
    masks: NDArray[np.bool_],
    pair: tuple[str, str],
    restain: Restain,
    predict: Predict,
    side_px: int,
    *,
    target: str,
    other: str,
    seed: int = 0,
) -> list[Metric]:
    """Accuracy of all classes, and of ``target`` against the rest, on the cells as they are, on
    exchanged surroundings, and with the stain harmonised both ways as well; and how often the
    surroundings without the cell are named ``target``.

    restain: a source's crops, and its name, to the crops in the other's stain. predict: middle
    crops uint8 (n, side, side, 3) to probabilities.
    """
    usable = masks.any(axis=(1, 2)) & np.isin(crops.sources, pair)
    plain, plain_masks = crops.where(usable), masks[usable]
    swapped, _ = exchanged(crops, masks, pair, restain=None, seed=seed)
    stained, _ = exchanged(crops, masks, pair, restain=restain, seed=seed)
    place = "pbc and lmu"
    wanted = crops.classes.index(target)
    out: list[Metric] = []
    shown_as = {
        "as they are": plain,
        "surroundings exchanged": swapped,
        "surroundings and stain exchanged": stained,
    }
    for said, shown in shown_as.items():
        names = predict(shown.middle(side_px)).argmax(axis=1)
        source = f"{place}, {said}"
        out.append(share_metric("accuracy", source, names == shown.labels))
        apart = (names == wanted) == (shown.labels == wanted)
        out.append(share_metric(f"{target} against the rest, accuracy", source, apart))
        theirs = shown.labels == wanted
        out.append(share_metric(f"{target} recall", source, names[theirs] == wanted))
        away = names[~theirs] == wanted
        out.append(share_metric(f"others named {target}", source, away))
    bare = dataclasses.replace(plain, codes=without_cell(plain, plain_masks))
    names = predict(bare.middle(side_px)).argmax(axis=1)
    for source in pair:
        here = names[plain.sources == source]
        said = f"{source}, cell removed"
        out.append(share_metric(f"named {target}", said, here == wanted))
        out.append(share_metric(f"named {other}", said, here == crops.classes.index(other)))
    return out


# The two scanners between which surroundings are exchanged, and the class that only one has.
SCANNERS = ("pbc", "lmu")


def masks_of(crops: CellCrops, cache: Path | None) -> NDArray[np.bool_]:
    """The middle cell of each crop, bool (n, s, s)."""

    def make() -> dict[str, NDArray[np.bool_]]:
        return {"masks": middle_cells(crops.codes, crops.um_per_px)}

    depends_on = {"codes": crops.codes, "um_per_px": crops.um_per_px}
    return np.asarray(prepared(cache, "cell-masks", depends_on, make)["masks"], np.bool_)


def gains_between_scanners(
    crops: CellCrops, masks: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """PBC's stain as LMU's and back, from training crops of the class they share; none where a
    set is missing. Red cells beside PBC's white cells are PBC's too.
    """
    shared = crops.labels == crops.classes.index(SHARED_CLASS)
    if not all((crops.sources[shared] == scanner).any() for scanner in SCANNERS):
        return {}
    found = {
        own: stain_gains(crops, masks, own, other) for own, other in (SCANNERS, SCANNERS[::-1])
    }
    return {**found, "txl_pbc": found["pbc"]}
