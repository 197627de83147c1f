"""The analyser fit: choice, honest error, intervals, comparison of methods."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgehemo.errors import CalibrationError
from edgehemo.estimate.estimators import estimators_of
from edgehemo.estimate.pooling import pool
from edgehemo.estimate.sample import estimate_sample
from edgehemo.profile.profile import load_profile, new_profile, save_profile
from edgehemo.statistics.interval import Interval
from edgehemo_calibration.analyser.comparison import bland_altman, deming, passing_bablok
from edgehemo_calibration.analyser.fit import AnalyserSample
from tests.support.analyser_samples import WHEN, fit, indices, made_samples


def test_the_line_that_made_the_data_is_found() -> None:
    result = fit(made_samples(30))
    hgb = result.calibration.of("hgb_g_per_l")
    assert hgb is not None
    assert hgb.estimator == "cover"
    assert hgb.coefficients[0] == pytest.approx(20, abs=8)
    assert hgb.coefficients[1] == pytest.approx(300, rel=0.08)
    assert hgb.residual_sd == pytest.approx(4, rel=0.4)
    assert hgb.nested_mae == pytest.approx(4 * math.sqrt(2 / math.pi), rel=0.5)
    assert hgb.nested_pcc is not None and hgb.nested_pcc > 0.98
    assert result.calibration.grade == "calibrated"
    assert result.refused == {}


def test_every_candidate_is_on_record_with_its_error_or_its_reason() -> None:
    hgb = fit(made_samples(12)).calibration.of("hgb_g_per_l")
    assert hgb is not None
    assert [c.estimator for c in hgb.candidates] == [e.name for e in estimators_of("hgb_g_per_l")]
    for candidate in hgb.candidates:
        assert (candidate.loo_mae is None) == bool(candidate.reason)
    best = min(c.loo_mae for c in hgb.candidates if c.loo_mae is not None)
    assert hgb.chosen_loo_mae == pytest.approx(best)
    counted = next(c for c in hgb.candidates if c.estimator == "counted-absorbance")
    assert "cell finder" in counted.reason
    network = next(c for c in hgb.candidates if c.estimator == "network-hgb")
    assert "field estimator" in network.reason


def test_the_preferred_estimator_stands_unless_another_is_clearly_better() -> None:
    """Cover made the data; the preferred index is nearly as good where dark share follows it."""
    rng = np.random.default_rng(5)

    def chosen(noise_of_dark: float) -> tuple[str, float, float]:
        samples = [
            replace(
                sample,
                indices=pool(
                    [
                        replace(
                            field,
                            dark_share=field.cell_cover + rng.normal(0, noise_of_dark),
                            field_od_green=0.15 * field.cell_cover,
                        )
                        for field in sample.indices.fields
                    ]
                ),
            )
            for sample in made_samples(12, noise=6.0)
        ]
        hgb = fit(samples).calibration.of("hgb_g_per_l")
        assert hgb is not None
        best = min(c.loo_mae for c in hgb.candidates if c.loo_mae is not None)
        return hgb.estimator, hgb.chosen_loo_mae, best

    name, error, best = chosen(0.004)
    assert name == estimators_of("hgb_g_per_l")[0].name and error >= best
    assert chosen(0.1)[0] == "cover"


@pytest.mark.parametrize(("count", "grade"), [(8, "demonstration"), (19, "demonstration"),
                                              (20, "calibrated")])  # fmt: skip
def test_the_grade_follows_the_number_of_samples(count: int, grade: str) -> None:
    assert fit(made_samples(count)).calibration.grade == grade


def test_fewer_than_eight_are_refused() -> None:
    with pytest.raises(CalibrationError, match="7 samples are too few"):
        fit(made_samples(7))
    with pytest.raises(CalibrationError, match="0 samples"):
        fit([])


def test_one_patient_many_times_is_no_calibration() -> None:
    one = made_samples(1)[0]
    with pytest.raises(CalibrationError, match="only 1 different analyser results"):
        fit([replace(one, name=f"s{i}") for i in range(20)])


def test_samples_of_one_panel_leave_the_fold_together() -> None:
    """A twin far off the line cannot be predicted by its twin."""
    samples = made_samples(10, noise=0.5)
    odd = replace(samples[0], indices=pool([indices(0.5, 0.5)]), reference={
        "hgb_g_per_l": 140.0, "hct_l_per_l": 0.42, "rbc_1e12_per_l": 4.6,
    })  # fmt: skip
    both = fit([*samples[1:], odd, replace(odd, name="twin")], keep_suspects=True)
    hct = both.calibration.of("hct_l_per_l")
    assert hct is not None and hct.estimator == "cover"
    assert (hct.samples, hct.groups) == (11, 10)
    # Ten patients, one slope, and what is known beforehand, which is as good as three.
    assert hct.degrees_of_freedom == 10 - 1 + 3
    twins = [p for p in both.points if p.measurand == "hct_l_per_l" and p.analyser == 0.42]
    assert len(twins) == 2
    assert all(abs(p.estimate - 0.515) < 0.02 for p in twins), "a twin was seen by its twin's fit"


def test_an_outlier_is_named_and_kept_only_when_asked() -> None:
    samples = made_samples(15, noise=2.0)
    hgb = samples[4].reference["hgb_g_per_l"] + 60
    samples[4] = replace(samples[4], reference={**samples[4].reference, "hgb_g_per_l": hgb})
    with pytest.raises(CalibrationError, match=r"tube mixed up.*: s4 \(HGB .* in the table"):
        fit(samples)
    result = fit(samples, keep_suspects=True)
    shown = [p.sample for p in result.points if p.outlier and p.measurand == "hgb_g_per_l"]
    assert shown == ["s4"]
    fitted = result.calibration.of("hgb_g_per_l")
    assert fitted is not None and fitted.samples == 15


def test_the_reported_error_holds_the_choice() -> None:
    """On noise alone the chosen error is flattered; the nested one is not, and nothing is given."""
    rng = np.random.default_rng(3)
    flattered = refused = 0
    for trial in range(20):
        samples = made_samples(10, seed=trial)
        values = rng.permutation([s.reference["hgb_g_per_l"] for s in samples])
        shuffled = [
            replace(s, reference={"hgb_g_per_l": float(v)})
            for s, v in zip(samples, values, strict=True)
        ]
        try:
            hgb = fit(shuffled).calibration.of("hgb_g_per_l")
        except CalibrationError as error:
            refused += 1
            said = ("mean", "no estimator fits", "too uncertain", "is a tube mixed up")
            assert any(words in str(error) for words in said)
        else:
            assert hgb is not None and hgb.nested_mae < hgb.mean_only_mae
    assert refused >= 18
    for trial in range(10):
        hgb = fit(made_samples(10, seed=trial, noise=12.0)).calibration.of("hgb_g_per_l")
        flattered += hgb is not None and hgb.nested_mae > hgb.chosen_loo_mae
    assert flattered >= 1


@pytest.mark.parametrize(
    ("count", "said"), [(12, "beats saying the mean"), (120, "falls where physics says it must")]
)
def test_a_line_against_physics_is_never_chosen(count: int, said: str) -> None:
    """Few samples cannot turn the line round, many can: neither gives a calibration."""
    upside_down = [
        replace(
            s,
            indices=pool([indices(f.cell_cover, f.dark_share) for f in s.indices.fields]),
            reference={"hgb_g_per_l": 260 - s.reference["hgb_g_per_l"]},
        )
        for s in made_samples(count)
    ]
    with pytest.raises(CalibrationError, match=said):
        fit(upside_down)


def test_estimators_that_need_a_scale_stay_out_without_one() -> None:
    samples = [
        replace(s, indices=pool([replace(f, scale_source="red_cells") for f in s.indices.fields]))
        for s in made_samples(12)
    ]
    result = fit(samples).calibration
    rbc = result.of("rbc_1e12_per_l")
    assert rbc is not None
    by_area = next(c for c in rbc.candidates if c.estimator == "cover-per-cell-area")
    assert "measured scale" in by_area.reason
    assert result.scale_source == "red_cells"


def test_a_measurand_that_was_not_measured_is_refused_alone() -> None:
    samples = [
        replace(s, reference={"hgb_g_per_l": s.reference["hgb_g_per_l"]}) for s in made_samples(12)
    ]
    result = fit(samples)
    assert result.calibration.of("hgb_g_per_l") is not None
    assert result.refused["hct_l_per_l"] == "not measured for every sample"


def test_prediction_intervals_hold_what_they_promise() -> None:
    """New samples of the same kind: about 95 % inside, never far below."""
    inside = total = 0
    for seed in range(18):
        calibration = fit(made_samples(15, seed=seed, noise=14.0)).calibration
        profile = new_profile(WHEN, software_version="0.1.0").model_copy(
            update={"analyser": calibration}
        )
        for sample in made_samples(40, seed=1000 + seed, noise=14.0):
            estimate = estimate_sample(sample.indices, profile).hgb_g_per_l
            if estimate is not None:
                total += 1
                inside += estimate.low <= sample.reference["hgb_g_per_l"] <= estimate.high
    assert total > 400
    assert 0.93 <= inside / total <= 0.995


def test_the_error_between_fields_is_learnt() -> None:
    samples = made_samples(20, fields=4, between=0.02)
    hgb = fit(samples).calibration.of("hgb_g_per_l")
    assert hgb is not None
    assert hgb.fields_per_sample == 4
    if hgb.estimator == "cover":
        assert hgb.between_field_sd == pytest.approx(0.02 * hgb.coefficients[1], rel=0.25)
    single = fit(made_samples(20)).calibration.of("hgb_g_per_l")
    assert single is not None and single.between_field_sd is None


def test_a_fit_survives_the_profile(tmp_path: Any) -> None:
    result = fit(made_samples(12))
    profile = new_profile(WHEN, software_version="0.1.0").model_copy(
        update={"analyser": result.calibration}
    )
    save_profile(profile, tmp_path / "p.json")
    again = load_profile(tmp_path / "p.json")
    assert again == profile
    sample = made_samples(1, seed=77)[0]
    value = estimate_sample(sample.indices, again).hgb_g_per_l
    assert isinstance(value, Interval)
    assert value.low < sample.reference["hgb_g_per_l"] < value.high
    assert "s0" not in (tmp_path / "p.json").read_text(), "a sample's name is in the profile"


def test_bland_altman_by_hand() -> None:
    analyser, estimate = np.array([100.0, 120, 140, 160]), np.array([102.0, 119, 145, 162])
    result = bland_altman(analyser, estimate)
    assert result.bias == pytest.approx(2.0)
    assert result.sd == pytest.approx(math.sqrt((0 + 9 + 9 + 0) / 3))
    assert result.upper_limit == pytest.approx(2 + 1.959964 * result.sd)
    assert result.bias_high - 2 == pytest.approx(3.18245 * result.sd / 2)
    assert result.upper_limit_low < result.upper_limit < result.upper_limit_high


def test_deming_and_passing_bablok_find_a_line_with_errors_on_both_sides() -> None:
    rng = np.random.default_rng(2)
    truth = rng.uniform(60, 180, 60)
    x, y = truth + rng.normal(0, 5, 60), 5 + 1.2 * truth + rng.normal(0, 5, 60)
    for line in (deming(x, y), passing_bablok(x, y)):
        assert line is not None
        assert line.slope == pytest.approx(1.2, abs=0.08)
        assert line.slope_low is not None and line.slope_high is not None
        assert line.slope_low < 1.2 < line.slope_high
        assert line.intercept == pytest.approx(5, abs=9)


def test_comparison_lines_are_exact_on_exact_lines_and_absent_without_variation() -> None:
    x = np.arange(10.0, 20.0)
    for line in (deming(x, 2 * x + 1), passing_bablok(x, 2 * x + 1)):
        assert line is not None
        assert [line.slope, line.intercept] == pytest.approx([2.0, 1.0])
    assert deming(x, np.full(10, 3.0)) is None
    assert passing_bablok(np.full(2, 3.0), np.full(2, 3.0)) is None


def test_passing_bablok_is_not_moved_by_one_outlier() -> None:
    x = np.arange(10.0, 30.0)
    y = x.copy()
    y[3] = 300.0
    line = passing_bablok(x, y)
    assert line is not None and line.slope == pytest.approx(1.0, abs=0.02)


def swapped(samples: list[AnalyserSample], one: int, other: int) -> list[AnalyserSample]:
    """The samples with the whole rows of two tubes exchanged."""
    mixed = list(samples)
    mixed[one] = replace(samples[one], reference=samples[other].reference)
    mixed[other] = replace(samples[other], reference=samples[one].reference)
    return mixed


@pytest.mark.parametrize("count", [8, 12, 24])
def test_a_mixed_up_tube_is_refused(count: int) -> None:
    """The lowest and the highest of a good calibration exchanged, in five calibrations each."""
    passed = 0
    for seed in range(5):
        samples = made_samples(count, seed=seed, noise=8.0)
        order = np.argsort([sample.reference["hgb_g_per_l"] for sample in samples])
        try:
            result = fit(swapped(samples, int(order[0]), int(order[-1])))
        except CalibrationError:
            continue
        passed += result.calibration.of("hgb_g_per_l") is not None
    assert passed <= 1


@pytest.mark.parametrize("count", [12, 24])
def test_calibrations_without_a_fault_pass(count: int) -> None:
    refused = 0
    for seed in range(100, 125):
        try:
            fit(made_samples(count, seed=seed, noise=8.0), measurands=("hgb_g_per_l",))
        except CalibrationError:
            refused += 1
    assert refused <= 1, "1 % hold a far sample by chance"


def test_a_poor_calibration_is_refused_where_it_is_made_and_where_it_is_used() -> None:
    samples = made_samples(20, noise=60.0)
    only_hgb = ("hgb_g_per_l",)
    with pytest.raises(CalibrationError, match="nothing can be calibrated"):
        fit(samples, measurands=only_hgb)
    good = fit(made_samples(20), measurands=only_hgb).calibration
    hgb = good.measurands[0]
    profile = new_profile(WHEN, software_version="0.1.0")

    def code(**changes: Any) -> str | None:
        made = good.model_copy(update={"measurands": (hgb.model_copy(update=changes),)})
        used = profile.model_copy(update={"analyser": made})
        return estimate_sample(samples[0].indices, used).reason_codes.get("hgb_g_per_l")

    assert code() is None
    assert code(nested_mae=0.81 * hgb.mean_only_mae) == "CALIBRATION_ERROR_LARGE"
    assert code(nested_mae=0.79 * hgb.mean_only_mae) is None
    # From severe (80 g/L) to no anaemia (130 g/L) in men.
    assert code(prediction_sd=50.1 / hgb.t95) == "CALIBRATION_INTERVAL_WIDE"
    assert code(prediction_sd=49.9 / hgb.t95) is None
