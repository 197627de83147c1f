"""The manifest: every set in both layouts, duplicates joined, the split written down and kept."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edgehemo.errors import UsageError
from edgehemo_export.commands.dataset import dataset
from edgehemo_export.data.manifest import (
    DataManifest,
    build_manifest,
    part_by_group_alone,
    read_manifest,
    recorded_splits,
    straddling,
    summarise,
    write_manifest,
)
from edgehemo_export.data.sets import READERS, anerbc, lmu, read_data_root
from edgehemo_export.data.sets.chula_rbc12 import type_counts
from edgehemo_export.data.sets.txl_pbc import box_counts, raabin_group
from edgehemo_export.data.splits import (
    RECORDED_SPLITS,
    hashed_part,
    read_recorded_splits,
    united_group,
    write_recorded_splits,
)

Write = Callable[..., Path]

VOC = """<annotation><object><name>WBC</name></object><object><name>RBC</name></object>
<object><name>RBC</name></object><object><name>Platelets</name></object></annotation>"""
REPORT = """Test,Result/Units,Norm. Range
WBC,8.49 x10.e 3/ul,4 --- 10
RBC,4.37 x10.e 6/ul,3.8 --- 4.8
HGB,* 10.1 g/dL,12 --- 15
HCT,* 29.9 %,36 --- 46
MCV,* 68.4 fL,83 --- 101
PLT,376 x10.e 3/ul,150 --- 410
"""


def picture(seed: int, width: int = 96, height: int = 96) -> NDArray[np.uint8]:
    """A picture like no other: coarse random patches, smooth enough for JPEG."""
    coarse = np.random.default_rng(seed).integers(30, 240, (9, 9, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 255).astype(np.uint8)


@pytest.fixture
def published(tmp_path: Path, write_image: Write) -> Path:
    """All sets in the layout of their public download, two or three pictures each."""
    root = tmp_path / "data"
    bccd = root / "BCCD_Dataset" / "BCCD"
    write_image(bccd / "JPEGImages" / "BloodImage_00007.jpg", picture(1, 64, 48))
    write_image(bccd / "JPEGImages" / "BloodImage_00371.jpg", picture(2, 64, 48))
    _text(bccd / "Annotations" / "BloodImage_00007.xml", VOC)
    _text(bccd / "ImageSets" / "Main" / "train.txt", "BloodImage_00007\n")
    _text(bccd / "ImageSets" / "Main" / "test.txt", "BloodImage_00371\n")

    chula = root / "Chula-RBC-12-Dataset"
    write_image(chula / "Dataset" / "12.jpg", picture(3, 64, 48))
    write_image(chula / "Dataset" / "705.jpg", picture(4, 64, 48))
    _text(chula / "Label" / "12.txt", "594 95 0\n601 151 0\n\n20 30 12\n")
    disease = root / "Chula-disease"
    write_image(disease / "Iron deficiency" / "7.jpg", picture(5, 128, 96))

    pbc = root / "PBC_dataset_normal_DIB"
    write_image(pbc / "ig" / "MMY_115214.jpg", picture(6, 72, 72))
    write_image(pbc / "basophil" / "BA_100102.jpg", picture(7, 72, 72))
    aml = root / "AML-Cytomorphology_LMU"
    write_image(aml / "AML-Cytomorphology" / "MYO" / "MYO_0001.tiff", picture(8, 80, 80))
    write_image(aml / "AML-Cytomorphology" / "MYO" / "MYO_0002.tiff.tiff", picture(9, 80, 80))
    write_image(aml / "AML-Cytomorphology" / "KSC" / "KSC_0003.tiff", picture(10, 80, 80))
    _text(aml / "annotations.dat", "MYO/MYO_0001.tiff MYO MOB nan\nKSC/KSC_0003.tiff KSC nan nan\n")

    txl = root / "TXL-PBC_Dataset" / "TXL_PBC"
    for part, name, seed, side in (("train", "a-1", 11, 575), ("val", "b-2", 7, 360)):
        write_image(txl / "images" / part / f"{name}.jpg", picture(seed, side, side))
        _text(txl / "labels" / part / f"{name}.txt", "0 .5 .5 .2 .2\n1 .1 .1 .1 .1\n")
    _text(txl / "labels" / "classes.txt", "WBC\nRBC\nPlatelets\n")
    write_image(root / "three_class" / "basophil" / "BA_100102.jpg", picture(7, 90, 90))

    one = root / "AneRBC_dataset" / "AneRBC-I"
    for cohort, name, seed in (
        ("Healthy_individuals", "001_h", 12),
        ("Anemic_individuals", "001_a", 13),
        ("Anemic_individuals", "002_a", 14),
    ):
        write_image(one / cohort / "Original_images" / f"{name}.png", picture(seed, 122, 96))
        write_image(one / cohort / "Binary_segmented" / f"{name}.png", picture(0, 122, 96)[..., 0])
    _text(one / "Anemic_individuals" / "CBC_reports" / "001_a.txt", REPORT)
    _text(one / "Healthy_individuals" / "CBC_reports" / "001_h.txt", REPORT)
    phone = root / "sickle-cell-disease-dataset"
    write_image(phone / "Negative" / "Clear" / "3.jpg", picture(15))
    write_image(phone / "Positive" / "Unlabelled" / "3.jpg", picture(16))
    write_image(phone / "Positive" / "Labelled" / "3.jpg", picture(16))
    shapes = root / "redtell" / "dse_data"
    write_image(shapes / "images" / "17.tif", picture(17)[..., 0])
    write_image(shapes / "annotations" / "17.tif", picture(0)[..., 0])
    return root


def test_every_published_layout_is_read(published: Path) -> None:
    manifest = build_manifest(published)
    assert {row.set_name for row in manifest.rows} == set(READERS)
    rows = {row.original: row for row in manifest.rows}

    bccd = rows["BloodImage_00007"]
    assert bccd.labels.boxes is not None
    assert bccd.labels.boxes.counts == {"wbc": 1, "rbc": 2, "platelet": 1}
    assert bccd.complete == ["wbc", "platelet"]
    assert (bccd.published_part, rows["BloodImage_00371"].published_part) == ("train", "test")
    assert bccd.labels.boxes.file == "BCCD_Dataset/BCCD/Annotations/BloodImage_00007.xml"

    chula = rows["12"]
    assert chula.labels.points is not None and chula.complete == []
    assert chula.labels.points.counts == {"normal": 2, "elliptocyte": 1}
    assert rows["705"].labels.kinds() == []
    assert rows["7"].labels.class_name == "iron_deficiency"

    assert rows["MMY_115214"].labels.class_name == "immature_granulocyte"
    assert rows["MMY_115214"].labels.code == "MMY"
    assert rows["MYO_0001"].labels.class_name == "myeloblast"
    assert rows["MYO_0001"].labels.opinions == ["MOB"]
    assert rows["MYO_0002"].labels.opinions == []
    assert rows["KSC_0003"].labels.class_name == "ksc"

    txl = rows["a-1"]
    assert (txl.source, txl.published_part) == ("txl_raabin", "train")
    assert txl.um_per_px is None and txl.scale_known == "none"
    # Raabin's platelets are hardly labelled.
    assert txl.complete == ["rbc", "wbc"]
    assert rows["b-2"].source == "txl_pbc"
    assert rows["b-2"].complete == ["rbc", "wbc", "platelet"]
    assert rows["b-2"].um_per_px == pytest.approx(36.8 / 360, abs=1e-4)

    sick, well = rows["001_a"], rows["001_h"]
    assert sick.labels.blood_count is not None and sick.labels.mask is not None
    assert sick.labels.blood_count.hgb_g_per_l == 101.0
    assert sick.labels.blood_count.hct_l_per_l == pytest.approx(0.299)
    assert sick.labels.blood_count.mch_pg is None
    # One panel is one patient, whatever the names say.
    assert sick.united_group == well.united_group == "anerbc-101.0-0.299-4.37"
    assert rows["002_a"].group == "anerbc-002_a"
    assert (sick.labels.class_name, well.labels.class_name) == ("anaemic", "healthy")

    phone = {row.original for row in manifest.of("uganda_phone")}
    assert phone == {"clear/3", "sickle/3"}
    assert not any("/Labelled/" in row.path for row in manifest.rows)
    assert rows["17"].labels.mask == "redtell/dse_data/annotations/17.tif"


def test_copies_across_sets_fall_into_one_part(published: Path) -> None:
    manifest = build_manifest(published)
    copies = [row for row in manifest.rows if row.path.endswith(("BA_100102.jpg", "b-2.jpg"))]
    assert [row.set_name for row in copies] == ["pbc", "txl_pbc", "three_class"]
    assert len({row.part for row in copies}) == 1
    assert {row.duplicate_of for row in copies[1:]} == {copies[0].path}
    assert copies[0].duplicate_of is None
    # The TXL name tells nothing, so its group is joined to that of the picture it copies.
    assert copies[1].group == "txl-b-2" and copies[1].united_group == copies[0].united_group
    assert {row.kind for row in manifest.duplicates} == {"copy"}
    total = summarise(manifest)[-1]
    assert (total.pictures, total.duplicates_across, total.duplicates_within) == (19, 3, 0)
    assert sum(total.parts.values()) == 19


def test_the_part_is_that_of_the_united_group(published: Path, write_image: Write) -> None:
    """A picture copied under a number of another block and part draws both blocks together."""
    folder = published / "Chula-RBC-12-Dataset" / "Dataset"
    parts_of_blocks = {n: hashed_part(f"chula_rbc12-{n // 10:03d}") for n in range(10, 700, 10)}
    numbers = [n for n, part in parts_of_blocks.items() if part != "test"]
    other = next(n for n, part in parts_of_blocks.items() if part == "test")
    for n in (numbers[0], other):
        write_image(folder / f"{n}.jpg", picture(50, 64, 48))
    write_image(folder / f"{numbers[0] + 1}.jpg", picture(51, 64, 48))
    manifest = build_manifest(published, sets=["chula_rbc12"])
    assert len(straddling(manifest, part_by_group_alone)) == 1
    assert straddling(manifest, lambda row: row.part) == []
    parts = {row.original: row.part for row in manifest.rows}
    joined = min(f"chula_rbc12-{numbers[0] // 10:03d}", f"chula_rbc12-{other // 10:03d}")
    assert {parts[str(numbers[0])], parts[str(other)], parts[str(numbers[0] + 1)]} == {
        hashed_part(joined)
    }


def test_a_recorded_part_is_kept(published: Path) -> None:
    first = build_manifest(published, sets=["bccd", "pbc"])
    moved = _with_part(first, "pbc", "tune")
    record = recorded_splits(moved)
    again = build_manifest(published, recorded=record)
    assert {row.part for row in again.of("pbc")} == {"tune"}
    # Copies in sets that the record never saw follow, and so does the group by its name.
    assert {row.part for row in again.rows if row.original in ("BA_100102", "b-2")} == {"tune"}
    (published / "PBC_dataset_normal_DIB" / "ig" / "MMY_115214.jpg").unlink()
    shutil.copy(
        published / "PBC_dataset_normal_DIB" / "basophil" / "BA_100102.jpg",
        published / "PBC_dataset_normal_DIB" / "ig" / "MMY_115299.jpg",
    )
    changed = build_manifest(published, recorded=moved)
    assert {row.part for row in changed.of("pbc")} == {"tune"}


def test_where_records_disagree_the_stricter_part_wins(published: Path) -> None:
    first = build_manifest(published, sets=["pbc"])
    paths = [row.path for row in first.rows]
    one = first.model_copy(
        update={
            "rows": [
                row.model_copy(update={"part": "test" if row.path == paths[0] else "train"})
                for row in first.rows
            ]
        }
    )
    source = published / paths[1]
    shutil.copy(published / paths[0], source.with_name("BA_100103.jpg"))
    shutil.copy(source, source.with_name("BA_100104.jpg"))
    again = build_manifest(published, sets=["pbc"], recorded=one)
    assert {row.part for row in again.rows} == {"test"}


def test_manifest_and_record_survive_writing(published: Path, tmp_path: Path) -> None:
    manifest = build_manifest(published)
    file, short = tmp_path / "out" / "manifest.json", tmp_path / "splits.json"
    write_manifest(file, manifest)
    assert read_manifest(file) == manifest
    assert len(json.loads(file.read_text())["rows"]) == len(manifest.rows)
    write_recorded_splits(short, recorded_splits(manifest))
    record = read_recorded_splits(short)
    assert record == recorded_splits(manifest)
    parts = record.part_of_content()
    assert all(parts[row.sha256[:12]] == row.part for row in manifest.rows)
    with pytest.raises(UsageError, match="edgehemo dataset manifest"):
        read_manifest(short)
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(tmp_path / "none.json")


def test_the_cache_spares_the_pixels(published: Path, tmp_path: Path) -> None:
    cache = tmp_path / "prints.npz"
    first = build_manifest(published, cache=cache)
    stored = cache.stat().st_mtime_ns
    assert build_manifest(published, cache=cache) == first
    assert cache.stat().st_mtime_ns == stored  # nothing new, nothing written
    changed = published / "three_class" / "basophil" / "BA_100102.jpg"
    changed.write_bytes(
        (published / "PBC_dataset_normal_DIB" / "ig" / "MMY_115214.jpg").read_bytes()
    )
    again = build_manifest(published, cache=cache)
    assert again.by_path()["three_class/basophil/BA_100102.jpg"].labels.class_name == "basophil"
    assert {pair.kind for pair in again.duplicates} == {"exact", "copy"}
    cache.write_bytes(b"not a cache")
    assert build_manifest(published, cache=cache) == again


def test_a_picture_that_cannot_be_read_is_named(published: Path, tmp_path: Path) -> None:
    broken = published / "three_class" / "basophil" / "BA_100102.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    out = tmp_path / "m.json"
    done = CliRunner().invoke(
        dataset,
        ["manifest", "--data", str(published), "--out", str(out), "--new-split", "--json", "-"],
        standalone_mode=False,
    )
    assert done.return_value == 2
    told = json.loads(done.stdout)
    assert told["schema"] == "edgehemo.dataset-manifest/1"
    assert list(told["unreadable"]) == ["three_class/basophil/BA_100102.jpg"]
    assert len(read_manifest(out).rows) == 18


def test_command_prints_a_table_and_keeps_parts(published: Path, tmp_path: Path) -> None:
    out, record = tmp_path / "m.json", tmp_path / "splits.json"
    arguments = ["manifest", "--data", str(published), "--out", str(out), "--record", str(record)]
    done = CliRunner().invoke(dataset, arguments, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 0
    assert "chula_rbc12" in done.stdout and "all" in done.stdout
    before = {row.path: row.part for row in read_manifest(out).rows}
    moved = _with_part(read_manifest(out), "uganda_phone", "tune")
    write_manifest(out, moved)
    done = CliRunner().invoke(dataset, arguments, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 0
    after = {row.path: row.part for row in read_manifest(out).rows}
    for path, part in after.items():
        assert part == ("tune" if path.startswith("sickle-cell") else before[path])
    clash = CliRunner().invoke(
        dataset, [*arguments, "--new-split", "--splits", str(record)], standalone_mode=False
    )
    assert isinstance(clash.exception, UsageError)


def test_roots_and_names_that_hold_no_set(tmp_path: Path, published: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds none of the sets bccd"):
        build_manifest(tmp_path / "empty")
    with pytest.raises(UsageError, match="no set 'bcd'"):
        list(read_data_root(published, ["bcd"]))


@pytest.mark.parametrize("line", ["5 6", "5 6 13", "5 6 -1", "a b c"])
def test_a_broken_point_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    _text(tmp_path / "1.txt", f"1 2 0\n{line}\n")
    with pytest.raises(UsageError, match=r"1\.txt line 2"):
        type_counts(tmp_path / "1.txt")


def test_a_broken_box_or_report_is_named(tmp_path: Path) -> None:
    _text(tmp_path / "1.txt", "3 .5 .5 .1 .1\n")
    with pytest.raises(UsageError, match="line 1"):
        box_counts(tmp_path / "1.txt")
    with pytest.raises(UsageError, match="holds no line"):
        anerbc.read_report(tmp_path / "1.txt")


def test_raabin_names_tell_slide_or_day() -> None:
    assert raabin_group("95-8-10-1_1053_5") == "raabin-95-8-10-1"
    assert raabin_group("20190527_114537_0") == raabin_group("20190527_120001_1")
    assert raabin_group("20190527_114537_0") == "raabin-20190527"


def test_reports_give_every_panel_once(published: Path) -> None:
    panels = anerbc.read_panels(published / "AneRBC_dataset")
    assert [panel.hgb_g_per_l for panel in panels] == [101.0]
    assert lmu.read_annotations(published / "three_class") == {}


@pytest.mark.real
def test_the_real_sets_as_they_lie_here(data_root: Path) -> None:
    """Names and labels only; no pixel is read."""
    found = list(read_data_root(data_root))
    counts = Counter(picture.source.split("/")[0] for picture in found)
    assert counts["bccd"] == 292 and counts["chula_rbc12"] == 629 and counts["pbc"] == 8000
    assert counts["txl_pbc"] + counts["txl_raabin"] == 955
    assert counts["anerbc"] == 8 and counts["uganda_phone"] == 120 and counts["lmu"] == 1200
    cells = sum(
        sum(picture.labels.points.counts.values()) for picture in found if picture.labels.points
    )
    assert cells > 17_000
    panels = {p.original: p.group for p in found if p.source == "anerbc"}
    assert panels["001_h"] == panels["004_h"] != panels["003_h"]
    assert len(anerbc.read_panels(data_root / "anerbc")) == 510


@pytest.mark.real
def test_the_shipped_split_knows_the_real_pictures(data_root: Path) -> None:
    """By content, and by the names of the blocks that hold each other's fields."""
    record = read_recorded_splits(RECORDED_SPLITS)
    known = record.part_of_content()
    manifest = build_manifest(data_root, sets=["chula_disease", "anerbc"], recorded=record)
    assert all(known[row.sha256[:12]] == row.part for row in manifest.rows)
    # Fields 560 to 577 are those of 607 to 623, and 725 to 729 lie among the elliptocytoses.
    assert united_group("chula_rbc12-060") == united_group("chula_rbc12-056")
    assert united_group("chula_rbc12-072") == united_group(
        "chula_disease-hereditary_elliptocytosis-10"
    )
    assert united_group("bccd-000") == "bccd-000"


def _with_part(manifest: DataManifest, set_name: str, part: str) -> DataManifest:
    rows = [
        row.model_copy(update={"part": part}) if row.set_name == set_name else row
        for row in manifest.rows
    ]
    return manifest.model_copy(update={"rows": rows})


def _text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
