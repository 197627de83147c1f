"""Training sets by query: chosen by a condition, patients together, the same each time, and taken
by a training.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgehemo.errors import UsageError
from edgehemo.images.reading import images_in
from edgehemo.records.exports.dataset import read_dataset
from edgehemo.report.pictures import png
from edgehemo.simulation.field import simulate_field
from edgehemo.simulation.panels import draw_panel
from edgehemo.simulation.parameters import SmearParameters
from edgehemo_laboratory.archive.dataset import Choice, group_of, write_dataset
from edgehemo_laboratory.archive.equipment import reading_files
from edgehemo_laboratory.archive.place import Archive, open_archive
from edgehemo_laboratory.archive.queries import queries
from edgehemo_laboratory.commands import archive as command
from tests.support.archives import job_of, read_here
from tests.support.schemas import validate

SLIDES = 6
# Many cells of other shapes and many white ones: each field teaches much.
SMEAR = SmearParameters(
    poikilocyte_fraction=0.55, crowding=0.0, clumping=0.0, white_cell_factor=20.0
)
# Of these the simulated microscope draws shapes that the morphology model knows as well.
_PIXELS = (640, 480)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides with a table of their fields and one of their cells, as if people had named them."""
    folder = tmp_path_factory.mktemp("drawn")
    fields, cells = [], []
    for number in range(SLIDES):
        rng = np.random.default_rng([5, number])
        panel = draw_panel(rng)
        made = simulate_field(
            panel, rng=rng, width_px=_PIXELS[0], height_px=_PIXELS[1], um_per_px=0.2, smear=SMEAR
        )
        name = f"S-{number}.png"
        (folder / name).write_bytes(png(made.frame.pixels))
        fields.append(
            {
                "file": name, "sample": f"S-{number}", "site": "north" if number < 4 else "south",
                "patient": f"P-{number // 2}", "licence": "for tests", "simulated": "yes",
                "um_per_px": 0.2, "hgb_g_per_l": f"{panel.hgb_g_per_l:.1f}" if number % 2 else "",
            }
        )  # fmt: skip
        for cell in made.truth.cells:
            inside = cell.x0 > 0 and cell.y0 > 0 and cell.x1 < _PIXELS[0] and cell.y1 < _PIXELS[1]
            if inside and not cell.overlapped and cell.kind == "rbc":
                shape = "normal" if cell.shape in ("rbc", "normal") else cell.shape
                cells.append(
                    {
                        "file": name, "x": (cell.x0 + cell.x1) / 2, "y": (cell.y0 + cell.y1) / 2,
                        "class": shape, "kind": "rbc", "by": "O-1",
                    }
                )  # fmt: skip
    for called, rows in (("fields.csv", fields), ("cells.csv", cells)):
        with (folder / called).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


def run(*given: str) -> Any:
    return CliRunner().invoke(command, list(given), catch_exceptions=False)


@pytest.fixture(scope="module")
def archive(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    where = str(tmp_path_factory.mktemp("archive"))
    given = ["--table", str(drawn / "fields.csv"), "--cells", str(drawn / "cells.csv")]
    assert run("ingest", *given, "--store", where).exit_code == 0
    archive = open_archive(where)
    _, job = job_of(archive)
    read_here(archive, job, batch_fields=2)
    return archive


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_named_cells_become_a_set_the_same_each_time(archive: Archive, tmp_path: Path) -> None:
    out, told = tmp_path / "set", tmp_path / "told.json"
    done = run(
        "dataset", "--out", str(out), "--site", "north", "--where", "named_cells > 0",
        "--store", archive.where, "--json", str(told),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    output = json.loads(told.read_text())
    validate(output)
    assert (output["fields"], output["groups"], output["samples_measured"]) == (4, 2, 2)
    assert output["cells"] > 100 and output["simulated"] and output["lost"] == 0
    says = read_dataset(out)
    assert (says.licence, says.groups, says.pixels, says.layout) == (
        "for tests", "table", "canonical", "folders",
    )  # fmt: skip
    with (out / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == output["cells"]
    assert all((out / row["file"]).is_file() for row in rows)
    # Both samples of a patient are one group, which bears no name.
    assert len({row["group"] for row in rows}) == 2
    assert not any("P-" in row["group"] or "S-" in row["group"] for row in rows)
    with (out / "provenance.csv").open(newline="") as file:
        assert {row["licence"] for row in csv.DictReader(file)} == {"for tests"}
    with (out / "samples.csv").open(newline="") as file:
        measured = list(csv.DictReader(file))
    assert all(len(images_in([out / "fields" / row["sample"]])) == 1 for row in measured)
    assert len(measured) == 2
    again = tmp_path / "again"
    choice = Choice("from_archive", "(named_cells > 0) AND site IN ('north')")
    write_dataset(archive, choice, again)
    assert files_of(again) == files_of(out)


def test_the_models_own_names_are_for_people_to_check(archive: Archive, tmp_path: Path) -> None:
    out = tmp_path / "set"
    (file,) = reading_files(archive)
    done = run(
        "dataset", "--out", str(out), "--labels", "model", "--bundle", file.bundle_sha256[:12],
        "--where", "read_accepted AND sample_outcome = 'reported'", "--most", "3",
        "--store", archive.where,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "have people check them" in done.output
    document = json.loads((out / "annotations.json").read_text())
    assert 1 <= len(document["images"]) <= 3
    assert len(document["annotations"]) > 20
    assert all((out / "images" / image["file_name"]).is_file() for image in document["images"])
    says = tomllib.loads((out / "dataset.toml").read_text())
    assert (says["layout"], says["groups"], says["pixels"]) == ("coco", "folder", "photograph")
    assert "nobody has checked them" in (out / "dataset.toml").read_text()


def test_where_two_bundles_disagree_comes_first(archive: Archive) -> None:
    from edgehemo_laboratory.archive import dataset as module

    (file,) = reading_files(archive)
    chosen, _ = module._chosen(archive, Choice("x", reading=file, other=file, most=2))
    assert len(chosen) == 2 and {row["disagreement"] for row in chosen} <= {0.0, None}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"where": "site = 'nowhere'"}, "no field is chosen"),
        ({"where": "colour = 1"}, "is no condition: .*It may ask for field, sha256"),
        ({"where": "1 = 1) UNION SELECT (1"}, "is no condition"),
        ({"labels": "model"}, "name it with --bundle"),
    ],
)
def test_what_cannot_be_made_is_told(
    given: dict[str, Any], why: str, archive: Archive, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=why):
        write_dataset(archive, Choice("x", **given), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_condition_reads_no_file_of_others(archive: Archive, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    where = f"1 IN (SELECT a FROM read_csv('{secret}'))"
    with pytest.raises(UsageError, match="is no condition"):
        write_dataset(archive, Choice("x", where), tmp_path / "set")


def test_fields_that_nobody_named_teach_nothing(drawn: Path, tmp_path: Path) -> None:
    where = str(tmp_path / "archive")
    assert run("ingest", str(drawn / "S-0.png"), "--store", where).exit_code == 0
    with pytest.raises(UsageError, match="nobody named a cell"):
        write_dataset(open_archive(where), Choice("x"), tmp_path / "set")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(UsageError, match="holds something already"):
        write_dataset(open_archive(where), Choice("x"), tmp_path / "full")


def test_groups_are_patients_else_samples() -> None:
    one = {"patient": "P", "sample_key": "a"}
    assert group_of(one) == group_of(one | {"sample_key": "b"})
    assert group_of({"patient": None, "sample_key": "a"}) != group_of(
        {"patient": None, "sample_key": "b"}
    )


def test_cells_of_a_picture_that_does_not_come_are_told(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not among the pictures"):
        run(
            "ingest", str(drawn / "S-0.png"), "--cells", str(drawn / "cells.csv"),
            "--store", str(tmp_path / "archive"),
        )  # fmt: skip


@pytest.mark.host
def test_a_training_of_two_processes_takes_the_set(archive: Archive, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason='needs pip install ".[host]"')
    from edgehemo_export.checkpoints import load_checkpoint

    out = tmp_path / "set"
    where = "named_cells > 0"
    write_dataset(archive, Choice("from_archive", where), out)
    command_line = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "edgehemo", "train", "morphology", "--data", str(out), "--init", "shipped",
        "--out", str(tmp_path / "ours.safetensors"),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command_line, env=environment, capture_output=True, text=True, timeout=500, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    record = load_checkpoint(tmp_path / "ours.safetensors").record
    assert record["learnt"] == "head"
    assert "own cells, SIMULATED, for tests" in json.dumps(record, default=str)


def test_the_newest_word_on_a_cell_counts(drawn: Path, tmp_path: Path) -> None:
    where = str(tmp_path / "archive")
    table = tmp_path / "cells.csv"
    for name in ("normal", "target_cell"):
        table.write_text(f"file,x,y,class\n{drawn / 'S-0.png'},100,100,{name}\n")
        run("ingest", str(drawn / "S-0.png"), "--cells", str(table), "--store", where)
    archive = open_archive(where)
    with queries(archive) as asked:
        # The clock's seconds may be the same: then the later ingest's name is the greater.
        assert asked.one("SELECT count(*) FROM named") == (2,)
    write_dataset(archive, Choice("x"), tmp_path / "set")
    assert len(list((tmp_path / "set" / "cells").rglob("*.png"))) == 1
