"""What leaves the device and what comes back: exports, backups, restores, and what is purged."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgehemo.cli import run
from edgehemo.errors import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    RecordsDamagedError,
    RecordsError,
    RecordsFullError,
    UsageError,
)
from edgehemo.images.frame import Frame
from edgehemo.records import backup as backups
from edgehemo.records.audit import entries
from edgehemo.records.backup import back_up, is_due, last_backup, restore, stick
from edgehemo.records.clock import now
from edgehemo.records.deidentified import View
from edgehemo.records.exports.archive_export import checked_archive, recipients_of
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.exports.formats import FORMATS
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.policy import RecordsSection, refuse_too_little, space_state
from edgehemo.records.results import listed, result_of
from edgehemo.records.retention import purge, purgeable
from edgehemo.records.store import Reader, Writer
from edgehemo.records.verifying import verify
from edgehemo.records.versions import Amendments, Override, change
from tests.support.pages import faults_of_page
from tests.support.schemas import validate
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import MADE_AT, device_file, files_in, stored

FAKES = TruthFinder()
# Whose it is, in every place where it is stored: none of it may leave without being asked for.
TELLING = (
    "SAMPLE-77",
    "opamina",
    "Kisumu",
    "test device",
    "jane-doe",
    "30.5",
    "1873",
    "2026-11-20",
)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FAKES, count=2)


@pytest.fixture
def folder(tmp_path: Path) -> RecordsFolder:
    return RecordsFolder.below(tmp_path / "data")


@pytest.fixture
def writer(folder: RecordsFolder) -> Iterator[Writer]:
    with Writer(folder) as opened:
        yield opened


@pytest.fixture
def result(writer: Writer, frames: list[Frame]) -> str:
    """A result that tells whose it is wherever it can, corrected and signed."""
    from dataclasses import replace

    from edgehemo.anaemia.who_grade import Person

    named = [replace(frame, source=f"jane-doe-{n}.png") for n, frame in enumerate(frames)]
    for frame, new in zip(frames, named, strict=True):
        FAKES.truths[new.source] = FAKES.truths[frame.source]
    done = stored(
        writer,
        [*named, named[0]],
        FAKES,
        "SAMPLE-7",
        site="Kisumu",
        operator="opamina",
        person=Person(30.5, "female", altitude_m=1873.0),
    )
    assert done is not None
    amendments = Amendments(
        sample="SAMPLE-77", override=Override(grade="mild"), comment="jane-doe came back"
    )
    change(
        writer, done.result_id, "corrected", by="opamina", reason="jane-doe", amendments=amendments
    )
    change(writer, done.result_id, "signed", by="opamina")
    return done.result_id


def exporting(writer: Reader, *names: str, identified: bool = False, **given: Any) -> Exporting:
    results = [result_of(writer, name) for name in names]
    view = View.of(writer, identified=identified)
    return Exporting(writer, results, view, writer.head(), **given)


def told_in(data: bytes) -> set[str]:
    return {word for word in TELLING if word.encode() in data}


def texts_below(folder: Path) -> dict[str, bytes]:
    """Files and their content, of a page without the pictures in it."""
    found = {}
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


@pytest.mark.parametrize("kind", ["json", "csv", "folder", "html"])
def test_nothing_that_tells_whose_it_is_leaves_unless_it_is_asked_for(
    writer: Writer, result: str, tmp_path: Path, kind: str
) -> None:
    for identified in (False, True):
        out = tmp_path / f"{kind}-{identified}"
        FORMATS[kind].write(exporting(writer, result, identified=identified), out)
        files = texts_below(out) if out.is_dir() else {out.name: out.read_bytes()}
        told = {word for name, data in files.items() for word in told_in(data + name.encode())}
        if not identified:
            assert not told
        elif kind in ("csv", "html"):
            assert {"SAMPLE-77", "opamina", "Kisumu", "test device"} <= told
        else:
            assert told == {*TELLING}
        assert all(
            result.encode() in data
            for name, data in files.items()
            if not name.endswith((".png", ".jpg"))
        )
        for name, data in files.items():
            if name.endswith(".json") or kind == "json":
                validate(json.loads(data))


def test_pseudonyms_are_the_same_each_time_and_another_stores_differ(
    writer: Writer, result: str, tmp_path: Path
) -> None:
    view = View.of(writer, identified=False)
    assert view.name("sample", "S-1") == View.of(writer, identified=False).name("sample", "S-1")
    assert view.name("sample", "S-1") != view.name("sample", "S-2")
    assert view.name("sample", "S-1")[2:] != view.name("operator", "S-1")[2:]  # type: ignore[index]
    with Writer(RecordsFolder.below(tmp_path / "other")) as other:
        assert View.of(other, identified=False).name("sample", "S-1") != view.name("sample", "S-1")
    person = view.person(result_of(writer, result))
    assert person is not None and (person["age_years"], person["altitude_m"]) == (30.0, 1500.0)


def test_a_folder_has_the_report_and_the_pictures_without_what_a_camera_wrote(
    writer: Writer, result: str, frames: list[Frame], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    FORMATS["folder"].write(exporting(writer, result, identified=True), out)
    page = (out / "report.html").read_text()
    assert "Signed by opamina" in page and "Grade set by a person: Mild anaemia." in page
    assert f"{writer.head().digits}" in page
    assert not faults_of_page(page)
    for index, frame in enumerate(frames):
        data = (out / "pictures" / f"{index + 1:03d}.png").read_bytes()
        again = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert again is not None and (again[..., ::-1] == frame.pixels).all()
    # The same result again replaces it; another one does not.
    FORMATS["folder"].write(exporting(writer, result), out)
    assert "opamina" not in (out / "report.html").read_text()
    other = stored(writer, frames, FAKES, "S-2")
    assert other is not None
    with pytest.raises(RecordsError, match="holds another result"):
        FORMATS["folder"].write(exporting(writer, other.result_id), out)
    both = tmp_path / "both"
    FORMATS["folder"].write(exporting(writer, result, other.result_id), both)
    assert {path.name for path in both.iterdir()} == {result, other.result_id}


@pytest.mark.parametrize("state", ["held", "withdrawn"])
def test_a_held_or_withdrawn_result_says_so_above_all(
    writer: Writer, result: str, tmp_path: Path, state: Any
) -> None:
    change(writer, result, state, by="sup", reason="wrong slide")
    FORMATS["folder"].write(exporting(writer, result, identified=True), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"{state.upper()} by sup" in page and "wrong slide" in page
    assert page.index(state.upper()) < page.index("<h2>")
    assert f'<p class="loud">{state.upper()}' in page, "it is as loud as SIMULATED"


def test_a_table_is_read_by_spreadsheets_and_computes_nothing(
    writer: Writer, frames: list[Frame], tmp_path: Path
) -> None:
    done = stored(writer, frames, FAKES, "S-1", operator="=cmd|' /C calc'!A0", site="@x")
    assert done is not None
    FORMATS["csv"].write(exporting(writer, done.result_id, identified=True), tmp_path / "t.csv")
    (row,) = csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text("utf-8")))
    assert row["operator"] == "'=cmd|' /C calc'!A0" and row["site"] == "'@x"
    assert row["sample"] == "S-1" and row["hgb_g_per_l"] == "" and row["accepted_fields"] == "2"
    assert row["audit_digits"] == writer.head().digits


def test_an_archive_opens_with_its_key_alone(writer: Writer, result: str, tmp_path: Path) -> None:
    pyrage = pytest.importorskip("pyrage")
    keys = [pyrage.x25519.Identity.generate() for _ in range(3)]
    to = tuple(str(key.to_public()) for key in keys[:2])
    out = tmp_path / "a.tar.age"
    FORMATS["archive"].write(exporting(writer, result, recipients=to, identified=True), out)
    data = out.read_bytes()
    assert data.startswith(b"age-encryption.org/v1") and not told_in(data)
    assert out.stat().st_mode & 0o077 == 0
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(data, [keys[2]])
    for key in keys[:2]:
        plain = pyrage.decrypt(data, [key])
        manifest = checked_archive(plain)
        assert manifest.results == [result] and manifest.audit == writer.head()
    with tarfile.open(fileobj=io.BytesIO(plain)) as packed:
        names = packed.getnames()
    assert f"{result}/report.html" in names and names[-1] == "manifest.json"
    with pytest.raises(RecordsError):
        checked_archive(plain[: len(plain) // 2 // 512 * 512] + bytes(1024))
    for wrong in ((), ("age1nonsense",), (str(keys[0]),)):
        with pytest.raises(UsageError):
            recipients_of(wrong)
    if (age := shutil.which("age")) is not None:
        (tmp_path / "key").write_text(f"{keys[0]}\n")
        opened = subprocess.run(
            [age, "-d", "-i", tmp_path / "key", out], capture_output=True, check=True
        )
        assert opened.stdout == plain


def test_a_backup_is_read_back_and_restored_on_a_fresh_device(
    writer: Writer, result: str, frames: list[Frame], folder: RecordsFolder, tmp_path: Path
) -> None:
    place = tmp_path / "stick"
    first = back_up(writer, place, at="2026-11-27T00:00:00+00:00", by="am")
    assert first.copied == len(files_in(folder.path)) == first.manifest.contents
    assert (last := last_backup(writer)) is not None and last.results == 1
    stored(writer, frames, FAKES, "S-2")
    second = back_up(writer, place, at="2026-11-28T00:00:00+00:00", by="am")
    assert second.copied == 1, "pictures that are there already are not copied again"
    fresh = RecordsFolder.below(tmp_path / "fresh")
    manifest = restore(place, fresh)
    assert manifest.number == 2 and manifest.results == 2
    with Writer(fresh) as restored:
        assert [row.id for row in listed(restored)] == [row.id for row in listed(writer)]
        found = verify(restored)
        assert found.whole, found.faults
        assert files_in(fresh.path) == files_in(folder.path)
        assert list(entries(restored.connection))[-1].action == "store restored"
        assert result_of(restored, result).latest.state == "signed"
    with pytest.raises(RecordsError, match="there are records here"):
        restore(place, fresh)
    assert restore(first.path, fresh, replace=True).number == 1
    with Writer(fresh) as restored:
        assert len(listed(restored)) == 1 and verify(restored).whole
    assert list(fresh.path.glob("records.replaced-*.sqlite3"))


@pytest.mark.parametrize("harm", ["database", "content", "no database", "no content", "manifest"])
def test_a_damaged_backup_is_refused_and_nothing_is_changed(
    writer: Writer, result: str, tmp_path: Path, harm: str
) -> None:
    made = back_up(writer, tmp_path / "stick", at=now().isoformat(), by="am")
    database = made.path.with_suffix(".sqlite3")
    content = next(path for path in (made.path.parent / "contents").rglob("*") if path.is_file())
    for name, path in (("database", database), ("content", content), ("manifest", made.path)):
        if harm == name:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            data[5] ^= 1
            path.write_bytes(data)
        elif harm == f"no {name}":
            path.unlink()
    fresh = RecordsFolder.below(tmp_path / "fresh")
    with pytest.raises((RecordsError, RecordsDamagedError)):
        restore(made.path, fresh)
    assert not fresh.exists()


def test_a_stick_that_keeps_other_bytes_is_noticed(
    writer: Writer, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worn(path: Path) -> None:
        if path.suffix != ".sqlite3":
            data = bytearray(path.read_bytes())
            data[0] ^= 1
            path.write_bytes(data)

    monkeypatch.setattr(backups, "_forget_cached", worn)
    with pytest.raises(RecordsError, match="change the stick"):
        back_up(writer, tmp_path / "stick", at=now().isoformat(), by="am")
    assert last_backup(writer) is None
    with pytest.raises(RecordsError, match="no backup"):
        restore(tmp_path / "stick", RecordsFolder.below(tmp_path / "fresh"))


def test_old_backups_go_and_a_backup_falls_due(writer: Writer, result: str, tmp_path: Path) -> None:
    assert is_due(last_backup(writer), now(), 24)
    for _ in range(backups.KEPT + 2):
        made = back_up(writer, tmp_path / "stick", at=now().isoformat(), by="am")
    assert len(backups.backups_in(made.path.parent)) == backups.KEPT
    assert len(list(made.path.parent.glob("*.sqlite3"))) == backups.KEPT
    assert not is_due(last_backup(writer), now(), 24)
    assert is_due(last_backup(writer), now() + timedelta(hours=25), 24)


def test_a_stick_is_found_by_its_label(tmp_path: Path) -> None:
    device = tmp_path / "sda1"
    device.touch()
    (tmp_path / "by-label").mkdir()
    (tmp_path / "by-label" / "EDGEHEMO").symlink_to(device)
    mounts = f"proc /proc proc rw 0 0\n{device} /media/a\\040stick vfat rw 0 0\n"
    assert stick("EDGEHEMO", tmp_path / "by-label", mounts) == Path("/media/a stick")
    with pytest.raises(RecordsError, match="not mounted"):
        stick("EDGEHEMO", tmp_path / "by-label", "proc /proc proc rw 0 0\n")
    with pytest.raises(RecordsError, match="no USB stick called OTHER"):
        stick("OTHER", tmp_path / "by-label", mounts)


def test_what_is_purged_is_old_and_lies_elsewhere(
    writer: Writer, frames: list[Frame], folder: RecordsFolder, tmp_path: Path
) -> None:
    policy = RecordsSection(keep_pictures_days=30)
    at = MADE_AT + timedelta(days=60)
    old = stored(writer, frames[:1], FAKES, "S-1")
    shared = stored(writer, frames, FAKES, "S-2", made_at=at - timedelta(days=1))
    assert old is not None and shared is not None
    with pytest.raises(RecordsError, match="for ever"):
        purgeable(writer, RecordsSection(), at)
    assert purgeable(writer, policy, at).waiting == 1, "it lies nowhere else yet"
    back_up(writer, tmp_path / "stick", at=at.isoformat(), by="am")
    assert purgeable(writer, policy, at).pictures == (), "a younger result has the same picture"
    later = at + timedelta(days=60)
    change(writer, shared.result_id, "held", by="sup", reason="x")
    assert purgeable(writer, policy, later).waiting == 1, "a held result keeps its pictures"
    change(writer, shared.result_id, "released", by="sup", reason="x")
    before = files_in(folder.path)
    found = purge(writer, policy, later, by="sup")
    assert (len(found.pictures), found.results) == (2, 2)
    assert before - files_in(folder.path) == set(found.pictures)
    assert purge(writer, policy, later, by="sup").pictures == ()
    checked = verify(writer)
    assert checked.whole and checked.purged == 2
    assert [row.sample for row in listed(writer)] == ["S-2", "S-1"]
    assert result_of(writer, old.result_id).document(writer).record["images"]
    with pytest.raises(RecordsError, match="was purged"):
        result_of(writer, old.result_id).fields[0].frame(writer)
    # Taken again, the same picture is kept again.
    assert stored(writer, frames[:1], FAKES, "S-3") is not None
    assert verify(writer).whole and verify(writer).purged == 1
    actions = [entry.action for entry in entries(writer.connection)]
    assert actions.count("pictures purged") == 1


def test_a_purge_that_is_cut_short_is_finished(
    folder: RecordsFolder, frames: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = RecordsSection(keep_pictures_days=30)
    with Writer(folder) as writer:
        stored(writer, frames, FAKES)
        back_up(writer, tmp_path / "stick", at=now().isoformat(), by="am")
        with monkeypatch.context() as patch:
            patch.setattr(Writer, "finish_intended", lambda _: None)
            assert len(purge(writer, policy, MADE_AT + timedelta(days=60), by="x").pictures) == 2
        assert len(files_in(folder.path)) == 3
    with Writer(folder) as writer:
        assert len(files_in(folder.path)) == 1 and verify(writer).whole


def test_space_is_warned_of_and_then_no_sample_is_begun(tmp_path: Path) -> None:
    policy = RecordsSection(warn_below_mb=100, refuse_below_mb=10)
    assert [space_state(free, policy) for free in (200, 50, 5)] == ["enough", "low", "too little"]
    with pytest.raises(RecordsFullError, match="needed to begin"):
        refuse_too_little(tmp_path / "none" / "yet", RecordsSection(refuse_below_mb=10_000_000))


def test_the_commands_do_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pyrage = pytest.importorskip("pyrage")
    key = str(pyrage.x25519.Identity.generate().to_public())
    device = device_file(tmp_path / "data", keep_pictures_days=1, recipients=[key])
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device))
    slide = "simulated:?seed=3&fields=1&width=400&height=300"
    assert run(["records", "export", "--all", "--format", "csv", "--out", "x"]) == EXIT_BAD_INPUT
    assert run(["screen", slide, "--record"]) == EXIT_DONE
    for command in (
        ["export", "--all", "--format", "csv", "--out", str(tmp_path / "t.csv")],
        ["export", "--all", "--format", "json", "--out", str(tmp_path / "t.json")],
        ["export", "--all", "--format", "folder", "--out", str(tmp_path / "f")],
        ["export", "--all", "--format", "archive", "--out", str(tmp_path / "t.age")],
        ["backup", str(tmp_path / "stick")],
        ["purge"],
        ["purge", "--dry-run"],
        ["restore", str(tmp_path / "stick"), "--force"],
        ["verify"],
    ):
        capsys.readouterr()
        assert run(["records", *command, "--json", "-"]) == EXIT_DONE, command
        json.loads(capsys.readouterr().out)
    assert run(["records", "export", "--format", "csv", "--out", "x"]) == EXIT_BAD_INPUT
    assert run(["records", "backup"]) == EXIT_BAD_INPUT
    assert "no USB stick called EDGEHEMO" in capsys.readouterr().err
    assert run(["records", "list"]) == EXIT_DONE
    with Writer(RecordsFolder.below(tmp_path / "data")) as writer:
        said = [entry.action for entry in entries(writer.connection)]
    # What was done after the backup is not in it: the restored chain goes on from there.
    assert said.count("result exported") == 4 and "store restored" in said
