"""Cells for viewers: GeoJSON by RFC 7946 and as QuPath reads it, COCO by its structure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgehemo.images.frame import Frame
from edgehemo.interop.exports import EXPORTS
from edgehemo.records.deidentified import View
from edgehemo.records.exports.annotated_fields import AnnotatedCell, AnnotatedField
from edgehemo.records.exports.coco_export import category_numbers, coco_of
from edgehemo.records.exports.exporting import Exporting
from edgehemo.records.exports.geojson_export import geojson_of
from edgehemo.records.results import result_of
from edgehemo.records.reviews import amendments_from, review
from edgehemo.records.store import Store, Writer
from edgehemo.records.versions import change
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import stored

FINDER = TruthFinder()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Writer, str, str]]:
    """Two results; of the first one cell is renamed, one confirmed and one taken for none."""
    frames: list[Frame] = simulated_frames(FINDER, count=2)
    named = [replace(frame, source=f"jane/doe {n}.png") for n, frame in enumerate(frames)]
    for frame, new in zip(frames, named, strict=True):
        FINDER.truths[Path(new.source).name] = FINDER.truths[frame.source]
    store = Store.below(tmp_path_factory.mktemp("annotations"))
    with store.writer() as writer:
        first = stored(writer, named, FINDER, "S-1", operator="amina")
        second = stored(writer, frames, FINDER, "S-2")
        assert first is not None and second is not None
        name = first.result_id
        review(writer, name, field=0, cell=0, type="target_cell", by="amina")
        review(writer, name, field=0, cell=1, type=None, is_cell=False, by="amina")
        review(writer, name, field=1, cell=0, type=None, by="amina")
        number = result_of(writer, name).number
        change(writer, name, "signed", by="amina", amendments=amendments_from(writer, number))
        yield writer, name, second.result_id


def exporting(writer: Writer, *names: str, identified: bool = True) -> Exporting:
    results = [result_of(writer, name) for name in names]
    return Exporting(writer, results, View.of(writer, identified=identified), writer.head())


def files_of(folder: Path) -> dict[str, Any]:
    return {
        path.relative_to(folder).as_posix(): json.loads(path.read_text())
        for path in sorted(folder.rglob("*.geojson"))
    }


def twice_the_area(ring: list[list[float]]) -> float:
    return sum(x * v - u * y for (x, y), (u, v) in pairwise(ring))


def test_each_field_is_a_collection_by_the_rules_of_rfc_7946(
    records: tuple[Writer, str, str], tmp_path: Path
) -> None:
    writer, name, _ = records
    EXPORTS["geojson"].write(exporting(writer, name), tmp_path / "out")
    found = files_of(tmp_path / "out")
    assert list(found) == ["001_doe_0.geojson", "002_doe_1.geojson"]
    images = result_of(writer, name).document(writer).record["images"]
    identifiers: set[str] = set()
    for content, image in zip(found.values(), images, strict=True):
        assert content["type"] == "FeatureCollection"
        assert content["image"] == image["image"]
        assert len(content["features"]) == len(image["cells"])
        for feature, cell in zip(content["features"], image["cells"], strict=True):
            assert feature["type"] == "Feature"
            identifiers.add(str(uuid.UUID(feature["id"])))
            assert feature["geometry"]["type"] == "Polygon"
            (ring,) = feature["geometry"]["coordinates"]
            assert len(ring) >= 4 and ring[0] == ring[-1]
            assert twice_the_area(ring) > 0, "an outer ring goes counterclockwise"
            for axis, (low, high) in enumerate((("x0", "x1"), ("y0", "y1"))):
                places = [corner[axis] for corner in ring]
                assert min(places) == pytest.approx(cell[low], abs=0.2)
                assert max(places) == pytest.approx(cell[high], abs=0.2)
    assert len(identifiers) == sum(len(image["cells"]) for image in images)


def test_features_say_what_qupath_shows(records: tuple[Writer, str, str], tmp_path: Path) -> None:
    writer, name, _ = records
    EXPORTS["geojson"].write(exporting(writer, name), tmp_path)
    renamed, refused, *others = (
        feature["properties"] for feature in files_of(tmp_path)["001_doe_0.geojson"]["features"]
    )
    assert renamed["objectType"] == "detection"
    assert renamed["classification"]["name"].endswith(": target cell")
    assert all(0 <= part <= 255 for part in renamed["classification"]["color"])
    assert renamed["measurements"]["Finder score"] == pytest.approx(0.97)
    assert renamed["metadata"]["named by"] == "person"
    assert renamed["metadata"]["reviewed by"] == "amina"
    assert refused["classification"] == {
        "name": f"{refused['classification']['name'].partition(':')[0]}: not a cell",
        "color": [128, 128, 128],
    }
    assert {item["metadata"]["named by"] for item in others} == {"model"}
    # QuPath takes text alone for metadata, and numbers alone for measurements.
    for item in (renamed, refused, *others):
        assert all(isinstance(value, str) for value in item["metadata"].values())
        assert all(isinstance(value, float) for value in item["measurements"].values())


def test_annotations_without_names_tell_nobody(
    records: tuple[Writer, str, str], tmp_path: Path
) -> None:
    writer, name, _ = records
    export = exporting(writer, name, identified=False)
    EXPORTS["geojson"].write(export, tmp_path / "out")
    EXPORTS["coco"].write(export, tmp_path / "coco.json")
    assert list(files_of(tmp_path / "out")) == ["001.geojson", "002.geojson"]
    texts = [path.read_text() for path in tmp_path.rglob("*.*json")]
    assert len(texts) == 3
    assert not any(word in text for text in texts for word in ("amina", "doe", "S-1"))


def test_coco_has_its_structure_and_every_number_leads_somewhere(
    records: tuple[Writer, str, str], tmp_path: Path
) -> None:
    writer, first, second = records
    EXPORTS["coco"].write(exporting(writer, first, second), tmp_path / "coco.json")
    content = json.loads((tmp_path / "coco.json").read_text())
    assert set(content) == {"info", "licenses", "images", "annotations", "categories"}
    images = {item["id"]: item for item in content["images"]}
    categories = {item["id"]: item for item in content["categories"]}
    assert len(images) == 4 and len(categories) == len(content["categories"])
    assert [item["id"] for item in content["annotations"]] == list(
        range(1, len(content["annotations"]) + 1)
    )
    for item in content["annotations"]:
        image, category = images[item["image_id"]], categories[item["category_id"]]
        x, y, width, height = item["bbox"]
        assert 0 <= x < x + width <= image["width"] + 0.1
        assert 0 <= y < y + height <= image["height"] + 0.1
        (outline,) = item["segmentation"]
        assert len(outline) >= 6 and len(outline) % 2 == 0
        assert 0 < item["area"] <= width * height + 0.1
        assert item["iscrowd"] == 0
        assert category["supercategory"] in ("rbc", "wbc", "platelet")
    assert images[1]["file_name"] == f"{first}/pictures/001.png"
    renamed = content["annotations"][0]
    assert categories[renamed["category_id"]]["name"] == "target_cell"
    assert renamed["attributes"]["review"] == "renamed"


def test_the_pictures_that_coco_names_are_those_of_an_exported_folder(
    records: tuple[Writer, str, str], tmp_path: Path
) -> None:
    writer, first, second = records
    export = exporting(writer, first, second)
    EXPORTS["folder"].write(export, tmp_path / "all")
    EXPORTS["coco"].write(export, tmp_path / "coco.json")
    for item in json.loads((tmp_path / "coco.json").read_text())["images"]:
        assert (tmp_path / "all" / item["file_name"]).is_file()


def test_several_results_lie_in_a_folder_each(
    records: tuple[Writer, str, str], tmp_path: Path
) -> None:
    writer, first, second = records
    EXPORTS["geojson"].write(exporting(writer, first, second), tmp_path)
    assert {name.split("/")[0] for name in files_of(tmp_path)} == {first, second}


def test_a_category_keeps_its_number_whatever_is_in_the_samples() -> None:
    cell = AnnotatedCell(
        0, 0, "rbc", (1.0, 2.0, 30.0, 40.0), 0.9, "normal", 0.8, "normal", False, None
    )
    strange = replace(cell, named="a type of another bundle")
    field = AnnotatedField("r", 0, "a.png", "pictures/001.png", 100, 100, 0.2, True, (cell,))
    without, with_it = category_numbers([]), category_numbers([replace(field, cells=(strange,))])
    assert {key: with_it[key] for key in without} == without
    assert with_it["rbc", "a type of another bundle"] == len(without) + 1
    # A refused field has its place and no cell.
    refused = replace(field, accepted=False, cells=())
    assert coco_of([refused])["annotations"] == []
    assert geojson_of(refused, names_people=True)["features"] == []
