"""A bundle is held against another: what changes, how far chance goes, and what a person sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.compare import compare, scatter
from edgehemo_laboratory.archive.equipment import ReadingFile
from edgehemo_laboratory.archive.output import Change, CompareOutput
from edgehemo_laboratory.archive.page import compare_page
from edgehemo_laboratory.archive.place import Archive, open_archive
from edgehemo_laboratory.archive.plan import batches_of, next_work
from edgehemo_laboratory.archive.tables import (
    CATALOGUE,
    FIELD_ROWS,
    SAMPLE_ROWS,
    table_bytes,
    table_of,
)
from edgehemo_laboratory.clock import now
from edgehemo_laboratory.commands import archive as command
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.pictures.store import key_of
from tests.support.schemas import validate

OLD, NEW = "a" * 16 + "-0.1.0", "b" * 16 + "-0.1.0"
SAMPLES = 40


def reading(archive: Archive, name: str) -> ReadingFile:
    file = ReadingFile(
        reading=name, begun_at="2026-11-27T10:00:00+00:00", bundle="edgehemo 17",
        bundle_sha256=name[0] * 64, versions={"edgehemo": "0.1.0"}, networks=(),
    )  # fmt: skip
    archive.put_json(layout.reading_key(name), file.model_dump())
    return file


def read(archive: Archive, name: str, values: dict[str, dict[str, Any]]) -> None:
    """A reading's rows, as workers would have written them. values: of each sample."""
    for stage, schema in (("fields", FIELD_ROWS), ("samples", SAMPLE_ROWS)):
        work = next_work(archive, name, stage)  # type: ignore[arg-type]
        assert work is not None
        for batch, rows in batches_of(archive, name, work):
            found: dict[str, dict[str, Any]] = {}
            for row in rows:
                common = {"plan": work.plan, "batch": batch, "status": "read", "tries": 1}
                own = {"accepted": True} if stage == "fields" else values[row["sample"]]
                kept = {key: row[key] for key in schema.names if key in row}
                found[row["item"]] = {**kept, **common, **own}
            data = table_bytes(table_of(list(found.values()), schema))
            archive.store.put_new(
                layout.part_key(name, stage, work.plan, batch),  # type: ignore[arg-type]
                data,
            )


def sample(hgb: float | None, refused: int, grade: str | None, **given: Any) -> dict[str, Any]:
    return {
        "outcome": "reported", "fields": 10, "accepted": 10 - refused, "refused": refused,
        "unreadable": 0, "rbc": 500.0, "wbc": 3.0, "platelet": 30.0, "hgb_index": 0.05,
        "hct_index": 0.2, "rbc_index": 5000.0, "hgb_g_per_l": hgb, "grade": grade,
        "red_types": json.dumps({"normal": 0.9, "ovalocyte": 0.1}),
        "white_types": json.dumps({"neutrophil": 2.0, "uncertain": 1.0}),
        **given,
    }  # fmt: skip


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Two sites with twenty samples each, two a patient, read by two bundles: the new one gives
    5 g/L more in the south, refuses another field of each sample there, and finds a tenth more red
    cells everywhere.
    """
    made = open_archive(str(tmp_path / "archive"), make=True)
    rows, old, new = [], {}, {}
    rng = np.random.default_rng(3)
    for number in range(SAMPLES):
        south = number >= SAMPLES // 2
        name, digest = f"S{number:02d}", f"{number:064x}"
        rows.append(
            {
                "item": digest, "field": digest, "sha256": digest, "page": 0, "name": "f.png",
                "position": 0, "sample_key": f"k{number:03d}", "sample": name,
                "site": "south" if south else "north", "patient": f"P{number // 2}", "at_s": 1,
                "ingest": "1",
            }
        )  # fmt: skip
        hgb = 110.0 + rng.normal(0, 12)
        noise = rng.normal(0, 0.5)
        old[name] = sample(hgb, 1, "mild")
        new[name] = sample(
            hgb + noise + (5.0 if south else 0.0), 2 if south else 1, "none" if south else "mild",
            rbc=550.0 / 9 * (8 if south else 9), wbc=3.0 / 9 * (8 if south else 9),
            platelet=30.0 / 9 * (8 if south else 9),
        )  # fmt: skip
    new["S07"] |= {"outcome": "withheld", "hgb_g_per_l": None, "grade": None}
    new["S30"]["hgb_g_per_l"] += 40.0
    made.store.put_new(f"{layout.CATALOGUE}1.parquet", table_bytes(table_of(rows, CATALOGUE)))
    reading(made, OLD)
    reading(made, NEW)
    read(made, OLD, old)
    read(made, NEW, new)
    return made


def files(archive: Archive) -> tuple[ReadingFile, ReadingFile]:
    from edgehemo_laboratory.archive.equipment import reading_file

    return reading_file(archive, OLD), reading_file(archive, NEW)


def change(seen: CompareOutput, name: str, site: str | None = None) -> Change:
    (group,) = [each for each in seen.groups if each.site == site]
    (found,) = [each for each in group.changes if each.name == name]
    return found


def test_what_changes_is_told_with_how_far_chance_goes(archive: Archive) -> None:
    seen = compare(archive, *files(archive))
    assert (seen.samples, seen.unread) == (SAMPLES, 0)
    assert [(each.site, each.samples, each.patients) for each in seen.groups] == [
        (None, 40, 20),
        ("north", 20, 10),
        ("south", 20, 10),
    ]
    north, south = (change(seen, "hgb_g_per_l", site) for site in ("north", "south"))
    assert north.low is not None and north.high is not None
    assert north.low <= 0.0 <= north.high and north.change == pytest.approx(0, abs=0.5)
    assert south.low is not None and south.high is not None
    # Five, and one sample's forty.
    assert south.change == pytest.approx(7.0, abs=0.6) and south.low > 4.0
    refused = change(seen, "refused_share", "south")
    assert (refused.old, refused.new, refused.change) == (10.0, 20.0, 10.0)
    assert change(seen, "refused_share", "north").change == 0.0
    # A tenth more red cells a field, whatever was refused; the others are as before.
    assert change(seen, "rbc").change == pytest.approx(10.0)
    assert change(seen, "wbc").change == pytest.approx(0.0)
    assert change(seen, "white_types:neutrophil").old == pytest.approx(66.67)
    assert change(seen, "red_types:ovalocyte").new == pytest.approx(10.0)
    # The one that is withheld now counts nowhere where a value is needed of both.
    assert change(seen, "hgb_g_per_l").samples == SAMPLES - 1
    assert {(each.old, each.new): each.samples for each in seen.outcomes} == {
        ("reported", "reported"): 39,
        ("reported", "withheld"): 1,
    }
    assert {(each.old, each.new): each.samples for each in seen.grades} == {
        ("mild", "mild"): 19,
        ("mild", "none"): 20,
        ("mild", None): 1,
    }
    assert seen.movers[0].sample == "S30" and seen.movers[0].pictures == [f"{30:064x}"]
    assert len(seen.movers) == 12
    validate(seen.model_dump())


def test_an_interval_is_of_patients_not_of_samples(archive: Archive) -> None:
    """Samples of one patient that move together make it wider than as many patients."""
    from edgehemo_laboratory.archive import compare as module

    quantity = next(each for each in module.QUANTITIES if each.name == "hgb_g_per_l")
    moved = np.repeat(np.random.default_rng(1).normal(0, 5, 30), 4)  # four samples a patient
    ones, old = np.ones(120), np.full(120, 110.0)
    sums = np.stack([old, ones, old + moved, ones], axis=1)

    def width(patients: Any) -> float:
        (found,) = module._changes([(quantity, sums)], patients, np.random.default_rng(0))
        assert found.low is not None and found.high is not None
        return found.high - found.low

    assert width(np.arange(120) // 4) > 1.6 * width(np.arange(120))
    # The drawing is the same each time.
    assert compare(archive, *files(archive)) == compare(archive, *files(archive))


def test_few_patients_have_no_interval(archive: Archive) -> None:
    from edgehemo_laboratory.archive import compare as module

    rng = np.random.default_rng(0)
    quantity = module.QUANTITIES[1]
    sums = np.array([[1.0, 1.0, 2.0, 1.0]] * 3)
    ((found),) = module._changes([(quantity, sums)], np.arange(3), rng)
    assert (found.change, found.low, found.high) == (1.0, None, None)


def test_the_page_shows_it(archive: Archive, tmp_path: Path) -> None:
    import cv2

    pixels = np.full((30, 40, 3), 200, np.uint8)
    _, coded = cv2.imencode(".png", pixels)
    # The archive's pictures are called by their digests, which these are not: none is shown then.
    archive.store.put_new(key_of(f"{30:064x}"), coded.tobytes())
    old, new = files(archive)
    seen = compare(archive, old, new)
    page = compare_page(archive, seen, scatter(archive, old, new, 100), now())
    for words in (
        "40 samples of 20 patients", "S30", "By site", "north", "no anaemia", "withheld",
        "neutrophil of white cells", "<svg", "Its pictures are not in the archive any more",
    ):  # fmt: skip
        assert words in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_the_command_writes_page_and_json(archive: Archive, tmp_path: Path) -> None:
    out, told = tmp_path / "page.html", tmp_path / "told.json"
    asked = ["compare", "--old", OLD, "--new", "bbbb", "--store", archive.where]
    result = CliRunner().invoke(command, [*asked, "--out", str(out), "--json", str(told)])
    assert result.exit_code == 0, result.output
    assert "haemoglobin" in result.output.lower() and "40 samples are read by both" in result.output
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(told.read_text())["schema"] == "edgehemo.archive-compare/1"


def test_what_cannot_be_compared_is_told(archive: Archive) -> None:
    old, _ = files(archive)
    with pytest.raises(LaboratoryError, match="the same reading"):
        compare(archive, old, old)
    with pytest.raises(LaboratoryError, match="no sample is read by both"):
        compare(archive, old, reading(archive, "c" * 16 + "-0.1.0"))
    result = CliRunner().invoke(
        command, ["compare", "--old", OLD, "--new", "dddd", "--store", archive.where]
    )
    assert "no reading of this bundle" in str(result.exception)
