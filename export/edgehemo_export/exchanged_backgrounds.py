"""Does the scanner give the class away? Cells set into the other scanner's surroundings, and back.

PBC and LMU share one class, the neutrophil, and differ in all others: a classifier could name
myeloblasts by LMU's background, stain or focus. Here each cell is cut out, set into surroundings of
the other set, and, harmonised, given the other set's stain; and the surroundings are shown without
any cell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle import Metric
from edgehemo.field import CLEAR_FIELD_CODE, UINT8_PER_TRANSMITTANCE
from edgehemo_export.cell_crops import CellCrops
from edgehemo_export.classifier_evaluation import share_metric
from edgehemo_export.classifier_training import exchange_surroundings

# The class that both sets hold: its stain tells one scanner's from the other's.
SHARED_CLASS = "neutrophil"
Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def stain_gains(
    crops: CellCrops, masks: NDArray[np.bool_], own: str, other: str
) -> NDArray[np.float64]:
    """Factors of optical density per channel that turn one set's stain into another's, (3,).

    From the cells of the class that both hold, so that no class's own colour enters.
    """
    shared = crops.labels == crops.classes.index(SHARED_CLASS)
    means = []
    for source in (own, other):
        chosen = np.flatnonzero(shared & (crops.sources == source) & masks.any(axis=(1, 2)))
        density = [_density(crops.codes[i])[masks[i]].mean(axis=0) for i in chosen]
        means.append(np.mean(density, axis=0))
    return np.asarray(means[1] / np.maximum(means[0], 1e-3), np.float64)


def with_stain(codes: NDArray[np.uint8], gains: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Crops uint8 (n, s, s, 3) with their optical density multiplied per channel."""
    light = np.power(10.0, -_density(codes) * gains)
    return np.clip(np.rint(light * UINT8_PER_TRANSMITTANCE), 0, 255).astype(np.uint8)


def _density(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    light = np.maximum(codes.astype(np.float64), 2.0) / UINT8_PER_TRANSMITTANCE
    return np.asarray(-np.log10(light), np.float64)


def exchanged(
    crops: CellCrops,
    masks: NDArray[np.bool_],
    pair: tuple[str, str],
    *,
    gains: dict[str, NDArray[np.float64]] | None,
    seed: int,
) -> tuple[CellCrops, NDArray[np.bool_]]:
    """The maskable cells of two sets, each on surroundings of the other; and their masks.

    gains: with them, each cell first takes the other set's stain (`stain_gains`, by source).
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
        cells = crops.codes[mine] if gains is None else with_stain(crops.codes[mine], gains[own])
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
    gains: dict[str, NDArray[np.float64]],
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

    predict: middle crops uint8 (n, side, side, 3) to probabilities.
    """
    usable = masks.any(axis=(1, 2)) & np.isin(crops.sources, pair)
    plain, plain_masks = crops.where(usable), masks[usable]
    swapped, _ = exchanged(crops, masks, pair, gains=None, seed=seed)
    stained, _ = exchanged(crops, masks, pair, gains=gains, seed=seed)
    place = "pbc and lmu"
    wanted = crops.classes.index(target)
    out: list[Metric] = []
    for said, shown in (
        ("as they are", plain),
        ("surroundings exchanged", swapped),
        ("surroundings and stain exchanged", stained),
    ):
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
