"""Fields come into an archive: each once, whole or not at all, the broken ones with the reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehemo.errors import UsageError
from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.ingest import ingest
from edgehemo_laboratory.archive.place import Archive, open_archive
from edgehemo_laboratory.archive.queries import queries
from edgehemo_laboratory.archive.sources import (
    Arrival,
    Given,
    Labels,
    arrivals,
    table_arrivals,
)
from edgehemo_laboratory.errors import LaboratoryError, StorageError
from tests.support.archives import archive_of


def picture(path: Path, seed: int, *, size: tuple[int, int] = (40, 30)) -> Path:
    """A small picture of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def smears(tmp_path: Path) -> Path:
    folder = tmp_path / "smears"
    for sample in (1, 2):
        for field in (1, 2, 10):
            picture(folder / f"S-{sample}" / f"field_{field}.png", 100 * sample + field)
    return folder


def rows(archive: Archive, sql: str) -> list[tuple[object, ...]]:
    with queries(archive) as asked:
        return asked.rows(sql)


def test_folders_are_samples_and_their_pictures_in_the_order_of_a_screening(
    smears: Path, tmp_path: Path
) -> None:
    archive, came = archive_of(tmp_path / "archive", smears, site="north")
    assert (came.pictures, came.new, came.samples, came.broken_count) == (6, 6, 2, 0)
    assert rows(
        archive, "SELECT site, sample, name FROM fields WHERE sample = 'S-1' ORDER BY position"
    ) == [
        ("north", "S-1", "field_1.png"),
        ("north", "S-1", "field_2.png"),
        ("north", "S-1", "field_10.png"),
    ]
    for key in archive.store.keys("pictures/"):
        assert archive.picture(key.rpartition("/")[2]) is not None


def test_a_field_that_comes_again_is_one(smears: Path, tmp_path: Path) -> None:
    archive, _ = archive_of(tmp_path / "archive", smears)
    (smears / "S-1" / "copy.png").write_bytes((smears / "S-1" / "field_1.png").read_bytes())
    _, again = archive_of(tmp_path / "archive", smears)
    assert (again.new, again.known, again.doubled, again.differing, again.part) == (
        0, 6, 1, 0, None,
    )  # fmt: skip
    assert len(archive.table_keys(layout.CATALOGUE)) == 1
    assert rows(archive, "SELECT count(*) FROM fields") == [(6,)]


def test_the_last_word_counts_though_the_clock_stood_still_or_went_back(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, _ = archive_of(tmp_path / "archive", smears)
    at = datetime.now(UTC)
    for number in range(12):
        moment = at - timedelta(hours=number // 4)
        monkeypatch.setattr("edgehemo_laboratory.archive.ingest.now", lambda said=moment: said)
        labels = Labels(sample="", site=f"site-{number}")
        given = Given(labels, None, frozenset())
        ingest(archive, arrivals([smears], given), update=True)
        assert rows(archive, "SELECT DISTINCT site FROM fields") == [(f"site-{number}",)]


def test_what_is_said_of_a_known_field_stands_until_it_is_told_anew(
    smears: Path, tmp_path: Path
) -> None:
    archive, _ = archive_of(tmp_path / "archive", smears, site="north")
    _, other = archive_of(tmp_path / "archive", smears, site="south")
    assert (other.differing, other.updated) == (6, 0)
    assert rows(archive, "SELECT DISTINCT site FROM fields") == [("north",)]
    given = Given(Labels(sample="", site="south", um_per_px=0.2), None, frozenset())
    told = ingest(archive, arrivals([smears], given), update=True)
    assert (told.new, told.differing, told.updated) == (0, 0, 6)
    # A field with another scale is another thing to be read.
    assert rows(archive, "SELECT DISTINCT site, um_per_px, length(item) FROM fields") == [
        ("south", 0.2, 77)
    ]
    assert rows(archive, "SELECT count(*) FROM fields") == [(6,)]


def test_broken_pictures_are_set_aside_with_the_reason(smears: Path, tmp_path: Path) -> None:
    whole = smears / "S-1" / "field_1.png"
    whole.write_bytes(whole.read_bytes()[:-300])
    (smears / "S-1" / "field_3.png").write_bytes(b"")
    (smears / "S-2" / "film.avi").write_bytes(b"RIFF\x00\x00\x00\x00AVI LIST")
    archive, came = archive_of(tmp_path / "archive", smears)
    assert (came.new, came.broken_count) == (5, 2)
    assert {(each.name, each.sample) for each in came.broken} == {
        ("field_1.png", "S-1"),
        ("field_3.png", "S-1"),
    }
    assert all(each.error for each in came.broken)
    assert came.left_out == ["film.avi: is a video, not a picture; give it by itself"]
    assert rows(archive, "SELECT count(*) FROM broken") == [(2,)]
    _, again = archive_of(tmp_path / "archive", smears)
    assert rows(archive, "SELECT count(*) FROM broken") == [(2,)] and again.part is None


def test_pages_of_one_file_are_fields(tmp_path: Path) -> None:
    pages = [
        np.random.default_rng(page).integers(0, 255, (30, 40, 3), np.uint8) for page in range(2)
    ]
    (tmp_path / "in").mkdir()
    cv2.imwritemulti(str(tmp_path / "in" / "two.tif"), pages)
    archive, came = archive_of(tmp_path / "archive", tmp_path / "in")
    assert came.new == 2
    assert rows(archive, "SELECT name, page FROM fields ORDER BY page") == [
        ("two.tif#page=1", 0),
        ("two.tif#page=2", 1),
    ]
    assert rows(archive, "SELECT count(DISTINCT sha256), count(DISTINCT item) FROM fields") == [
        (1, 2)
    ]


def test_a_table_says_whose_each_picture_is(smears: Path, tmp_path: Path) -> None:
    table = smears / "fields.csv"
    table.write_text(
        "file,sample,site,patient,um_per_px,age_years,sex,smoker,hgb_g_per_l\n"
        "S-1/field_1.png,A,north,P-1,0.2,30,female,no,121\n"
        "S-1/field_2.png,A,north,P-1,0.2,30,female,no,121\n"
        "S-2/field_1.png,B,,,,,,,\n"
    )
    given = Given(Labels(sample="", site="elsewhere"), None, frozenset())
    archive = open_archive(str(tmp_path / "archive"), make=True)
    came = ingest(archive, table_arrivals(table, given, lambda _: ""))
    assert came.new == 3
    assert rows(
        archive,
        "SELECT sample, site, patient, um_per_px, age_years, sex, smoker, hgb_g_per_l, position "
        "FROM fields ORDER BY sample, position",
    ) == [
        ("A", "north", "P-1", 0.2, 30.0, "female", False, 121.0, 0),
        ("A", "north", "P-1", 0.2, 30.0, "female", False, 121.0, 1),
        ("B", "elsewhere", None, None, None, None, None, None, 0),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("picture,sample\nx.png,A\n", "no column is called picture"),
        ("sample\nA\n", "lacks the column file"),
        ("file,sample\nnone.png,A\n", "line 2: there is no picture 'none.png'"),
        ("file,sample\nS-1/field_1.png,\n", "line 2: no sample is named"),
        ("file,sample,um_per_px\nS-1/field_1.png,A,wide\n", "um_per_px 'wide' is no number"),
        ("file,sample,um_per_px\nS-1/field_1.png,A,-1\n", "must be greater than 0"),
        ("file,sample,age_years\nS-1/field_1.png,A,30\n", "sex is needed"),
        ("file,sample,smoker\nS-1/field_1.png,A,at times\n", "neither yes nor no"),
    ],
)
def test_a_wrong_table_is_told_with_its_line(text: str, why: str, smears: Path) -> None:
    table = smears / "fields.csv"
    table.write_text(text)
    with pytest.raises(UsageError, match=why):
        table_arrivals(table, Given(Labels(sample=""), None, frozenset()), lambda _: "")


def test_an_ingest_that_fails_leaves_no_part_and_is_run_again(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = open_archive(str(tmp_path / "archive"), make=True)
    given = Given(Labels(sample=""), None, frozenset())
    put, count = archive.store.put_new, [0]

    def full(key: str, data: bytes) -> bool:
        count[0] += 1
        if count[0] > 3:
            raise StorageError("there is no space left")
        return put(key, data)

    monkeypatch.setattr(archive.store, "put_new", full)
    with pytest.raises(StorageError):
        ingest(archive, arrivals([smears], given))
    monkeypatch.undo()
    assert archive.table_keys(layout.CATALOGUE) == []
    assert ingest(archive, arrivals([smears], given)).new == 6


def test_an_exported_result_comes_with_what_it_says_and_its_named_cells(tmp_path: Path) -> None:
    folder = tmp_path / "exports" / "r-1"
    picture(folder / "pictures" / "001.png", 5)
    cell = {"kind": "wbc", "x0": 10, "y0": 10, "x1": 20, "y1": 30}
    entry = {
        "id": "r-1", "state": "corrected", "sample": "S-aa", "site": "SITE-bb", "device": "D-cc",
        "person": {"age_years": 30.0, "sex": "female", "altitude_m": 0.0},
        "profile_sha256": "ab" * 32, "simulated": False, "circumstances": {"um_per_px": 0.2},
        "images": [{"image": "001", "sha256": "x"}, {"image": "002", "sha256": None}],
        "record": {"images": [{"cells": [cell]}, {"error": "gone"}]},
        "versions": [{"by": "O-dd", "amendments": {"cells": [
            {"field": 0, "cell": 0, "type": "monocyte"}]}}],
    }  # fmt: skip
    (folder / "result.json").write_text("{}")
    (folder / "stored.json").write_text(json.dumps({"results": [entry]}))
    archive, came = archive_of(tmp_path / "archive", tmp_path / "exports")
    assert (came.new, came.named_cells) == (1, 1)
    assert "profile abababababab, which is not given" in came.left_out[0]
    assert came.left_out[1] == "r-1/002: its picture is not in the export"
    assert rows(
        archive, "SELECT sample, site, kiosk, um_per_px, age_years, sex, profile FROM fields"
    ) == [("S-aa", "SITE-bb", "D-cc", 0.2, 30.0, "female", None)]
    assert rows(archive, 'SELECT x, y, kind, "class", "by" FROM named') == [
        (15.0, 20.0, "wbc", "monocyte", "O-dd")
    ]
    entry["state"] = "withdrawn"
    (folder / "stored.json").write_text(json.dumps({"results": [entry]}))
    _, gone = archive_of(tmp_path / "other", tmp_path / "exports")
    assert gone.pictures == 0 and "was withdrawn" in gone.left_out[0]


def test_a_picture_without_its_bytes_is_told(tmp_path: Path) -> None:
    def gone() -> bytes:
        raise FileNotFoundError(2, "No such file or directory")

    archive = open_archive(str(tmp_path / "archive"), make=True)
    came = ingest(archive, [Arrival(gone, "a.png", 0, Labels(sample="A"), "a folder")])
    assert came.broken[0].error == "cannot be opened (No such file or directory)"
    assert came.part is None


def test_what_is_no_archive_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(LaboratoryError, match="there is no archive"):
        open_archive(str(tmp_path))
    (tmp_path / "archive.json").write_text('{"schema": "edgehemo.archive/2"}')
    with pytest.raises(LaboratoryError, match="is not one that this version reads"):
        open_archive(str(tmp_path))
    with pytest.raises(LaboratoryError, match="name a folder, or"):
        open_archive("ftp://somewhere/x")
