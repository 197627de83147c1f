"""Control checks: the rules, readings judged, the history, the block on results, the charts."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.control import repeatability
from edgehemo.control.charts import control_page, levey_jennings
from edgehemo.control.check import (
    JUDGED,
    ControlVerdict,
    checked,
    control_slide,
    judge_control,
    standard_deviations,
    with_slide,
)
from edgehemo.control.history import (
    Clearance,
    ControlCheck,
    control_block,
    history_path,
    read_history,
)
from edgehemo.control.repeatability import BACKGROUND, Run, spreads_of
from edgehemo.control.westgard import evaluate
from edgehemo.errors import CalibrationError, ProfileError
from edgehemo.profile.parts import Spread
from edgehemo.profile.profile import load_profile, new_profile, save_profile
from edgehemo.screening.field import FieldReader
from edgehemo.screening.sample import UnreadableImage
from edgehemo.statistics.chi_square import sd_interval
from tests.support.control_slides import (
    MEANS,
    WHEN,
    append_record,
    check_of,
    profile_with_slide,
    reading,
    run_of,
)
from tests.support.pages import faults_of_page
from tests.support.screening_fakes import TruthFinder, simulated_frames

HOURS = 30


@pytest.mark.parametrize(
    ("series", "rejected", "warned"),
    [
        ([0.5], (), False),
        ([2.1], (), True),
        ([-3.1], ("1-3s",), True),
        ([2.1, 2.2], ("2-2s",), True),
        ([2.1, -2.2], ("R-4s",), True),
        ([2.1, 1.9], (), False),
        ([1.1, 1.2, 1.1, 1.3], ("4-1s",), False),
        ([1.1, 1.2, -1.1, 1.3], (), False),
        ([0.1] * 10, ("10x",), False),
        ([0.1] * 9, (), False),
        ([0.1] * 9 + [-0.1], (), False),
        ([3.5, 0.0], (), False),
        ([3.1, 3.2], ("1-3s", "2-2s"), True),
    ],
)
def test_each_rule_looks_at_the_newest(
    series: list[float], rejected: tuple[str, ...], warned: bool
) -> None:
    outcome = evaluate(series)
    assert outcome.rejected_by == rejected
    assert outcome.warned == warned
    mirrored = evaluate([-value for value in series])
    assert mirrored.rejected_by == rejected


def test_the_rules_need_numbers() -> None:
    for wrong in ([], [float("nan")]):
        with pytest.raises(ValueError, match="need"):
            evaluate(wrong)


def test_sound_measurements_are_rarely_rejected_and_a_shift_soon_is() -> None:
    """Sound: about one in a hundred rejected by all rules together; off by 2 SD: soon found."""
    rng = np.random.default_rng(4)
    series = rng.normal(size=3000)
    false = [not evaluate(list(series[max(0, i - 9) : i + 1])).passed for i in range(3000)]
    assert 0.002 < np.mean(false) < 0.02
    found = []
    for _ in range(100):
        shifted = list(rng.normal(2.0, 1.0, size=12))
        first = (i for i in range(12) if not evaluate(shifted[: i + 1]).passed)
        found.append(next(first, 12))
    assert np.median(found) <= 3


def test_targets_are_mean_and_spread_of_the_runs() -> None:
    slide = profile_with_slide().controls[0]
    assert slide.grade == "established"
    assert profile_with_slide(10).controls[0].grade == "provisional"
    for target in slide.targets:
        assert target.mean == pytest.approx(MEANS[target.quantity], rel=0.02)
        assert target.sd == pytest.approx(0.02 * MEANS[target.quantity], rel=0.5)
        assert target.sd_low < target.sd < target.sd_high
    rng = np.random.default_rng(1)
    runs = [run_of(i, rng) for i in range(9)]
    with pytest.raises(CalibrationError, match="9 runs are too few"):
        control_slide("normal", runs, WHEN)
    empty = Run("run 10", {}, fields=0, refused=5, codes=("FOCUS_BLURRED",))
    with pytest.raises(CalibrationError, match=r"run 10 \(FOCUS_BLURRED\)"):
        control_slide("normal", [*runs, empty], WHEN)


@pytest.mark.parametrize("runs", [10, 20])
def test_few_runs_do_not_make_the_limits_tighter(runs: int) -> None:
    """Beyond 2 SD as often as a normal value is (4.6 %), whatever the targets stand on."""
    rng = np.random.default_rng(12)
    beyond = total = 0
    for _ in range(300):
        known = rng.normal(50.0, 3.0, size=runs)
        target = Spread(
            quantity="x", mean=float(known.mean()), sd=float(known.std(ddof=1)), sd_low=0.0,
            sd_high=9.0, runs=runs,
        )  # fmt: skip
        deviations = [standard_deviations(float(v), target) for v in rng.normal(50.0, 3.0, 20)]
        beyond += sum(abs(deviation) > 2 for deviation in deviations)
        total += 20
    assert 0.030 < beyond / total < 0.062


def test_deviations_of_many_runs_are_plain_distances() -> None:
    target = Spread(quantity="x", mean=10.0, sd=2.0, sd_low=1.0, sd_high=3.0, runs=2000)
    for value in (4.0, 10.0, 13.0):
        assert standard_deviations(value, target) == pytest.approx((value - 10) / 2, rel=0.01)


def test_a_check_passes_on_target_and_names_what_is_off() -> None:
    profile = profile_with_slide()
    good = check_of(profile, WHEN)
    assert good.passed and not good.reason
    sd = profile.controls[0].targets[0].sd
    assert profile.controls[0].targets[0].quantity == "hgb_index"
    bad = check_of(profile, WHEN, hgb_index=4 * sd)
    assert not bad.passed
    assert [(v.quantity, v.rule) for v in bad.violations] == [("hgb_index", "1-3s")]
    assert "haemoglobin index +" in bad.reason and "1-3s" in bad.reason
    blurred = checked(
        Run("today", {}, 0, 4, ("FOCUS_BLURRED",)),
        profile.controls[0],
        (),
        profile_sha256="x",
        at=WHEN,
    )
    assert not blurred.passed and "FOCUS_BLURRED" in blurred.reason
    part = checked(
        Run("today", {"hgb_index": MEANS["hgb_index"]}, 4, 0),
        profile.controls[0],
        (),
        profile_sha256="x",
        at=WHEN,
    )
    assert "area of a red cell could not be measured" in part.reason


def test_a_run_is_pooled_from_its_readings() -> None:
    profile = new_profile(WHEN, software_version="0.1.0")
    images = [reading("a", 0.2), reading("b", 0.3), reading("c", 0.2, failed="FOCUS_BLURRED")]
    run = repeatability.run_of("today", images, profile, None)
    assert (run.fields, run.refused, run.codes) == (2, 1, ("FOCUS_BLURRED",))
    assert run.values["cell_od_green"] == pytest.approx(0.25)
    assert run.values[BACKGROUND] == pytest.approx(180.0)
    assert "hgb_g_per_l" not in run.values, "a concentration without an analyser calibration"
    blurred = repeatability.run_of("today", images[2:], profile, None)
    assert (blurred.values, blurred.fields, blurred.refused) == ({}, 0, 1)
    with pytest.raises(CalibrationError, match=r"d\.png: no picture"):
        repeatability.run_of(
            "today", [*images, UnreadableImage("d.png", "no picture")], profile, None
        )


def test_a_real_field_gives_what_a_control_slide_is_judged_by() -> None:
    finder = TruthFinder()
    (frame,) = simulated_frames(finder)
    profile = new_profile(WHEN, software_version="0.1.0")
    run = repeatability.run_of(
        "today", [FieldReader(finder, um_per_px=0.25).read(frame)], profile, None
    )
    assert run.fields == 1, run.codes
    assert set(JUDGED) <= set(run.values)
    assert 100 < run.values[BACKGROUND] < 255


def test_readings_become_a_verdict_and_nothing_is_written() -> None:
    runs = [
        repeatability.run_of(
            f"run {number}",
            [reading("a", 0.2 * (1 + 0.01 * (-1) ** number))],
            new_profile(WHEN, software_version="0.1.0"),
            None,
        )
        for number in range(20)
    ]
    slide = control_slide("normal", runs, WHEN)
    profile = with_slide(new_profile(WHEN, software_version="0.1.0"), slide)

    def judge(density: float, *history: ControlCheck | Clearance) -> ControlVerdict:
        return judge_control(
            [reading("a", density)],
            slide,
            profile,
            history,
            bundle_sha256=None,
            at=WHEN,
            expires_hours=HOURS,
        )

    good = judge(0.2)
    assert good.passed and good.blocked is None
    assert good.check.profile_sha256 == profile.digest()
    bad = judge(0.3)
    assert not bad.check.passed and bad.blocked is not None
    assert "1-3s" in bad.blocked.reason
    after = judge(0.2, bad.check)
    assert after.check.passed and not after.passed, "a failure is not cleared by a later pass"
    cleared = Clearance(at=WHEN, software_version="1", reason="lamp", by="AB")
    assert judge(0.2, bad.check, cleared).passed


def test_a_clearance_begins_a_new_series() -> None:
    profile = profile_with_slide()
    sd = profile.controls[0].targets[0].sd
    history: list[Any] = []
    for day in range(2):
        history.append(check_of(profile, WHEN + timedelta(days=day), *history, hgb_index=2.5 * sd))
    assert [check.passed for check in history] == [True, False], "2-2s on the second day"
    history.append(Clearance(at=WHEN, software_version="1", reason="new lamp", by="AB"))
    after = check_of(profile, WHEN + timedelta(days=3), *history, hgb_index=2.5 * sd)
    assert after.passed and after.warnings


def test_results_are_blocked_until_cleared() -> None:
    profile = profile_with_slide()
    sd = profile.controls[0].targets[0].sd

    def block(*records: Any, at: datetime = WHEN) -> Any:
        return control_block(profile, records, now=at, expires_hours=HOURS)

    hour = timedelta(hours=1)
    assert "no control slide was checked" in block().reason
    good, bad = check_of(profile, WHEN), check_of(profile, WHEN, hgb_index=5 * sd)
    later = check_of(profile, WHEN + hour)
    cleared = Clearance(at=WHEN, software_version="1", reason="lamp", by="AB")
    assert block(good) is None
    assert "failed: haemoglobin index" in block(good, bad).reason
    assert "failed" in block(bad, later).reason, "passing again does not clear a failure"
    assert block(bad, cleared) is None
    assert block(bad, cleared, later, at=WHEN + hour) is None
    assert block(good, at=WHEN + HOURS * hour) is None
    assert "more than 30 hours old" in block(good, at=WHEN + (HOURS + 1) * hour).reason
    assert "clock is wrong" in block(later, at=WHEN - 3 * hour).reason
    unchecked = new_profile(WHEN, software_version="1")
    assert control_block(unchecked, (bad,), now=WHEN, expires_hours=HOURS) is None
    # Setting the targets anew does not clear a failure, and needs a check of its own.
    anew = with_slide(
        profile, profile.controls[0].model_copy(update={"established_at": WHEN + hour})
    )
    for records, said in (((bad,), "failed"), ((good,), "no control slide was checked")):
        found = control_block(anew, records, now=WHEN, expires_hours=HOURS)
        assert found is not None and said in found.reason


def test_lines_of_histories_in_service_are_read(tmp_path: Path) -> None:
    # As this software has written them.
    check = (
        '{"schema": "edgehemo.control/1", "at": "2026-11-21T12:00:00+02:00", '
        '"software_version": "0.1.0", "kind": "check", "slide": "A", '
        '"established_at": "2026-11-01T08:00:00Z", "profile_sha256": "ab", "fields": 3, '
        '"refused": 0, "values": {"hgb_index": 0.1}, "deviations": {"hgb_index": 3.5}, '
        '"violations": [{"quantity": "hgb_index", "rule": "1-3s"}], "warnings": [], '
        '"passed": false, "reason": "too high"}'
    )
    clear = (
        '{"schema": "edgehemo.control/1", "at": "2026-11-21T12:30:00Z", '
        '"software_version": "0.1.0", "kind": "clear", "reason": "new lamp", "by": "AB"}'
    )
    path = tmp_path / "p.control.jsonl"
    path.write_text(f"{check}\n{clear}\n", encoding="utf-8")
    first, second = read_history(path)
    assert isinstance(first, ControlCheck) and first.violations[0].rule == "1-3s"
    assert isinstance(second, Clearance) and second.by == "AB"
    append_record(path, second)
    written = path.read_text(encoding="utf-8")
    assert written.startswith(f'{check}\n{clear}\n{clear}\n{{"kind": "seal", ')
    assert written.count("\n") == 4
    for spoilt in (
        check.replace("1-3s", "9-9s"),
        check.replace("+02:00", ""),
        check.replace('"fields": 3', '"fields": true'),
        check.replace("3.5}", "1e999}"),
        clear.replace('"clear"', '"other"'),
        clear.replace('"by": "AB"', '"by": "AB", "more": 1'),
        "[]",
    ):
        path.write_text(f"{clear}\n{spoilt}\n", encoding="utf-8")
        with pytest.raises(ProfileError, match=r"damaged control history \(line 2\)"):
            read_history(path)


def test_the_history_is_kept_whole(tmp_path: Path) -> None:
    profile = profile_with_slide()
    path = history_path(tmp_path / "p.json")
    assert path.name == "p.json.control.jsonl"
    assert read_history(path) == ()
    records = [
        check_of(profile, WHEN),
        check_of(profile, WHEN, hgb_index=1.0),
        Clearance(at=WHEN, software_version="1", reason="Lampe gewechselt – ü", by="AB"),
    ]
    for record in records:
        append_record(path, record)
    assert read_history(path) == tuple(records)
    lines = path.read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["check", "check", "clear", "seal"]
    path.write_text("\n".join([lines[0], lines[1][:40]]))
    with pytest.raises(ProfileError, match=r"damaged control history \(line 2\)"):
        read_history(path)
    with pytest.raises(ProfileError, match="damaged"):
        append_record(path, records[0])
    assert path.read_text().splitlines()[1] == lines[1][:40], "damaged evidence was overwritten"


@settings(max_examples=50, deadline=None)
@given(line=st.text(max_size=60))
def test_any_line_is_a_record_or_a_profile_error(
    line: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(line, encoding="utf-8", errors="replace")
    if line.splitlines():
        with pytest.raises(ProfileError):
            read_history(path)


def test_repeatability_is_the_spread_between_runs() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 9, 30, 31, 60):
        low, high = sd_interval(1.0, freedom)
        assert low == pytest.approx((freedom / scipy_stats.chi2.ppf(0.975, freedom)) ** 0.5, 1e-3)
        assert high == pytest.approx((freedom / scipy_stats.chi2.ppf(0.025, freedom)) ** 0.5, 1e-3)


def test_spreads_hold_the_true_deviation_as_often_as_stated() -> None:
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(300):
        runs = [run_of(i, rng) for i in range(6)]
        spread = next(s for s in spreads_of(runs) if s.quantity == "cell_area_um2")
        held += spread.sd_low <= 0.02 * 44.0 <= spread.sd_high
    assert 0.92 < held / 300 < 0.98
    with pytest.raises(CalibrationError, match="2 runs are too few"):
        spreads_of([run_of(i, rng) for i in range(2)])


def test_a_chart_shows_every_check_and_its_rules() -> None:
    profile = profile_with_slide()
    target = profile.controls[0].targets[0]
    history: list[ControlCheck] = []
    for day in range(6):
        shift = 6 * target.sd if day == 4 else 0.0
        history.append(check_of(profile, WHEN + timedelta(days=day), *history, hgb_index=shift))
    drawing = ElementTree.fromstring(levey_jennings(target, history))
    space = "{http://www.w3.org/2000/svg}"
    titles = [item.text or "" for item in drawing.iter(f"{space}title")]
    assert len(titles) == 6
    assert sum("1-3s" in title for title in titles) == 1
    page = control_page(profile, history, blocked="", now=WHEN)
    assert not faults_of_page(page)
    assert page.count("<svg") == len(profile.controls[0].targets)
    nasty = profile.model_copy(update={"microscope": "<script>alert(1)</script>"})
    page = control_page(nasty, history, blocked="<b>", now=WHEN)
    assert not faults_of_page(page)
    assert "&lt;script&gt;" in page and "Results are withheld: &lt;b&gt;" in page


def test_a_profile_keeps_its_controls(tmp_path: Path) -> None:
    profile = profile_with_slide()
    save_profile(profile, tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json") == profile
    doubled = {**profile.model_dump(), "controls": profile.model_dump()["controls"] * 2}
    (tmp_path / "q.json").write_text(json.dumps(doubled))
    with pytest.raises(ProfileError, match="control slide occurs twice"):
        load_profile(tmp_path / "q.json")
