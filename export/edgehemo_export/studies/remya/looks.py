"""Where a network looks (Grad-CAM), whether that is on cells, and how its features lie."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgehemo_export.data.smears import ANAEMIA
from edgehemo_export.evaluation.explanations import layer_map
from edgehemo_export.studies.remya.networks import head_of, listened
from edgehemo_export.studies.remya.protocol import answers, as_input

# The layer whose places are explained, by network: a stride of 16.
EXPLAINED_LAYER: Mapping[str, str] = {"resnet18": "layer3", "resnet50": "layer3"}


def maps_of(
    net: nn.Module, network: str, pictures: NDArray[np.uint8]
) -> NDArray[np.float32] | None:
    """Grad-CAM for anaemia-like, 0 to 1, at the layer's own size: float32 (n, h, w); None of a
    network that has no such layer named.
    """
    if network not in EXPLAINED_LAYER:
        return None
    layer = net.get_submodule(EXPLAINED_LAYER[network])
    maps = [layer_map(net.eval(), layer, as_input(picture[None]), ANAEMIA) for picture in pictures]
    return np.stack(maps)


def cells_of(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a picture uint8 (h, w, 3) is darker in green than Otsu's limit: cells, roughly."""
    _, mask = cv2.threshold(picture[..., 1], 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    return np.asarray(mask > 0, np.bool_)


def heat_on_cells(heat: NDArray[np.float32], picture: NDArray[np.uint8]) -> tuple[float, float]:
    """Share of a map's heat on cells, and the share of the picture that cells cover."""
    cells = cells_of(picture)
    grown = cv2.resize(heat, cells.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return float(grown[cells].sum() / max(float(grown.sum()), 1e-9)), float(cells.mean())


def features_of(
    net: nn.Module, pictures: NDArray[np.uint8], batch_size: int
) -> NDArray[np.float32]:
    """What the last layer is handed, float32 (n, d)."""
    with listened(head_of(net)) as heard:
        answers(net, pictures, batch_size)
    return np.asarray(torch.cat(heard).numpy(), np.float32)


def plane_of(features: NDArray[np.float32], fitted_on: NDArray[np.intp]) -> NDArray[np.float64]:
    """Features (n, d) in the plane of the two main components of some of them, (n, 2).

    Signs are settled, so that the same features give the same picture.
    """
    values = features.astype(np.float64)
    centre = values[fitted_on].mean(axis=0)
    _, _, axes = np.linalg.svd(values[fitted_on] - centre, full_matrices=False)
    axes = axes[:2]
    strongest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(len(axes)), strongest])[:, None]
    return np.asarray((values - centre) @ axes.T, np.float64)
