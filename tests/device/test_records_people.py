"""Versions, reviews, analyser values, settings and users: who did what, and what holds now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgehemo.cli import run
from edgehemo.errors import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    RecordsError,
    SignInError,
)
from edgehemo.images.frame import Frame
from edgehemo.records.audit import entries
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.pairs import pair, pairs
from edgehemo.records.pins import hashed, pause_s
from edgehemo.records.results import Wanted, listed, result_of, versions_of
from edgehemo.records.reviews import amendments_from, review, reviews_of
from edgehemo.records.settings import set_setting, setting
from edgehemo.records.store import Writer
from edgehemo.records.users import add_user, remove_user, reset_pin, sign_in, users
from edgehemo.records.verifying import verify
from edgehemo.records.versions import (
    CHANGES,
    Amendments,
    Override,
    RenamedCell,
    amendments_of,
    change,
)
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import device_file, stored

FAKES = TruthFinder()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=1)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with Writer(RecordsFolder.below(tmp_path)) as opened:
        yield opened


@pytest.fixture
def result(writer: Writer, frames: list[Frame]) -> str:
    done = stored(writer, frames, FAKES)
    assert done is not None
    return done.result_id


def states(writer: Writer, result: str) -> list[str]:
    return [version.state for version in result_of(writer, result).versions]


def test_a_change_is_a_version_with_who_and_why(writer: Writer, result: str) -> None:
    change(writer, result, "signed", by="sup")
    amendments = Amendments(
        sample="S-7",
        cells=(RenamedCell(field=0, cell=1, type="lymphocyte"),),
        override=Override(grade="mild"),
    )
    change(writer, result, "corrected", by="sup", reason="typo", amendments=amendments)
    again = Amendments(cells=(RenamedCell(field=0, cell=0, type="platelet"),))
    made = change(writer, result, "corrected", by="sup", reason="seen again", amendments=again)
    assert states(writer, result) == ["unsigned", "signed", "corrected", "corrected"]
    held = amendments_of(made)
    assert held.sample == "S-7" and [cell.cell for cell in held.cells] == [0, 1]
    assert held.override == Override(grade="mild")
    assert (made.by, made.reason) == ("sup", "seen again")
    stored_result = result_of(writer, result)
    assert stored_result.sample == "S-1" and stored_result.sample_now == "S-7"
    assert [row.id for row in listed(writer, Wanted(sample="S-7"))] == [result]
    assert listed(writer, Wanted(sample="S-1")) == []
    assert verify(writer).whole


def test_a_hold_ends_where_it_began_and_a_withdrawal_ends_all(writer: Writer, result: str) -> None:
    change(writer, result, "held", by="sup", reason="control failed")
    with pytest.raises(RecordsError, match="is held and cannot be signed"):
        change(writer, result, "signed", by="sup")
    change(writer, result, "released", by="sup", reason="control passed")
    change(writer, result, "signed", by="sup")
    change(writer, result, "held", by="sup", reason="again")
    change(writer, result, "released", by="sup", reason="again")
    change(writer, result, "withdrawn", by="sup", reason="wrong slide")
    assert states(writer, result) == [
        "unsigned", "held", "unsigned", "signed", "held", "signed", "withdrawn"
    ]  # fmt: skip
    for what in CHANGES:
        amendments = Amendments(sample="S-2") if what == "corrected" else None
        with pytest.raises(RecordsError, match="changed no more"):
            change(writer, result, what, by="sup", reason="x", amendments=amendments)


def test_a_correction_before_signing_is_still_to_be_signed(writer: Writer, result: str) -> None:
    amendments = Amendments(sample="S-2")
    change(writer, result, "corrected", by="am", reason="typo", amendments=amendments)
    change(writer, result, "signed", by="sup")
    assert states(writer, result) == ["unsigned", "unsigned", "signed"]
    assert result_of(writer, result).sample_now == "S-2"


@pytest.mark.parametrize(
    ("what", "given"),
    [
        ("held", {"reason": " "}),
        ("held", {"reason": "x" * 501}),
        ("signed", {"by": " "}),
        ("corrected", {"reason": "x"}),
        ("held", {"reason": "x", "amendments": Amendments(sample="S-2")}),
        ("corrected", {"reason": "x", "amendments": Amendments(sample="Jane Doe")}),
        (
            "corrected",
            {
                "reason": "x",
                "amendments": Amendments(cells=(RenamedCell(field=0, cell=9999, type="a"),)),
            },
        ),
        (
            "corrected",
            {
                "reason": "x",
                "amendments": Amendments(cells=(RenamedCell(field=5, cell=0, type="a"),)),
            },
        ),
    ],
)
def test_a_change_that_says_too_little_or_too_much_is_refused(
    writer: Writer, result: str, what: Any, given: dict[str, Any]
) -> None:
    head = writer.head()
    with pytest.raises(RecordsError):
        change(writer, result, what, **{"by": "sup", **given})
    assert writer.head() == head and states(writer, result) == ["unsigned"]


def test_what_must_happen_with_a_version_happens_or_the_version_does_not(
    writer: Writer, result: str
) -> None:
    seen = []

    def note(inside: Writer, changed: Any, version: Any) -> None:
        assert inside.connection.in_transaction
        seen.append((changed.id, version.state))

    def refuse(*_: Any) -> None:
        raise RecordsError("no room in the outbox")

    change(writer, result, "signed", by="sup", hooks=(note,))
    assert seen == [(result, "signed")]
    with pytest.raises(RecordsError, match="outbox"):
        change(writer, result, "held", by="sup", reason="x", hooks=(note, refuse))
    assert states(writer, result) == ["unsigned", "signed"]
    assert verify(writer).whole


def test_reviews_are_kept_one_by_one(writer: Writer, result: str) -> None:
    number = result_of(writer, result).number
    first = result_of(writer, result).document(writer).record["images"][0]["cells"][0]
    for kind, is_cell in (("lymphocyte", True), (None, True), ("x", False), ("platelet", True)):
        review(writer, result, field=0, cell=0, type=kind, is_cell=is_cell, by="am")
    review(writer, result, field=0, cell=1, type=None, by="am")
    kept = reviews_of(writer, number)
    assert [item.verdict for item in kept] == [
        "renamed", "unsure", "not a cell", "renamed", "unsure"
    ]  # fmt: skip
    assert kept[0].kind == first["kind"] and kept[0].model_type == first.get("type")
    amendments = amendments_from(writer, number)
    assert [(cell.cell, cell.type) for cell in amendments.cells] == [
        (0, "platelet"), (1, "uncertain")
    ]  # fmt: skip
    change(writer, result, "signed", by="sup", amendments=amendments)
    assert amendments_of(versions_of(writer, number)[-1]) == amendments
    with pytest.raises(RecordsError, match="no cell 10000"):
        review(writer, result, field=0, cell=9999, type="x", by="am")
    assert verify(writer).whole


def test_analyser_values_stand_beside_a_sample(writer: Writer, result: str) -> None:
    pair(writer, "S-1", {"hgb_g_per_l": 121.0, "rbc_1e12_per_l": 4.1}, analyser="XN", by="am")
    pair(writer, "S-1", {"hgb_g_per_l": 112.0}, analyser="XN", by="am")
    assert {item.measurand: item.value for item in pairs(writer)} == {
        "hgb_g_per_l": 112.0,
        "rbc_1e12_per_l": 4.1,
    }
    for sample, values in (
        ("S-2", {"hgb_g_per_l": 121.0}),
        ("S-1", {"hgb_g_per_l": 12.1}),
        ("S-1", {"hgb_g_per_l": float("nan")}),
        ("S-1", {"iron": 5.0}),
    ):
        with pytest.raises(RecordsError):
            pair(writer, sample, values, analyser="XN", by="am")
    assert len(pairs(writer, "S-1")) == 2 and pairs(writer, "S-2") == []
    assert verify(writer).whole


def test_settings_keep_their_history(writer: Writer) -> None:
    assert setting(writer, "unit", "g/L") == "g/L"
    set_setting(writer, "unit", "g/dL", by="sup")
    set_setting(writer, "unit", {"hgb": "g/L"}, by="sup")
    assert setting(writer, "unit") == {"hgb": "g/L"}
    assert writer.rows("SELECT count(*) FROM setting")[0][0] == 2
    assert verify(writer).whole


@pytest.mark.parametrize("table", ["review", "paired", "setting"])
def test_a_changed_or_deleted_row_is_found(writer: Writer, result: str, table: str) -> None:
    review(writer, result, field=0, cell=0, type="x", by="am")
    pair(writer, "S-1", {"hgb_g_per_l": 121.0}, analyser="XN", by="am")
    set_setting(writer, "unit", "g/dL", by="sup")
    for (name,) in writer.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'"):
        writer.connection.execute(f"DROP TRIGGER {name}")
    writer.connection.execute(f"UPDATE {table} SET by = 'nobody'")
    assert any(table in fault and "changed" in fault for fault in verify(writer).faults)
    writer.connection.execute(f"DELETE FROM {table}")
    assert any(table in fault and "any more" in fault for fault in verify(writer).faults)


def test_users_sign_in_and_wrong_pins_cost_time(writer: Writer) -> None:
    with pytest.raises(RecordsError, match="first user is a supervisor"):
        add_user(writer, "am", "operator", "4711", by="root")
    add_user(writer, "sup", "supervisor", "2580", by="root")
    add_user(writer, "am", "operator", "4711", by="sup")
    now = [1_000_000]

    def tried(pin: str) -> int:
        """Seconds to wait after a wrong PIN; 0 for a right one."""
        try:
            sign_in(writer, "am", pin, seconds=lambda: now[0])
        except SignInError as error:
            return error.wait_s
        return -1

    assert sign_in(writer, "am", "4711").role == "operator"
    assert [tried("0000") for _ in range(3)] == [0, 0, 30]
    assert tried("4711") == 30, "the right PIN is not taken during a pause either"
    now[0] += 29
    assert tried("4711") == 1
    now[0] -= 100_000
    assert tried("4711") == 30, "putting the clock back ends no pause"
    now[0] += 30
    assert tried("0000") == 60
    now[0] += 60
    assert tried("4711") == -1
    assert users(writer)[0].wrong == 0
    with pytest.raises(SignInError, match="do not belong together"):
        sign_in(writer, "nobody", "4711")
    actions = [entry.action for entry in entries(writer.connection)]
    assert actions.count("wrong PIN") == 5 and actions.count("signed in") == 2
    assert b"4711" not in writer.folder.database.read_bytes()


def test_a_pause_doubles_and_ends_growing() -> None:
    assert [pause_s(wrong) for wrong in (0, 2, 3, 4, 5, 9, 10, 1000)] == [
        0, 0, 30, 60, 120, 1920, 3600, 3600
    ]  # fmt: skip


def test_users_are_reset_and_removed(writer: Writer) -> None:
    add_user(writer, "sup", "supervisor", "2580", by="root")
    with pytest.raises(RecordsError, match="only supervisor"):
        remove_user(writer, "sup", by="root")
    add_user(writer, "two", "supervisor", "8024", by="root")
    reset_pin(writer, "two", "90210", by="sup")
    assert sign_in(writer, "two", "90210").name == "two"
    remove_user(writer, "sup", by="two")
    assert [user.name for user in users(writer)] == ["two"]
    with pytest.raises(SignInError):
        sign_in(writer, "sup", "2580")
    for name in ("sup", "two", "Jane Doe", ""):
        with pytest.raises(RecordsError):
            add_user(writer, name, "engineer", "4711", by="two")
    with pytest.raises(RecordsError, match="no user"):
        reset_pin(writer, "sup", "4711", by="two")


@pytest.mark.parametrize("pin", ["", "123", "1234", "4321", "0000", "12a4", "1" * 13, "٤٧١١"])
def test_an_easy_pin_is_refused(pin: str) -> None:
    with pytest.raises(RecordsError):
        hashed(pin)


def test_users_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device_file(tmp_path)))
    pin = tmp_path / "pin"
    pin.write_text("2580\n")
    assert run(["users", "list"]) == EXIT_DONE
    assert "add the first" in capsys.readouterr().out
    given = ["--pin-file", str(pin)]
    assert run(["users", "add", "am", "--role", "operator", *given]) == EXIT_BAD_INPUT
    assert run(["users", "add", "sup", "--role", "supervisor", *given]) == EXIT_DONE
    assert run(["users", "add", "am", "--role", "operator", *given]) == EXIT_DONE
    assert run(["users", "reset", "am", *given]) == EXIT_DONE
    assert run(["users", "remove", "am"]) == EXIT_DONE
    assert run(["users", "remove", "sup"]) == EXIT_BAD_INPUT
    capsys.readouterr()
    assert run(["users", "list", "--json", "-"]) == EXIT_DONE
    (entry,) = json.loads(capsys.readouterr().out)["users"]
    assert (entry["name"], entry["role"], entry["wrong_pins"]) == ("sup", "supervisor", 0)
    assert run(["users", "add", "x", "--role", "operator"]) == EXIT_BAD_INPUT
    assert "--pin-file" in capsys.readouterr().err
