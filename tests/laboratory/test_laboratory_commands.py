"""`edgehemo laboratory`: what it says, and what it refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgehemo.cli import run
from tests.support.schemas import validate


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "lab"
    monkeypatch.setenv("EDGEHEMO_LABORATORY", str(folder))
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(["laboratory", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.err.count("\n") == (1 if code == 2 else 0), captured.err
    return captured.out or captured.err


def test_a_kiosk_is_added_listed_changed_and_revoked(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no kiosk yet" in said(capsys, "kiosks")
    told = json.loads(said(capsys, "enrol", "clinic-7", "--site", "north", "--json", "-"))
    validate(told)
    assert len(told["code"].split("-")) == 8 and told["addresses"][0].startswith("https://")
    assert "waiting, never heard" in said(capsys, "kiosks")
    assert "names and numbers, pictures all" in said(
        capsys, "allow", "clinic-7", "--identified", "--pictures", "all", "--site", "south"
    )
    assert "what is to change" in said(capsys, "allow", "clinic-7", code=2)
    said(capsys, "revoke", "clinic-7", "--reason", "stolen")
    found = json.loads(said(capsys, "kiosks", "--json", "-"))
    validate(found)
    (kiosk,) = found["kiosks"]
    assert (kiosk["standing"], kiosk["why"], kiosk["site"]) == ("revoked", "stolen", "south")
    assert "no kiosk 'clinic-8'" in said(capsys, "revoke", "clinic-8", "--reason", "x", code=2)
    assert "no space" in said(capsys, "enrol", "a b", "--site", "north", code=2)
    output = json.loads(said(capsys, "verify", "--json", "-"))
    validate(output)
    assert output["faults"] == [] and output["entries"] >= 4
    assert (lab / "laboratory.sqlite3").stat().st_mode & 0o777 == 0o600
    assert (lab / "certificates" / "server.pem").stat().st_mode & 0o777 == 0o600


def test_people_are_added_listed_reset_and_removed(
    lab: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    for text, words in (("short", "12 to 200"), ("aaaaaaaaaaaaaaaa", "guessed first")):
        secret.write_text(f"{text}\n")
        add = ("people", "add", "Grace", "--passphrase-file", str(secret))
        assert words in said(capsys, *add, code=2)
    secret.write_text("correct horse battery\n")
    said(capsys, *add, "--role", "supervisor")
    assert "known already" in said(capsys, *add, code=2)
    said(capsys, "people", "reset", "Grace", "--passphrase-file", str(secret))
    said(capsys, "people", "remove", "Grace")
    assert "nobody is called Grace" in said(capsys, "people", "remove", "Grace", code=2)
    output = json.loads(said(capsys, "people", "list", "--json", "-"))
    validate(output)
    assert [(each["name"], each["role"]) for each in output["people"]] == [("Grace", "supervisor")]
    assert output["people"][0]["removed_at"]
    assert b"correct horse" not in (lab / "laboratory.sqlite3").read_bytes()


def test_a_certificate_is_prepared_and_used(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = said(capsys, "certificate").split()[2]
    assert "no certificate is prepared" in said(capsys, "certificate", "--use", code=2)
    coming = said(capsys, "certificate", "--prepare", "--name", "lab.example").split()[1]
    assert coming != first
    assert "prepared already" in said(capsys, "certificate", "--prepare", code=2)
    said(capsys, "certificate", "--use")
    assert said(capsys, "certificate").strip() == f"in use: {coming} for lab.example"
    assert "goes with --prepare" in said(capsys, "certificate", "--name", "x", code=2)
    assert "give --prepare or --use" in said(capsys, "certificate", "--prepare", "--use", code=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = 8443", "schema: is missing"),
        ('schema = "edgehemo.laboratory/1"\nports = 1', "ports: is not a known key"),
        ("port =", "is not valid TOML"),
        ('schema = "edgehemo.laboratory/1"\nstorage = "mysql://x"', "mysql:// is no storage"),
    ],
)
def test_wrong_settings_are_one_line(
    lab: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    lab.mkdir()
    (lab / "laboratory.toml").write_text(text)
    assert words in said(capsys, "kiosks", code=2)


def test_pictures_of_what_is_not_there_are_not_asked_for(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no result" in said(capsys, "pictures", "4k7q-f3m2-x9ab-c0de", code=2)
    assert not (lab / "pictures").exists()
