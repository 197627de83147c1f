"""Types of cells: the conformal rule, batches, crops, a bundle with classifiers, the commands."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgehemo.bundle.bundle import SHIPPED_BUNDLE, UNSIGNED_VARIABLE
from edgehemo.bundle.manifest import Confusion, ModelTask
from edgehemo.cells.cell import UNCERTAIN, Cell, FieldCells
from edgehemo.cells.crops import crop_scale
from edgehemo.cells.shares import MIN_CELLS
from edgehemo.cells.typing import CellClassifier, CellTyper
from edgehemo.cli import run
from edgehemo.errors import BundleError
from edgehemo.field.canonical import CLEAR_FIELD_CODE, canonical_field
from edgehemo.field.scale import RED_CELL_DIAMETER_UM
from edgehemo.files.atomic import sha256_of_file
from edgehemo.images.frame import Frame
from edgehemo.inference.processor import byte_dot_products, saturates_products
from edgehemo.profile.parts import CheckedType, RedCellTypesCheck
from edgehemo.screening.cell_types import sample_types
from edgehemo.screening.field import FieldReader
from edgehemo.screening.sample import Screening, screen_frames
from tests.support.classifiers import CLASSES, SIDE, TYPES, AlwaysRed, entry
from tests.support.quality_frames import profile_with
from tests.support.schemas import validate
from tests.support.screening_fakes import (
    TruthFinder,
    scripted,
    simulated_frames,
    use_equipment,
)


def types_check(
    *, agreed: int, shown: int = 100, model_sha256: str = "0" * 64
) -> RedCellTypesCheck:
    types = (CheckedType(type="red", shown=shown, agreed=agreed),)
    return RedCellTypesCheck(model_sha256=model_sha256, fields=3, types=types)


class ColourRunner:
    """Names a crop by its darkest channel in the middle; notes the batches it was given."""

    name, version = "colours", "1"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert codes.shape[1:] == (SIDE, SIDE, 3) and codes.dtype == np.uint8
        self.batches.append(len(codes))
        return colour_probabilities(codes)


def colour_probabilities(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    middle = codes[:, SIDE // 2, SIDE // 2].astype(np.float32)
    darkness = np.maximum(0.0, 160.0 - middle) / 20
    logits = np.concatenate([darkness, np.full((len(codes), 1), 1.0)], axis=1)
    raised = np.exp(logits)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float32)


def classifier(**options: Any) -> CellClassifier:
    batch = options.pop("batch", None)
    return CellClassifier(ColourRunner(), entry(**options), batch=batch)


def crops(*colours: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.stack([np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in colours])


RED, GREEN, BLUE, CLEAR = (20, 200, 200), (200, 20, 200), (200, 200, 20), (200, 200, 200)


def test_without_a_rule_the_likeliest_type_is_named_and_a_reject_is_uncertain() -> None:
    model = classifier()
    naming = model.named(model.probabilities(crops(RED, BLUE, CLEAR)))
    assert naming.names == ("red", "blue", UNCERTAIN)
    assert naming.scores[0] > 0.9 and naming.scores[2] < 0.3
    assert model.types == ("red", "green", "blue")


def test_a_cell_is_named_when_exactly_one_class_reaches_its_threshold() -> None:
    model = classifier(thresholds={"red": 0.3, "green": 0.3, "blue": 0.3, "other": 0.3})
    rows = np.array(
        [
            [0.8, 0.1, 0.05, 0.05],  # one type
            [0.4, 0.4, 0.1, 0.1],  # two
            [0.29, 0.28, 0.28, 0.15],  # none
            [0.1, 0.1, 0.1, 0.7],  # one, but no type
            [0.35, 0.1, 0.1, 0.45],  # a type and none of them
        ],
        np.float32,
    )
    naming = model.named(rows)
    assert naming.names == ("red", UNCERTAIN, UNCERTAIN, UNCERTAIN, UNCERTAIN)
    np.testing.assert_allclose(naming.scores, [0.8, 0.4, 0.29, 0.1, 0.35], atol=1e-6)


def test_a_class_without_a_threshold_is_never_named() -> None:
    model = classifier(thresholds={"red": 0.5})
    assert model.named(np.array([[0.0, 1.0, 0.0, 0.0]], np.float32)).names == (UNCERTAIN,)


@given(
    hnp.arrays(np.float32, (7, 4), elements=st.floats(0, 1, width=32)),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_names_follow_the_rule_for_any_probabilities(
    rows: NDArray[np.float32], limits: list[float]
) -> None:
    model = classifier(thresholds=dict(zip(CLASSES, limits, strict=True)))
    for row, name in zip(rows, model.named(rows).names, strict=True):
        inside = [
            c for c, p, limit in zip(CLASSES, row.tolist(), limits, strict=True) if p >= limit
        ]
        assert name == (inside[0] if len(inside) == 1 and inside[0] in TYPES else UNCERTAIN)


@pytest.mark.parametrize("batch", [None, 1, 5])
@pytest.mark.parametrize("count", [0, 1, 5, 23])
def test_every_crop_is_answered_whatever_the_batch(batch: int | None, count: int) -> None:
    model = classifier(batch=batch)
    colours = [(RED, GREEN, BLUE)[i % 3] for i in range(count)]
    given_crops = crops(*colours) if colours else np.zeros((0, SIDE, SIDE, 3), np.uint8)
    found = model.probabilities(given_crops)
    assert found.shape == (count, 4)
    np.testing.assert_array_equal(found, colour_probabilities(given_crops))
    assert isinstance(model.runner, ColourRunner)
    if batch is not None:
        assert set(model.runner.batches) <= {batch}


@pytest.mark.parametrize("options", [{"side": None}, {"um_per_px": None}])
def test_a_model_without_a_fixed_size_or_scale_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="fixed size and scale"):
        classifier(**options)


def painted_frame() -> tuple[Frame, dict[str, tuple[float, float]]]:
    """A clear frame at 0.125 um/px with three cells, each of another colour."""
    pixels = np.full((240, 320, 3), 210, np.uint8)
    places = {"red": (60.0, 60.0), "green": (160.0, 120.0), "blue": (250.0, 200.0)}
    for channel, (x, y) in enumerate(places.values()):
        colour = [170, 170, 170]
        colour[channel] = 30
        cv2.circle(pixels, (round(x), round(y)), 24, colour, cv2.FILLED)
    return Frame(pixels, "painted"), places


def found_at(places: dict[str, tuple[float, float]], kind: Any = "wbc") -> FieldCells:
    cells = tuple(Cell(kind, x - 24, y - 24, x + 24, y + 24, 0.9) for x, y in places.values())
    return FieldCells(cells, {"rbc": 0, "wbc": len(cells), "platelet": 0}, {}, 0.01)


@pytest.mark.parametrize("um_per_px", [0.25, 0.5, 0.125])
def test_cells_of_a_field_are_cut_out_where_they_lie_at_the_models_scale(um_per_px: float) -> None:
    frame, places = painted_frame()
    field = canonical_field(frame, um_per_px=0.125)
    typer = CellTyper({"nucleated": classifier(um_per_px=um_per_px)})
    typed = typer.typed(field, found_at(places))
    assert [cell.type for cell in typed.cells] == list(places)
    assert all(cell.type_score is not None and cell.type_score > 0.5 for cell in typed.cells)
    untouched = typer.typed(field, found_at(places, "rbc"))
    assert all(cell.type == UNCERTAIN and cell.type_score is None for cell in untouched.cells)


def test_white_cells_are_asked_of_one_model_red_ones_of_the_other_platelets_of_none() -> None:
    frame, places = painted_frame()
    field = canonical_field(frame, um_per_px=0.125)
    white, red = classifier(), classifier(task="morphology")
    typer = CellTyper({"nucleated": white, "morphology": red})
    found = found_at(places, "platelet")
    faint = replace(found, cells=(replace(found.cells[0], score=0.4), *found.cells[1:]))
    platelets = typer.typed(field, faint).cells
    assert isinstance(white.runner, ColourRunner) and isinstance(red.runner, ColourRunner)
    assert (sum(white.runner.batches), sum(red.runner.batches)) == (0, 0)
    assert [cell.type for cell in platelets] == [UNCERTAIN, "platelet", "platelet"]
    assert [cell.type_score for cell in platelets] == [0.4, 0.9, 0.9]
    typer.typed(field, found_at(places, "wbc"))
    assert (sum(white.runner.batches), sum(red.runner.batches)) == (3, 0)
    typer.typed(field, found_at(places, "rbc"))
    assert (sum(white.runner.batches), sum(red.runner.batches)) == (3, 3)


@pytest.mark.parametrize(
    ("box", "named"),
    [
        ((100, 80, 140, 120), True),
        ((0, 80, 40, 120), False),
        ((100, 0.5, 140, 40), False),
        ((280, 80, 320, 120), False),
        ((100, 200, 140, 239.6), False),
        ((3, 3, 40, 40), True),
    ],
)
def test_a_white_cell_that_the_border_cuts_is_not_named(
    box: tuple[float, float, float, float], named: bool
) -> None:
    field = canonical_field(Frame(np.full((240, 320, 3), 210, np.uint8), "clear"), um_per_px=0.25)
    typer = CellTyper(
        {
            "nucleated": CellClassifier(AlwaysRed(), entry()),
            "morphology": CellClassifier(AlwaysRed(), entry("morphology")),
        }
    )
    cells = (Cell("wbc", *box, 0.9), Cell("rbc", *box, 0.9))
    found = FieldCells(cells, {"rbc": 1, "wbc": 1, "platelet": 0}, {}, 0.01)
    white, red = typer.typed(field, found).cells
    assert white.type == ("red" if named else UNCERTAIN)
    assert white.kind == "wbc" and white.type_score == pytest.approx(0.97)
    # Of a red one the shares leave out what lies at the border; its name stays.
    assert red.type == "red"


def red_typer() -> CellTyper:
    # Of truly red cells nine in ten are named so, of green ones a tenth is called red.
    counts = [[90, 5, 5, 0, 0], [10, 85, 5, 0, 0], [0, 0, 95, 5, 0], [0, 0, 0, 90, 10]]
    model = CellClassifier(AlwaysRed(), entry("morphology", confusion=Confusion(counts=counts)))
    return CellTyper({"morphology": model})


def test_a_screening_names_cells_and_gives_shares_with_intervals() -> None:
    finder = TruthFinder()
    frames = simulated_frames(finder, count=3)
    reader = FieldReader(
        finder,
        typer=red_typer(),
        um_per_px=0.25,
        check=scripted(),
        profile=profile_with(red_cell_types=types_check(agreed=95)),
    )
    reading = screen_frames(frames, Screening(reader))
    types = reading.types
    assert types is not None and types.red_cells is not None and types.white_cells is None
    named = [cell.type for field in reading.fields if field.cells for cell in field.cells.cells]
    assert "red" in named
    by_type = {share.type: share for share in types.red_cells}
    assert set(by_type) == set(TYPES)
    assert by_type["red"].share > 0.9 and by_type["red"].low < by_type["red"].share
    counted = sum(share.named for share in types.red_cells)
    red_cells = sum(
        cell.kind == "rbc" for field in reading.fields if field.cells for cell in field.cells.cells
    )
    # Those cut by the border are named but do not count.
    assert 20 < counted < red_cells


def test_too_few_cells_give_no_share_but_a_reason() -> None:
    cells = tuple(Cell("rbc", 100 + i, 100, 130 + i, 130, 0.9, "red", 0.9) for i in range(3))
    reading: Any = SimpleNamespace(
        cells=FieldCells(cells, {}, {}, 0.1), width=640, height=480, um_per_px=0.25
    )
    types, _ = sample_types([reading], red_typer())
    assert types is not None and types.red_cells is None
    assert "fewer than" in types.red_cells_reason
    assert sample_types([reading], CellTyper({})) == (None, None)


@pytest.mark.parametrize(
    ("checked", "reason"),
    [
        (None, "nobody has checked them on this one"),
        (types_check(agreed=80), "agreed with 80 of 100"),
        (types_check(agreed=10, shown=10), "agreed with 10 of 10"),
        (types_check(agreed=100, model_sha256="1" * 64), "with another model"),
        (types_check(agreed=88), ""),
    ],
)
def test_shares_are_given_where_a_person_has_agreed_on_this_microscope(
    checked: RedCellTypesCheck | None, reason: str
) -> None:
    cells = tuple(
        Cell("rbc", 100 + i, 100, 130 + i, 130, 0.9, "red", 0.9) for i in range(MIN_CELLS)
    )
    reading: Any = SimpleNamespace(
        cells=FieldCells(cells, {}, {}, 0.1), width=640, height=480, um_per_px=0.25
    )
    types, likely = sample_types([reading], red_typer(), (), checked)
    assert types is not None and likely is not None
    assert reason in types.red_cells_reason
    # What a finding is weighed by is there all the same: it asks a person to look.
    assert types.red_cells == (None if reason else likely)


def test_the_record_and_the_report_show_the_types(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finder = TruthFinder()
    frame = simulated_frames(finder, count=1)[0]
    picture = tmp_path / "field.png"
    cv2.imwrite(str(picture), np.ascontiguousarray(frame.pixels[..., ::-1]))
    finder.truths[str(picture)] = finder.truths[frame.source]
    check = scripted()
    use_equipment(
        monkeypatch,
        finder,
        typer=red_typer(),
        check=check,
        profile=profile_with(red_cell_types=types_check(agreed=95)),
    )
    out = tmp_path / "out"
    assert run(["screen", str(picture), "--out", str(out), "--um-per-px", "0.25"]) == 0
    record = json.loads((out / "result.json").read_text())
    validate(record)
    assert {share["type"] for share in record["sample"]["types"]["red_cells"]} == set(TYPES)
    page = (out / "report.html").read_text()
    assert "Types of cells" in page and "names no white cells" in page


def tiny_classifier(path: Path) -> None:
    """An ONNX graph that answers as `colour_probabilities` does."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    half = SIDE // 2
    constants = {
        "from": np.array([half, half]),
        "to": np.array([half + 1, half + 1]),
        "axes": np.array([1, 2]),
        "dark": np.array(160.0, np.float32),
        "per": np.array(20.0, np.float32),
        "bias": np.zeros((1, 4), np.float32) + np.array([0, 0, 0, 1], np.float32),
        "spread": np.eye(3, 4, dtype=np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["codes", "from", "to", "axes"], ["middle"]),
            helper.make_node("Squeeze", ["middle", "axes"], ["pixel"]),
            helper.make_node("Cast", ["pixel"], ["value"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["dark", "value"], ["below"]),
            helper.make_node("Relu", ["below"], ["darkness"]),
            helper.make_node("Div", ["darkness", "per"], ["scaled"]),
            helper.make_node("MatMul", ["scaled", "spread"], ["wide"]),
            helper.make_node("Add", ["wide", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "colours",
        [helper.make_tensor_value_info("codes", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped bundle's finder with a classifier for either task."""
    monkeypatch.setenv(UNSIGNED_VARIABLE, "1")
    folder = Path(shutil.copytree(SHIPPED_BUNDLE, tmp_path / "bundle"))
    file = folder / "colours.onnx"
    tiny_classifier(file)
    artefact = {
        "format": "onnx",
        "precision": "fp32",
        "file": file.name,
        "sha256": sha256_of_file(file),
        "bytes": file.stat().st_size,
        "parity": {},
    }
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["models"] = [m for m in manifest["models"] if m["task"] == "cell_finder"]
    tasks: tuple[ModelTask, ...] = ("nucleated", "morphology")
    for task in tasks:
        made = entry(task, thresholds=dict.fromkeys(CLASSES, 0.4)).model_dump()
        manifest["models"].append({**made, "artefacts": [artefact]})
    path.write_text(json.dumps(manifest))
    return folder


def picture_of(folder: Path, name: str, colour: tuple[int, int, int], side: int = 90) -> Path:
    pixels = np.full((side, side + 10, 3), 220, np.uint8)
    cv2.circle(pixels, (side // 2 + 5, side // 2), 25, colour, cv2.FILLED)
    path = folder / name
    cv2.imwrite(str(path), np.ascontiguousarray(pixels[..., ::-1]))
    return path


def test_classify_names_one_cell_an_image(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    red = picture_of(tmp_path, "red.png", (30, 180, 180))
    nothing = picture_of(tmp_path, "nothing.png", (210, 215, 212))
    text = tmp_path / "broken.png"
    text.write_text("no picture")
    common = ["--model", "nucleated", "--bundle", str(bundle), "--um-per-px", "0.25"]
    code = run(["classify", str(red), str(text), str(nothing), *common, "--json", "-"])
    assert code == 2
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "edgehemo.classify/1" and told["coverage"] == 0.9
    first, broken, last = told["images"]
    assert first["type"] == "red" and first["certain"] and first["candidates"] == ["red"]
    assert set(first["probabilities"]) == set(TYPES)
    whole = sum(first["probabilities"].values()) + first["not_nucleated_probability"]
    assert whole == pytest.approx(1.0, abs=1e-5)
    assert first["score"] == max(first["probabilities"].values())
    assert set(broken) == {"image", "error"}
    assert last["type"] == "not_nucleated_cell" and not last["certain"]
    assert last["score"] == last["not_nucleated_probability"]
    assert run(["classify", str(red), *common]) == 0
    assert "red.png: red" in capsys.readouterr().out


def test_classify_says_what_is_wrong(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    red = picture_of(tmp_path, "red.png", (30, 180, 180))
    given = ["classify", str(red), "--model", "morphology", "--bundle", str(bundle)]
    assert run([*given, "--um-per-px", "50"]) == 2
    assert "50 um/px is outside" in capsys.readouterr().err
    assert run(["classify", str(red), "--model", "colours"]) == 2
    tiny = tmp_path / "tiny.png"
    cv2.imwrite(str(tiny), np.zeros((8, 8, 3), np.uint8))
    assert run(["classify", str(tiny), *given[2:]]) == 2
    assert "too small for a picture of a cell" in capsys.readouterr().err


def test_cells_come_with_types_of_their_kind(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finder = TruthFinder()
    frame = simulated_frames(finder, count=1)[0]
    path = tmp_path / "field.png"
    cv2.imwrite(str(path), np.ascontiguousarray(frame.pixels[..., ::-1]))
    assert run(["cells", str(path), "--bundle", str(bundle), "--json", "-"]) == 0
    cells = json.loads(capsys.readouterr().out)["images"][0]["cells"]
    assert len(cells) > 10
    for cell in cells:
        own = {"platelet"} if cell["kind"] == "platelet" else set(TYPES)
        assert cell["type"] in {*own, UNCERTAIN}
    assert all(0 <= cell["type_score"] <= 1 for cell in cells)


def test_a_crop_beyond_the_border_is_padded_with_clear_field() -> None:
    class Noting(ColourRunner):
        def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
            self.codes = codes
            return super().run(codes)

    runner = Noting()
    model = CellClassifier(runner, entry())
    codes = np.full((40, 40, 3), 50, np.uint8)
    model.of_cells(codes, np.array([[0.0, 0.0]], np.float32))
    assert (runner.codes[0, : SIDE // 2] == CLEAR_FIELD_CODE).all()
    assert (runner.codes[0, SIDE // 2 :, SIDE // 2 :] == 50).all()


@pytest.mark.parametrize(
    ("machine", "flags", "saturates"),
    [
        ("x86_64", "fpu avx2 avx512_vnni", False),
        ("x86_64", "fpu avx2 avx_vnni", False),
        ("x86_64", "fpu avx2", True),
        ("aarch64", "fp asimd", False),
    ],
)
def test_only_x86_without_vnni_needs_unsigned_weights(
    machine: str, flags: str, saturates: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : {flags}\n")
    monkeypatch.setattr("edgehemo.inference.processor.CPU_INFO", info)
    monkeypatch.setattr("edgehemo.inference.processor.platform.machine", lambda: machine)
    byte_dot_products.cache_clear()
    try:
        assert saturates_products() is saturates
    finally:
        byte_dot_products.cache_clear()


# --- the scale of a picture of one cell -----------------------------------------------------------


def red_cell_picture(diameter_px: int, *, pallor: float = 0.0, neighbour: bool = False) -> Any:
    """A picture with a red cell in the middle, uint8 RGB, 80 px wide."""
    picture = np.full((80, 80, 3), 225, np.uint8)
    cell = (190, 120, 130)
    cv2.circle(picture, (40, 40), diameter_px // 2, cell, -1, cv2.LINE_AA)
    if neighbour:
        cv2.circle(picture, (40 + diameter_px - 2, 40), diameter_px // 2, cell, -1, cv2.LINE_AA)
    if pallor:
        pale = round(pallor * diameter_px / 2)
        cv2.circle(picture, (40, 40), pale, (222, 215, 216), -1, cv2.LINE_AA)
        # A ring that is open to one side, as pale cells show.
        cv2.line(picture, (40, 40), (40, 40 - diameter_px), (225, 225, 225), 2)
    return cv2.GaussianBlur(picture, (0, 0), 0.8)


@pytest.mark.parametrize("diameter_px", [26, 38, 52])
@pytest.mark.parametrize("look", [{}, {"pallor": 0.7}, {"neighbour": True}])
def test_a_red_cell_that_fills_its_picture_gives_the_scale(
    diameter_px: int, look: dict[str, Any]
) -> None:
    found = crop_scale(red_cell_picture(diameter_px, **look), of_red_cell=True)
    assert found.source == "red_cells"
    assert found.um_per_px * diameter_px == pytest.approx(RED_CELL_DIAMETER_UM, rel=0.08)


def test_without_a_red_cell_in_the_middle_the_scale_is_assumed() -> None:
    blank = np.full((80, 80, 3), 225, np.uint8)
    aside = blank.copy()
    cv2.circle(aside, (10, 10), 8, (190, 120, 130), -1)
    for picture in (blank, aside):
        assert crop_scale(picture, of_red_cell=True).source == "assumed"
    assert crop_scale(red_cell_picture(38), 0.31, of_red_cell=True).um_per_px == 0.31
