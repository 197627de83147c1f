"""Each kind of receiver against a real one: a process that loses answers, stumbles and refuses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import threading
from pathlib import Path

import msgspec
import pytest

from edgehemo.device.receiver_files import ReceiverFileError
from edgehemo.errors import UsageError
from edgehemo.interop import laboratory
from edgehemo.interop.laboratory import (
    Batch,
    Item,
    Receipt,
    ReceiptItem,
    packed_batch,
    receipt_of,
    unpacked_batch,
)
from edgehemo.interop.receivers.door import Kiosk, Parcel
from edgehemo.interop.receivers.fhir_server import FhirDoor, answer_of
from edgehemo.interop.receivers.folder import FolderDoor
from edgehemo.interop.receivers.https import HttpAnswer, HttpRoad
from edgehemo.interop.receivers.laboratory_server import LaboratoryDoor
from edgehemo.interop.receivers.mllp import MllpDoor, MllpError, control_id_of, parsed
from edgehemo.interop.states import Answer, Failed, Refused, Stored
from tests.support.receivers import receiver, running, self_signed, signed_by_another

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

NOTHING_STORED = b'{"resourceType":"Bundle","type":"transaction-response","entry":[{}]}'
SEARCHED = b'{"resourceType":"Bundle","type":"searchset","entry":[{"response":{"status":"200"}}]}'
KIOSK = Kiosk(store="ab" * 16, device="kiosk")


def parcel(number: int = 1, body: bytes | None = None, suffix: str = ".json") -> Parcel:
    said = json.dumps({"n": number}).encode() if body is None else body
    digest = hashlib.sha256(said).hexdigest()
    return Parcel(number, number, f"r-{number}", 2, digest, digest, "x/y", suffix, said)


def bundle(number: int = 1, words: str = "") -> Parcel:
    entry = {
        "resource": {"resourceType": "DiagnosticReport", "text": words},
        "request": {"method": "POST", "url": "Report", "ifNoneExist": f"identifier={number}"},
    }
    said = {
        "resourceType": "Bundle", "type": "transaction", "entry": [entry],
        "identifier": {"value": str(number)},
    }  # fmt: skip
    return parcel(number, json.dumps(said).encode())


def oru(number: int = 1, words: str = "110") -> Parcel:
    said = (
        f"MSH|^~\\&|EDGEHEMO|KIOSK|LIS|LAB|20261127||ORU^R01^ORU_R01|EH{number:06d}|P|2.5.1\r"
        f"PID|1||S-{number}\rOBR|1\rOBX|1|NM|718-7^Haemoglobin^LN||{words}|g/L\r"
    ).encode()
    return parcel(number, said, ".hl7")


def code_of(answer: Answer) -> str:
    return "stored" if isinstance(answer, Stored) else answer.code


# -- what kiosk and laboratory say to each other ----------------------------------------------


def batch_of(*parcels: Parcel) -> Batch:
    return Batch(
        store="s", device="d", software_version="1", sent_at="now",
        items=tuple(
            Item(
                sequence=each.sequence, identity=each.identity, sha256=each.sha256,
                result=msgspec.Raw(each.body),
            )
            for each in parcels
        ),
    )  # fmt: skip


def test_a_batch_comes_as_it_was_packed_to_the_byte() -> None:
    odd = parcel(1, b'{"z":1.10,  "a":[1e5,"\xc3\xa9"]}')
    found = unpacked_batch(packed_batch(batch_of(odd, parcel(2))))
    assert bytes(found.items[0].result) == odd.body
    assert [item.sequence for item in found.items] == [1, 2]


def test_what_is_no_batch_is_said_in_one_line() -> None:
    good = packed_batch(batch_of(parcel()))
    for bad in (b"", b"x", good[:-10], packed_batch(batch_of(parcel()))[:5] + b"zzzz"):
        with pytest.raises(UsageError, match="no batch"):
            unpacked_batch(bad)
    with pytest.raises(UsageError, match="no batch"):
        unpacked_batch(b'{"schema":"edgehemo.batch/1"}', compressed=False)
    from dataclasses import replace

    with pytest.raises(UsageError, match="item 1 does not have"):
        unpacked_batch(packed_batch(batch_of(replace(parcel(), sha256="0" * 64))))


def test_a_batch_that_swells_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laboratory, "MAX_BATCH_BYTES", 10_000)
    swollen = packed_batch(batch_of(parcel(1, b'"' + b"a" * 100_000 + b'"')))
    with pytest.raises(UsageError, match="too large"):
        unpacked_batch(swollen)


def test_the_most_items_are_the_same_in_the_table_of_doors_and_in_the_contract() -> None:
    from edgehemo.interop.receivers import DOORS

    assert DOORS["laboratory"].most == laboratory.MOST_ITEMS == 50
    assert DOORS["laboratory"].most_bytes == laboratory.MOST_RESULT_BYTES
    with pytest.raises(UsageError, match="no batch"):
        unpacked_batch(packed_batch(batch_of(*(parcel(n) for n in range(1, 52)))))


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"schema":"edgehemo.receipt/2","items":[]}'])
def test_what_is_no_receipt_is_said(text: bytes) -> None:
    with pytest.raises(UsageError, match="no receipt"):
        receipt_of(text)


# -- the laboratory ---------------------------------------------------------------------------


def test_the_laboratory_stores_a_batch_once_however_often_it_comes(tmp_path: Path) -> None:
    with running("laboratory", tmp_path / "s", "--script", "lost after,,lost before,busy") as stub:
        door = LaboratoryDoor(receiver(address=stub.address), KIOSK)
        parcels = [parcel(number) for number in range(1, 6)]
        assert [code_of(answer) for answer in door.send(parcels)] == ["RECEIVER_SILENT"] * 5
        assert len(stub.rows()) == 5, "it was stored, and nobody here knows"
        assert door.send(parcels) == [Stored()] * 5
        assert code_of(door.send([parcel(6)])[0]) == "RECEIVER_SILENT"
        assert code_of(door.send([parcel(6)])[0]) == "RECEIVER_BUSY"
        assert door.send([parcel(6)]) == [Stored()]
        door.close()
        rows = stub.rows()
    assert [(row[0], row[1], row[3]) for row in rows] == [
        *((p.identity, p.sequence, 2) for p in parcels), (parcel(6).identity, 6, 1)
    ]  # fmt: skip


def test_one_bad_result_does_not_keep_a_batch_back(tmp_path: Path) -> None:
    with running("laboratory", tmp_path / "s", "--refuse", '"n": 3') as stub:
        door = LaboratoryDoor(receiver(address=stub.address), KIOSK)
        answers = door.send([parcel(number) for number in range(1, 6)])
        door.close()
    assert [code_of(answer) for answer in answers] == [
        "stored", "stored", "MESSAGE_REFUSED", "stored", "stored"
    ]  # fmt: skip
    assert isinstance(answers[2], Refused) and answers[2].said == "I know better"


def test_a_batch_that_is_refused_whole_is_taken_apart(tmp_path: Path) -> None:
    with running("laboratory", tmp_path / "s", "--script", "refused,refused,,refused") as stub:
        door = LaboratoryDoor(receiver(address=stub.address), KIOSK)
        answers = door.send([parcel(number) for number in range(1, 4)])
        door.close()
    # Three, the first alone, the other two, which it takes.
    assert [code_of(answer) for answer in answers] == ["MESSAGE_REFUSED", "stored", "stored"]


def test_a_page_that_answers_everything_has_stored_nothing(tmp_path: Path) -> None:
    with running("laboratory", tmp_path / "s", "--script", "broken,failed") as stub:
        door = LaboratoryDoor(receiver(address=stub.address), KIOSK)
        assert code_of(door.send([parcel()])[0]) == "ANSWER_UNREADABLE"
        assert code_of(door.send([parcel()])[0]) == "RECEIVER_FAILED"
        door.close()


def test_a_receipt_says_of_each_result_what_became_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, late, gone = (parcel(number) for number in range(1, 5))
    receipt = Receipt(
        items=(
            ReceiptItem(identity=one.identity, outcome="stored", sha256=one.sha256),
            ReceiptItem(identity=other.identity, outcome="stored", sha256="0" * 64),
            ReceiptItem(identity=late.identity, outcome="later", words="the disk is full"),
        )
    )
    answer = HttpAnswer(200, receipt.model_dump_json().encode())
    door = LaboratoryDoor(receiver(), KIOSK)
    monkeypatch.setattr(HttpRoad, "post", lambda *_: answer)
    answers = door.send([one, other, late, gone])
    assert [code_of(each) for each in answers] == [
        "stored", "ANSWER_UNREADABLE", "RECEIVER_BUSY", "ANSWER_UNREADABLE"
    ]  # fmt: skip
    assert answers[2] == Failed("RECEIVER_BUSY", "the disk is full")


def test_an_answer_that_does_not_come_is_waited_for_only_so_long(tmp_path: Path) -> None:
    with running("laboratory", tmp_path / "s", "--script", "slow") as stub:
        door = LaboratoryDoor(receiver(address=stub.address, timeout_s=1), KIOSK)
        answer = door.send([parcel()])[0]
        door.close()
    assert answer == Failed("RECEIVER_SILENT", "no answer within 1 s")


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    door = LaboratoryDoor(receiver(address=f"http://127.0.0.1:{port}"), KIOSK)
    assert code_of(door.send([parcel()])[0]) == "RECEIVER_UNREACHABLE"
    mllp = MllpDoor(receiver(kind="mllp", address=f"mllp://127.0.0.1:{port}"))
    assert code_of(mllp.send([oru()])[0]) == "RECEIVER_UNREACHABLE"
    nowhere = LaboratoryDoor(receiver(address="https://no-such-host.invalid"), KIOSK)
    assert code_of(nowhere.send([parcel()])[0]) == "RECEIVER_UNREACHABLE"


# -- who is let in, and whom we trust ---------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text('token = "secret"\n')
    (tmp_path / "token").chmod(0o600)
    return tmp_path


def test_the_token_opens_the_door_and_only_it(files: Path) -> None:
    with running("laboratory", files / "s", "--token", "secret") as stub:
        without = LaboratoryDoor(receiver(address=stub.address), KIOSK)
        assert code_of(without.send([parcel()])[0]) == "RECEIVER_DENIED"
        named = receiver(address=stub.address, credentials=str(files / "token"))
        assert LaboratoryDoor(named, KIOSK).send([parcel()]) == [Stored()]


def test_credentials_that_others_may_read_are_not_used(files: Path) -> None:
    (files / "token").chmod(0o640)
    named = receiver(credentials=str(files / "token"))
    with pytest.raises(ReceiverFileError, match="chmod 600"):
        LaboratoryDoor(named, KIOSK)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("kind", ["laboratory", "mllp"])
def test_only_the_pinned_certificate_is_trusted(
    kind: str, own: tuple[Path, Path], tmp_path: Path
) -> None:
    other, _ = self_signed(tmp_path)
    options = ("--certificate", str(own[0]), "--key", str(own[1]))
    with running(kind, tmp_path / "s", *options) as stub:

        def answer(pinned: Path | None) -> Answer:
            named = receiver(
                kind=kind, address=stub.address, certificate=None if pinned is None else str(pinned)
            )
            door = LaboratoryDoor(named, KIOSK) if kind == "laboratory" else MllpDoor(named)
            try:
                return door.send([parcel() if kind == "laboratory" else oru()])[0]
            finally:
                door.close()

        assert isinstance(answer(own[0]), Stored)
        for wrong in (other, None):
            refused = answer(wrong)
            assert code_of(refused) == "CERTIFICATE_REFUSED", refused
            assert "certificate" in refused.said or "self-signed" in refused.said
        assert len(stub.rows()) == 1


def test_a_certificate_is_pinned_itself_or_by_its_authority(tmp_path: Path) -> None:
    certificate, key, authority = signed_by_another(tmp_path)
    options = ("--certificate", str(certificate), "--key", str(key))
    with running("laboratory", tmp_path / "s", *options) as stub:
        for pinned in (certificate, authority):
            named = receiver(address=stub.address, certificate=str(pinned))
            assert LaboratoryDoor(named, KIOSK).send([parcel()]) == [Stored()], pinned


def test_a_pinned_certificate_of_another_name_is_not_trusted(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "elsewhere")
    text = certificate.read_text()
    options = ("--certificate", str(certificate), "--key", str(key))
    with running("laboratory", tmp_path / "s", *options) as stub:
        named = receiver(address=stub.address, certificate=str(certificate))
        answer = LaboratoryDoor(named, KIOSK).send([parcel()])[0]
    assert text and code_of(answer) == "CERTIFICATE_REFUSED"
    assert "Hostname mismatch" in answer.said


def test_proxies_of_the_environment_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that would be asked in the place of the receiver hears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.2)
        at = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, at)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with running("laboratory", tmp_path / "s") as stub:
            assert LaboratoryDoor(receiver(address=stub.address), KIOSK).send([parcel()]) == [
                Stored()
            ]
        with pytest.raises(TimeoutError):
            proxy.accept()


# -- a FHIR server ----------------------------------------------------------------------------


def test_a_transaction_that_comes_twice_is_stored_once(tmp_path: Path) -> None:
    with running("fhir", tmp_path / "s", "--script", "lost after,", "--refuse", "Ebola") as stub:
        door = FhirDoor(receiver(kind="fhir", address=stub.address))
        assert code_of(door.send([bundle()])[0]) == "RECEIVER_SILENT"
        assert door.send([bundle()]) == [Stored("0 new, 1 there already")]
        assert door.send([bundle(2)]) == [Stored("1 new, 0 there already")]
        refused = door.send([bundle(3, "Ebola")])[0]
        door.close()
        assert len(stub.rows()) == 2
    assert isinstance(refused, Refused) and refused.said == "HTTP 422: I know better"


@pytest.mark.parametrize(
    ("status", "content", "code"),
    [
        (200, b"<html>", "ANSWER_UNREADABLE"),
        (200, b"[" * 100_000, "ANSWER_UNREADABLE"),
        (200, b'{"resourceType":"Bundle","type":"searchset"}', "ANSWER_UNREADABLE"),
        (200, b'{"resourceType":"Bundle","type":"transaction-response"}', "ANSWER_UNREADABLE"),
        (200, NOTHING_STORED, "MESSAGE_REFUSED"),
        (200, SEARCHED, "ANSWER_UNREADABLE"),
        (302, b"", "RECEIVER_ADDRESS_WRONG"),
        (400, b"", "MESSAGE_REFUSED"),
        (401, b"", "RECEIVER_DENIED"),
        (404, b"", "RECEIVER_ADDRESS_WRONG"),
        (412, b"", "MESSAGE_REFUSED"),
        (413, b"", "MESSAGE_TOO_LARGE"),
        (429, b"", "RECEIVER_BUSY"),
        (500, b"", "RECEIVER_FAILED"),
        (503, b"", "RECEIVER_BUSY"),
    ],
)  # fmt: skip
def test_what_a_fhir_servers_answers_mean(status: int, content: bytes, code: str) -> None:
    answer = answer_of(HttpAnswer(status, content))
    assert code_of(answer) == code
    assert isinstance(answer, Refused) == code.startswith("MESSAGE")


# -- a listener for HL7 -----------------------------------------------------------------------


def test_a_listener_acknowledges_loses_and_refuses(tmp_path: Path) -> None:
    script = "lost after,,failed,broken,slow,refused,"
    with running("mllp", tmp_path / "s", "--script", script) as stub:
        door = MllpDoor(receiver(kind="mllp", address=stub.address, timeout_s=1.5))
        assert code_of(door.send([oru(1)])[0]) == "RECEIVER_SILENT"
        assert door.send([oru(1)]) == [Stored("AA")]
        assert code_of(door.send([oru(2)])[0]) == "ANSWER_UNREADABLE"
        assert door.send([oru(2)]) == [Stored("AA")], "a late refusal of another is read over"
        silent = door.send([oru(3)])[0]
        assert silent == Failed("RECEIVER_SILENT", "no acknowledgement within 1.5 s")
        refused = door.send([oru(4)])[0]
        assert isinstance(refused, Refused) and refused.said == "AE I know better"
        assert door.send([oru(5), oru(6)]) == [Stored("AA"), Stored("AA")]
        door.close()
        # The slow one was stored in the end, and nobody waited for it.
        assert [row[0][-1] for row in stub.rows()][:2] == ["1", "2"]


def answering(parts: list[bytes], hold_s: float = 0.0) -> tuple[int, threading.Thread]:
    """A listener that answers anything with these bytes, a part at a time."""
    server = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        with server, server.accept()[0] as connection:
            connection.recv(65_536)
            for part in parts:
                with contextlib.suppress(OSError):  # whoever has waited enough has gone
                    connection.sendall(part)
                threading.Event().wait(0.02)
            threading.Event().wait(hold_s)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    return server.getsockname()[1], thread


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([b"\x0bMSH|^~\\&|A\rMSA|AA|EH0000", b"01\r\x1c", b"\r"], "stored"),
        ([b"garbage\x0bMSH|^~\\&|A\nMSA|CA|EH000001\n\x1c\r"], "stored"),
        ([b"\x0bMSH|^~\\&|A\rMSA|AR|EH000001|no\rERR|||101^missing\r\x1c\r"], "MESSAGE_REFUSED"),
        ([b"\x0bMSH|^~\\&|A\rMSA|CE|EH000001\r\x1c\r"], "MESSAGE_REFUSED"),
        ([b"\x0bMSH|^~\\&|A\rMSA|XX|EH000001\r\x1c\r"], "ANSWER_UNREADABLE"),
        ([b"\x0bMSH|^~\\&|A\rMSA|AA|OTHER\r\x1c\r"], "RECEIVER_SILENT"),
        ([b"\x0bnothing\x1c\r"], "ANSWER_UNREADABLE"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "RECEIVER_SILENT"),
        ([b"\x0bMSH|^~\\&|A\r"], "RECEIVER_SILENT"),
        ([b"x" * 200_000], "ANSWER_UNREADABLE"),
        ([], "RECEIVER_SILENT"),
    ],
)
def test_what_comes_back_over_mllp(parts: list[bytes], code: str) -> None:
    port, thread = answering(parts)
    door = MllpDoor(receiver(kind="mllp", address=f"mllp://127.0.0.1:{port}", timeout_s=1))
    assert code_of(door.send([oru()])[0]) == code
    door.close()
    thread.join()


def test_a_listener_that_trickles_has_one_deadline_for_all() -> None:
    port, _ = answering([b"\x0b", *[b"M"] * 100])
    door = MllpDoor(receiver(kind="mllp", address=f"mllp://127.0.0.1:{port}", timeout_s=1))
    assert code_of(door.send([oru()])[0]) == "RECEIVER_SILENT"


@pytest.mark.parametrize("body", [b"", b"MSH|^~\\&|", b"PID|1", b"MSH|^~\\&|" + b"|" * 20])
def test_a_message_without_an_identity_is_not_sent(body: bytes) -> None:
    door = MllpDoor(receiver(kind="mllp", address="mllp://127.0.0.1:9"))
    assert code_of(door.send([parcel(1, body)])[0]) == "MESSAGE_NOT_MADE"


def test_a_message_that_holds_the_marks_is_not_sent() -> None:
    door = MllpDoor(receiver(kind="mllp", address="mllp://127.0.0.1:9"))
    assert code_of(door.send([oru(1, "a\x1cb")])[0]) == "MESSAGE_NOT_MADE"


def test_an_acknowledgement_is_read_with_the_separators_it_names() -> None:
    found = parsed(b"MSH#^~\\&#A\rMSA#aa#X1#fine\rERR####E^^HL7##^^^ODD#why\r")
    assert (found.code, found.control_id) == ("AA", "X1")
    assert found.words.startswith("fine")
    assert control_id_of(oru(7).body) == "EH000007"
    for bad in (b"", b"\r", b"MSH", b"MSH|^~\\&|A\rPID|1\r"):
        with pytest.raises(MllpError):
            parsed(bad)


# -- a folder ---------------------------------------------------------------------------------


def test_a_folder_gets_one_file_a_message_however_often(tmp_path: Path) -> None:
    door = FolderDoor(receiver(kind="folder", address=str(tmp_path)), KIOSK)
    first = door.send([parcel(1), parcel(2)])
    assert [code_of(answer) for answer in first] == ["stored", "stored"]
    assert door.send([parcel(1)]) == first[:1]
    files = sorted(tmp_path.iterdir())
    assert [file.read_bytes() for file in files] == [parcel(1).body, parcel(2).body]
    assert all(file.name.startswith("r-") and file.suffix == ".json" for file in files)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """The mount point of an unplugged disk is a folder of this device."""
    away = tmp_path / "away"
    door = FolderDoor(receiver(kind="folder", address=str(away)), KIOSK)
    assert code_of(door.send([parcel()])[0]) == "FOLDER_ABSENT"
    assert not away.exists()
    away.write_text("a file")
    assert code_of(door.send([parcel()])[0]) == "FOLDER_ABSENT"
    stick = FolderDoor(receiver(kind="folder", address="label:NO-SUCH"), KIOSK)
    answer = stick.send([parcel()])[0]
    assert code_of(answer) == "FOLDER_ABSENT" and "NO-SUCH" in answer.said


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from edgehemo.interop.receivers import folder as module

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    door = FolderDoor(receiver(kind="folder", address=str(tmp_path)), KIOSK)
    monkeypatch.setattr(module, "write_bytes_atomically", full)
    assert code_of(door.send([parcel()])[0]) == "FOLDER_FULL"
    monkeypatch.setattr(module, "write_bytes_atomically", lambda path, data: path.write_bytes(b"x"))
    assert code_of(door.send([parcel()])[0]) == "FOLDER_UNWRITABLE"
