"""A laboratory takes what kiosks send: once each, in whatever order it comes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehemo.interop.laboratory import Receipt, Span
from edgehemo_laboratory.chain import faults_of
from edgehemo_laboratory.intake import missing
from edgehemo_laboratory.intake.missing import missing_everywhere, missing_of
from edgehemo_laboratory.intake.taking import NotItsRecordsError, taken
from edgehemo_laboratory.storage.interface import Storage
from tests.support.laboratory import (
    STORE,
    batch,
    certificates,
    enrolled,
    item,
    result,
    with_storage,
)

_FOLDERS = itertools.count()
# Three results: one corrected twice and withdrawn, one put back so that a version has two
# contents, one plain.
NOTED = [
    item(1, result(1)),
    item(2, result(2)),
    item(3, result(1, 3)),
    item(4, result(1, 4)),
    item(5, result(3)),
    item(6, result(1, 5, change="withdrawn")),
    item(7, result(2, 3, sample="S-2b")),
    item(7, result(2, 3, sample="S-2c")),
]
RESULTS = "SELECT result_id, version, state, sample, hgb_g_per_l, identity FROM result ORDER BY 1"


async def both(storage: Storage) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """What is missing of the one store, and of all."""
    everywhere = await missing_everywhere(storage)
    return await missing_of(storage, STORE), everywhere.get(STORE, ())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    came=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    noted=st.integers(0, 45),
    move=st.sampled_from([1, 5, 200]),
)
def test_what_is_missing_is_what_never_came(
    tmp_path_factory: pytest.TempPathFactory, came: list[int], noted: int, move: int
) -> None:
    folder = tmp_path_factory.mktemp(f"missing{next(_FOLDERS)}")

    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, certificates(folder / "certificates"))
        seen: set[int] = set()
        for number in came:
            seen.add(number)
            receipt = await taken(storage, kiosk, batch(item(number, result(number))))
            absent = set(range(1, max(seen))) - seen
            told = {at for first, last in receipt.missing for at in range(first, last + 1)}
            assert told == absent
        await missing_of(storage, STORE, noted=noted)
        one, everywhere = await both(storage)
        assert one == everywhere
        told = {at for first, last in one for at in range(first, last + 1)}
        assert told == set(range(1, max(noted, max(seen)) + 1)) - seen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(missing, "_MOVE_BY", move)
        with_storage(folder / "lab.sqlite3", work)


def sent(folder: Path, *batches: list[int]) -> dict[str, Any]:
    """What a laboratory holds after these batches, places in `NOTED`, one after the other."""

    async def work(storage: Storage) -> dict[str, Any]:
        kiosk = await enrolled(storage, certificates(folder / "certificates"))
        receipts: list[Receipt] = [
            await taken(storage, kiosk, batch(*(NOTED[at] for at in places))) for places in batches
        ]
        return {
            "receipts": receipts,
            "results": await storage.rows(RESULTS),
            "versions": await storage.rows("SELECT identity, sha256 FROM version ORDER BY 1"),
            "faults": [
                *await faults_of(storage, kiosk.chain), *await faults_of(storage, "laboratory")
            ],
        }  # fmt: skip

    return with_storage(folder / "lab.sqlite3", work)


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return sent(tmp_path_factory.mktemp("lab"), list(range(len(NOTED))))


def test_a_receipt_names_what_is_stored_with_its_digest(in_order: dict[str, Any]) -> None:
    (receipt,) = in_order["receipts"]
    assert [(each.identity, each.sha256, each.outcome) for each in receipt.items] == [
        (each.identity, each.sha256, "stored") for each in NOTED
    ]
    assert receipt.missing == ()
    assert [row[:4] for row in in_order["results"]] == [
        ("0001-aaaa-bbbb-cccc", 5, "withdrawn", "S-1"),
        ("0002-aaaa-bbbb-cccc", 3, "signed", in_order["results"][1][3]),
        ("0003-aaaa-bbbb-cccc", 2, "signed", "S-3"),
    ]
    assert len(in_order["versions"]) == len(NOTED)
    assert in_order["faults"] == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_every_order_with_repeats_ends_in_the_same_table(
    tmp_path_factory: pytest.TempPathFactory, in_order: dict[str, Any], data: st.DataObject
) -> None:
    places = data.draw(st.permutations(range(len(NOTED))))
    again = data.draw(st.lists(st.integers(0, len(NOTED) - 1), max_size=8))
    mixed = data.draw(st.permutations([*places, *again]))
    cuts = data.draw(st.lists(st.integers(1, 5), min_size=len(mixed), max_size=len(mixed)))
    batches, at = [], 0
    for size in cuts:
        if at < len(mixed):
            batches.append(list(mixed[at : at + size]))
        at += size
    found = sent(tmp_path_factory.mktemp(f"lab{next(_FOLDERS)}"), *batches)
    assert found["results"] == in_order["results"]
    assert found["versions"] == in_order["versions"]
    assert found["faults"] == []
    assert all(
        each.outcome == "stored" and each.sha256 == each.identity
        for receipt in found["receipts"]
        for each in receipt.items
    )
    assert found["receipts"][-1].missing == ()


def test_a_number_that_never_came_is_told_until_it_comes(tmp_path: Path) -> None:
    found = sent(tmp_path, [0, 4], [5], [2], [1, 3])
    assert [receipt.missing for receipt in found["receipts"]] == [
        ((2, 4),), ((2, 4),), ((2, 2), (4, 4)), (),
    ]  # fmt: skip


def test_records_belong_to_the_kiosk_that_came_with_them(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        made = certificates(tmp_path / "certificates")
        first = await enrolled(storage, made, "first")
        second = await enrolled(storage, made, "second")
        await taken(storage, first, batch(NOTED[0]))
        with pytest.raises(NotItsRecordsError, match="another kiosk"):
            await taken(storage, second, batch(NOTED[1]))
        assert await storage.rows("SELECT count(*) FROM version") == [(1,)]
        assert await storage.rows("SELECT count(*) FROM arrival") == [(1,)]

    with_storage(tmp_path / "lab.sqlite3", work)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"schema": "edgehemo.sent-result/9"}, "reads edgehemo.sent-result/1"),
        ({"store": "another"}, "other records"),
        ({"versions": []}, "no result that the laboratory knows"),
        ({"made_at": "yesterday"}, "no result that the laboratory knows"),
    ],
)
def test_what_is_no_result_is_refused_and_the_others_are_stored(
    tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    async def work(storage: Storage) -> None:
        kiosk = await enrolled(storage, certificates(tmp_path / "certificates"))
        bad = item(1, result(1, **wrong))
        receipt = await taken(storage, kiosk, batch(bad, item(2, result(2))))
        assert [each.outcome for each in receipt.items] == ["refused", "stored"]
        assert words in receipt.items[0].words
        # A refused number came: it is not missing.
        assert receipt.missing == ()
        assert await storage.rows("SELECT sequence, outcome FROM arrival ORDER BY 1") == [
            (1, "refused"), (2, "stored"),
        ]  # fmt: skip

    with_storage(tmp_path / "lab.sqlite3", work)


def test_names_are_refused_where_the_kiosk_may_send_none(tmp_path: Path) -> None:
    async def work(storage: Storage) -> None:
        made = certificates(tmp_path / "certificates")
        kiosk = await enrolled(storage, made, identified=False)
        receipt = await taken(storage, kiosk, batch(NOTED[0]))
        assert receipt.items[0].outcome == "refused"
        assert "identified = false" in receipt.items[0].words
        assert await storage.rows("SELECT count(*) FROM version") == [(0,)]
        assert STORE in {row[0] for row in await storage.rows("SELECT store FROM records")}

    with_storage(tmp_path / "lab.sqlite3", work)
