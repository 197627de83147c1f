"""`edgehemo screen --record` and `edgehemo records`, as other programs call them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import click
import pytest

from edgehemo.cli import run
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from tests.support.stored import device_file, files_in

SLIDE = "simulated:?seed=3&fields=2&width=400&height=300"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device_file(tmp_path / "data")))
    return tmp_path / "data"


@pytest.fixture
def result(data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The identifier of a stored result."""
    said = json_of(["screen", SLIDE, "--record", "--sample", "S-1", "--operator", "am1"], capsys)
    return str(said["result_id"])


def json_of(
    command: list[str], capsys: pytest.CaptureFixture[str], code: int = EXIT_DONE
) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*command, "--json", "-"]) == code
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_a_recorded_screening_says_its_identifier_and_is_listed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["screen", SLIDE, "--record", "--out", str(out)]) == EXIT_DONE
    said = capsys.readouterr().out
    record = json.loads((out / "result.json").read_text())
    identifier = record["result_id"]
    assert f"stored as: {identifier}" in said
    page = (out / "report.html").read_text()
    assert identifier in page
    assert f"{record['audit']['number']}-{record['audit']['digits']}" in page
    listing = json_of(["records", "list"], capsys)
    (row,) = listing["results"]
    assert row["id"] == identifier and row["sample"] == record["labels"]["sample"]
    assert (row["state"], row["version"]) == ("unsigned", 1)
    shown = json_of(["records", "show", identifier[:6]], capsys)["result"]
    assert shown["record"]["images"][0]["cells"] == record["images"][0]["cells"]
    assert all(image["kept"] for image in shown["images"])
    whole = json_of(["records", "verify"], capsys)
    assert whole["whole"] and whole["results"] == 1


def test_without_record_or_out_nothing_is_begun(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["screen", SLIDE]) == EXIT_BAD_INPUT
    assert "--record" in capsys.readouterr().err
    assert not (data / "records").exists()


def test_nothing_readable_and_a_name_are_not_stored(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["screen", str(tmp_path / "typo"), "--record"]) == EXIT_BAD_INPUT
    assert "nothing was stored" in capsys.readouterr().err
    assert run(["screen", SLIDE, "--record", "--sample", "Jane Doe"]) == EXIT_BAD_INPUT
    assert "no space" in capsys.readouterr().err
    assert json_of(["records", "list"], capsys)["results"] == []


def test_a_folders_name_is_not_kept(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgehemo.demo.demonstration import sample_image

    named = tmp_path / "Jane Doe"
    named.mkdir()
    (named / "1.jpg").write_bytes(sample_image())
    (named / "2.jpg").write_bytes(b"no picture")
    said = json_of(["screen", str(named), "--record"], capsys, EXIT_BAD_INPUT)
    shown = json_of(["records", "show", said["result_id"]], capsys)
    assert [image["image"] for image in shown["result"]["images"]] == ["1.jpg", "2.jpg"]
    assert "Jane" not in json.dumps(shown)
    records = RecordsFolder.below(data)
    assert b"Jane" not in records.database.read_bytes()
    # The file is kept as it came.
    assert shown["result"]["images"][0]["sha256"] in files_in(records.path)
    with Writer(records) as writer:
        kept = writer.contents.read(shown["result"]["images"][0]["sha256"])
    assert kept == (named / "1.jpg").read_bytes()


def test_a_second_writer_is_refused_and_reading_goes_on(
    data: Path, result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Writer(RecordsFolder.below(data)):
        assert run(["screen", SLIDE, "--record"]) == EXIT_BAD_INPUT
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "another edgehemo is writing the records" in said
        assert len(json_of(["records", "list"], capsys)["results"]) == 1
        json_of(["records", "show", result], capsys)
    assert json_of(["records", "verify"], capsys)["whole"]


def test_lists_are_narrowed(data: Path, result: str, capsys: pytest.CaptureFixture[str]) -> None:
    json_of(["screen", SLIDE, "--record", "--sample", "S-2"], capsys)
    for options, expected in (
        (["--sample", "S-1"], 1),
        (["--sample", "S-3"], 0),
        (["--state", "unsigned"], 2),
        (["--state", "signed"], 0),
        (["--since", "2020-01-01"], 2),
        (["--until", "2020-01-01"], 0),
        (["--limit", "1"], 1),
    ):
        said = json_of(["records", "list", *options], capsys)
        assert len(said["results"]) == expected, options
        assert said["found"] >= expected
    assert run(["records", "list", "--since", "yesterday"]) == EXIT_BAD_INPUT
    assert "2026-11-27" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["zzzz", "ab", "Jane Doe", "0000-0000-0000-0000-0"])
def test_what_names_no_result_is_said(
    data: Path, result: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["records", "show", name]) == EXIT_BAD_INPUT
    assert capsys.readouterr().err.count("\n") == 1


# What somebody could do to the file, and what of it `verify` names.
TAMPERED = {
    "UPDATE result SET hgb_g_per_l = 140": "was changed since it was recorded",
    "UPDATE result SET person = NULL, made_at = '2020-01-01T00:00:00+00:00'": "was changed",
    "DELETE FROM result_field WHERE position = 1": "was changed since it was recorded",
    "UPDATE version SET state = 'signed'": "version 1 was changed",
    "UPDATE audit SET actor = 'nobody' WHERE number = 2": "audit entry 2 was changed",
    "DELETE FROM audit WHERE number = 1": "missing",
    "UPDATE latest SET state = 'signed'": "the list does not show its latest version",
    "DELETE FROM measured_refusal; DELETE FROM measured; DELETE FROM latest; DELETE FROM version; "
    "DELETE FROM result_field; DELETE FROM result": "is not there any more",
}  # fmt: skip


@pytest.mark.parametrize("statement", TAMPERED)
def test_tampering_is_refused_and_where_forced_it_is_found(
    data: Path, result: str, statement: str, capsys: pytest.CaptureFixture[str]
) -> None:
    database = RecordsFolder.below(data).database
    connection = sqlite3.connect(database)
    if "latest SET" not in statement:
        with pytest.raises(sqlite3.IntegrityError):
            connection.executescript(f"PRAGMA foreign_keys = ON; BEGIN; {statement}; COMMIT")
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
    ).fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.executescript(statement)
    connection.close()
    said = json_of(["records", "verify"], capsys, EXIT_WITHHELD)
    assert not said["whole"]
    assert any(TAMPERED[statement] in fault for fault in said["faults"]), said["faults"]


@pytest.mark.parametrize("harm", ["changed", "gone", "longer"])
def test_a_changed_picture_is_found(
    data: Path, result: str, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    records = RecordsFolder.below(data)
    shown = json_of(["records", "show", result], capsys)
    place = records.contents.place(shown["result"]["images"][0]["sha256"])
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    if harm == "gone":
        place.unlink()
    else:
        place.write_bytes(content + (b"x" if harm == "longer" else b""))
    said = json_of(["records", "verify"], capsys, EXIT_WITHHELD)
    assert said["faults_found"] == 1 and place.name[:16] in said["faults"][0]
    quick = ["records", "verify", "--quick"]
    assert json_of(quick, capsys, EXIT_DONE if harm == "changed" else EXIT_WITHHELD)


def test_the_doctor_says_what_is_stored_and_when_it_was_backed_up(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def findings() -> dict[str, dict[str, Any]]:
        capsys.readouterr()
        assert run(["doctor", "--json", "-"]) in (0, 1), capsys.readouterr().err
        return {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["findings"]}

    assert findings()["records"]["detail"] == "nothing is stored yet"
    assert "backup" not in findings()
    json_of(["screen", SLIDE, "--record"], capsys)
    found = findings()
    assert found["records"]["status"] == "ok" and "1 result, chain" in found["records"]["detail"]
    assert (found["backup"]["status"], found["backup"]["code"]) == ("warn", "BACKUP_DUE")
    json_of(["records", "backup", str(tmp_path / "stick")], capsys)
    assert findings()["backup"]["status"] == "ok"
    device_file(data, warn_below_mb=10_000_000)
    assert findings()["records"]["code"] == "RECORDS_SPACE_LOW"
    device_file(data, refuse_below_mb=10_000_000)
    assert findings()["records"]["status"] == "fail"
    assert run(["screen", SLIDE, "--record"]) == EXIT_BAD_INPUT
    assert "needed to begin a sample" in capsys.readouterr().err
    device_file(data)
    RecordsFolder.below(data).database.write_bytes(b"x" * 5000)
    assert findings()["records"]["code"] == "RECORDS_UNREADABLE"
    json_of(["screen", SLIDE, "--record"], capsys)
    assert findings()["records"]["code"] == "RECORDS_SET_ASIDE"


def test_a_bundle_that_is_installed_is_noted(
    data: Path, result: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgehemo.records.audit import entries
    from tests.support.bundle_makers import small_bundle

    assert run(["bundle", "install", str(small_bundle(tmp_path / "b", 1))]) == EXIT_DONE
    with Writer(RecordsFolder.below(data)) as writer:
        last = list(entries(writer.connection))[-1]
    assert (last.action, last.details["serial"]) == ("bundle changed", 1)


def test_a_report_that_cannot_be_written_says_that_the_result_is_stored(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "out"))

    monkeypatch.setattr("edgehemo.report.folder.write_json_atomically", full)
    out = str(tmp_path / "out")
    assert run(["screen", SLIDE, "--record", "--out", out]) == EXIT_BAD_INPUT
    said = capsys.readouterr().err
    (row,) = json_of(["records", "list"], capsys)["results"]
    assert f"is stored as {row['id']}" in said and "No space left" in said
    assert said.count("\n") == 1


def test_the_command_line_offers_the_formats_of_the_table() -> None:
    from edgehemo.commands.records import export
    from edgehemo.interop.exports import EXPORTS

    (option,) = [item for item in export.params if item.name == "kind"]
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(EXPORTS)


def test_reports_are_exported_on_the_paper_and_in_the_language_asked_for(
    data: Path, result: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("typst", reason="the [pdf] extra is not installed")
    for paper, language, title in (
        ("a4", "en", "Blood smear screening report"),
        ("roll_80mm", "pt", "Relatório de rastreio do esfregaço de sangue"),
    ):
        asked = ["--paper", paper, "--language", language, "--identified"]
        out = tmp_path / f"{language}.pdf"
        said = json_of(
            ["records", "export", result, "--format", "pdf", "--out", str(out), *asked], capsys
        )
        assert (said["format"], said["results"]) == ("pdf", [result])
        assert out.read_bytes().startswith(b"%PDF-")
        page = tmp_path / f"{language}.html"
        json_of(
            ["records", "export", result, "--format", "html", "--out", str(page), *asked], capsys
        )
        assert title in page.read_text()
        assert f'<html lang="{language}">' in page.read_text()
    folder = ["records", "export", result, "--format", "pdf", "--out", str(tmp_path)]
    assert run(folder) == EXIT_BAD_INPUT
    assert "is a folder; name the file" in capsys.readouterr().err


def test_changes_are_made_and_shown_from_the_command_line(
    data: Path, result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = ["--by", "mwangi"]
    for command, state in (
        (["sign", result, *name], "signed"),
        (["hold", result, *name, "--reason", "control failed"], "held"),
        (["release", result, *name, "--reason", "control passed"], "signed"),
        (
            ["correct", result, *name, "--reason", "seen", "--sample", "S-5", "--grade", "mild",
             "--cell", "1", "2", "platelet", "--comment", "look again"],
            "corrected",
        ),
        (["withdraw", result, *name, "--reason", "wrong slide"], "withdrawn"),
    ):  # fmt: skip
        said = json_of(["records", *command], capsys)
        assert said["version"]["state"] == state and said["version"]["by"] == "mwangi"
    assert run(["records", "show", result]) == EXIT_DONE
    shown = capsys.readouterr().out
    for line in (
        "withdrawn, version 6", "version 3 held by mwangi: control failed", "sample S-5 (entered",
        "grade by a person: mild", "cell 2 of field 1 is platelet", "comment: look again",
    ):  # fmt: skip
        assert line in shown
    assert run(["records", "sign", result, *name]) == EXIT_BAD_INPUT
    assert "can be changed no more" in capsys.readouterr().err
    assert run(["records", "correct", result, *name, "--reason", "x"]) == EXIT_BAD_INPUT
    assert run(["records", "hold", result, *name]) == EXIT_BAD_INPUT
    assert json_of(["records", "verify"], capsys)["versions"] == 6


def test_a_printed_head_tells_this_chain_from_one_made_anew(
    data: Path, result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    head = json_of(["records", "verify"], capsys)["audit"]
    printed = f"{head['number']}-{head['digits']}"
    assert json_of(["records", "verify", "--head", printed], capsys)["whole"]
    assert json_of(["records", "verify", "--head", f"chain {printed.upper()}"], capsys)["whole"]
    for wrong, said in (
        (f"{head['number']}-0000000000000000", "this is another chain"),
        (f"99999-{head['digits']}", "has no entry 99999"),
    ):
        found = json_of(["records", "verify", "--head", wrong], capsys, EXIT_WITHHELD)
        assert not found["whole"] and said in found["faults"][0]
    assert run(["records", "verify", "--head", "12"]) == EXIT_BAD_INPUT


def test_a_clock_that_stood_in_the_future_can_be_trusted_again(
    data: Path, result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def clock_of_the_next() -> str:
        json_of(["screen", SLIDE, "--record"], capsys)
        return str(json_of(["records", "list"], capsys)["results"][0]["clock"])

    records = RecordsFolder.below(data)
    with Writer(records) as writer:
        writer.connection.execute("DROP TRIGGER result_stays")
        writer.connection.execute("UPDATE result SET made_at_s = made_at_s + 1000000000")
    assert clock_of_the_next() == "unset"
    assert run(["records", "trust-clock", "--by", "mwangi", "--reason", "typed 2057"]) == EXIT_DONE
    assert clock_of_the_next() == "set"
