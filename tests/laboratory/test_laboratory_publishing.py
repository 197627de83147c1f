"""What is published goes in stages, is halted by what is found, and is rolled back."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.bundle.signatures import PrivateKey
from edgehemo.published.reports import PublicationOutcome, Running, RunningBundle
from edgehemo.published.terms import Standing
from edgehemo_laboratory.clock import now, seconds_of
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.enrolment.kiosks import Kiosk, kiosk_named
from edgehemo_laboratory.errors import LaboratoryError, StorageError
from edgehemo_laboratory.intake.taking import taken
from edgehemo_laboratory.steering.changing import (
    advance,
    halt,
    resume,
    roll_back,
    waits_for,
    watch,
)
from edgehemo_laboratory.steering.findings import examined
from edgehemo_laboratory.steering.kept import (
    PIECE_BYTES,
    Publication,
    file_of,
    part_of,
    publication,
    publications,
)
from edgehemo_laboratory.steering.limits import (
    Figure,
    Limits,
    Shares,
    beyond,
    failures,
    less,
    median_change,
    share_change,
    silences,
)
from edgehemo_laboratory.steering.offering import heard, is_offered
from edgehemo_laboratory.steering.overview import entry_of, overview
from edgehemo_laboratory.steering.publishing import (
    Plan,
    Prepared,
    prepared_bundle,
    prepared_package,
    publish,
    settings_content,
    words_content,
)
from edgehemo_laboratory.steering.stages import STAGES, Stage, chosen, stages_of
from edgehemo_laboratory.steering.sticks import take_stick, write_stick
from edgehemo_laboratory.storage.interface import Storage
from tests.support.bundle_makers import signing_key, small_bundle
from tests.support.laboratory import batch, certificates, enrolled, item, result, with_storage
from tests.support.publications import (
    KEY,
    NUMBERS,
    changed_words,
    own_words,
    packed_bundle,
    running,
)

BY = "engineer"
ONE = (Stage(share=1.0, wait_s=0),)
TWO = (Stage(share=0.25, wait_s=0, used_share=0.5), Stage(share=1.0, wait_s=0))


# -- stages ---------------------------------------------------------------------------------------

NAMES = st.sets(st.text("abcdefgh", min_size=1, max_size=4), max_size=12)
SITES = st.dictionaries(st.sampled_from(["north", "south", "hills"]), NAMES, max_size=3)


def _apart(sites: dict[str, set[str]]) -> dict[str, set[str]]:
    """Kiosks have names of their own."""
    return {site: {f"{site}-{name}" for name in names} for site, names in sites.items()}


@given(SITES, SITES, st.floats(0.01, 1), st.floats(0.01, 1))
def test_whoever_is_in_a_stage_stays_in_whoever_comes_later(
    sites: dict[str, set[str]], more: dict[str, set[str]], share: float, other: float
) -> None:
    first, last = sorted((share, other))
    there = _apart(sites)
    inside = chosen("a" * 64, there, first)
    assert inside == chosen("a" * 64, there, first)
    everyone = {name for names in there.values() for name in names}
    assert inside <= everyone and bool(inside) == bool(everyone)
    for site, names in there.items():
        many = len(inside & names)
        assert many <= share_of(len(names), first) + 1 or many == 1, site
    later = {
        site: there.get(site, set()) | names
        for site, names in {**{site: set[str]() for site in there}, **_apart(more)}.items()
    }
    assert inside <= chosen("a" * 64, later, first, inside)
    assert inside <= chosen("a" * 64, later, last, inside)
    assert chosen("a" * 64, there, 1.0) == everyone


def share_of(many: int, share: float) -> float:
    return many * share


def test_the_share_is_spread_over_sites_and_drawn_anew_for_each_publication() -> None:
    sites = {f"site {n}": [f"kiosk-{n}-{m}" for m in range(20)] for n in range(10)}
    firsts = [chosen(f"{number:064x}", sites, 0.05) for number in range(40)]
    for inside in firsts:
        assert 5 <= len(inside) <= 15
        assert all(len(inside & set(names)) <= 2 for names in sites.values())
    # Nobody is always the first.
    assert len(set.union(*firsts)) > 120


@pytest.mark.parametrize("text", ["", "5", "0%", "120%", "50%,20%", "5%/soon", "5%,5%", "a%"])
def test_stages_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(LaboratoryError):
        stages_of(text)


def test_stages_are_read_as_people_write_them() -> None:
    read = stages_of("5%/24h, 25%/2d, 100%")
    assert [(each.share, each.wait_s) for each in read[:2]] == [(0.05, 86400), (0.25, 172800)]
    assert [each.share for each in stages_of("10%")] == [0.1, 1.0]
    assert STAGES[-1].share == 1


# -- limits ---------------------------------------------------------------------------------------


def test_figures_are_differences_with_their_intervals() -> None:
    # Newcombe 1998, table II, method 10: 56/70 less 48/80 is 0.2 (0.0524 to 0.3339).
    figure = less(Shares(56, 70).figure, Shares(48, 80).figure)
    assert figure.value == pytest.approx(0.2)
    assert figure.low == pytest.approx(0.0524, abs=2e-4)
    assert figure.high == pytest.approx(0.3339, abs=2e-4)
    assert share_change(Shares(1, 10), Shares(1, 10), Shares(0, 0), Shares(0, 0), 30) is None
    own = share_change(Shares(30, 60), Shares(6, 60), Shares(0, 0), Shares(0, 0), 30)
    assert own is not None and own.value == pytest.approx(0.4) and beyond(own, 0.1)
    both = share_change(Shares(30, 60), Shares(6, 60), Shares(30, 60), Shares(6, 60), 30)
    assert both is not None and both.value == pytest.approx(0) and not beyond(both, 0.1)
    assert not beyond(None, 0.1) and not beyond(Figure(0.5), 0.1)


def test_a_median_moves_beside_the_others() -> None:
    before = {kiosk: [100.0 + kiosk + 0.5 * n for n in range(20)] for kiosk in range(3)}
    after = {kiosk: [each + 9 for each in values] for kiosk, values in before.items()}
    moved = median_change(after, before, {}, {}, 30)
    assert moved is not None and moved.value == pytest.approx(9) and beyond(moved, 5)
    season = median_change(after, before, after, before, 30)
    assert season is not None and season.value == pytest.approx(0) and not beyond(season, 5)
    assert median_change(after, {}, {}, {}, 30) is None
    assert median_change(after, before, {}, {}, 30) == moved


def test_failures_and_silence_are_shares() -> None:
    limits = Limits()
    assert failures([], 5, limits) is None and failures(["x"], 25, limits) is None
    alone = failures(["clinic-1: fell"], 2, limits)
    assert alone is not None and alone.words == "1 of 2 kiosks did not keep it: clinic-1: fell"
    assert silences(Shares(1, 2), Shares(0, 38), limits) is not None
    assert silences(Shares(1, 2), Shares(20, 38), limits) is None
    assert silences(Shares(0, 2), Shares(0, 38), limits) is None


# -- publishing -----------------------------------------------------------------------------------


def prepared(serial: int = 2, **given: Any) -> Prepared:
    content = f"the bundle of serial {serial}".encode()
    made = Prepared(
        "bundle", "small", serial, content, hashlib.sha256(b"m" + content).hexdigest(),
        f"laboratory ({KEY})", KEY, NUMBERS,
    )  # fmt: skip
    return replace(made, **given)


class Fleet:
    """A laboratory with kiosks that visit."""

    def __init__(self, storage: Storage, made: Certificates) -> None:
        self.storage, self.certificates = storage, made
        self.ran: dict[str, Running] = {}

    async def come(self, count: int, sites: tuple[str, ...] = ("north", "south")) -> None:
        for number in range(len(self.ran), len(self.ran) + count):
            name = f"clinic-{number}"
            await enrolled(self.storage, self.certificates, name, site=sites[number % len(sites)])
            self.ran[name] = running()

    async def kiosk(self, name: str) -> Kiosk:
        return await kiosk_named(self.storage, name)

    async def visit(self, name: str) -> list[str]:
        """What it is offered, by digest of the file."""
        kiosk = await self.kiosk(name)
        await self.storage.do(
            "UPDATE kiosk SET heard_at_s = $1 WHERE number = $2", seconds_of(now()), kiosk.number
        )
        return [each.sha256 for each in (await heard(self.storage, kiosk, self.ran[name])).offers]

    async def all_visit(self) -> dict[str, list[str]]:
        return {name: await self.visit(name) for name in sorted(self.ran)}

    def says(self, name: str, kept: Publication, standing: Standing, words: str = "") -> None:
        """A kiosk went over to a publication, or left it."""
        before = self.ran[name]
        outcome = PublicationOutcome(
            publication=kept.sha256, kind=kept.kind, standing=standing, words=words
        )
        others = tuple(e for e in before.outcomes if e.publication != kept.sha256)
        changed: dict[str, Any] = {"outcomes": (*others, outcome)}
        if standing in ("on trial", "in use") and kept.kind == "bundle":
            changed["bundle"] = RunningBundle(
                name=kept.name, serial=kept.serial, sha256=kept.digest, shipped=False
            )
            changed["highest"] = {f"bundle {kept.name}": kept.serial}
        self.ran[name] = before.model_copy(update=changed)


def fleet(folder: Path, work: Callable[[Fleet], Awaitable[None]], storage: str = "") -> None:
    async def run(opened: Storage) -> None:
        await work(Fleet(opened, certificates(folder / "certificates")))

    with_storage(storage or folder / "lab.sqlite3", run)


def test_a_publication_is_staged_advanced_and_reaches_everybody(tmp_path: Path) -> None:
    async def work(at: Fleet) -> None:
        await at.come(12)
        await at.all_visit()
        kept = await publish(at.storage, prepared(), Plan(stages=TWO), by=BY)
        offered = {name for name, digests in (await at.all_visit()).items() if digests}
        assert 2 <= len(offered) <= 4
        with pytest.raises(LaboratoryError, match="0 of"):
            await advance(at.storage, kept.number, by=BY)
        for name in offered:
            at.says(name, kept, "in use")
        # One that comes later, by lot or not, takes nobody's place.
        await at.come(4)
        again = {name for name, digests in (await at.all_visit()).items() if digests}
        assert offered <= again
        for name in again:
            at.says(name, kept, "in use")
            assert await at.visit(name) == [kept.sha256]
        await advance(at.storage, kept.number, by=BY)
        assert all(digests == [kept.sha256] for digests in (await at.all_visit()).values())
        with pytest.raises(LaboratoryError, match="no stage follows"):
            await advance(at.storage, kept.number, by=BY)
        entry = await entry_of(at.storage, await publication(at.storage, kept.number))
        assert (entry.stage, entry.chosen, entry.using) == (2, 16, len(again))
        deeds = [row[0] for row in await at.storage.rows("SELECT action FROM audit")]
        assert {"published", "publication advanced", "kiosk runs"} <= set(deeds)

    fleet(tmp_path, work)


def test_it_is_only_for_whom_it_is_published(tmp_path: Path) -> None:
    async def work(at: Fleet) -> None:
        await at.come(6)
        plan = Plan(stages=ONE, sites=("north",))
        await publish(at.storage, prepared(), plan, by=BY)
        offered = {name for name, digests in (await at.all_visit()).items() if digests}
        assert offered == {"clinic-0", "clinic-2", "clinic-4"}
        with pytest.raises(LaboratoryError, match="no site 'east'"):
            await publish(at.storage, prepared(3), Plan(sites=("east",)), by=BY)
        with pytest.raises(LaboratoryError, match="no kiosk 'x'"):
            await publish(at.storage, prepared(3), Plan(kiosks=("x",)), by=BY)
        # Who wants nothing, or takes none, is offered none.
        at.ran["clinic-0"] = running(policy="never")
        at.ran["clinic-2"] = running(takes=("language",))
        assert not await at.visit("clinic-0") and not await at.visit("clinic-2")

    fleet(tmp_path, work)


def test_what_kiosks_would_refuse_is_refused_with_their_words(tmp_path: Path) -> None:
    async def work(at: Fleet) -> None:
        await at.come(2)
        at.ran["clinic-1"] = running(keys=("fedcba9876543210",), highest={"bundle small": 7})
        await at.all_visit()
        with pytest.raises(LaboratoryError, match=r"1 kiosks would refuse it: clinic-1 .*trust"):
            await publish(at.storage, prepared(9), Plan(), by=BY)
        with pytest.raises(LaboratoryError, match="has had serial 7"):
            await publish(at.storage, prepared(3, key=""), Plan(), by=BY)
        await publish(at.storage, prepared(9), Plan(kiosks=("clinic-0",)), by=BY)
        with pytest.raises(LaboratoryError, match="published already"):
            await publish(at.storage, prepared(9), Plan(kiosks=("clinic-0",)), by=BY)
        with pytest.raises(LaboratoryError, match="does not rise, 9 is published; give it 10"):
            await publish(at.storage, prepared(8), Plan(kiosks=("clinic-0",)), by=BY)

    fleet(tmp_path, work)


def test_files_are_kept_in_pieces_and_given_to_whom_they_are_offered(tmp_path: Path) -> None:
    content = bytes(range(256)) * (2 * PIECE_BYTES // 256) + b"end"

    async def work(at: Fleet) -> None:
        await at.come(2)
        kept = await publish(
            at.storage, prepared(content=content), Plan(kiosks=("clinic-0",), stages=ONE), by=BY
        )
        assert await file_of(at.storage, kept) == content
        for first, last in ((0, 0), (PIECE_BYTES - 2, PIECE_BYTES + 5), (1, len(content) - 1)):
            assert await part_of(at.storage, kept.sha256, first, last) == content[first : last + 1]
        with pytest.raises(StorageError):
            await part_of(at.storage, kept.sha256, 0, len(content))
        await at.all_visit()
        has, lacks = await at.kiosk("clinic-0"), await at.kiosk("clinic-1")
        assert await is_offered(at.storage, has, kept.sha256) == len(content)
        assert await is_offered(at.storage, lacks, kept.sha256) is None
        await halt(at.storage, kept.number, "a look", by=BY)
        assert await is_offered(at.storage, has, kept.sha256) is None
        with pytest.raises(StorageError):
            await at.storage.do("UPDATE publication SET size = 1")
        with pytest.raises(StorageError):
            await at.storage.do("DELETE FROM publication_part")

    fleet(tmp_path, work)


# -- halted by what is found ----------------------------------------------------------------------


def test_what_falls_back_halts_it_and_is_looked_at_before_it_goes_on(tmp_path: Path) -> None:
    async def work(at: Fleet) -> None:
        await at.come(8)
        await at.all_visit()
        kept = await publish(at.storage, prepared(), Plan(stages=TWO, by_itself=True), by=BY)
        offered = [name for name, digests in (await at.all_visit()).items() if digests]
        at.says(offered[0], kept, "fell back", "the self-check found fault with it")
        kiosk = await at.kiosk(offered[0])
        assert (await heard(at.storage, kiosk, at.ran[offered[0]])).failed
        (halted,) = await watch(at.storage)
        assert halted.state == "halted" and "fault with it" in halted.why
        assert not any((await at.all_visit()).values())
        entry = await entry_of(at.storage, halted)
        assert [each.kind for each in entry.findings] == ["failed"] and entry.failed == 1
        assert not (await heard(at.storage, kiosk, at.ran[offered[0]])).failed
        assert await watch(at.storage) == []
        with pytest.raises(LaboratoryError, match="may not begin: it is halted"):
            await advance(at.storage, kept.number, by=BY, anyway="I know")
        await at.storage.do("UPDATE publication_kiosk SET standing_at_s = standing_at_s - 60")
        await resume(at.storage, kept.number, "its lamp was broken", by=BY)
        assert await watch(at.storage) == []
        # Stages that follow by themselves: enough use it now.
        for name in offered[1:]:
            at.says(name, kept, "in use")
            await at.visit(name)
        await watch(at.storage)
        now_at = (await publication(at.storage, kept.number)).stage
        assert now_at == (1 if len(offered) > 1 else 0)

    fleet(tmp_path, work)


def test_a_person_who_declines_is_no_failure(tmp_path: Path) -> None:
    async def work(at: Fleet) -> None:
        await at.come(2)
        kept = await publish(at.storage, prepared(), Plan(stages=ONE), by=BY)
        await at.all_visit()
        at.says("clinic-0", kept, "declined")
        await at.visit("clinic-0")
        assert await watch(at.storage) == []

    fleet(tmp_path, work)


def test_silence_after_the_offer_halts_it_by_the_receivers_clock(tmp_path: Path) -> None:
    async def work(at: Fleet) -> None:
        await at.come(20)
        await at.all_visit()
        kept = await publish(at.storage, prepared(), Plan(stages=TWO), by=BY)
        offered = [name for name, digests in (await at.all_visit()).items() if digests]
        later = seconds_of(now()) + kept.limits.silent_s + 60
        assert await watch(at.storage, now_s=later - 120) == []
        # All but those that it was offered to are heard again.
        for name in at.ran:
            if name not in offered:
                kiosk = await at.kiosk(name)
                await at.storage.do(
                    "UPDATE kiosk SET heard_at_s = $1 WHERE number = $2", later - 5, kiosk.number
                )
        (halted,) = await watch(at.storage, now_s=later)
        assert "silent since the offer" in halted.why

    fleet(tmp_path, work)


@pytest.mark.parametrize("what", ["withheld", "grade", "hgb", "index", "season"])
def test_results_that_move_beside_the_others_halt_it(tmp_path: Path, what: str) -> None:
    async def work(at: Fleet) -> None:
        await at.come(4)
        await at.all_visit()
        plan = Plan(stages=TWO, kiosks=tuple(at.ran), limits=Limits(least_results=20))
        kept = await publish(at.storage, prepared(), plan, by=BY)
        offered = [name for name, digests in (await at.all_visit()).items() if digests]
        number = 0
        for name in at.ran:
            kiosk, store = await at.kiosk(name), hashlib.sha256(name.encode()).hexdigest()[:32]
            says = []
            for new in (False, True):
                with_it = new and name in offered
                moved = with_it or (new and what == "season")
                for n in range(40):
                    number += 1
                    says.append(
                        item(
                            2 * number,
                            _result(number, store, n, what, moved)
                            | {"bundle_sha256": kept.digest if with_it else "ab" * 32},
                        )
                    )
            for at_ in range(0, len(says), 40):
                await taken(at.storage, kiosk, batch(*says[at_ : at_ + 40], store=store))
        # The first forty of each kiosk came a day before it went over.
        day = 86_400
        await at.storage.do(
            "UPDATE result SET came_at_s = came_at_s - $1 WHERE (CAST(substr(result_id, 1, 4) AS "
            "INTEGER) - 1) % 80 < 40",
            day,
        )
        for name in offered:
            at.says(name, kept, "in use")
            await at.visit(name)
        await at.storage.do("UPDATE publication_kiosk SET used_at_s = used_at_s - 3600")
        await at.storage.do("UPDATE publication_standing SET counted_from_s = 0")
        kept = await publication(at.storage, kept.number)
        seen = await examined(at.storage, kept, seconds_of(now()))
        assert seen.results == 40 * len(offered)
        kinds = [each.kind for each in seen.found]
        wanted = {"withheld": "withheld", "grade": "grade", "hgb": "hgb", "index": "hgb"}
        assert kinds == ([wanted[what]] if what in wanted else []), [e.words for e in seen.found]
        assert [each.number for each in await watch(at.storage)] == (
            [kept.number] if what in wanted else []
        )

    fleet(tmp_path, work)


def _result(number: int, store: str, n: int, what: str, moved: bool) -> dict[str, Any]:
    said = result(number, id=f"{number:04d}-aaaa-bbbb-cccc", store=store)
    record = said["record"]
    value = 110.0 + n % 9 + (12 if moved and what in ("hgb", "season") else 0)
    record["sample"]["hgb_g_per_l"] = {"value": value, "low": value - 5, "high": value + 5}
    if what == "index":
        record["sample"]["hgb_g_per_l"] = None
    index = 0.05 + 0.0002 * (n % 9) + (0.006 if moved and what == "index" else 0)
    record["sample"]["indices"] = {"hgb_index": index}
    anaemia = n % 4 == 0 or (moved and what == "grade" and n % 4 < 3)
    record["anaemia"] = {"grade": "mild" if anaemia else "none"}
    if n % 10 == 0 or (moved and what == "withheld" and n // 4 % 2 == 0):
        said["outcome"] = "withheld"
        record["withheld"] = {"code": "TOO_FEW_FIELDS", "reason": "too few fields"}
        record["sample"]["hgb_g_per_l"] = None
        record["anaemia"] = None
    return said


# -- rolled back ----------------------------------------------------------------------------------


def test_a_rollback_offers_the_earlier_content_under_a_higher_serial(tmp_path: Path) -> None:
    key = signing_key()

    async def work(at: Fleet) -> None:
        await at.come(8)
        for name in at.ran:
            at.ran[name] = running(keys=(key.public.identifier,))
        await at.all_visit()
        first = await publish(
            at.storage, prepared_bundle(packed_bundle(tmp_path, 1), lambda _: NUMBERS),
            Plan(stages=ONE), by=BY,
        )  # fmt: skip
        await at.all_visit()
        for name in at.ran:
            at.says(name, first, "in use")
        second = await publish(
            at.storage, prepared_bundle(packed_bundle(tmp_path, 2), lambda _: NUMBERS),
            Plan(stages=TWO), by=BY,
        )  # fmt: skip
        offered = {name for name, got in (await at.all_visit()).items() if second.sha256 in got}
        for name in offered:
            at.says(name, second, "in use")
        visits = await at.all_visit()
        assert all(visits[name] == [first.sha256] for name in at.ran if name not in offered)
        back = await roll_back(
            at.storage, second.number, key, "HGB moved", by=BY, reads=lambda _: NUMBERS
        )
        assert (back.serial, back.back_to, back.state) == (3, first.number, "staged")
        halted = await publication(at.storage, second.number)
        assert (halted.state, halted.why) == ("halted", "HGB moved")
        visits = await at.all_visit()
        # Who took it goes back; who did not has what it had.
        assert all(
            visits[name] == [back.sha256 if name in offered else first.sha256] for name in at.ran
        )
        entry = await entry_of(at.storage, back)
        assert entry.holds_again == first.number and set(entry.for_kiosks) == offered
        with pytest.raises(LaboratoryError, match="was published since"):
            await resume(at.storage, second.number, "well", by=BY)
        third = prepared_bundle(packed_bundle(tmp_path, 3), lambda _: NUMBERS)
        with pytest.raises(LaboratoryError, match="give it 4"):
            await publish(at.storage, third, Plan(), by=BY)

    fleet(tmp_path, work)


def test_where_nothing_was_published_before_edgehemos_own_comes_back(tmp_path: Path) -> None:
    key = signing_key()

    async def work(at: Fleet) -> None:
        await at.come(1)
        at.ran["clinic-0"] = running(keys=(key.public.identifier,))
        words = changed_words("Se déconnecter", "Se deconnecter ")
        kept = await publish(
            at.storage, prepared_package("language", "fr", 4, words, key), Plan(stages=ONE), by=BY
        )
        await at.visit("clinic-0")
        at.says("clinic-0", kept, "in use")
        await at.visit("clinic-0")
        back = await roll_back(at.storage, kept.number, key, "wrong words", by=BY)
        assert own_words() in _content(await file_of(at.storage, back)) and back.serial == 5
        sent = json.dumps(
            {"schema": "edgehemo.sent-settings/1", "values": {"kiosk": {"unit": "g/dL"}}}
        ).encode()
        site = await publish(
            at.storage, prepared_package("settings", "site", 1, sent, key), Plan(stages=ONE), by=BY
        )
        await at.visit("clinic-0")
        with pytest.raises(LaboratoryError, match="no earlier settings"):
            await roll_back(at.storage, site.number, key, "wrong unit", by=BY)
        later = await publish(
            at.storage, prepared_package("settings", "site", 2, sent, key), Plan(stages=ONE), by=BY
        )
        with pytest.raises(LaboratoryError, match="no kiosk took it"):
            await roll_back(at.storage, later.number, key, "wrong unit", by=BY)

    fleet(tmp_path, work)


def _content(packed: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        return b"".join(opened.read(name) for name in opened.namelist())


# -- what is looked at before ----------------------------------------------------------------------


def test_a_bundle_is_looked_at_as_a_kiosk_does(tmp_path: Path) -> None:
    good = prepared_bundle(small_bundle(tmp_path / "good", 5), lambda _: NUMBERS)
    assert (good.name, good.serial, good.expected) == ("small", 5, NUMBERS)
    assert good.key == signing_key().public.identifier
    stranger = small_bundle(tmp_path / "strange", 6, PrivateKey(b"s" * 32, "stranger"))
    with pytest.raises(LaboratoryError, match="does not trust"):
        prepared_bundle(stranger, lambda _: NUMBERS)
    changed = small_bundle(tmp_path / "changed", 7)
    (changed / "note.txt").write_text("another")
    with pytest.raises(LaboratoryError, match="a kiosk would refuse it"):
        prepared_bundle(changed, lambda _: NUMBERS)
    with pytest.raises(LaboratoryError, match="is no bundle"):
        prepared_bundle(tmp_path / "good" / "note.txt", lambda _: NUMBERS)


def test_words_and_settings_are_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "fr.mo"
    file.write_bytes(own_words())
    assert words_content(file) == ("fr", own_words())
    file.write_bytes(own_words()[:500])
    with pytest.raises(LaboratoryError):
        words_content(file)
    po = tmp_path / "es.po"
    po.write_text('msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n')
    with pytest.raises(LaboratoryError, match="texts have no words"):
        words_content(po)
    toml = tmp_path / "north.toml"
    toml.write_text('[kiosk]\nunit = "g/dL"\n')
    assert settings_content(toml)[0] == "north"
    toml.write_text("[inference]\nthreads = 1\n")
    with pytest.raises(LaboratoryError, match=r"inference.threads is not set from the laboratory"):
        settings_content(toml)


# -- sticks ----------------------------------------------------------------------------------------


def test_a_stick_holds_what_is_offered_and_brings_back_what_runs(tmp_path: Path) -> None:
    async def work(at: Fleet) -> None:
        await at.come(8)
        await at.all_visit()
        kept = await publish(at.storage, prepared(), Plan(stages=TWO), by=BY)
        offered = [name for name, got in (await at.all_visit()).items() if got]
        with pytest.raises(LaboratoryError, match="nothing is offered to all kiosks"):
            await write_stick(at.storage, tmp_path / "stick", by=BY)
        wrote = await write_stick(at.storage, tmp_path / "stick", offered[:1], by=BY)
        (file,) = wrote.files
        assert (tmp_path / "stick" / file.file).read_bytes() == prepared().content
        out = next(name for name in at.ran if name not in offered)
        with pytest.raises(LaboratoryError, match=f"offered to {out}"):
            await write_stick(at.storage, tmp_path / "stick", [out], by=BY)
        with pytest.raises(LaboratoryError, match="holds no report"):
            await take_stick(at.storage, tmp_path / "stick", by=BY)
        ran = running(2, kept.digest).model_dump()
        for name, device in (("a", offered[0]), ("b", "elsewhere")):
            (tmp_path / "stick" / f"edgehemo-runs-{name}.json").write_text(
                json.dumps({
                    "schema": "edgehemo.stick-report/1", "device": device, "store": "s" + name,
                    "written_at": "2026-11-20T10:00:00+00:00", "running": ran,
                })
            )  # fmt: skip
        (tmp_path / "stick" / "edgehemo-runs-c.json").write_text("{")
        took = await take_stick(at.storage, tmp_path / "stick", by=BY)
        assert [(each.kiosk, bool(each.refused)) for each in took.reports] == [
            (offered[0], False), ("", True), ("", True),
        ]  # fmt: skip
        seen = await overview(at.storage)
        assert [each.brought_by for each in seen.running if each.kiosk == offered[0]] == [BY]
        assert seen.publications[0].using == 1
        assert waits_for(kept, await examined(at.storage, kept, 0), 0)
        assert len(await publications(at.storage, staged=True)) == 1

    fleet(tmp_path, work)
