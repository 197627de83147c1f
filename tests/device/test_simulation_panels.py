"""Blood counts of the simulation: consistency, the shipped copula, the real panels behind it."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.errors import UsageError
from edgehemo.simulation.panels import (
    COPULA_FILE,
    COPULA_VARIABLES,
    CBCPanel,
    assumed_rdw_percent,
    draw_panel,
    fit_copula,
    read_panels,
)

NAMES = (
    "hgb_g_per_l",
    "hct_l_per_l",
    "rbc_1e12_per_l",
    "mcv_fl",
    "mch_pg",
    "mchc_g_per_l",
    "wbc_1e9_per_l",
    "plt_1e9_per_l",
)
HEADER = (
    "hgb_g_per_l,hct_l_per_l,rbc_1e12_per_l,mcv_fl,mch_pg,mchc_g_per_dl,wbc_1e9_per_l,plt_1e9_per_l"
)


def figures(panels: list[CBCPanel]) -> np.ndarray:
    return np.array([[getattr(panel, name) for name in NAMES] for panel in panels])


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, axis=0), axis=0).astype(float)


@given(
    hgb=st.floats(20, 220),
    mcv=st.floats(45, 140),
    mchc=st.floats(210, 390),
)
def test_derived_indices_never_contradict_the_counts(hgb: float, mcv: float, mchc: float) -> None:
    panel = CBCPanel.from_indices(hgb_g_per_l=hgb, mcv_fl=mcv, mchc_g_per_l=mchc)
    assert panel.mcv_fl == pytest.approx(mcv)
    assert panel.mchc_g_per_l == pytest.approx(mchc)
    assert panel.hct_l_per_l == pytest.approx(panel.rbc_1e12_per_l * panel.mcv_fl / 1000)
    assert panel.hgb_g_per_l == pytest.approx(panel.rbc_1e12_per_l * panel.mch_pg)
    assert 11 <= panel.rdw_percent <= 30


def test_small_pale_cells_are_taken_to_vary_more() -> None:
    assert assumed_rdw_percent(60, 280) > assumed_rdw_percent(90, 330)


@pytest.mark.parametrize("name", ["hgb_g_per_l", "hct_l_per_l", "rbc_1e12_per_l"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_count_is_refused(name: str, value: float) -> None:
    sound = {
        "hgb_g_per_l": 130.0,
        "hct_l_per_l": 0.4,
        "rbc_1e12_per_l": 4.5,
        "wbc_1e9_per_l": 0.0,
        "plt_1e9_per_l": 0.0,
    }
    CBCPanel(**sound)
    with pytest.raises(UsageError, match=name):
        CBCPanel(**{**sound, name: value})


def test_draws_repeat_by_seed_and_need_no_folder() -> None:
    first = [draw_panel(np.random.default_rng(5)) for _ in range(2)]
    assert first[0] == first[1]
    assert first[0] != draw_panel(np.random.default_rng(6))


def test_a_given_haemoglobin_is_kept_and_shapes_the_rest(rng: np.random.Generator) -> None:
    low = [draw_panel(rng, hgb_g_per_l=60.0) for _ in range(200)]
    high = [draw_panel(rng, hgb_g_per_l=150.0) for _ in range(200)]
    assert {panel.hgb_g_per_l for panel in low} == {60.0}
    # In the real panels anaemia goes with small, pale cells and few of them.
    for name in ("rbc_1e12_per_l", "mcv_fl", "mchc_g_per_l"):
        assert np.mean([getattr(p, name) for p in low]) < np.mean([getattr(p, name) for p in high])


@pytest.mark.parametrize("hgb", [5.0, 400.0])
def test_a_haemoglobin_outside_the_figures_is_refused(hgb: float) -> None:
    with pytest.raises(UsageError, match="choose one from"):
        draw_panel(np.random.default_rng(0), hgb_g_per_l=hgb)


def test_the_shipped_figures_name_their_source_and_hold_no_panel() -> None:
    model = json.loads(
        resources.files("edgehemo.simulation").joinpath(COPULA_FILE).read_text("utf-8")
    )
    assert "AneRBC" in model["source"] and "CC BY 4.0" in model["source"]
    assert tuple(model["variables"]) == COPULA_VARIABLES
    correlation = np.array(model["correlation"])
    np.testing.assert_allclose(correlation, correlation.T)
    assert np.linalg.eigvalsh(correlation).min() > 0
    for table in model["quantiles"].values():
        assert len(table) == len(model["levels"])
        assert np.all(np.diff(table) >= 0)


def test_rows_that_contradict_themselves_are_left_out(tmp_path: Path) -> None:
    table = tmp_path / "panels.csv"
    table.write_text(
        HEADER
        + "\n101.0,0.299,4.37,68.4,23.1,33.8,8.49,376.0"
        + "\n110.0,0.069,8.13,63.1,19.3,31.0,5.0,304.0"  # a shifted haematocrit
        + "\n120.0,0.395,6.23,63.4,19.3,30.4,10.41,\n",  # no platelets
        encoding="utf-8",
    )
    assert [panel.hgb_g_per_l for panel in read_panels(table)] == [101.0]
    assert len(read_panels(table, consistent_only=False)) == 2


def test_a_table_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_panels(tmp_path / "none.csv")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("hgb,hct\n1,2\n", encoding="utf-8")
    with pytest.raises(UsageError, match="lacks the column"):
        read_panels(wrong)
    with pytest.raises(UsageError, match="too few"):
        fit_copula([], rows_read=0)


@pytest.mark.real
def test_the_shipped_figures_are_those_of_the_real_panels(data_root: Path) -> None:
    path = data_root / "anerbc" / "cbc_panels.csv"
    shipped = json.loads(
        resources.files("edgehemo.simulation").joinpath(COPULA_FILE).read_text("utf-8")
    )
    panels = read_panels(path)
    assert shipped["rows_read"] == 510
    assert shipped["panels_used"] == len(panels) > 440
    assert fit_copula(panels, rows_read=510) == shipped


@pytest.mark.real
def test_drawn_panels_follow_the_real_ones(data_root: Path) -> None:
    real = figures(read_panels(data_root / "anerbc" / "cbc_panels.csv"))
    rng = np.random.default_rng(1)
    drawn = figures([draw_panel(rng) for _ in range(3000)])
    np.testing.assert_allclose(drawn.mean(axis=0), real.mean(axis=0), rtol=0.05)
    np.testing.assert_allclose(drawn.std(axis=0), real.std(axis=0), rtol=0.25)
    for level in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(
            np.quantile(drawn, level, axis=0), np.quantile(real, level, axis=0), rtol=0.10
        )
    difference = np.corrcoef(ranks(drawn), rowvar=False) - np.corrcoef(ranks(real), rowvar=False)
    assert np.abs(difference).max() < 0.15
