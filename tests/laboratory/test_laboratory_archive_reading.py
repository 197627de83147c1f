"""What an archive reads is what `edgehemo screen` reads; what ends a reader is set aside alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgehemo.api import screen
from edgehemo.images.reading import images_in
from edgehemo.records.replay import NOT_COMPARED, differences
from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.apart import Reader, ReaderBrokenError
from edgehemo_laboratory.archive.equipment import keep_profile, reading_file
from edgehemo_laboratory.archive.place import open_archive
from edgehemo_laboratory.archive.queries import queries
from edgehemo_laboratory.archive.run import reread
from edgehemo_laboratory.archive.status import reading_entry
from edgehemo_laboratory.errors import LaboratoryError
from tests.support.archives import (
    POISON_FILE,
    POISONED_READER,
    archive_of,
    draw_slide,
    job_of,
    no_cluster,
    read_here,
    records_of,
)

PROFILE = Path(__file__).parents[2] / "edgehemo" / "data" / "simulated-profile.json"
# What an archive calls otherwise than a screening: whose it is, and by whom it was drawn.
_OTHERWISE = NOT_COMPARED | {"labels", "simulated", "looked_again"}


def compared(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in _OTHERWISE}


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    draw_slide(folder / "S-1", 1, hgb=80)
    draw_slide(folder / "S-2", 2, bad=0, hgb=130)
    return folder


@pytest.mark.parametrize("profile", [None, PROFILE])
def test_a_sample_is_as_screen_reads_it(profile: Path | None, slides: Path, tmp_path: Path) -> None:
    where = str(tmp_path / "archive")
    profiles = [keep_profile(open_archive(where, make=True), profile)[0]] if profile else []
    archive, _ = archive_of(where, slides, profiles=profiles)
    file, job = job_of(archive)
    read_here(archive, job, batch_fields=3)
    found = records_of(archive, file.reading)
    assert set(found) == {"S-1", "S-2"}
    for name, record in found.items():
        pictures = [str(path) for path in images_in([slides / name])]
        # The demonstration's profile is for the simulated microscope, not for its pictures' files.
        wanted = screen(pictures).record if profile is None else _screened(pictures, profile)
        counted = [0]
        assert list(differences(compared(wanted), compared(record), "", counted)) == []
        assert counted[0] > 1000
    if profile is not None:
        assert found["S-2"]["sample"]["hgb_g_per_l"]["value"] > 100
    with queries(archive) as asked:
        entry = reading_entry(asked, file)
    assert (entry.fields, entry.read, entry.waiting, entry.twice) == (8, 8, 0, 0)
    assert (entry.samples, entry.samples_read) == (2, 2)
    # Nothing is left: a run starts no worker.
    assert reread(archive, file, job, no_cluster).done


def _screened(pictures: list[str], profile: Path) -> dict[str, Any]:
    """As `screen` does, without its word that a drawn profile is for drawn pictures alone."""
    from edgehemo.bundle.bundle import load_bundle
    from edgehemo.device.equipment import open_equipment
    from edgehemo.images.reading import read_frame
    from edgehemo.report.result import ScreeningResult
    from edgehemo.screening.provenance import provenance_of
    from edgehemo.screening.sample import Screening, screen_frames
    from edgehemo_laboratory.clock import now

    equipment = open_equipment(None, profile)
    screening = Screening(equipment.reader(), bundle_sha256=equipment.bundle.digest)
    reading = screen_frames((read_frame(Path(name)) for name in pictures), screening)
    made = provenance_of(
        load_bundle(None), equipment.profile, "p", um_per_px=None, simulated=True, now=now()
    )
    return ScreeningResult(reading, made).record


def test_a_field_that_came_later_is_read_and_its_sample_anew(slides: Path, tmp_path: Path) -> None:
    part = tmp_path / "S-2"
    part.mkdir()
    pictures = images_in([slides / "S-2"])
    for path in pictures[:3]:
        (part / path.name).write_bytes(path.read_bytes())
    archive, _ = archive_of(tmp_path / "archive", part)
    file, job = job_of(archive)
    read_here(archive, job)
    assert len(records_of(archive, file.reading)["S-2"]["images"]) == 3
    (part / pictures[3].name).write_bytes(pictures[3].read_bytes())
    archive, came = archive_of(tmp_path / "archive", part)
    assert (came.new, came.known) == (1, 3)
    read_here(archive, job)
    assert len(records_of(archive, file.reading)["S-2"]["images"]) == 4
    with queries(archive) as asked:
        entry = reading_entry(asked, file)
        (parts,) = asked.one("SELECT count(*) FROM fields_parts")
        (now,) = asked.one("SELECT fields FROM samples_now")
    assert (entry.fields, entry.read, parts, now, entry.samples) == (4, 4, 4, 4, 1)


def test_what_ends_its_reader_is_set_aside_and_its_neighbours_are_read(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _ = archive_of(tmp_path / "archive", slides)
    with queries(archive) as asked:
        rows = asked.rows("SELECT sha256, name FROM fields WHERE sample = 'S-2' ORDER BY position")
    crash, hang, fail, once = (str(row[0]) for row in rows)
    poison = tmp_path / "poison.json"
    poison.write_text(json.dumps({crash: "crash", hang: "hang", fail: "fail", once: "once"}))
    monkeypatch.setenv(POISON_FILE, str(poison))
    file, job = job_of(archive, limit_s=8.0, module=POISONED_READER)
    read_here(archive, job, batch_fields=8)
    with queries(archive) as asked:
        entry = reading_entry(asked, file)
        tries = {row[0]: row[1] for row in asked.rows("SELECT field, tries FROM fields_rows")}
    assert (entry.read, entry.set_aside, entry.waiting, entry.twice) == (5, 3, 0, 0)
    kinds = {each.item: (each.kind, each.error) for each in entry.aside}
    assert kinds[crash] == ("crash", "the reader was ended by SIGSEGV")
    assert kinds[hang] == ("time limit", "it took longer than 8 s")
    assert kinds[fail] == ("error", "ZeroDivisionError: a fault of the software")
    assert [tries[digest] for digest in (crash, hang, fail, once)] == [2, 2, 2, 2]
    # The sample is read from the one that is left; the others are unreadable in it, with why.
    images = records_of(archive, file.reading)["S-2"]["images"]
    assert [image.get("error", "")[:33] for image in images] == [
        "field_1.png: set aside, crash: th",
        "field_2.png: set aside, time limi",
        "field_3.png: set aside, error: Ze",
        "",
    ]
    # Read once more, by a reader that is not poisoned, it is whole.
    poison.write_text("{}")
    from edgehemo_laboratory.archive.parts import read_batch
    from edgehemo_laboratory.archive.plan import batches_of, next_work

    for stage in layout.STAGES:
        work = next_work(archive, file.reading, stage, again_upto=1)
        assert work is not None
        for batch, items in batches_of(archive, file.reading, work):
            read_batch(job, stage, work.plan, batch, items)
        assert next_work(archive, file.reading, stage, again_upto=1) is None
    with queries(archive) as asked:
        entry = reading_entry(asked, file)
    assert (entry.read, entry.set_aside, entry.samples_read, entry.twice) == (8, 0, 2, 0)
    assert all("error" not in image for image in records_of(archive, file.reading)["S-2"]["images"])


def test_a_picture_that_is_gone_is_set_aside(slides: Path, tmp_path: Path) -> None:
    archive, _ = archive_of(tmp_path / "archive", slides / "S-1")
    file, job = job_of(archive)
    with queries(archive) as asked:
        (digest,) = asked.one("SELECT sha256 FROM fields WHERE position = 1")
    picture = tmp_path / "archive" / "pictures" / digest[:2] / digest
    picture.write_bytes(picture.read_bytes()[:-10])
    read_here(archive, job)
    with queries(archive) as asked:
        entry = reading_entry(asked, file)
    assert [(each.kind, each.tries) for each in entry.aside] == [("missing", 2)]
    assert entry.read == 3


def test_a_reader_without_its_bundle_reads_nothing(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _ = archive_of(tmp_path / "archive", slides / "S-1")
    _, job = job_of(archive)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    (bundle,) = (tmp_path / "archive" / "bundles").iterdir()
    bundle.unlink()
    reader = Reader(job.reader)
    with pytest.raises(ReaderBrokenError, match="holds no bundle"):
        reader.ask("field", {})
    reader.close()


def test_a_reading_is_not_gone_on_with_by_other_versions(slides: Path, tmp_path: Path) -> None:
    archive, _ = archive_of(tmp_path / "archive", slides / "S-1")
    file, _ = job_of(archive)
    key = layout.reading_key(file.reading)
    path = tmp_path / "archive" / key
    told = json.loads(path.read_text())
    told["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(told))
    with pytest.raises(LaboratoryError, match=r"begun with other versions \(numpy .* of 1.0\)"):
        job_of(archive)
    assert reading_file(archive, file.reading).versions["numpy"] == "1.0"
