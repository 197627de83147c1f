"""The analyser's page, the intervals of left-out samples, the intervals of the comparison lines."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from edgehemo.pages.plots import Plot, ticks, widened
from edgehemo_calibration.analyser.comparison import deming, passing_bablok
from edgehemo_calibration.analyser.page import analyser_page
from edgehemo_calibration.analyser.prediction import left_out_reach
from tests.support.analyser_samples import fit, made_samples
from tests.support.pages import faults_of_page

SVG = "{http://www.w3.org/2000/svg}"


def drawings(page: str) -> list[ElementTree.Element]:
    parts = page.split("<svg ")[1:]
    return [ElementTree.fromstring("<svg " + part.split("</svg>")[0] + "</svg>") for part in parts]


def test_the_page_shows_every_sample_outliers_too() -> None:
    samples = made_samples(15, noise=2.0)
    hgb = samples[4].reference["hgb_g_per_l"] + 60
    samples[4] = replace(
        samples[4],
        name="<s4> & co",
        reference={**samples[4].reference, "hgb_g_per_l": hgb},
    )
    result = fit(samples, measurands=("hgb_g_per_l",), keep_suspects=True)
    page = analyser_page(result)
    assert not faults_of_page(page)
    agreement, difference = drawings(page)
    for drawing in (agreement, difference):
        assert len(list(drawing.iter(f"{SVG}circle"))) == 14
        marked = [
            title.text or "" for rect in drawing.iter(f"{SVG}rect") for title in rect.iter()
            if title.tag == f"{SVG}title"
        ]  # fmt: skip
        assert len(marked) == 1 and marked[0].startswith("<s4> & co")
    assert "<s4>" not in page.replace("<title>", ""), "a sample's name was not escaped"
    assert "demonstration" in page and "Demonstration only" in page
    for said in ("Passing-Bablok slope", "Deming intercept", "upper limit of agreement", "outlier"):
        assert said in page


def test_what_was_refused_is_on_the_page() -> None:
    samples = [
        replace(s, reference={"hgb_g_per_l": s.reference["hgb_g_per_l"]}) for s in made_samples(12)
    ]
    assert "Not calibrated: not measured for every sample" in analyser_page(fit(samples))


def test_left_out_intervals_hold_as_often_as_stated() -> None:
    held = total = 0
    for seed in range(8):
        result = fit(made_samples(20, seed=100 + seed), measurands=("hgb_g_per_l",))
        hgb = result.calibration.of("hgb_g_per_l")
        assert hgb is not None and hgb.intervals_holding is not None
        inside = sum(
            p.low is not None and p.high is not None and p.low <= p.analyser <= p.high
            for p in result.points
        )
        assert inside == hgb.intervals_holding
        held, total = held + inside, total + len(result.points)
    assert 0.90 <= held / total <= 1.0


def test_no_sample_widens_its_own_interval() -> None:
    errors, ones = np.array([1.0, -1.0, 1.0, 50.0]), np.ones(4)
    freedom = np.full(4, 10, dtype=np.int64)
    groups = np.arange(4)
    reach = left_out_reach(errors, ones, 0.5 * ones, freedom, groups)
    assert reach[3] == pytest.approx(2.22814)
    assert (reach[:3] > 50).all()
    assert np.isinf(left_out_reach(errors, ones, ones, 0 * freedom, groups)).all()


def test_intercepts_have_intervals_that_hold() -> None:
    rng = np.random.default_rng(5)
    held = np.zeros(2)
    for _ in range(60):
        truth = rng.uniform(60, 180, 40)
        x, y = truth + rng.normal(0, 4, 40), 8 + 0.95 * truth + rng.normal(0, 4, 40)
        for i, line in enumerate((deming(x, y), passing_bablok(x, y))):
            assert line is not None
            assert line.intercept_low is not None and line.intercept_high is not None
            held[i] += line.intercept_low <= 8 <= line.intercept_high
    assert (held >= 52).all() and held.sum() < 120


def test_plots_cut_lines_at_their_edges_and_leave_out_what_is_no_number() -> None:
    plot = Plot("a < b", "x", "y", (0.0, 10.0), (0.0, 5.0))
    plot.line((-5.0, -5.0), (15.0, 15.0), "red")
    plot.line((0.0, 9.0), (10.0, 9.0), "blue")
    plot.point(float("nan"), 1.0, "red", "none")
    plot.point(20.0, 1.0, "red", "beyond")
    drawing = ElementTree.fromstring(plot.svg())
    (line,) = drawing.iter(f"{SVG}line")
    assert float(line.attrib["x1"]) < float(line.attrib["x2"])
    (circle,) = drawing.iter(f"{SVG}circle")
    assert float(circle.attrib["cx"]) == pytest.approx(plot.width - 14)
    assert ticks(0.0, 10.0) == [0, 2, 4, 6, 8, 10]
    assert ticks(3.0, 3.0) == [3.0]
    low, high = widened([5.0])
    assert low < 5.0 < high
