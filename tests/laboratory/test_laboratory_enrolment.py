"""Kiosks come to a laboratory by a code: both certificates pinned, keys renewed, lost ones locked
out. By the device's own code, over TLS, against a server in another process.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehemo.errors import DeviceError, UsageError
from edgehemo.interop.enrolling import Place, enrol
from edgehemo.interop.pairing import read_code
from tests.support.laboratory_process import KioskAt, Laboratory, come, laboratory


@pytest.fixture
def kiosk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KioskAt:
    made = KioskAt(tmp_path / "kiosk")
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(made.file))
    return made


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Laboratory]:
    with laboratory(tmp_path / "lab") as made:
        yield made


def test_a_kiosk_comes_by_its_code_and_sends(kiosk: KioskAt, lab: Laboratory) -> None:
    come(kiosk, lab, "--identified", simulated=True)
    (receiver,) = kiosk.device.receivers
    assert receiver.identified and receiver.certificate and receiver.client_key
    own = Place.of(kiosk.device, "laboratory").own
    assert own.stat().st_mode & 0o777 == 0o600
    kiosk.signed(3)
    kiosk.sends()
    assert [state for state, *_ in kiosk.states()] == ["delivered"] * 3
    assert lab.rows("SELECT count(*), min(sample), max(sample) FROM result") == [(3, "S-1", "S-3")]
    told = lab.says("kiosks")
    assert "clinic-1" in told and "in service" in told and "3 results" in told
    assert "all is well" in lab.says("verify")


def test_pseudonyms_are_sent_where_the_laboratory_takes_no_names(
    kiosk: KioskAt, lab: Laboratory
) -> None:
    come(kiosk, lab, simulated=True)
    assert not kiosk.device.receivers[0].identified
    kiosk.signed(1)
    kiosk.sends()
    assert [state for state, *_ in kiosk.states()] == ["delivered"]
    ((sample, day, device),) = lab.rows(
        "SELECT r.sample, r.day, k.device FROM result r JOIN records s ON s.store = r.store "
        "JOIN kiosk k ON k.number = s.kiosk"
    )
    assert re.fullmatch(r"S-[0-9a-f]{12}", sample) and day.endswith("-01")
    assert re.fullmatch(r"D-[0-9a-f]{12}", device)


def test_names_that_come_all_the_same_are_refused_in_words_that_the_kiosk_shows(
    kiosk: KioskAt, lab: Laboratory
) -> None:
    come(kiosk, lab, simulated=True)
    kiosk.file.write_text(kiosk.file.read_text().replace("identified = false\n", ""))
    kiosk.signed(1)
    kiosk.sends()
    ((state, code, said),) = kiosk.states()
    assert (state, code) == ("refused", "MESSAGE_REFUSED")
    assert "takes no names from clinic-1" in said and "identified = false" in said


def test_a_code_counts_once_and_another_server_is_told_nothing(
    kiosk: KioskAt, lab: Laboratory, tmp_path: Path
) -> None:
    code = lab.code()
    with laboratory(tmp_path / "other") as other, pytest.raises(UsageError, match="another cert"):
        enrol(kiosk.device, other.address, read_code(code))
    assert kiosk.device.receivers == ()
    enrol(kiosk.device, lab.address, read_code(code))
    with pytest.raises(UsageError, match="does not count"):
        enrol(kiosk.device, lab.address, read_code(code))
    wrong = code[:-1] + ("0" if code[-1] != "0" else "1")
    with pytest.raises(UsageError, match="does not count"):
        enrol(kiosk.device, lab.address, read_code(wrong))
    with pytest.raises(UsageError, match="no laboratory answers"):
        enrol(kiosk.device, "https://localhost:1", read_code(code))


def test_a_lost_kiosk_is_revoked_and_one_that_was_found_comes_again(
    kiosk: KioskAt, lab: Laboratory
) -> None:
    come(kiosk, lab, "--identified", simulated=True)
    kiosk.signed(2)
    lab.says("revoke", "clinic-1", "--reason", "stolen")
    kiosk.sends()
    assert {(state, code) for state, code, _ in kiosk.states()} == {("retrying", "RECEIVER_DENIED")}
    assert lab.rows("SELECT count(*) FROM version") == [(0,)]
    assert "revoked (stolen)" in lab.says("kiosks")
    assert "revoked already" in lab.says("revoke", "clinic-1", "--reason", "x", code=2)
    come(kiosk, lab)
    kiosk.hurries()
    kiosk.sends()
    assert [state for state, *_ in kiosk.states()] == ["delivered"] * 2


def test_whoever_comes_again_locks_out_the_device_before(
    kiosk: KioskAt, lab: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come(kiosk, lab, "--identified", simulated=True)
    kiosk.signed(1)
    replaced = KioskAt(tmp_path / "replaced")
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(replaced.file))
    come(replaced, lab, simulated=True)
    kiosk.sends()
    assert [code for _, code, _ in kiosk.states()] == ["RECEIVER_DENIED"]
    replaced.signed(1)
    replaced.sends()
    assert [state for state, *_ in replaced.states()] == ["delivered"]


def test_keys_are_renewed_and_the_old_one_ends_once_the_new_was_shown(
    kiosk: KioskAt, lab: Laboratory
) -> None:
    come(kiosk, lab, "--identified", simulated=True)
    own = Place.of(kiosk.device, "laboratory").own
    before = own.read_text()
    kiosk.signed(1)
    kiosk.sends()
    kiosk.visits()
    assert own.read_text() == before
    lab.do(f"UPDATE certificate SET made_at_s = {int(time.time()) - 91 * 86_400}")
    kiosk.visits()
    assert own.read_text() != before
    assert lab.rows("SELECT count(*) FROM certificate WHERE ended_at IS NULL") == [(2,)]
    kiosk.visits()
    assert lab.rows("SELECT count(*) FROM certificate WHERE ended_at IS NULL") == [(1,)]
    kiosk.signed(1)
    kiosk.sends()
    assert [state for state, *_ in kiosk.states()] == ["delivered"] * 2
    own.write_text(before)
    kiosk.signed(1)
    kiosk.sends()
    assert kiosk.states()[-1][1] == "RECEIVER_DENIED"


def test_the_laboratory_replaces_its_certificate_and_kiosks_follow(
    kiosk: KioskAt, lab: Laboratory
) -> None:
    come(kiosk, lab, "--identified", simulated=True)
    kiosk.signed(1)
    lab.says("certificate", "--prepare")
    assert "clinic-1 does not trust it yet" in lab.says("certificate", code=1)
    assert "1 kiosks do not trust it yet" in lab.says("certificate", "--use", code=2)
    kiosk.visits()
    # The kiosk says with its next visit that it trusts it.
    kiosk.visits()
    lab.says("certificate")
    lab.says("certificate", "--use")
    assert lab.end() == 0
    lab.start()
    kiosk.sends()
    assert [state for state, *_ in kiosk.states()] == ["delivered"]
    kiosk.visits()
    trusted = Place.of(kiosk.device, "laboratory").trusted.read_text()
    assert trusted.count("BEGIN CERTIFICATE") == 1


def test_what_the_laboratory_lost_is_sent_again(kiosk: KioskAt, lab: Laboratory) -> None:
    come(kiosk, lab, "--identified", simulated=True)
    kiosk.signed(2)
    kiosk.sends()
    assert lab.end() == 0
    kept = (lab.folder / "laboratory.sqlite3").read_bytes()
    lab.start()
    kiosk.signed(3)
    kiosk.sends()
    assert lab.end() == 0
    # The laboratory's storage is put back: three results that it acknowledged are gone.
    for file in lab.folder.glob("laboratory.sqlite3*"):
        file.unlink()
    (lab.folder / "laboratory.sqlite3").write_bytes(kept)
    lab.start()
    assert [state for state, *_ in kiosk.states()] == ["delivered"] * 5
    kiosk.visits()
    assert [state for state, *_ in kiosk.states()] == ["delivered"] * 2 + ["noted"] * 3
    kiosk.sends()
    assert [state for state, *_ in kiosk.states()] == ["delivered"] * 5
    assert lab.rows("SELECT count(*) FROM result") == [(5,)]
    assert "MISSING" not in lab.says("kiosks")
    assert "all is well" in lab.says("verify")


def test_pictures_come_where_a_person_asks_and_both_sides_allow_it(
    kiosk: KioskAt, lab: Laboratory
) -> None:
    come(kiosk, lab, "--identified", "--pictures", "all", simulated=True)
    kiosk.signed(1)
    kiosk.sends()
    kiosk.visits()
    assert lab.rows("SELECT count(*) FROM picture") == [(0,)]
    kiosk.file.write_text(kiosk.file.read_text() + "pictures = true\n")
    kiosk.visits()
    ((digest, size),) = lab.rows("SELECT sha256, bytes FROM picture")
    stored = lab.folder / "pictures" / "pictures" / digest[:2] / digest
    assert stored.stat().st_size == size
    assert stored.read_bytes().startswith(b"\x89PNG")
    assert lab.rows("SELECT words FROM wanted_pictures WHERE settled_at IS NOT NULL") == [("",)]
    assert "1 pictures: all is well" in lab.says("verify")
    stored.write_bytes(b"x")
    assert "missing or damaged" in lab.says("verify", code=1)


def test_killed_at_any_moment_nothing_acknowledged_is_lost(kiosk: KioskAt, lab: Laboratory) -> None:
    come(kiosk, lab, "--identified", simulated=True)
    kiosk.signed(8)
    for _ in range(4):
        kiosk.hurries()
        kiosk.sends()
        assert lab.end(signal.SIGKILL) == -signal.SIGKILL
        delivered = sum(state == "delivered" for state, *_ in kiosk.states())
        lab.start()
        assert lab.rows("SELECT count(*) FROM version") >= [(delivered,)]
        kiosk.signed(2)
    kiosk.sends()
    assert {state for state, *_ in kiosk.states()} == {"delivered"}
    assert lab.rows("SELECT count(*) FROM version") == [(16,)]


def test_a_receiver_that_was_named_before_gets_what_it_lacks(
    kiosk: KioskAt, lab: Laboratory
) -> None:
    """As on an installed kiosk, whose firewall must let it out first."""
    text = kiosk.file.read_text() + (
        '# the laboratory\n[[receivers]]\nkind = "laboratory"\nname = "laboratory"  # ours\n'
        f'address = "{lab.address}"\nsimulated = true\ntimeout_s = 10\n'
        '[[receivers]]\nname = "stick"\nkind = "folder"\naddress = "/srv"\n'
    )
    kiosk.file.write_text(text)
    come(kiosk, lab)
    receiver, stick = kiosk.device.receivers
    assert receiver.certificate and receiver.client_key == receiver.client_certificate
    assert (receiver.identified, receiver.timeout_s, stick.identified) == (False, 10, True)
    assert [line for line in kiosk.file.read_text().splitlines() if line in text.splitlines()] == (
        text.splitlines()
    )


def test_a_receiver_of_the_name_that_says_something_else_is_not_touched(
    kiosk: KioskAt, lab: Laboratory
) -> None:
    kiosk.file.write_text(
        kiosk.file.read_text() + '[[receivers]]\nname = "laboratory"\nkind = "laboratory"\n'
        'address = "https://elsewhere.example"\n'
    )
    before = kiosk.file.read_text()
    with pytest.raises(DeviceError, match="stands there with another address"):
        come(kiosk, lab)
    assert kiosk.file.read_text() == before


@pytest.mark.parametrize("text", ["", "abcd", "x" * 33, "il0u-" * 8])
def test_what_is_no_code_is_told_so(text: str) -> None:
    with pytest.raises(UsageError, match="no pairing code"):
        read_code(text)
