"""Intervals: exact and score intervals of shares, bootstrap by group; parts of model cards."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.bundle.manifest import Metric

pytestmark = pytest.mark.host
pytest.importorskip("scipy", reason='needs pip install ".[host]"')

from edgehemo_export.evaluation import card_parts
from edgehemo_export.evaluation.statistics import (
    EvaluationFigure,
    bootstrap_by_group,
    clopper_pearson,
    wilson,
)


def test_exact_interval_of_all_right() -> None:
    # 32 of 32: the lower bound is the 32nd root of 0.025.
    found = clopper_pearson(32, 32)
    assert found.low == pytest.approx(0.025 ** (1 / 32), abs=1e-9)
    assert found.high == 1.0


def test_exact_interval_of_a_tabled_share() -> None:
    found = clopper_pearson(81, 263)  # Newcombe 1998, table I
    assert (found.low, found.high) == pytest.approx((0.2527, 0.3676), abs=1e-4)


def test_wilson_interval_of_tabled_shares() -> None:
    first = wilson(81, 263)  # Newcombe 1998, table I
    assert (first.low, first.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    none = wilson(0, 20)
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=1e-4)


@given(st.integers(1, 500), st.data())
@settings(max_examples=60, deadline=None)
def test_intervals_hold_the_share_and_mirror_it(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    for method in (clopper_pearson, wilson):
        found, mirrored = method(successes, trials), method(trials - successes, trials)
        assert found.low is not None and found.high is not None and mirrored.low is not None
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.high == pytest.approx(1 - mirrored.low, abs=1e-9)
    exact, score = clopper_pearson(successes, trials), wilson(successes, trials)
    assert exact.high is not None and exact.low is not None
    assert score.high is not None and score.low is not None
    assert exact.high - exact.low >= score.high - score.low - 0.02


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_shares_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="not a share"):
        wilson(successes, trials)
    with pytest.raises(ValueError, match="not a share"):
        clopper_pearson(successes, trials)


def mean_of(
    values: np.ndarray, groups: list[str] | None = None, *, seed: int = 0
) -> EvaluationFigure:
    """The mean with its interval; without groups every item is its own."""
    names = [str(i) for i in range(len(values))] if groups is None else groups
    found = bootstrap_by_group(
        names, lambda chosen: {"mean": float(values[chosen].mean())}, seed=seed
    )
    return found["mean"]


def test_groups_widen_the_interval(rng: np.random.Generator) -> None:
    slide = rng.normal(0, 1, 20)
    values = np.repeat(slide, 25) + rng.normal(0, 0.1, 500)
    groups = [f"slide-{i}" for i in range(20) for _ in range(25)]
    grouped, alone = mean_of(values, groups), mean_of(values)
    assert grouped.value == alone.value == pytest.approx(values.mean())
    assert grouped.low is not None and grouped.high is not None
    assert alone.low is not None and alone.high is not None
    # 25 like items a group: about five times as wide as if they were independent.
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)
    expected = 2 * 1.96 * slide.std() / math.sqrt(20)
    assert grouped.high - grouped.low == pytest.approx(expected, rel=0.25)


def test_bootstrap_is_reproducible_and_follows_its_seed() -> None:
    values = np.arange(30.0)
    assert mean_of(values, seed=4) == mean_of(values, seed=4)
    assert mean_of(values, seed=4) != mean_of(values, seed=5)


def test_one_group_gives_no_interval() -> None:
    found = mean_of(np.array([1.0, 2.0, 3.0]), ["a", "a", "a"])
    assert found.value == 2.0
    assert found.low is None and found.high is None


def test_a_figure_that_mostly_fails_gives_no_interval() -> None:
    def figures(chosen: np.ndarray) -> dict[str, float]:
        # Defined only where the one positive item was drawn.
        return {"share": 1.0 if (chosen == 0).any() else math.nan, "count": float(len(chosen))}

    found = bootstrap_by_group([str(i) for i in range(40)], figures, rounds=200)
    assert found["share"].low is None
    assert found["count"].low == found["count"].high == 40


def test_nothing_to_draw_from() -> None:
    with pytest.raises(ValueError, match="no items"):
        bootstrap_by_group([], lambda chosen: {})


def test_tables_of_cards() -> None:
    metrics = [
        Metric(name="accuracy", source="pbc", value=0.98, low=0.97, high=0.99, images=200),
        Metric(name="a|b", source="lmu", value=0.5),
    ]
    lines = card_parts.metrics_table(metrics)
    assert lines[1] == "| --- | --- | ---: | --- | ---: |"
    assert lines[2] == "| pbc | accuracy | 0.980 | 0.970 to 0.990 | 200 |"
    assert lines[3] == "| lmu | a\\|b | 0.500 |  |  |"
    assert card_parts.metrics_table([metrics[0].model_dump()])[2] == lines[2]


def test_confusion_table_counts_and_recalls() -> None:
    lines = card_parts.confusion_table(
        ("a", "b"), [[8, 1, 1], [0, 0, 0]], named=("a", "b", "uncertain")
    )
    assert lines[2] == "| a | 8 | 1 | 1 | 0.800 |"
    assert lines[3].endswith("| 0 | 0 | 0 |  |")
    with pytest.raises(ValueError, match="1 rows of counts for 2 classes"):
        card_parts.confusion_table(("a", "b"), [[1, 0]])
    with pytest.raises(ValueError, match="cells under"):
        card_parts.table(("a", "b"), [(1,)])


def test_data_section_says_what_was_trained_on() -> None:
    record = {
        "training_data": ["PBC, CC BY 4.0"],
        "images": {"pbc": 6000},
        "split": "edgehemo-1",
        "left_out": "lmu",
    }
    text = "\n".join(card_parts.data_section(record))
    assert "- PBC, CC BY 4.0" in text and "pbc 6000" in text and "`edgehemo-1`" in text
    assert "`lmu` was left out whole" in text
    assert "figures below were measured under `edgehemo-1`" in text and "`edgehemo-2`" in text
    assert card_parts.data_section({}) == ["## Data", ""]
    unnamed = card_parts.data_section({**record, "split": None})
    assert unnamed == card_parts.data_section(record), "none named is the one before"
    now = "\n".join(card_parts.data_section({**record, "split": "edgehemo-2"}))
    assert "`edgehemo-2`" in now and "edgehemo-1" not in now
    note = {"measured": {"split": "edgehemo-2", "note": "Only some were looked at."}}
    both = "\n".join(card_parts.data_section({**record, **note}))
    assert "Only some were looked at. What changed" in both and "figures below" not in both


def test_lineage_lists_the_runs_of_the_task_oldest_first() -> None:
    sibling = {"task": "field_estimator", "images": {"simulated": 9}, "steps": 400}
    first = {
        "task": "anaemia_screen",
        "images": {"chula": 5},
        "steps": 110,
        "initialised_from": sibling,
    }
    last = {"images": {"chula": 5, "anerbc": 2}, "steps": 250, "initialised_from": first}
    assert card_parts.lineage(last, "anaemia_screen") == [
        "1. 110 steps on chula 5",
        "2. 250 steps on chula 5, anerbc 2",
    ]
    assert card_parts.lineage({"images": {"a": 1}, "steps": 3}, "a") == ["1. 3 steps on a 1"]
