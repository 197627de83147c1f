"""A laboratory that takes no names looks at what comes, and does not believe what it says of
itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgehemo.interop.outbox import made, message_body, row_of
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo_laboratory.intake.contents import contents_of
from edgehemo_laboratory.intake.names import told_too_much
from tests.support.receivers import receiver, signed_results
from tests.support.screening_fakes import TruthFinder, simulated_frames

FAKES = TruthFinder()
Said = dict[str, Any]


def sent(folder: Path, *, identified: bool) -> Said:
    """What a device's own code makes of a result."""
    lab = receiver(identified=identified)
    with Writer(RecordsFolder.below(folder)) as writer:
        signed_results(writer, [lab], simulated_frames(FAKES, count=1), FAKES, 1)
        row = made(writer, row_of(writer, 1), lab, now_s=0.0)
        said: Said = json.loads(message_body(writer, row))
        return said


@pytest.fixture(scope="module")
def pseudonyms(tmp_path_factory: pytest.TempPathFactory) -> Said:
    return sent(tmp_path_factory.mktemp("kiosk"), identified=False)


def judged(said: Said) -> str | None:
    return told_too_much(contents_of(json.dumps(said).encode(), identity="x", sha256="x"))


def test_what_a_device_makes_without_names_is_taken(pseudonyms: Said) -> None:
    assert judged(pseudonyms) is None


def test_what_a_device_makes_with_names_is_not(tmp_path: Path) -> None:
    assert judged(sent(tmp_path, identified=True)) == "it comes with names and numbers"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("sample", "26-0417", "sample's number"),
        ("operator", "amina", "operator's name"),
        ("site", "Kibera", "site's name"),
        ("device", "kiosk 7", "device's name"),
        ("made_at", "2026-11-20T09:30:00+00:00", "the day"),
        ("person.age_years", 30.5, "exact age"),
        ("person.age_years", 97.0, "exact age"),
        ("person.altitude_m", 1234.0, "exact altitude"),
        ("versions.0.reason", "wrong slide of Mrs N.", "free text"),
        ("versions.0.amendments", {"comment": "call her"}, "free text"),
        ("versions.1.at", "2026-11-20T09:30:00+00:00", "day of a version"),
        ("versions.1.by", "grace", "who signed"),
        ("versions.1.sample", "26-0417", "version's sample"),
        ("record.labels.sample", "26-0417", "sample's name"),
        ("record.provenance.created_at", "2026-11-20T09:30:00+00:00", "the day"),
        ("record.images.0.image", "amina_slide.png", "picture files"),
    ],
)
def test_anything_more_is_found(pseudonyms: Said, path: str, value: Any, words: str) -> None:
    said = json.loads(json.dumps(pseudonyms))
    *above, last = path.split(".")
    place: Any = said
    for key in above:
        place = place[int(key)] if key.isdecimal() else place[key]
    place[last] = value
    found = judged(said)
    assert found is not None and words in found
