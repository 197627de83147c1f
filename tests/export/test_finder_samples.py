"""How fields are drawn, varied and turned into targets for the cell finder."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.cells.cell import CELL_KINDS

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')

import torch

from edgehemo.cells.maps import read_maps
from edgehemo_export.data.canonical_set import CanonicalExample
from edgehemo_export.data.simulated.fields import simulated_example
from edgehemo_export.models.finder.data import SampleOptions, crop, draw_batch, targets
from edgehemo_export.models.finder.training import finder_loss
from edgehemo_export.models.finder.variation import SPECK_DENSITY, SPECK_TINT, dirt, vary_colour


@pytest.fixture(scope="module")
def examples() -> list[CanonicalExample]:
    return [simulated_example(i, side_px=128, seed=3) for i in range(4)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_crops_carry_their_boxes_with_them(seed: int) -> None:
    """A bright square drawn into the picture stays inside its box whatever the crop does."""
    codes = np.full((160, 200, 3), 200, np.uint8)
    codes[60:90, 80:120] = 20
    example = CanonicalExample(
        name="square",
        source="simulated",
        group="g",
        codes=codes,
        boxes=np.array([[80, 60, 120, 90]], np.float32),
        kinds=np.array([0], np.intp),
        doubt=np.zeros((160, 200), np.uint8),
        complete=frozenset(CELL_KINDS),
    )
    options = SampleOptions(side_px=128)
    out, boxes, kinds, doubt = crop(example, options, np.random.default_rng(seed))
    assert out.shape == (128, 128, 3) and doubt.shape == (128, 128)
    rows, columns = np.nonzero(out[..., 0] < 110)
    if len(boxes) == 0:
        assert len(rows) < 0.5 * 30 * 40 * options.zoom_high**2
        return
    x0, y0, x1, y1 = boxes[0]
    assert columns.min() == pytest.approx(x0, abs=1.5)
    assert columns.max() + 1 == pytest.approx(x1, abs=1.5)
    assert rows.min() == pytest.approx(y0, abs=1.5)
    assert rows.max() + 1 == pytest.approx(y1, abs=1.5)
    assert kinds.tolist() == [0]


def test_targets_are_what_the_device_reads(examples: list[CanonicalExample]) -> None:
    example = examples[0]
    heat, known, coded, weight = targets(
        example.boxes,
        example.kinds,
        np.zeros(example.codes.shape[:2], np.uint8),
        example.complete,
        0.0,
    )
    maps = np.concatenate([heat, coded]).transpose(1, 2, 0)
    rows = read_maps(np.ascontiguousarray(maps), 0.999)
    centres = (rows[:, :2] + rows[:, 2:4]) / 2
    wanted = (example.boxes[:, :2] + example.boxes[:, 2:]) / 2
    inside = (wanted >= 0).all(axis=1) & (wanted < 128).all(axis=1)
    nearest = np.hypot(*(wanted[inside][:, None] - centres[None]).transpose(2, 0, 1)).min(axis=1)
    # Two cells in one place of the map share it; all others come back exactly.
    assert (nearest < 0.5).mean() > 0.9
    assert known.min() == 1 and weight.max() == 1


def test_colour_changes_keep_the_field_a_field(examples: list[CanonicalExample]) -> None:
    chances = np.full(len(examples), 1 / len(examples))
    batch = draw_batch(examples, chances, 6, SampleOptions(side_px=96), np.random.default_rng(0))
    first = vary_colour(batch.codes, torch.Generator().manual_seed(1))
    again = vary_colour(batch.codes, torch.Generator().manual_seed(1))
    other = vary_colour(batch.codes, torch.Generator().manual_seed(2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.min() >= 0 and first.max() <= 1.275 and torch.isfinite(first).all()
    clear = (batch.codes > 198).all(dim=-1)[:, None].expand_as(first)
    assert (first[clear] - 1).abs().mean() < 0.08


def test_dirt_is_drawn_on_the_stated_share_and_stays_small_or_grey() -> None:
    drawn = dirt(200, 96, 0.4, torch.Generator().manual_seed(3))
    assert torch.equal(drawn, dirt(200, 96, 0.4, torch.Generator().manual_seed(3)))
    dirty = drawn.flatten(1).amax(dim=1) > 0
    # Some of those chosen get no speck by chance.
    assert 0.25 < dirty.float().mean() < 0.45
    assert drawn.min() >= 0 and drawn.max() < 0.5
    deep = drawn.amax(dim=1) > SPECK_DENSITY[1] * (1 + SPECK_TINT) * 1.5
    red, green, blue = (channel[deep] for channel in drawn.unbind(1))
    assert len(red) > 100
    assert (red / green - 1).abs().median() < 0.1 and (blue / green - 1).abs().median() < 0.1


def test_without_a_share_no_dirt_is_drawn() -> None:
    codes = torch.full((3, 64, 64, 3), 200, dtype=torch.uint8)
    clean = vary_colour(codes, torch.Generator().manual_seed(1))
    assert torch.equal(clean, vary_colour(codes, torch.Generator().manual_seed(1), dirty_share=0.0))
    dirty = vary_colour(codes, torch.Generator().manual_seed(1), dirty_share=1.0)
    assert not torch.equal(clean, dirty)


def test_unknown_places_teach_nothing(examples: list[CanonicalExample]) -> None:
    chances = np.full(len(examples), 1 / len(examples))
    batch = draw_batch(examples, chances, 2, SampleOptions(side_px=96), np.random.default_rng(0))
    blind = dataclasses.replace(
        batch, known=torch.zeros_like(batch.known), weight=torch.zeros_like(batch.weight)
    )
    raw = torch.randn(2, 7, 24, 24, requires_grad=True)
    loss, _ = finder_loss(raw, blind, 1.0)
    torch.autograd.backward(loss)
    assert raw.grad is not None and raw.grad.abs().max() == 0
