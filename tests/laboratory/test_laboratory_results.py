"""Results as pages and as exports: filters, paging, versions, identities."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.exporting.formats import FORMATS, write_export
from edgehemo_laboratory.exporting.rows import AT_ONCE, COLUMNS, Asked
from edgehemo_laboratory.intake.taking import taken
from edgehemo_laboratory.seeing.filters import Chosen
from edgehemo_laboratory.seeing.results import PAGE, listed, summed
from edgehemo_laboratory.simulated.fleet import Fleet, fill
from edgehemo_laboratory.storage.interface import Storage
from edgehemo_laboratory.verifying import verify
from tests.support.laboratory import batch, certificates, enrolled, item, result, with_storage
from tests.support.laboratory_pages import seen, token_of

FLEET = Fleet(4, ("north", "south"), 12, 5.0, seed=3)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"from": "tomorrow"}, "is no day"), ({"grade": "worst"}, "is no grade"),
     ({"outcome": "lost"}, "is none of"), ({"from": "2026-11-02", "to": "2026-11-01"}, "later")],
)  # fmt: skip
def test_what_is_asked_wrongly_is_told(given: dict[str, str], said: str) -> None:
    with pytest.raises(LaboratoryError, match=said):
        Chosen.asked(given)


def test_the_usual_days_are_taken_only_where_none_is_said() -> None:
    today = date(2026, 11, 27)
    assert Chosen.asked({}, today).since == date(2026, 10, 29)
    assert Chosen.asked({"from": ""}, today).since is None
    assert Chosen.asked({"to": "2026-11-01"}, today).since is None
    assert Chosen.asked(dict([each.split("=") for each in Chosen().query().split("&")])) == Chosen()


@pytest.mark.parametrize(
    "given",
    [{}, {"site": "south"}, {"kiosk": "simulated-003"}, {"outcome": "withheld"},
     {"outcome": "corrected"}, {"outcome": "withdrawn"}, {"grade": "mild"},
     {"from": "2026-11-20", "to": "2026-11-22", "site": "north", "grade": "none"},
     {"site": "nowhere"}],
)  # fmt: skip
def test_every_page_of_a_list_together_is_what_was_chosen(
    tmp_path: Path, given: dict[str, str]
) -> None:
    async def work(storage: Storage) -> None:
        await fill(storage, FLEET, NOW)
        chosen = Chosen.asked(given)
        rows = await storage.rows(
            "SELECT r.store, r.result_id, r.standing, r.corrected, r.grade, r.counted_day, k.name, "
            "k.site FROM result r JOIN records s ON s.store = r.store "
            "JOIN kiosk k ON k.number = s.kiosk"
        )
        wanted = {
            (store, result_id)
            for store, result_id, standing, corrected, grade, day, kiosk, site in rows
            if given.get("site", site) == site
            and given.get("kiosk", kiosk) == kiosk
            and given.get("grade", grade) == grade
            and given.get("from", "") <= day <= given.get("to", "9")
            and (given.get("outcome") in (None, standing)
                 or (given["outcome"] == "corrected" and corrected))
        }  # fmt: skip
        found: list[tuple[str, str]] = []
        after, days = "", []
        while True:
            page, after = await listed(storage, chosen, after)
            assert len(page) <= PAGE
            found += [(each.store, each.result_id) for each in page]
            days += [each.day for each in page]
            if not after:
                break
        assert len(found) == len(set(found)) and set(found) == wanted
        assert days == sorted(days, reverse=True)
        sums = await summed(storage, chosen)
        assert sums.all.results == len(wanted)
        assert sum(each.results for each in sums.days.values()) == len(wanted)
        if not given:
            assert len(wanted) > 3 * PAGE
            assert (await verify(storage, None, by="test")).faults == []

    with_storage(tmp_path / "lab.sqlite3", work)


def test_the_page_filters_pages_and_tells_what_is_wrong(tmp_path: Path) -> None:
    async def work(client: httpx.AsyncClient, _: Storage) -> None:
        page = (await client.get("/results")).text
        assert "Next page" in page and "By site" in page and "Export" in page
        following = page.split("after=")[1].split('"')[0].replace("&amp;", "&")
        second = (await client.get(f"/results?from=&after={following}")).text
        assert "First page" in second and "By site" not in second
        wrong = await client.get("/results?from=yesterday")
        assert wrong.status_code == 400 and "is no day" in wrong.text
        assert (await client.get("/results?after=nonsense")).status_code == 400
        none = (await client.get("/results?site=nowhere&from=2026-01-01")).text
        assert "No result is like this in these days" in none

    seen(tmp_path, FLEET, work)


def test_an_operator_sees_results_and_exports_none(tmp_path: Path) -> None:
    async def work(client: httpx.AsyncClient, _: Storage) -> None:
        page = (await client.get("/results")).text
        assert "Export" not in page
        answer = await client.post("/export", data={"token": token_of(client), "format": "csv"})
        assert answer.status_code == 403

    seen(tmp_path, FLEET, work, role="operator")


def test_a_result_has_its_versions_their_entries_and_its_pictures(tmp_path: Path) -> None:
    made = certificates(tmp_path)

    async def work(client: httpx.AsyncClient, storage: Storage) -> None:
        kiosk = await enrolled(storage, made)
        first, second = result(1), result(1, 3)
        await taken(storage, kiosk, batch(item(1, first)))
        await taken(storage, kiosk, batch(item(2, second)))
        place = f"/results/{first['store']}/{first['id']}"
        page = (await client.get(place)).text
        assert "Version 3: corrected" in page and "Version 2: signed" in page
        assert "given, corrected" in page
        (entry,) = await storage.rows(
            "SELECT hash FROM audit WHERE chain = 'kiosk 1' ORDER BY number DESC LIMIT 1"
        )
        assert entry[0] in page
        asked = await client.post(f"{place}/pictures", data={"token": token_of(client)})
        assert asked.status_code == 303
        assert "asked for by grace" in (await client.get(place)).text
        assert (await client.post(f"{place}/pictures")).status_code == 403
        viewed = await storage.rows("SELECT count(*) FROM audit WHERE action = 'result viewed'")
        assert viewed == [(2,)]
        await taken(storage, kiosk, batch(item(3, result(1, 4, change="withdrawn"))))
        assert "must not be used" in (await client.get(place)).text
        assert (await client.get("/results/nobody/nothing")).status_code == 404

    seen(tmp_path, None, work)


async def table(storage: Storage, folder: Path, kind: str, **given: Any) -> list[dict[str, Any]]:
    """An export, read again by another reader."""
    file = folder / f"out-{kind}"
    done = await write_export(
        storage, FORMATS[kind], Asked(**{"chosen": Chosen(), **given}), file, by="test"
    )
    if kind == "csv":
        rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(file.read_text("utf-8"))))
    elif kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(file).to_pylist()
    else:
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert len(rows) == done.results
    return rows


def test_csv_and_parquet_hold_the_same_and_leave_withdrawn_ones_out(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        await fill(storage, FLEET, NOW)
        found = Counter(row[0] for row in await storage.rows("SELECT standing FROM result"))
        assert found["withdrawn"] > 0
        text = await table(storage, tmp_path, "csv", names=True)
        columns = await table(storage, tmp_path, "parquet", names=True)
        assert list(text[0]) == list(columns[0]) == list(COLUMNS)
        assert len(text) == found.total() - found["withdrawn"]
        for a, b in zip(text, columns, strict=True):
            for name in COLUMNS:
                value = b[name]
                said = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
                assert a[name] == ("" if said is None else str(said)), name
        whole = await table(storage, tmp_path, "csv", withdrawn=True)
        assert len(whole) == found.total()
        gone = [row for row in whole if row["standing"] == "withdrawn"]
        assert len(gone) == found["withdrawn"]
        assert all(row["hgb_g_per_l"] == row["grade"] == "" for row in gone)
        only = await table(storage, tmp_path, "csv", chosen=Chosen(outcome="withdrawn"))
        assert len(only) == found["withdrawn"]
        # One row a result, however many versions it has.
        assert len({(row["store"], row["result_id"]) for row in whole}) == len(whole)

    with_storage(tmp_path / "lab.sqlite3", work)


def test_without_names_no_sample_operator_or_day_leaves(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        await fill(storage, FLEET, NOW)
        named = await table(storage, tmp_path, "csv", names=True)
        assert {row["sample"][:4] for row in named} == {"SIM-"}
        bare = await table(storage, tmp_path, "csv")
        assert {row["sample"] + row["operator"] for row in bare} == {""}
        assert {row["day"][7:] for row in bare} == {"-01"}
        assert {row["made_at"][8:] for row in bare} == {"01T00:00:00+00:00"}
        text = json.dumps(await table(storage, tmp_path, "fhir"))
        assert "SIM-" not in text and "2026-11-2" not in text
        assert "SIM-" in json.dumps(await table(storage, tmp_path, "fhir", names=True))

    with_storage(tmp_path / "lab.sqlite3", work)


def test_fhir_says_what_became_of_each_result(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        await fill(storage, FLEET, NOW)
        bundles = await table(storage, tmp_path, "fhir", withdrawn=True)
        states = Counter(
            entry["resource"]["status"]
            for bundle in bundles
            for entry in bundle["entry"]
            if entry["resource"]["resourceType"] == "DiagnosticReport"
        )
        rows = await storage.rows("SELECT state, count(*) FROM result GROUP BY state")
        names = {"signed": "final", "withdrawn": "entered-in-error"}
        assert dict(states) == {names.get(state, state): count for state, count in rows}

    with_storage(tmp_path / "lab.sqlite3", work)


def test_results_that_fhir_cannot_say_are_counted(tmp_path: Path) -> None:
    made = certificates(tmp_path)

    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, made)
        await taken(storage, kiosk, batch(item(1, result(1))))
        done = await write_export(
            storage, FORMATS["fhir"], Asked(Chosen()), tmp_path / "x", by="test"
        )
        assert (done.results, done.left_out) == (0, 1)

    with_storage(tmp_path / "lab.sqlite3", work)


def test_text_that_a_spreadsheet_would_compute_is_text(tmp_path: Path) -> None:
    made = certificates(tmp_path)

    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, made)
        await taken(storage, kiosk, batch(item(1, result(1, sample="=1+1"))))
        (row,) = await table(storage, tmp_path, "csv", names=True)
        assert row["sample"] == "'=1+1"

    with_storage(tmp_path / "lab.sqlite3", work)


def test_an_export_of_several_pages_is_whole_and_noted(tmp_path: Path) -> None:
    fleet = Fleet(2, ("north",), 60, 12.0, seed=5)

    async def work(storage: Storage) -> None:
        count = await fill(storage, fleet, NOW)
        assert count > AT_ONCE
        rows = await table(storage, tmp_path, "csv", withdrawn=True)
        assert len(rows) == count
        ((details,),) = await storage.rows(
            "SELECT details FROM audit WHERE action = 'results exported'"
        )
        assert json.loads(details)["results"] == count

    with_storage(tmp_path / "lab.sqlite3", work)


def test_an_export_that_fails_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"

    async def work(storage: Storage) -> None:
        await fill(storage, FLEET, NOW)
        await storage.do("DROP TABLE paired")
        with pytest.raises(LaboratoryError):
            await write_export(storage, FORMATS["csv"], Asked(Chosen()), file, by="test")

    with_storage(tmp_path / "lab.sqlite3", work)
    assert not file.exists()
    assert not [each for each in tmp_path.iterdir() if "out" in each.name]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_page_hands_out_the_file(tmp_path: Path, kind: str) -> None:
    async def work(client: httpx.AsyncClient, storage: Storage) -> None:
        data = {"token": token_of(client), "format": kind, "site": "south", "from": ""}
        answer = await client.post("/export", data=data)
        assert answer.status_code == 200 and answer.content
        ending = FORMATS[kind].ending
        assert answer.headers["content-disposition"].rstrip('"').endswith(ending)
        wrong = await client.post("/export", data={**data, "format": "xls"})
        assert wrong.status_code == 400 and "choose a format" in wrong.text
        assert (await client.post("/export", data={"format": kind})).status_code == 403

    seen(tmp_path, FLEET, work)
