"""Which kiosks are told to be unlike the rest: statistics against another library's, fleets whose
faults are known, fleets without any.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest

from edgehemo_calibration.analyser.comparison import bland_altman
from edgehemo_laboratory.seeing.agreement import Pair, agreed, by
from edgehemo_laboratory.seeing.fleet_days import RECENT_DAYS, WINDOW_DAYS, FleetDays, fleet_days
from edgehemo_laboratory.seeing.judging import FEWEST_KIOSKS, drift_scores, judge, names_of
from edgehemo_laboratory.seeing.quantities import COMPARED
from edgehemo_laboratory.seeing.robust import (
    beta_binomial_deviate,
    deviates,
    limit_of,
    share_deviates,
    spread_of,
)
from edgehemo_laboratory.simulated.fleet import QUANTITIES, example, fill
from edgehemo_laboratory.storage.days import CHECKS
from edgehemo_laboratory.storage.interface import Storage
from tests.support.laboratory import with_storage
from tests.support.laboratory_pages import seen

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def fleet(kiosks: int = 24, seed: int = 1) -> FleetDays:
    """One in control: kiosks, days and results differ as the table of simulated fleets says."""
    chance = np.random.default_rng(seed)
    shape = (kiosks, WINDOW_DAYS)
    means = {}
    for name, each in QUANTITIES.items():
        size = each.level if each.relative else 1.0
        level = each.level + size * each.between * chance.standard_normal((kiosks, 1))
        means[name] = level + size * each.daily * chance.standard_normal(shape)
    results = np.full(shape, 8.0)
    fields = np.full(shape, 64.0)
    cells = np.full(kiosks, 50_000.0)
    first = date(2026, 10, 3)
    return FleetDays(
        tuple(f"kiosk-{n}" for n in range(kiosks)),
        tuple(f"site-{n % 4}" for n in range(kiosks)),
        tuple(first + timedelta(days=n) for n in range(WINDOW_DAYS)),
        means,
        chance.binomial(8, 0.08, shape).astype(float),
        results,
        chance.binomial(64, 0.12, shape).astype(float),
        fields,
        {"normal": chance.binomial(50_000, 0.7, kiosks).astype(float)},
        cells,
    )


@pytest.mark.parametrize(
    ("count", "of", "share", "rho"),
    [(0, 10, 0.1, 0.01), (30, 200, 0.08, 0.01), (5, 200, 0.08, 0.02), (180, 1500, 0.1, 0.005)],
)
def test_the_tail_of_the_beta_binomial_is_another_librarys(
    count: int, of: int, share: float, rho: float
) -> None:
    stats = pytest.importorskip("scipy.stats")
    strength = 1 / rho - 1
    law = stats.betabinom(of, share * strength, (1 - share) * strength)
    middle = law.cdf(count) - law.pmf(count) / 2
    assert beta_binomial_deviate(count, of, share, rho) == pytest.approx(stats.norm.ppf(middle))


def test_a_spread_is_right_of_normal_values_and_stays_with_a_third_at_fault() -> None:
    chance = np.random.default_rng(1)
    found = [spread_of(chance.standard_normal(20)) for _ in range(400)]
    assert np.mean(found) == pytest.approx(1.0, abs=0.03)
    values = chance.standard_normal(300)
    values[:90] += 50
    assert 0.8 < spread_of(values) < 2.5
    assert spread_of(np.array([1.0])) == 0.0


def test_the_limit_grows_with_what_is_looked_at() -> None:
    assert limit_of(1, 0.05) == pytest.approx(1.96, abs=0.001)
    assert limit_of(1000, 0.05) == pytest.approx(4.06, abs=0.01)


def test_deviates_of_levels_that_are_all_the_same_say_nothing() -> None:
    assert deviates(np.ones(6), np.zeros(6)).tolist() == [0.0] * 6
    assert np.isnan(deviates(np.array([1.0, np.nan]), np.zeros(2))).all()


def test_shares_of_few_are_not_judged() -> None:
    middle, found = share_deviates(np.array([1.0, 9.0, 30.0]), np.array([10.0, 90.0, 300.0]), 50)
    assert middle == pytest.approx(0.1) and np.isnan(found[0]) and not np.isnan(found[1:]).any()


def test_fleets_in_control_are_left_alone() -> None:
    """One of twenty looks may tell something; of twelve fleets no more than three do."""
    assert sum(bool(judge(fleet(seed=seed)).outliers) for seed in range(12)) <= 3


@pytest.mark.parametrize("quantity", [each.name for each in COMPARED if each.low is not None])
def test_a_quantity_that_falls_is_told_as_a_drift(quantity: str) -> None:
    made = fleet()
    each = next(each for each in COMPARED if each.name == quantity)
    days = made.means[quantity]
    by_ = 2.5 * each.change * (days[3].mean() if each.relative else 1.0)
    days[3, 40:] -= by_
    told = [one for one in judge(made).outliers if one.name == quantity]
    assert ("drift", "kiosk-3", quantity) in names_of(told)
    drift = next(one for one in told if one.kind == "drift")
    assert "fell by" in drift.words and drift.action
    assert drift.since is not None and abs((drift.since - made.days[40]).days) <= 4
    assert {one.who for one in told if one.kind != "site"} == {"kiosk-3"}


def test_what_falls_everywhere_at_once_is_no_kiosks_drift() -> None:
    made = fleet()
    made.means["stain_density"][:, 40:] *= 0.7  # another stain was bought for all
    assert judge(made).outliers == ()


def test_a_small_change_is_told_of_nobody() -> None:
    made = fleet()
    made.means["exposure"][3, 40:] *= 0.97
    assert judge(made).outliers == ()


def test_one_freak_day_is_no_drift() -> None:
    made = fleet()
    made.means["exposure"][3, -1] *= 0.5
    assert judge(made).outliers == ()


def test_shares_types_and_sites_are_told() -> None:
    made = fleet()
    made.withheld[5] = 3.0
    made.refused[np.array(made.sites) == "site-1"] += 20
    made.types["normal"][7] *= 0.6
    told = names_of(judge(made).outliers)
    assert ("beside", "kiosk-5", "withheld") in told
    assert ("site", "site-1", "refused") in told
    assert ("beside", "kiosk-7", "type normal") in told
    assert all(who in ("kiosk-5", "kiosk-7") for kind, who, _ in told if kind == "drift")


def test_few_kiosks_are_held_against_themselves() -> None:
    made = fleet(FEWEST_KIOSKS - 1)
    made.means["exposure"][1] *= 0.6
    assert judge(made).outliers == ()
    made.means["exposure"][1, 40:] *= 0.8
    assert names_of(judge(made).outliers) == {("drift", "kiosk-1", "exposure")}


def test_an_empty_fleet_and_days_without_results() -> None:
    nothing = replace(
        fleet(6), means={name: np.full((6, WINDOW_DAYS), np.nan) for name in QUANTITIES}
    )
    assert {each.name for each in judge(nothing).outliers} <= {"withheld", "refused"}
    scores, before, _, _ = drift_scores(np.full((3, 10), np.nan))
    assert np.isnan(scores).all() and np.isnan(before).all()


def test_the_days_as_arrays_are_what_the_results_say(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        await fill(storage, example(6, days=30, results=3.0), NOW)
        days = await fleet_days(storage, NOW.date())
        assert len(days.names) == 6 and days.days[-1] == NOW.date()
        for kiosk in (0, 4):
            rows = await storage.rows(
                "SELECT r.counted_day, r.hgb_g_per_l, r.refused FROM result r "
                "JOIN records s ON s.store = r.store JOIN kiosk k ON k.number = s.kiosk "
                "WHERE k.name = $1 AND r.standing <> 'withdrawn'",
                days.names[kiosk],
            )
            for place, day in enumerate(days.days):
                own = [row for row in rows if row[0] == day.isoformat()]
                hgb = [row[1] for row in own if row[1] is not None]
                assert days.results[kiosk, place] == len(own)
                assert days.refused[kiosk, place] == sum(row[2] for row in own)
                if hgb:
                    assert days.means["hgb"][kiosk, place] == pytest.approx(np.mean(hgb))
                else:
                    assert np.isnan(days.means["hgb"][kiosk, place])
        assert set(CHECKS) < set(days.means)
        assert days.cells.min() > 0 and len(days.days) > RECENT_DAYS

    with_storage(tmp_path / "lab.sqlite3", work)


def test_the_page_tells_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    async def work(client: httpx.AsyncClient, _: Storage) -> None:
        page = (await client.get("/outliers")).text
        assert "simulated-004" in page and "its lamp fails" in page
        assert "What to do:" in page
        kiosk = (await client.get("/kiosks/simulated-004")).text
        assert "Fell by 1" in kiosk
        assert "as the others" in (await client.get("/")).text
        look = (await client.get("/?only=look")).text
        assert "simulated-004" in look and "simulated-009" not in look

    seen(tmp_path, example(12, days=45, results=4.0), work)


def test_pages_of_a_laboratory_without_results(tmp_path: Path) -> None:
    async def work(client: httpx.AsyncClient, _: Storage) -> None:
        assert "nothing can be compared" in (await client.get("/outliers")).text
        assert "No sample here was measured" in (await client.get("/agreement")).text
        wrong = await client.get("/agreement?from=never")
        assert wrong.status_code == 400

    seen(tmp_path, None, work)


def test_agreement_is_the_calibrations_own() -> None:
    chance = np.random.default_rng(4)
    analyser = chance.normal(118, 18, 60)
    device = analyser + chance.normal(3, 7, 60)
    pairs = [Pair("k", "s", float(a), float(b)) for a, b in zip(device, analyser, strict=True)]
    ours, theirs = agreed("all", pairs), bland_altman(analyser, device)
    assert ours.found is not None and ours.biased
    assert (ours.found.mean, ours.found.low, ours.found.high) == pytest.approx(
        (theirs.bias, theirs.bias_low, theirs.bias_high)
    )
    assert ours.found.agree_low == pytest.approx(theirs.lower_limit)
    assert ours.limit_half == pytest.approx(theirs.upper_limit_high - theirs.upper_limit)
    assert [each.name for each in by(pairs, "site")] == ["s"]
    assert agreed("one", pairs[:1]).found is None and not agreed("few", pairs[:3]).enough


def test_the_page_of_agreement_leaves_out_what_is_no_pair(tmp_path: Path) -> None:
    async def work(client: httpx.AsyncClient, storage: Storage) -> None:
        page = (await client.get("/agreement")).text
        ((pairs,),) = await storage.rows(
            "SELECT count(*) FROM paired p JOIN result r ON r.store = p.store "
            "AND r.sample = p.sample WHERE r.standing = 'given'"
        )
        ((all_of_them,),) = await storage.rows("SELECT count(*) FROM paired")
        assert 0 < pairs <= all_of_them
        assert f"{pairs} samples" in page

    seen(tmp_path, example(8, days=30, results=6.0), work)
