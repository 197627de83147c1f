"""What is said in English elsewhere: known sentences are put into words, values are left alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgehemo.device.doctor import examine
from edgehemo.kiosk.told_sentences import SENTENCES, in_words
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.verifying import verify
from edgehemo.words.language import Words, wanted_texts
from tests.support.supervised import measured

FRENCH = Words("fr")


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language that writes each sentence in capitals, and leaves what stands in its places."""

    def upper(_: Words, text: str) -> str:
        parts = re.split(r"(\{\w+\})", text)
        return "".join(part if part.startswith("{") else part.upper() for part in parts)

    monkeypatch.setattr(Words, "known", upper)


@pytest.mark.usefixtures("loud")
def test_a_known_sentence_is_told_and_another_is_left() -> None:
    said = "result K-17: version 2 is not there any more"
    assert in_words(FRENCH, said) == "RESULT K-17: VERSION 2 IS NOT THERE ANY MORE"
    assert in_words(FRENCH, "something else") == "something else"
    assert in_words(Words(), said) == said


@pytest.mark.usefixtures("loud")
def test_a_sentence_within_another_is_told_too() -> None:
    said = "12 results, chain 40-ab; damaged and set aside: records.damaged-1"
    told = "12 RESULTS, CHAIN 40-ab; DAMAGED AND SET ASIDE: records.damaged-1"
    assert in_words(FRENCH, said) == told


@pytest.mark.usefixtures("loud")
def test_what_the_device_check_finds_here_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "device.toml"
    device.write_text(
        'schema = "edgehemo.device/1"\nname = "bench"\nboard = "workstation"\n'
        f"[paths]\ndata = '{tmp_path / 'data'}'\n"
    )
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device))
    found = {each.name: in_words(FRENCH, each.detail) for each in examine().findings}
    assert "FROM" in found["device"]
    assert "COMES WITH EDGEHEMO" in found["bundle"]
    assert "GB FREE FOR" in found["disk"]
    assert "MB AVAILABLE" in found["memory"]
    assert found["records"] == "NOTHING IS STORED YET"
    assert found["receivers"].isupper()


@pytest.mark.usefixtures("loud")
def test_what_is_wrong_with_the_records_is_known(tmp_path: Path) -> None:
    with Writer(RecordsFolder(tmp_path)) as writer:
        measured(writer, "26-0001", 98.0)
        for (name,) in writer.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'"):
            writer.connection.execute(f"DROP TRIGGER {name}")
        writer.connection.execute("UPDATE result SET site = 'elsewhere'")
        writer.connection.execute("UPDATE version SET by = 'somebody'")
        writer.connection.execute("UPDATE audit SET actor = 'somebody' WHERE number = 2")
        for (sha256,) in writer.rows("SELECT sha256 FROM content"):
            writer.folder.contents.place(sha256).unlink()
        faults = verify(writer).faults
        told = [in_words(FRENCH, each) for each in faults]
    assert len(faults) >= 4
    assert not [each for each, said in zip(faults, told, strict=True) if each == said]


def test_every_sentence_is_among_the_texts_that_are_translated() -> None:
    assert set(SENTENCES) <= set(wanted_texts())
    assert len(set(SENTENCES)) == len(SENTENCES)
