"""How crops are drawn and varied for training."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from edgehemo.errors import UsageError
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.models.classifiers.nucleated.exchanged_backgrounds import (
    stain_gains,
    without_cell,
)
from edgehemo_export.models.classifiers.training import crop_chances
from edgehemo_export.models.classifiers.variation import (
    AugmentOptions,
    exchange_surroundings,
    vary_geometry,
    vary_stain,
    with_stain,
)

pytestmark = pytest.mark.host
from tests.support.classifier_crops import SIDE, discs, picture


def test_crops_are_drawn_as_balance_and_weights_say() -> None:
    crops = discs(90)
    even = crop_chances(crops, 1.0, {})
    by_class = np.bincount(crops.labels, even)
    assert np.allclose(by_class, 1 / 3)
    only = crop_chances(crops, 0.0, {"odd": 0.0})
    assert only[crops.sources == "odd"].sum() == 0 and np.isclose(only.sum(), 1)
    with pytest.raises(UsageError, match="no crop to draw"):
        crop_chances(crops, 0.0, {"odd": 0.0, "even": 0.0})


def test_varied_crops_keep_the_cell_and_their_range() -> None:
    crops = discs(24, seed=2)
    options = AugmentOptions(shift_px=2, zoom=1.1, border_share=0.0)
    generator = torch.Generator().manual_seed(5)
    light = vary_geometry(torch.from_numpy(crops.codes), SIDE, options, generator)
    assert light.shape == (24, 3, SIDE, SIDE)
    middle = light[:, 1, SIDE // 2 - 2 : SIDE // 2 + 2, SIDE // 2 - 2 : SIDE // 2 + 2].mean((1, 2))
    disc = torch.from_numpy(crops.labels < 2)
    assert (middle[disc] < 0.6).all() and (middle[~disc] > 0.9).all()
    cut = AugmentOptions(border_share=1.0, warp_share=0.0)
    bordered = vary_geometry(torch.from_numpy(crops.codes), SIDE, cut, generator)
    whole = (bordered == 1.0).all(dim=1)
    strips = whole.all(dim=1).any(dim=1) | whole.all(dim=2).any(dim=1)
    assert strips.all(), "every crop has a strip of clear field at one side"
    varied = vary_stain(light, options, generator)
    assert varied.min() >= 0 and varied.max() <= 255 / 200
    assert not torch.allclose(varied, light, atol=0.02)
    one, two = (vary_stain(light, options, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)


def test_surroundings_are_exchanged_and_the_hosts_cell_goes() -> None:
    rng = np.random.default_rng(8)
    cell, host = picture((80, 60, 160), rng), picture((170, 60, 70), rng)
    host[:8] = (120, 120, 190)
    masks = [np.asarray(c[..., 1] < 130) for c in (cell, host)]
    masks[1][:8] = False
    made = exchange_surroundings(cell[None], masks[0][None], host[None], masks[1][None])[0]
    centre = np.argwhere(masks[0]).mean(axis=0).astype(int)
    assert np.abs(made[centre[0], centre[1]].astype(int) - cell[centre[0], centre[1]]).max() <= 6
    assert np.abs(made[3, 10].astype(int) - (120, 120, 190)).max() < 25
    reddish = (made[..., 0].astype(int) - made[..., 2]) > 60
    assert not reddish.any(), "the host's own cell is gone"
    crops = discs(40, seed=9)
    cells = crops.codes[..., 1] < 130
    bare = without_cell(crops, cells)
    assert (bare[crops.labels < 2][:, 20:28, 20:28].mean(axis=(1, 2, 3)) > 170).all()


def test_stain_is_carried_from_one_scanner_to_the_other() -> None:
    crops = discs(40, seed=3)
    neutrophils = CellCrops(
        **{**vars(crops), "classes": ("neutrophil", "x", "other"), "sources": crops.sources}
    )
    codes = neutrophils.codes.copy()
    odd = neutrophils.sources == "odd"
    codes[odd] = with_stain(codes[odd], np.array([1.5, 0.8, 1.0]))
    stained = CellCrops(**{**vars(neutrophils), "codes": codes})
    masks = neutrophils.codes[..., 1] < 130
    assert np.allclose(stain_gains(stained, masks, "even", "odd"), (1.5, 0.8, 1.0), atol=0.06)
