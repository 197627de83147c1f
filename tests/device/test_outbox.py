"""The outbox: rows made with a version, messages made once, sent in order, settled once."""

from __future__ import annotations

import ast
import json
import logging
import sqlite3
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import edgehemo.interop
from edgehemo.device.receiver_files import ReceiverFileError
from edgehemo.device.receivers import Receiver
from edgehemo.errors import RecordsError
from edgehemo.images.frame import Frame
from edgehemo.interop import formats
from edgehemo.interop.access import SenderStoppedError, SharedWriter
from edgehemo.interop.formats import FormatFacts
from edgehemo.interop.lane import Lane
from edgehemo.interop.message import Message, Told
from edgehemo.interop.outbox import (
    KEEP_DELIVERED_DAYS,
    Outgoing,
    ask_again,
    counts,
    deliveries_of,
    delivery_of,
    forget_delivered,
    listed,
    message_body,
    noting,
    outgoing,
    row_of,
)
from edgehemo.interop.receivers.mllp import control_id_of
from edgehemo.interop.states import Failed, Refused, Stored
from edgehemo.kiosk.delivery_words import (
    delivery_lines,
    delivery_mark,
    refused_words,
    waiting_words,
)
from edgehemo.records.clock import Stamp
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.results import number_of, result_at
from edgehemo.records.store import Store, Writer
from edgehemo.records.verifying import verify
from edgehemo.records.versions import Amendments, Override, change
from edgehemo.screening.field import FieldReader
from edgehemo.screening.sample import Screening, screen_frames
from edgehemo.words.language import Words
from tests.support.receivers import ScriptedDoor, receiver, signed_results
from tests.support.screening_fakes import TruthFinder, blurred, scripted, simulated_frames
from tests.support.stored import provenance, started, stored

FAKES = TruthFinder()
LAB = receiver()
CLINIC = receiver("clinic", kind="folder", address="/nowhere")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=1)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with Writer(RecordsFolder.below(tmp_path)) as opened:
        yield opened


def lane(writer: Writer, door: ScriptedDoor, of: Receiver = LAB, now_s: float = 0.0) -> Lane:
    at = now_s or time.time()
    return Lane(
        of, SharedWriter(writer), "kiosk", open_door=door.open, clock=lambda: at, jitter=lambda: 0.0
    )


def states(writer: Writer) -> list[tuple[str, int, str]]:
    """(receiver, version, state), oldest first."""
    return [(row.receiver, row.version, row.standing.state) for row in reversed(listed(writer))]


# -- noting -----------------------------------------------------------------------------------


def test_signing_notes_the_result_for_every_receiver_in_the_same_transaction(
    writer: Writer, frames: list[Frame]
) -> None:
    (name,) = signed_results(writer, [LAB, CLINIC], frames, FAKES, 1)
    assert states(writer) == [("lab", 2, "noted"), ("clinic", 2, "noted")]
    done = stored(writer, frames, FAKES, sample="S-9")
    assert done is not None

    def fails(*_: object) -> None:
        raise RecordsError("after the rows were made")

    with pytest.raises(RecordsError, match="after the rows"):
        change(writer, done.result_id, "signed", by="sup", hooks=(*noting([LAB]), fails))
    assert len(listed(writer)) == 2
    assert result_at(writer, number_of(writer, done.result_id)).latest.state == "unsigned"
    assert delivery_of(writer, done.result_id) == ()
    assert [each.receiver for each in delivery_of(writer, name)] == ["clinic", "lab"]


def test_what_nobody_signed_is_told_to_nobody(writer: Writer, frames: list[Frame]) -> None:
    done = stored(writer, frames, FAKES)
    assert done is not None
    hooks = noting([LAB])
    comment = Amendments(comment="x")
    change(writer, done.result_id, "corrected", by="a", reason="r", amendments=comment, hooks=hooks)
    change(writer, done.result_id, "withdrawn", by="a", reason="r", hooks=hooks)
    assert listed(writer) == []


def test_every_later_change_is_told_to_those_who_have_it(
    writer: Writer, frames: list[Frame]
) -> None:
    (name,) = signed_results(writer, [LAB], frames, FAKES, 1)
    hooks = noting([LAB, CLINIC])
    change(writer, name, "held", by="a", reason="r", hooks=hooks)
    change(writer, name, "released", by="a", reason="r", hooks=hooks)
    assert states(writer) == [("lab", 2, "noted"), ("lab", 3, "noted"), ("lab", 4, "noted")]
    override = Amendments(override=Override(grade="mild"))
    change(writer, name, "corrected", by="a", reason="r", amendments=override, hooks=hooks)
    change(writer, name, "withdrawn", by="a", reason="r", hooks=hooks)
    # A receiver that came later is told of a corrected result, which is a whole one.
    assert [each[:2] for each in states(writer)[3:]] == [
        ("lab", 5), ("clinic", 5), ("lab", 6), ("clinic", 6)
    ]  # fmt: skip


def test_simulated_and_withheld_results_go_where_the_receiver_wants_them(
    writer: Writer, frames: list[Frame]
) -> None:
    real_only = receiver("hospital", simulated=False)
    no_withheld = receiver("strict", withheld="nothing")
    withheld_too = receiver("open", withheld="report")
    all_ = [real_only, no_withheld, withheld_too]
    done = stored(writer, frames, FAKES)
    assert done is not None
    with writer.transaction() as connection:
        connection.execute("DROP TRIGGER result_stays")
        connection.execute("UPDATE result SET outcome = 'withheld'")
    change(writer, done.result_id, "signed", by="a", hooks=noting(all_))
    assert [row.receiver for row in listed(writer)] == ["open"]
    with writer.transaction() as connection:
        connection.execute("UPDATE result SET outcome = 'reported', simulated = 0")
    change(writer, done.result_id, "held", by="a", reason="r", hooks=noting(all_))
    change(writer, done.result_id, "released", by="a", reason="r", hooks=noting(all_))
    change(
        writer, done.result_id, "corrected", by="a", reason="r",
        amendments=Amendments(comment="c"), hooks=noting(all_),
    )  # fmt: skip
    assert {row.receiver for row in listed(writer) if row.version == 5} == {
        "hospital", "strict", "open"
    }  # fmt: skip


def test_a_broker_for_health_gets_no_result(writer: Writer, frames: list[Frame]) -> None:
    broker = receiver("health", kind="mqtt", address="mqtt://localhost")
    assert noting([broker]) == ()


def test_a_receivers_sequence_has_no_gap(writer: Writer, frames: list[Frame]) -> None:
    signed_results(writer, [LAB], frames, FAKES, 2)
    signed_results(writer, [CLINIC, LAB], frames, FAKES, 2)
    numbers = [(row.receiver, row.sequence) for row in reversed(listed(writer))]
    assert [number for name, number in numbers if name == "lab"] == [1, 2, 3, 4]
    assert [number for name, number in numbers if name == "clinic"] == [1, 2]


def test_nobody_changes_a_result_without_noting_it() -> None:
    """A door that forgets the hook would keep a correction from those who have the result."""
    package = Path(edgehemo.interop.__file__).parents[1]
    found = 0
    for path in package.rglob("*.py"):
        if path.is_relative_to(package / "records"):
            continue
        text = path.read_text(encoding="utf-8")
        if "records.versions import" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "change":
                found += 1
                assert any(item.arg == "hooks" for item in node.keywords), f"{path}:{node.lineno}"
    assert found >= 4


# -- made once, sent for ever -----------------------------------------------------------------


def test_every_try_sends_the_same_bytes_under_the_same_identity(
    writer: Writer, frames: list[Frame]
) -> None:
    (name,) = signed_results(writer, [LAB], frames, FAKES, 1)
    door = ScriptedDoor([[Failed("RECEIVER_SILENT", "no answer")]])
    assert lane(writer, door).turn() == 0.0
    # What happens to the result meanwhile is another message.
    change(writer, name, "held", by="a", reason="r", hooks=noting([LAB]))
    later = lane(writer, door, now_s=time.time() + 1000)
    while later.turn() == 0.0:
        pass
    first, again, held = door.came
    assert (first.identity, first.body) == (again.identity, again.body)
    content = json.loads(first.body)
    assert (content["version"], content["state"], len(content["versions"])) == (2, "signed", 2)
    assert json.loads(held.body)["state"] == "held" and held.identity != first.identity
    assert states(writer) == [("lab", 2, "delivered"), ("lab", 3, "delivered")]
    assert verify(writer).whole


def test_a_message_made_late_says_what_one_made_at_once_says(
    writer: Writer, frames: list[Frame]
) -> None:
    """Its identity follows from the version alone, not from when or for whom it is made."""
    (name,) = signed_results(writer, [LAB, receiver("second")], frames, FAKES, 1)
    one, other = ScriptedDoor(), ScriptedDoor()
    lane(writer, one).turn()
    change(writer, name, "withdrawn", by="a", reason="r", hooks=noting([LAB]))
    lane(writer, other, receiver("second")).turn()
    assert one.came[0].identity == other.came[0].identity
    assert one.came[0].body == other.came[0].body


def test_what_is_sent_cannot_be_changed(writer: Writer, frames: list[Frame]) -> None:
    signed_results(writer, [LAB], frames, FAKES, 1)
    lane(writer, ScriptedDoor([[Failed("RECEIVER_BUSY")]])).turn()
    for statement in (
        "UPDATE outbox SET identity = 'x'",
        "UPDATE outbox SET sequence = 9",
        "UPDATE outbox SET version = 1",
        "UPDATE outbox_message SET body = x'00'",
        "DELETE FROM outbox_message",
        "DELETE FROM outbox",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            writer.connection.execute(statement)


def test_a_damaged_message_is_not_sent(writer: Writer, frames: list[Frame]) -> None:
    signed_results(writer, [LAB], frames, FAKES, 2)
    lane(writer, ScriptedDoor([[Failed("RECEIVER_BUSY")] * 2])).turn()
    writer.connection.execute("DROP TRIGGER outbox_message_is_frozen")
    writer.connection.execute("UPDATE outbox_message SET body = x'00' WHERE number = 1")
    door = ScriptedDoor()
    lane(writer, door, now_s=time.time() + 1000).turn()
    assert [parcel.number for parcel in door.came] == [2]
    damaged = row_of(writer, 1)
    assert (damaged.standing.state, damaged.standing.code) == ("refused", "MESSAGE_DAMAGED")


def test_an_encoder_that_fails_keeps_nobody_from_signing_and_blocks_nothing(
    writer: Writer, frames: list[Frame], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    known = formats.FORMATS["json"]

    def encode(told: Told) -> Message:
        if told.result.sample == "S-1":
            raise ValueError("patient Jane Doe")
        return known.encode(told)

    monkeypatch.setitem(formats.FORMATS, "json", FormatFacts(encode, ".json", "x"))
    signed_results(writer, [LAB], frames, FAKES, 2)
    door = ScriptedDoor()
    with caplog.at_level(logging.INFO):
        lane(writer, door).turn()
    assert states(writer) == [("lab", 2, "refused"), ("lab", 2, "delivered")]
    assert row_of(writer, 1).standing.code == "MESSAGE_NOT_MADE"
    assert "ValueError" in caplog.text and "Jane" not in caplog.text
    monkeypatch.setitem(formats.FORMATS, "json", known)
    assert ask_again(writer, [1, 2], by="sup", now_s=0.0) == [1]
    lane(writer, door).turn()
    assert states(writer) == [("lab", 2, "delivered"), ("lab", 2, "delivered")]


# -- sending ----------------------------------------------------------------------------------


def test_a_refused_message_blocks_nothing_and_its_words_are_kept(
    writer: Writer, frames: list[Frame]
) -> None:
    names = signed_results(writer, [LAB], frames, FAKES, 2)
    door = ScriptedDoor([[Refused("MESSAGE_REFUSED", "no such\npatient"), Stored()]])
    lane(writer, door).turn()
    (first,) = delivery_of(writer, names[0])
    (second,) = delivery_of(writer, names[1])
    assert (first.state, first.said, first.received) == ("refused", "no such patient", False)
    assert (second.state, second.received, second.received_version) == ("delivered", True, 2)
    assert outgoing(writer, [LAB]).refused == 1
    entries = writer.rows("SELECT action, details FROM audit WHERE action LIKE 'message%'")
    assert [row[0] for row in entries] == ["message refused", "message delivered"]
    assert "patient" not in entries[0][1]
    # A later version that arrives puts the refused one out of the way.
    change(
        writer, names[0], "corrected", by="a", reason="r",
        amendments=Amendments(sample="S-77"), hooks=noting([LAB]),
    )  # fmt: skip
    lane(writer, door).turn()
    assert outgoing(writer, [LAB]).refused == 0
    assert counts(writer) == {"lab": {"delivered": 2, "refused": 1}}


def test_a_correction_waits_for_its_result(writer: Writer, frames: list[Frame]) -> None:
    names = signed_results(writer, [LAB], frames, FAKES, 2)
    change(
        writer, names[0], "corrected", by="a", reason="r",
        amendments=Amendments(comment="c"), hooks=noting([LAB]),
    )  # fmt: skip
    door = ScriptedDoor([[Failed("RECEIVER_FAILED"), Stored()]])
    first = lane(writer, door)
    assert first.turn() == 0.0
    assert first.turn() == 5.0, "the correction is not sent before what it corrects"
    assert [(parcel.result_id, parcel.version) for parcel in door.came] == [
        (names[0], 2), (names[1], 2)
    ]  # fmt: skip
    later = lane(writer, door, now_s=time.time() + 60)
    while later.turn() == 0.0:
        pass
    assert [parcel.version for parcel in door.came[2:]] == [2, 3]


def test_results_that_come_while_the_receiver_is_away_wait_behind_the_first(
    writer: Writer, frames: list[Frame]
) -> None:
    folder = receiver("usb", kind="folder", address="/nowhere")
    signed_results(writer, [folder], frames, FAKES, 3)
    door = ScriptedDoor([[Failed("FOLDER_ABSENT")]])
    first = lane(writer, door, folder)
    assert first.turn() == 0.0
    assert first.turn() == 5.0
    assert len(door.came) == 1 and outgoing(writer, [folder]).waiting == 3
    back = lane(writer, door, folder, now_s=time.time() + 10)
    while back.turn() == 0.0:
        pass
    assert [parcel.sequence for parcel in door.came] == [1, 1, 2, 3]
    assert back.turn() is None and door.closed


def test_a_fault_of_ours_is_an_answer_and_nothing_of_a_patient_is_logged(
    writer: Writer, frames: list[Frame], caplog: pytest.LogCaptureFixture
) -> None:
    signed_results(writer, [LAB], frames, FAKES, 1)

    class Broken(ScriptedDoor):
        def send(self, parcels: Any) -> Any:
            raise KeyError("Jane Doe")

    class Unusable(ScriptedDoor):
        def open(self, receiver: Receiver, kiosk: Any) -> ScriptedDoor:
            raise ReceiverFileError("/etc/token: is not there")

    with caplog.at_level(logging.DEBUG):
        lane(writer, Broken()).turn()
        assert row_of(writer, 1).standing.code == "SENDING_FAULT"
        lane(writer, Unusable(), now_s=time.time() + 60).turn()
    standing = row_of(writer, 1).standing
    assert (standing.code, standing.said) == ("RECEIVER_FILES_WRONG", "/etc/token: is not there")
    assert "Jane" not in caplog.text and "S-1" not in caplog.text


def test_a_receiver_that_stumbles_over_everything_is_left_alone_until_a_person_asks(
    writer: Writer, frames: list[Frame]
) -> None:
    folder = receiver("usb", kind="folder", address="/nowhere")
    signed_results(writer, [folder], frames, FAKES, 5)
    door = ScriptedDoor([[Failed("RECEIVER_FAILED")]] * 3)
    one = lane(writer, door, folder)
    assert [one.turn() for _ in range(3)] == [0.0, 0.0, 5.0]
    assert 4 < (one.turn() or 0) <= 5 and len(door.came) == 3
    one.hurry()
    one.turn()
    assert [parcel.sequence for parcel in door.came] == [1, 2, 3, 4, 5]


def test_asking_ends_the_wait_for_the_receiver(writer: Writer, frames: list[Frame]) -> None:
    folder = receiver("usb", kind="folder", address="/nowhere")
    signed_results(writer, [folder], frames, FAKES, 2)
    door = ScriptedDoor([[Failed("FOLDER_ABSENT")]])
    one = lane(writer, door, folder)
    one.turn()
    assert one.turn() == 5.0
    ask_again(writer, [2], by="sup", now_s=time.time())
    later = lane(writer, door, folder, now_s=time.time() + 0.5)
    while later.turn() == 0.0:
        pass
    assert outgoing(writer, [folder]).waiting == 0


def test_what_the_receiver_lost_is_sent_again_and_nothing_else(
    writer: Writer, frames: list[Frame]
) -> None:
    signed_results(writer, [LAB], frames, FAKES, 4)
    door = ScriptedDoor([[Stored()], [Refused("MESSAGE_REFUSED", "no")], [Stored()]])
    first = lane(writer, door)
    while first.turn() == 0.0:
        pass
    assert [state for *_, state in states(writer)] == [
        "delivered", "refused", "delivered", "delivered"
    ]  # fmt: skip
    before = [row_of(writer, number).identity for number in (1, 2, 3, 4)]
    # It says so with the answer to the next message, even of one whose message is gone here.
    later = writer.stamp().at + timedelta(days=KEEP_DELIVERED_DAYS + 1)
    assert forget_delivered(writer, Stamp(later, "set")) == 3
    signed_results(writer, [LAB], frames, FAKES, 1)
    door.missed = [(2, 3), (9, 9)]
    sent = len(door.came)
    again = lane(writer, door)
    while again.turn() == 0.0:
        pass
    assert [parcel.sequence for parcel in door.came[sent:]] == [5, 3]
    assert [row_of(writer, number).identity for number in (1, 2, 3, 4)] == before
    assert [state for *_, state in states(writer)] == [
        "delivered", "refused", "delivered", "delivered", "delivered"
    ]  # fmt: skip
    assert verify(writer).whole
    with pytest.raises(sqlite3.IntegrityError, match="stays received"):
        writer.connection.execute("UPDATE outbox SET state = 'noted' WHERE number = 1")


def test_delivered_messages_go_after_some_time_and_their_rows_stay(
    writer: Writer, frames: list[Frame]
) -> None:
    signed_results(writer, [LAB], frames, FAKES, 1)
    lane(writer, ScriptedDoor()).turn()
    row = row_of(writer, 1)
    assert json.loads(message_body(writer, row))["sample"] == "S-1"
    later = writer.stamp().at + timedelta(days=KEEP_DELIVERED_DAYS + 1)
    assert forget_delivered(writer, writer.stamp()) == 0
    assert forget_delivered(writer, Stamp(later, "unset")) == 0
    assert forget_delivered(writer, Stamp(later, "set")) == 1
    with pytest.raises(RecordsError, match="30 days"):
        message_body(writer, row_of(writer, 1))
    assert row_of(writer, 1).identity == row.identity
    assert verify(writer).whole


def test_pages_ask_for_many_results_at_once(writer: Writer, frames: list[Frame]) -> None:
    names = signed_results(writer, [LAB, CLINIC], frames, FAKES, 2)
    lane(writer, ScriptedDoor()).turn()
    found = deliveries_of(writer, [*names, "0000-0000-0000-0000"])
    assert set(found) == set(names)
    assert [(each.receiver, each.state) for each in found[names[0]]] == [
        ("clinic", "noted"), ("lab", "delivered")
    ]  # fmt: skip
    assert deliveries_of(writer, []) == {}
    assert outgoing(writer, [LAB, CLINIC]).waiting == 2
    assert outgoing(writer, [LAB]).waiting == 0 and outgoing(writer, []).waiting == 0


def test_pseudonyms_go_where_no_names_are_wanted(writer: Writer, frames: list[Frame]) -> None:
    nameless = receiver("study", identified=False)
    done = stored(writer, frames, FAKES, sample="KIS-1234", site="Kisumu", operator="amina")
    assert done is not None
    change(writer, done.result_id, "signed", by="mwangi", hooks=noting([nameless]))
    door = ScriptedDoor()
    lane(writer, door, nameless).turn()
    body = door.came[0].body
    assert not any(word in body for word in (b"KIS-1234", b"Kisumu", b"amina", b"mwangi"))
    assert json.loads(body)["identified"] is False
    assert b'"cells"' not in body
    # Nor does the batch say which device it is.
    (kiosk,) = door.kiosks
    assert kiosk.device.startswith("D-") and kiosk.store == writer.id


def test_a_package_that_is_missing_is_told_and_the_message_waits(
    writer: Writer, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_results(writer, [LAB], frames, FAKES, 1)
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "edgehemo.interop.receivers.https", raising=False)
    monkeypatch.delitem(sys.modules, "edgehemo.interop.receivers.laboratory_server", raising=False)
    Lane(LAB, SharedWriter(writer), "kiosk").turn()
    standing = row_of(writer, 1).standing
    assert (standing.state, standing.code) == ("retrying", "RECEIVER_FILES_WRONG")
    assert "pip install" in standing.said


def test_weeks_offline_stay_quick(tmp_path: Path, frames: list[Frame]) -> None:
    """Ten thousand open rows: what the status line and a lane ask takes no longer than a moment."""
    with Writer(RecordsFolder.below(tmp_path)) as writer:
        signed_results(writer, [LAB], frames, FAKES, 1)
        writer.connection.execute("PRAGMA foreign_keys = OFF")
        with writer.transaction() as connection:
            connection.executemany(
                "INSERT INTO outbox (receiver, sequence, result, version, noted_at) "
                "VALUES ('lab', ?, 1, ?, '')",
                [(number, number + 1) for number in range(2, 10_001)],
            )
        begun = time.process_time()
        for _ in range(20):
            outgoing(writer, [LAB])
        assert (time.process_time() - begun) / 20 < 0.05
        plan = writer.rows(
            "EXPLAIN QUERY PLAN SELECT number FROM outbox WHERE receiver = ? AND state IN "
            "('noted', 'pending', 'retrying') ORDER BY sequence LIMIT 500", ("lab",),
        )  # fmt: skip
        assert "outbox_open" in plan[0][3] and len(plan) == 1


def test_a_stopped_sender_writes_nothing_more(tmp_path: Path, frames: list[Frame]) -> None:
    with Store.below(tmp_path).writer() as writer:
        signed_results(writer, [LAB], frames, FAKES, 1)
        access = SharedWriter(writer)

        class Ends(ScriptedDoor):
            def send(self, parcels: Any) -> Any:
                access.stop()
                return super().send(parcels)

        door = Ends()
        one = Lane(LAB, access, "kiosk", open_door=door.open)
        with pytest.raises(SenderStoppedError):
            one.turn()
        assert states(writer) == [("lab", 2, "pending")]


def test_a_withheld_samples_message_holds_no_number(writer: Writer, frames: list[Frame]) -> None:
    recording = started(writer, "S-5")
    bad = {frames[0].source: blurred()}
    screening = Screening(FieldReader(FAKES, um_per_px=0.25, check=scripted(bad)))

    def keep(result: Any, frame: Frame | None) -> None:
        recording.add(len(screening.images) - 1, result, frame)

    done = recording.finish(screen_frames(iter(frames), screening, keep), provenance())
    assert done is not None
    change(writer, done.result_id, "signed", by="a", hooks=noting([LAB]))
    door = ScriptedDoor()
    lane(writer, door).turn()
    content = json.loads(door.came[0].body)
    assert content["outcome"] == "withheld"
    assert content["record"]["sample"]["hgb_g_per_l"] is None


def test_each_receiver_gets_its_own_format(writer: Writer, frames: list[Frame]) -> None:
    """One result, five messages; each is what its receiver asked for, and made once."""
    listener = {"kind": "mllp", "address": "mllp://10.0.0.5"}
    receivers = [
        receiver("a"),
        receiver("b", kind="fhir", address="https://f.example"),
        receiver("c", **listener),
        receiver("d", **listener, format="hl7-2.3.1", withheld="text"),
        receiver("e", kind="folder", address="/x", format="hl7-2.3.1"),
    ]
    done = stored(writer, frames, FAKES)
    assert done is not None
    change(writer, done.result_id, "signed", by="sup", hooks=noting(receivers))
    bodies = {}
    for each in receivers:
        door = ScriptedDoor()
        lane(writer, door, each).turn()
        (parcel,) = door.came
        bodies[each.name] = parcel.body
        assert parcel.result_id == done.result_id and parcel.sequence == 1
    assert json.loads(bodies["a"])["id"] == done.result_id
    assert json.loads(bodies["b"])["type"] == "transaction"
    versions = [bodies[name].split(b"\r")[0].split(b"|")[11] for name in "cde"]
    assert versions == [b"2.5.1", b"2.3.1", b"2.3.1"]
    # What is not given (the simulated slide has no analyser calibration) is told in two ways.
    obx = {
        name: [s.split(b"|") for s in bodies[name].split(b"\r") if s[:3] == b"OBX"]
        for name in "cde"
    }
    assert {fields[11] for fields in obx["e"]} >= {b"X"}
    assert b"X" not in {fields[11] for fields in obx["d"]}
    assert all(control_id_of(bodies[name]) == control_id_of(bodies["c"]) for name in "de")


# -- what the kiosk says ----------------------------------------------------------------------


def test_the_kiosk_says_what_is_noted_here_and_received_there(
    writer: Writer, frames: list[Frame]
) -> None:
    words = Words("en", "g/L")
    names = signed_results(writer, [LAB, CLINIC], frames, FAKES, 2)
    lane(writer, ScriptedDoor([[Refused("MESSAGE_REFUSED", "no"), Stored()]])).turn()
    first, second = (delivery_of(writer, name) for name in names)
    assert [(each.receiver, each.mark, each.text) for each in delivery_lines(words, first)] == [
        ("lab", "refused", "Refused there"), ("clinic", "waiting", "Noted here")
    ]  # fmt: skip
    assert delivery_lines(words, first)[0].why == "The receiver refused this result"
    assert len(delivery_lines(words, first * 9)) == 3
    assert [delivery_mark(each) for each in (first, second, ())] == ["refused", "waiting", None]
    lane(writer, ScriptedDoor(), CLINIC).turn()
    lane(writer, ScriptedDoor(), CLINIC).turn()
    assert delivery_mark(delivery_of(writer, names[1])) == "received"
    assert waiting_words(words, Outgoing(0, 0)) == refused_words(words, Outgoing(0, 0)) == ""
    assert waiting_words(words, Outgoing(1, 0)) == "1 to be sent"
    assert waiting_words(words, outgoing(writer, [LAB, CLINIC])) == ""
    assert refused_words(words, Outgoing(0, 2)) == "2 refused there"
