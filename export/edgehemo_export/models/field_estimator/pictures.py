"""Pictures of how the field estimator answers: estimates over truth, and where they come from."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from edgehemo.field.tiles import TILE_PX
from edgehemo.measurands import MEASURANDS
from edgehemo_export.data.simulated.tiles import BLOCK_PX, simulated_one
from edgehemo_export.evaluation.explanations import explanation_picture
from edgehemo_export.models.field_estimator.lines import COMPARED, SHORT, Estimates
from edgehemo_export.nets.resnet_fields import FieldEstimatorNet

EXPLAINED_SEED, EXPLAINED_FIELDS = 20_261_203, 4


def scatter_picture(found: Mapping[str, Estimates]) -> bytes:
    """Estimated over drawn values of the simulated samples, a panel a measurand, as PNG."""
    figure = Figure(figsize=(9, 3), dpi=80, layout="constrained")
    places = figure.subplots(1, len(MEASURANDS))
    for place, measurand in zip(places, MEASURANDS, strict=True):
        made = found.get(f"{measurand}/{COMPARED[measurand][0]}")
        if made is None:
            continue
        ends = [float(made.reference.min()), float(made.reference.max())]
        place.plot(ends, ends, color="0.6", linewidth=1)
        place.scatter(made.reference, made.estimated, s=14)
        place.set_title(f"{SHORT[measurand]}, simulated samples", fontsize=9)
        place.set_xlabel("drawn", fontsize=8)
        place.set_ylabel("estimated", fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def explained(net: FieldEstimatorNet) -> bytes:
    """Grad-CAM of simulated tiles of different blood, as PNG."""
    tiles, captions = [], []
    for index in range(EXPLAINED_FIELDS):
        made = simulated_one(index, seed=EXPLAINED_SEED, reference=True)
        tiles.append(np.ascontiguousarray(made.codes[0, :TILE_PX, :TILE_PX]))
        blocks = TILE_PX // BLOCK_PX
        held = made.content[0, :blocks, :blocks].mean(axis=(0, 1))
        captions.append(f"simulated, holds HGB {held[0]:.0f} g/L")
    outputs = [(0, "haemoglobin"), (1, "haematocrit"), (2, "red cells")]
    return explanation_picture(net, tiles, captions, outputs)
