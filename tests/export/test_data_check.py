"""`edgehemo data check`: each kind of finding on a folder made for it, none on a sound one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner, Result

from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo_export.commands.data import data
from edgehemo_export.data.checking.findings import KINDS, Code
from edgehemo_export.data.manifest import build_manifest
from edgehemo_export.data.sets import chula_rbc12
from edgehemo_export.data.splits import hashed_part, is_recorded, part_of
from tests.support.published_sets import VOC, jpeg

Write = Callable[..., Path]
NAMED = ("normal", "teardrop")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(data, ["check", *map(str, arguments)], standalone_mode=False)


def findings(root: Path, *more: str | Path) -> tuple[dict[str, list[dict[str, Any]]], Result]:
    """What was found, by code."""
    result = run(root, *more, "--json", "-")
    assert result.exception is None, result.exception
    found: dict[str, list[dict[str, Any]]] = {}
    for item in json.loads(result.stdout)["findings"]:
        found.setdefault(item["code"], []).append(item)
    return found, result


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A data root of single cells, 20 of each of two classes, all different."""
    for number in range(20):
        put(tmp_path / "pbc" / "basophil" / f"BA_{number * 200}.jpg", jpeg(number))
        put(tmp_path / "pbc" / "monocyte" / f"MO_{number * 200}.jpg", jpeg(100 + number))
    return tmp_path


def test_every_kind_says_what_to_do() -> None:
    assert set(KINDS) == set(get_args(Code))
    assert all(kind.action.endswith(".") for kind in KINDS.values())


def test_a_sound_folder_has_nothing_to_be_found(cells: Path) -> None:
    found, result = findings(cells)
    assert found == {} and result.return_value == 0
    told = json.loads(result.stdout)
    assert told["folder"] == str(cells) and told["faults"] == 0
    assert told["sets"][0]["classes"] == {"basophil": 20, "monocyte": 20}
    assert run(cells).output.rstrip().endswith("nothing was found")


def test_the_folder_of_a_set_is_checked_alone(cells: Path) -> None:
    put(cells / "lmu" / "MYO" / "MYO_0001.tiff", b"broken")
    found, result = findings(cells / "pbc")
    assert found == {} and json.loads(result.stdout)["folder"] == str(cells)
    assert set(findings(cells, "--set", "pbc")[0]) == set()
    assert "picture_broken" in findings(cells)[0]


def test_broken_pictures_are_named_and_end_with_two(cells: Path) -> None:
    whole = jpeg(7)
    put(cells / "pbc" / "basophil" / "BA_9000.jpg", whole[: len(whole) // 2])
    put(cells / "pbc" / "basophil" / "BA_9200.jpg", b"")
    found, result = findings(cells)
    assert result.return_value == 2
    assert [item["files"] for item in found["picture_broken"]] == [
        [["pbc/basophil/BA_9000.jpg"]],
        [["pbc/basophil/BA_9200.jpg"]],
    ]
    assert "cut short" in found["picture_broken"][0]["says"]


def test_where_all_is_broken_that_is_told(tmp_path: Path) -> None:
    put(tmp_path / "pbc" / "basophil" / "BA_1.jpg", b"nothing")
    found, result = findings(tmp_path)
    assert list(found) == ["picture_broken"] and result.return_value == 2


def test_a_broken_label_hides_no_other_set(cells: Path) -> None:
    put(cells / "chula_rbc12" / "images" / "1.jpg", jpeg(50))
    put(cells / "chula_rbc12" / "labels" / "1.txt", "10 20 zero\n")
    put(cells / "bccd" / "images" / "BloodImage_00001.jpg", jpeg(51))
    put(cells / "bccd" / "boxes" / "BloodImage_00001.xml", "<annotation><object>")
    found, result = findings(cells)
    assert result.return_value == 2
    says = [item["says"] for item in found["labels_broken"]]
    assert any("BloodImage_00001.xml" in said for said in says)
    assert any("1.txt line 1" in said for said in says)
    assert [row["name"] for row in json.loads(result.stdout)["sets"]] == ["pbc"]


def test_places_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    put(tmp_path / "bccd" / "images" / "BloodImage_00001.jpg", jpeg(51))
    put(
        tmp_path / "bccd" / "boxes" / "BloodImage_00001.xml",
        VOC.replace("<xmin>1<", "<xmin>left<"),
    )
    found, _ = findings(tmp_path)
    assert "bccd/images/BloodImage_00001.jpg" in found["labels_broken"][0]["says"]


def test_cells_outside_of_their_picture(tmp_path: Path) -> None:
    """A label of a larger picture: 64 x 48 px here."""
    for number, line in ((1, "10 10 0\n"), (2, "10 10 0\n63 200 0\n300 20 4\n")):
        put(tmp_path / "chula_rbc12" / "images" / f"{number}.jpg", jpeg(number))
        put(tmp_path / "chula_rbc12" / "labels" / f"{number}.txt", line)
    found, result = findings(tmp_path)
    assert result.return_value == 1
    assert found["cells_outside"][0]["says"] == "2 labelled cells outside of 1 picture"
    assert found["cells_outside"][0]["files"] == [["chula_rbc12/images/2.jpg"]]


def test_labels_and_pictures_without_their_other_half(tmp_path: Path) -> None:
    for number in (1, 2):
        put(tmp_path / "bccd" / "images" / f"BloodImage_0000{number}.jpg", jpeg(number))
    for number in (1, 3):
        put(tmp_path / "bccd" / "boxes" / f"BloodImage_0000{number}.xml", VOC)
    found, result = findings(tmp_path)
    assert result.return_value == 0
    assert found["label_without_picture"][0]["files"] == [["bccd/boxes/BloodImage_00003.xml"]]
    assert found["picture_without_label"][0]["files"] == [["bccd/images/BloodImage_00002.jpg"]]


def test_copies_are_found_within_and_across_sets(cells: Path) -> None:
    """Byte for byte, and the same picture in another size."""
    shutil.copy(
        cells / "pbc" / "basophil" / "BA_200.jpg", cells / "pbc" / "basophil" / "BA_201.jpg"
    )
    put(cells / "three_class" / "basophil" / "BA_400.jpg", jpeg(2, 96, 72))
    found, result = findings(cells)
    by_set = {item["set_name"]: item for item in found["same_picture"]}
    assert set(by_set) == {"pbc", "pbc + three_class"}
    assert by_set["pbc"]["says"] == "1 pair of copies (1 byte for byte)"
    assert by_set["pbc + three_class"]["files"] == [
        ["pbc/basophil/BA_400.jpg", "three_class/basophil/BA_400.jpg"]
    ]
    assert result.return_value == 0, "the readers give both one group"
    # The manifest, which `edgehemo dataset manifest` writes, says the same.
    pairs = {(pair.first, pair.second) for pair in build_manifest(cells).duplicates}
    assert pairs == {tuple(files) for item in by_set.values() for files in item["files"]}


def test_one_picture_under_two_classes(cells: Path) -> None:
    shutil.copy(cells / "pbc" / "basophil" / "BA_0.jpg", cells / "pbc" / "monocyte" / "MO_1.jpg")
    found, result = findings(cells)
    assert result.return_value == 1
    assert found["two_classes"][0]["files"] == [["pbc/basophil/BA_0.jpg", "pbc/monocyte/MO_1.jpg"]]


def test_a_copy_in_another_part_of_the_split(tmp_path: Path) -> None:
    """Blocks that no record knows, by whose names training would learn from one copy and measure
    by the other.
    """
    groups = {n: f"{chula_rbc12.SOURCE}-{n // 10:03d}" for n in range(20_000, 40_000, 10)}
    strange = {n: part_of(group) for n, group in groups.items() if not is_recorded(group)}
    learnt = next(n for n, part in strange.items() if part == "train")
    measured = next(n for n, part in strange.items() if part == "test")
    assert hashed_part(groups[learnt]) != hashed_part(groups[measured])
    for number in (learnt, measured):
        put(tmp_path / "chula_rbc12" / "images" / f"{number}.jpg", jpeg(1))
    put(tmp_path / "chula_rbc12" / "images" / f"{learnt + 1}.jpg", jpeg(2))
    found, result = findings(tmp_path)
    assert result.return_value == 1
    names = {f"chula_rbc12/images/{number}.jpg" for number in (learnt, measured)}
    pairs = found["parts_share_a_picture"][0]["files"]
    assert [set(pair) for pair in pairs] == [names]


def test_published_parts_that_share_pictures_and_groups(tmp_path: Path) -> None:
    txl = tmp_path / "txl_pbc" / "TXL_PBC"
    for part, name, seed in (("train", "a", 1), ("train", "b", 2), ("test", "c", 1)):
        put(txl / "images" / part / f"{name}.jpg", jpeg(seed, 96, 96))
        put(txl / "labels" / part / f"{name}.txt", "0 .5 .5 .2 .2\n")
    found, _ = findings(tmp_path)
    assert found["published_parts_share_a_picture"][0]["files"] == [
        ["txl_pbc/TXL_PBC/images/test/c.jpg", "txl_pbc/TXL_PBC/images/train/a.jpg"]
    ]
    bccd = tmp_path / "bccd" / "BCCD"
    for number in (1, 2):  # of one block of ten
        put(bccd / "JPEGImages" / f"BloodImage_0000{number}.jpg", jpeg(10 + number))
    put(bccd / "ImageSets" / "Main" / "train.txt", "BloodImage_00001\n")
    put(bccd / "ImageSets" / "Main" / "test.txt", "BloodImage_00002\n")
    torn = findings(tmp_path)[0]["published_parts_share_a_group"][0]
    assert torn["set_name"] == "bccd" and "1 group" in torn["says"]


def test_few_and_unbalanced_classes(cells: Path) -> None:
    for number in range(2):
        put(cells / "pbc" / "ig" / f"MMY_{number}.jpg", jpeg(500 + number))
    found, result = findings(cells)
    assert found["few_of_a_class"][0]["says"].endswith(": immature_granulocyte 2")
    assert "20 of monocyte and 2 of immature_granulocyte: 10 to 1" in found["unbalanced"][0]["says"]
    assert result.return_value == 0


def test_a_scale_that_the_cells_contradict(tmp_path: Path, write_image: Write) -> None:
    """Fields drawn at 0.2 um/px, 640 px wide as the set's: 128 um. Then the same at half the
    width, whose cells are half as wide as its pictures' width says.
    """
    options = SimulatedOptions(seed=3, fields=5, width_px=640, height_px=480, um_per_px=0.2)
    with SimulatedMicroscope(options) as slide:
        for number in range(5):
            slide.move_to_field(number)
            pixels = slide.frame(10.0).pixels
            write_image(tmp_path / "right" / "chula_rbc12" / "images" / f"{number}.png", pixels)
            write_image(
                tmp_path / "cut" / "chula_rbc12" / "images" / f"{number}.png", pixels[:, :400]
            )
    found, result = findings(tmp_path / "right")
    scale = json.loads(result.stdout)["sets"][0]["scales"][0]
    assert (scale["stated_um_per_px"], scale["pictures"]) == (0.2, 5)
    assert scale["measured_um_per_px"] == pytest.approx(0.2, rel=0.15)
    assert "scale_differs" not in found
    differs = findings(tmp_path / "cut")[0]["scale_differs"][0]
    assert "chula_rbc12: 0.320 um/px are stated, red cells of 7.5 um say 0.2" in differs["says"]


def test_pictures_without_cells_have_no_scale_to_measure(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path / "uganda_phone" / "clear" / f"{number}.jpg", jpeg(number, 200, 200))
    found, _ = findings(tmp_path)
    assert "of 5 pictures show enough red cells" in found["scale_not_measured"][0]["says"]


def test_own_sets_are_checked_beside_public_ones(cells: Path) -> None:
    own = cells / "ours"
    put(own / "dataset.toml", 'name = "ours"\ngroups = "picture"\n')
    put(own / "cells" / "monocyte" / "a.png", jpeg(900))
    put(own / "cells" / "monocite" / "b.png", jpeg(901))
    found, result = findings(cells)
    assert result.return_value == 2
    assert "did you mean monocyte?" in found["own_set_broken"][0]["says"]
    shutil.rmtree(own / "cells" / "monocite")
    put(own / "cells" / "basophil" / "b.png", (cells / "pbc/basophil/BA_0.jpg").read_bytes())
    found, _ = findings(cells)
    assert found["same_picture"][0]["set_name"] == "pbc + ours"
    assert "monocyte 1" in found["few_of_a_class"][0]["says"]
    assert findings(own)[1].return_value == 0, "the folder of an own set is a root of its own"


def test_own_fields_are_held_against_the_scale_that_their_owner_states(
    tmp_path: Path, write_image: Write
) -> None:
    own = tmp_path / "ours"
    toml = 'name = "ours"\nlayout = "points"\ngroups = "picture"\num_per_px = {}\n'
    options = SimulatedOptions(seed=3, fields=5, width_px=640, height_px=480, um_per_px=0.2)
    rows = ["image,x,y,class"]
    with SimulatedMicroscope(options) as slide:
        for number in range(5):
            slide.move_to_field(number)
            write_image(own / "images" / f"{number}.png", slide.frame(10.0).pixels)
            rows += [f"{number}.png,{100 + n},50,{name}" for n, name in enumerate(NAMED)]
    put(own / "points.csv", "\n".join(rows))
    put(own / "dataset.toml", toml.format(0.2))
    found, result = findings(tmp_path)
    assert found.keys() == {"few_of_a_class"} and result.return_value == 0
    assert json.loads(result.stdout)["sets"][0]["classes"] == {"normal": 5, "teardrop": 5}
    put(own / "dataset.toml", toml.format(0.1))
    found, result = findings(own)
    assert result.return_value == 1
    assert "0.100 um/px are stated" in found["scale_contradicted"][0]["says"]
    put(own / "points.csv", "\n".join([*rows, "0.png,9,9,teerdrop"]))
    assert "did you mean teardrop?" in findings(tmp_path)[0]["own_set_broken"][0]["says"]


def test_fetched_files_that_changed_are_told(tmp_path: Path, cells: Path) -> None:
    from edgehemo.files.atomic import sha256_of_file

    files = {
        path.relative_to(cells / "pbc").as_posix(): sha256_of_file(path)
        for path in (cells / "pbc").rglob("*.jpg")
    }
    lock = {
        "schema": "edgehemo.data-lock/1",
        "sets": {
            "pbc": {
                "release": "pbc",
                "source": "pbc.zip",
                "archive_sha256": "0" * 64,
                "fetched_at": "2026-11-27T12:00:00Z",
                "licence": "CC BY 4.0",
                "files": files,
            }
        },
    }
    put(cells / "edgehemo-data.lock.json", json.dumps(lock))
    assert findings(cells)[0] == {}
    put(cells / "pbc" / "basophil" / "BA_0.jpg", jpeg(700))
    (cells / "pbc" / "basophil" / "BA_200.jpg").unlink()
    found, result = findings(cells)
    assert result.return_value == 1
    assert found["changed_since_fetched"][0]["says"] == "1 file changed, 1 missing"
    assert found["changed_since_fetched"][0]["files"] == [
        ["pbc/basophil/BA_0.jpg"],
        ["pbc/basophil/BA_200.jpg"],
    ]


def test_a_second_check_reads_only_what_is_new(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "prints.npz"
    first = findings(cells, "--cache", cache)[1].stdout
    monkeypatch.setattr(
        "edgehemo_export.data.fingerprints.read_frame", lambda path: pytest.fail(str(path))
    )
    assert findings(cells, "--cache", cache)[1].stdout == first


def test_nothing_to_check_is_told(tmp_path: Path) -> None:
    assert "holds none of the sets" in str(run(tmp_path).exception)
    assert "no set 'x'" in str(run(tmp_path, "--set", "x").exception)


def test_the_report_for_people_names_files_and_what_to_do(cells: Path) -> None:
    for number in range(5):
        name = cells / "pbc" / "basophil" / f"BA_{number * 200}.jpg"
        shutil.copy(name, name.with_name(f"BA_{number * 200 + 1}.jpg"))
    result = run(cells)
    assert result.return_value == 0
    assert "note: pbc: 5 pairs of copies (5 byte for byte)" in result.output
    assert "    pbc/basophil/BA_0.jpg = pbc/basophil/BA_1.jpg\n" in result.output
    assert "and 2 more; --json has all" in result.output
    assert result.output.rstrip().endswith("0 faults, 0 warnings, 1 note")
