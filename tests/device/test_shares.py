"""Shares of red-cell types corrected by the confusion matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.bundle.manifest import Confusion
from edgehemo.cells.cell import UNCERTAIN
from edgehemo.cells.shares import (
    MIN_CELLS,
    SLIDE_CELLS,
    count_names,
    explained_by_others,
    type_shares,
)
from edgehemo.errors import UsageError

CLASSES = ("normal", "teardrop", "burr_cell", "target_cell", "schistocyte")


def named_rates(rng: np.random.Generator) -> NDArray[np.float64]:
    """How each true type is named (rows), `uncertain` last: 75 to 95 % right."""
    kinds = len(CLASSES)
    rates = np.zeros((kinds, kinds + 1))
    for kind in range(kinds):
        wrong = rng.dirichlet(np.full(kinds + 1, 0.4))
        wrong[kind] = 0.0
        right = rng.uniform(0.75, 0.95)
        rates[kind] = (1 - right) * wrong / wrong.sum()
        rates[kind, kind] = right
    return rates


def kept_out(
    rng: np.random.Generator, rates: NDArray[np.float64], cells: tuple[int, ...]
) -> Confusion:
    counts = [rng.multinomial(n, row).tolist() for n, row in zip(cells, rates, strict=True)]
    return Confusion(counts=counts)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Over simulated worlds: own confusion, own kept-out cells, own sample each."""
    rng = np.random.default_rng(3)
    held: list[bool] = []
    for _ in range(80):
        rates = named_rates(rng)
        confusion = kept_out(rng, rates, (300, 60, 40, 150, 80))
        truth = rng.dirichlet((8.0, 0.5, 0.5, 1.0, 0.5))
        named = rng.multinomial(600, truth @ rates)
        shares = type_shares(named, CLASSES, confusion, slide_cells=math.inf)
        assert shares is not None
        held += [s.low <= t <= s.high for s, t in zip(shares, truth, strict=True)]
    # 400 intervals of 95 %: three standard deviations are 3.3 points.
    assert 0.917 <= np.mean(held) <= 0.995


def test_intervals_hold_where_each_slide_confuses_types_in_its_own_way() -> None:
    """The kept-out cells are of ten slides, the sample is of another; many cells do not help."""
    rng = np.random.default_rng(8)

    def of_slide(rates: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([rng.dirichlet(15 * row + 0.02) for row in rates])

    held: dict[str, list[bool]] = {"slides": [], "never differing": []}
    for _ in range(60):
        rates = named_rates(rng)
        counts = sum(
            np.array(kept_out(rng, of_slide(rates), (300, 60, 40, 150, 80)).counts)
            for _ in range(10)
        )
        confusion = Confusion(counts=np.asarray(counts).tolist())
        truth = rng.dirichlet((8.0, 0.5, 0.5, 1.0, 0.5))
        named = rng.multinomial(600, truth @ of_slide(rates))
        for name, cells in {"slides": SLIDE_CELLS, "never differing": math.inf}.items():
            shares = type_shares(named, CLASSES, confusion, slide_cells=cells)
            assert shares is not None
            held[name] += [s.low <= t <= s.high for s, t in zip(shares, truth, strict=True)]
    assert np.mean(held["slides"]) > 0.9
    assert np.mean(held["never differing"]) < 0.85


def test_cells_that_a_strange_slide_leaves_uncertain_are_no_type() -> None:
    """Burr cells were uncertain most often; of a slide with half of its cells uncertain they are
    no more for that.
    """
    confusion = Confusion(counts=[[930, 20, 50], [30, 570, 400]])
    shares = {}
    for slide, named in {"like": (850, 60, 90), "strange": (470, 33, 497)}.items():
        found = type_shares(np.array(named), ("normal", "burr_cell"), confusion)
        assert found is not None
        shares[slide] = found[1]
    assert shares["like"].share == pytest.approx(0.08, abs=0.02)
    assert shares["strange"].share == pytest.approx(shares["like"].share, abs=0.02)
    assert shares["strange"].high < 0.35


def test_a_count_never_lies_outside_its_shares_interval() -> None:
    """Forty-seven cells named normal where half of the burr cells are: perhaps none is normal."""
    confusion = Confusion(counts=[[900, 60, 40], [500, 450, 50]])
    named = np.array([47, 45, 8])
    shares = type_shares(named, ("normal", "burr_cell"), confusion)
    assert shares is not None
    normal = shares[0]
    assert explained_by_others(normal.named, normal.share, 100)
    assert normal.low <= normal.share < 0.47 <= normal.high
    assert not explained_by_others(shares[1].named, shares[1].share, 100)
    assert not explained_by_others(0, 0.0, 100)


def test_correction_is_nearer_the_truth_than_counting_names() -> None:
    rng = np.random.default_rng(4)
    corrected_error, counted_error = 0.0, 0.0
    for _ in range(25):
        rates = named_rates(rng)
        confusion = kept_out(rng, rates, (400, 150, 150, 200, 150))
        truth = np.array([0.90, 0.04, 0.02, 0.03, 0.01])
        named = rng.multinomial(3000, truth @ rates)
        shares = type_shares(named, CLASSES, confusion)
        assert shares is not None
        corrected = np.array([s.share for s in shares])
        corrected_error += float(np.abs(corrected - truth).sum())
        counted_error += float(np.abs(named[:-1] / named[:-1].sum() - truth).sum())
    assert corrected_error < 0.6 * counted_error


def test_fewer_kept_out_cells_make_wider_intervals() -> None:
    rates = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    named = np.array([500, 500, 0])
    widths = []
    for cells in (20, 2000):
        confusion = Confusion(counts=(rates * cells).astype(int).tolist())
        shares = type_shares(named, ("normal", "burr_cell"), confusion, slide_cells=math.inf)
        assert shares is not None
        widths.append(shares[0].high - shares[0].low)
    assert widths[0] > 2 * widths[1]


def test_a_type_without_kept_out_cells_takes_none_of_the_others_cells() -> None:
    """Its row of the matrix is unknown, so its upper bound is wider; the others keep theirs."""
    classes = ("normal", "burr_cell", "sickle_cell")
    known = [[900, 60, 0, 40], [40, 300, 0, 60]]
    named = np.array([560, 150, 0, 90])
    two = type_shares(
        np.array([560, 150, 90]), classes[:2], Confusion(counts=[[900, 60, 40], [40, 300, 60]])
    )
    unknown = type_shares(named, classes, Confusion(counts=[*known, [0, 0, 0, 0]]))
    stood_in = type_shares(named, classes, Confusion(counts=[*known, [0, 0, 190, 10]]))
    assert two is not None and unknown is not None and stood_in is not None
    for found in (unknown, stood_in):
        assert found[2].share < 0.02 and found[2].low == 0.0
        assert [s.share for s in found[:2]] == pytest.approx([s.share for s in two], abs=0.02)
    assert stood_in[2].high < unknown[2].high < 0.25


def test_a_sample_is_read_the_same_again() -> None:
    confusion = Confusion(counts=[[90, 8, 2], [10, 85, 5]])
    named = np.array([300, 40, 12])
    first = type_shares(named, ("normal", "burr_cell"), confusion)
    assert first == type_shares(named, ("normal", "burr_cell"), confusion)


def test_too_few_cells_give_no_share() -> None:
    confusion = Confusion(counts=[[90, 8, 2], [10, 85, 5]])
    few = np.array([MIN_CELLS - 1, 0, 0])
    assert type_shares(few, ("normal", "burr_cell"), confusion) is None
    enough = np.array([MIN_CELLS, 0, 0])
    assert type_shares(enough, ("normal", "burr_cell"), confusion) is not None


def test_a_matrix_of_other_classes_is_refused() -> None:
    confusion = Confusion(counts=[[90, 8, 2], [10, 85, 5]])
    with pytest.raises(UsageError, match="export the bundle again"):
        type_shares(np.array([50, 3, 2, 1]), ("normal", "burr_cell", "teardrop"), confusion)


def test_names_are_counted_in_the_models_order() -> None:
    names = ["burr_cell", "normal", UNCERTAIN, "normal"]
    assert count_names(names, ("normal", "burr_cell")).tolist() == [2, 1, 1]
    with pytest.raises(UsageError, match="not a class of this model"):
        count_names(["sickle"], ("normal", "burr_cell"))


@settings(max_examples=25, deadline=None)
@given(
    named=st.lists(st.integers(0, 400), min_size=4, max_size=4).filter(
        lambda counts: sum(counts) >= MIN_CELLS
    ),
    rows=st.lists(st.lists(st.integers(0, 60), min_size=4, max_size=4), min_size=3, max_size=3),
)
def test_shares_are_shares_whatever_the_counts(named: list[int], rows: list[list[int]]) -> None:
    shares = type_shares(
        np.array(named), ("normal", "burr_cell", "teardrop"), Confusion(counts=rows)
    )
    assert shares is not None
    assert sum(s.share for s in shares) == pytest.approx(1.0)
    for s in shares:
        assert 0.0 <= s.low <= s.share <= s.high <= 1.0 + 1e-12
