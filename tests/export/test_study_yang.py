"""The study of Yang et al.: folds by patient, comparators, agreement, the test of density, runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the [host] extra")

from torch import nn

from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.errors import UsageError
from edgehemo.estimate.values import FieldIndices
from edgehemo.field.canonical import CLEAR_FIELD_CODE
from edgehemo.measurands import MEASURANDS, Measurand
from edgehemo.simulation.panels import CBCPanel, draw_panel, read_panels
from edgehemo_export.evaluation.statistics import EvaluationFigure
from edgehemo_export.studies import run
from edgehemo_export.studies.registry import STUDIES
from edgehemo_export.studies.run import read_study_configuration, run_study
from edgehemo_export.studies.yang import network, simulated
from edgehemo_export.studies.yang.agreement import (
    BIAS,
    MAE,
    PCC,
    R2,
    Answers,
    by_concentration,
    figures,
    shrinkage,
    with_intervals,
)
from edgehemo_export.studies.yang.analysis import calibrated, mean_of_others
from edgehemo_export.studies.yang.comparators import (
    DRAWN,
    MEAN,
    ONE_INDEX,
    PENALTIES,
    compared,
    fitted_head,
)
from edgehemo_export.studies.yang.density import (
    Verdict,
    densities,
    density_tests,
    holm,
    permutation_p,
    relative,
    verdict_of,
)
from edgehemo_export.studies.yang.folds import folds_of
from edgehemo_export.studies.yang.network import (
    BloodCountTask,
    answers,
    crop,
    first_weights,
    trained,
)
from edgehemo_export.studies.yang.pairs import samples_of_folder
from edgehemo_export.studies.yang.patients import Place, Row, StudyField, shrunk
from edgehemo_export.studies.yang.simulated import patients_by_laboratory
from edgehemo_export.studies.yang.sources import find_data
from edgehemo_export.training.task import LoopConfig
from tests.support.schemas import validate

pytestmark = pytest.mark.host

Array = NDArray[np.float64]

# Everything small: what is tried is that the study runs, not what it finds.
TINY = """
folds = 2
repeat_seeds = [7]
repeat_folds = 1
bootstrap_rounds = 100
permutations = 99

[fields]
crop_px = 32

[simulated]
patients = 10
side_px = 320
usual_fields = 1
external_microscopes = [1]
external_patients = 5

[loop]
steps = 2
batch_size = 2
warmup_steps = 1
"""


# --- folds ---------------------------------------------------------------------------------------


def test_no_patient_lies_in_two_folds_and_every_fold_spans_the_range(
    rng: np.random.Generator,
) -> None:
    groups = [f"p{i // 3}" for i in range(150)]
    values = np.repeat(rng.uniform(40, 180, 50), 3)
    fold = folds_of(groups, values, 10, seed=4)
    owner: dict[str, set[int]] = {}
    for group, number in zip(groups, fold, strict=True):
        owner.setdefault(group, set()).add(int(number))
    assert all(len(numbers) == 1 for numbers in owner.values())
    assert sorted(np.bincount(fold).tolist()) == [15] * 10
    means = [values[fold == number].mean() for number in range(10)]
    # Dealt out at random, such means scatter by 40 / sqrt(5) = 18.
    assert np.std(means) < 6
    assert (folds_of(groups, values, 10, seed=4) == fold).all()
    assert (folds_of(groups, values, 10, seed=5) != fold).any()


def test_few_patients_are_each_a_fold_and_too_few_are_refused() -> None:
    groups = ["a", "b", "b", "c", "d", "e", "f"]
    fold = folds_of(groups, np.arange(7.0), 10, seed=0)
    assert len(set(fold.tolist())) == 6
    assert fold[1] == fold[2]
    with pytest.raises(UsageError, match="4 patients"):
        folds_of(["a", "b", "c", "d", "d"], np.arange(5.0), 10, seed=0)


# --- comparators ---------------------------------------------------------------------------------


def indices(cover: float, green: float, area: float | None = 45.0) -> FieldIndices:
    return FieldIndices(
        cell_cover=cover,
        cell_od_red=0.05,
        cell_od_green=green / cover,
        cell_od_blue=0.1,
        field_od_red=0.01,
        field_od_green=green,
        field_od_blue=0.02,
        dark_share=cover,
        cell_area_um2=area,
        cell_area_cv=0.1,
        rbc_per_mm2=None,
        area_mm2=0.01,
    )


def row(
    patient: str, hgb: float, made: FieldIndices, place: Place = "usual", drawn: float | None = None
) -> Row:
    field = StudyField(
        name=patient,
        codes=np.full((8, 8, 3), 200, np.uint8),
        indices=made,
        shipped=np.zeros(0, np.float32),
        place=place,
        drawn=None if drawn is None else dict.fromkeys(MEASURANDS, drawn),
    )
    return Row("s", patient, patient, {"hgb_g_per_l": hgb}, field)


def test_a_line_is_fitted_on_usual_fields_alone_and_a_missing_feature_gives_no_answer() -> None:
    usual = [row(f"p{i}", 10.0 * i + 50, indices(0.3, 0.01 * i + 0.05)) for i in range(8)]
    # Places that would turn the line round.
    odd = [row(f"p{i}", 10.0 * i + 50, indices(0.3, 0.5 - 0.05 * i), "thick") for i in range(8)]
    asked = [row("x", 0.0, indices(0.3, 0.10)), row("y", 0.0, indices(0.3, 0.10, None))]
    found = compared([*usual, *odd], asked, ["hgb_g_per_l"])
    assert found[ONE_INDEX][:, 0] == pytest.approx([100.0, 100.0], abs=1e-4)
    assert found[MEAN][:, 0] == pytest.approx([85.0, 85.0])
    assert np.isnan(found["physical indices, ridge"][1, 0])
    assert DRAWN not in found


def test_every_group_counts_the_same_however_many_rows_it_has() -> None:
    x = np.array([[0.0], [1.0], [2.0]])
    once = fitted_head(x, np.array([1.0, 2.0, 4.0]), ["a", "b", "c"])
    often = fitted_head(
        np.repeat(x, (1, 1, 9), axis=0), np.repeat([1.0, 2.0, 4.0], (1, 1, 9)), [*"ab", *"c" * 9]
    )
    assert often.at(x) == pytest.approx(once.at(x), abs=1e-6)


def test_the_penalty_is_chosen_by_groups_left_out(rng: np.random.Generator) -> None:
    """Sixty features of noise beside one that tells: least squares would follow the noise."""
    x = rng.standard_normal((80, 61))
    y = 3.0 * x[:, 0] + 0.5 * rng.standard_normal(80)
    groups = [str(i) for i in range(80)]
    asked = rng.standard_normal((400, 61))
    missed = {
        name: float(np.abs(fitted_head(x, y, groups, given).at(asked) - 3.0 * asked[:, 0]).mean())
        for name, given in (("ridge", PENALTIES), ("least squares", ()))
    }
    assert missed["ridge"] < 0.8 * missed["least squares"]


# --- agreement -----------------------------------------------------------------------------------


def test_figures_are_what_their_names_say() -> None:
    truth = np.array([80.0, 100.0, 120.0, 140.0])
    found = figures(truth * 0.5 + 60.0, truth)
    assert found[PCC] == pytest.approx(1.0)
    assert found[BIAS] == pytest.approx(5.0)
    assert found[MAE] == pytest.approx((20 + 10 + 0 + 10) / 4)
    assert found[R2] == pytest.approx(1 - (400 + 100 + 0 + 100) / 2000)
    assert PCC not in figures(np.full(4, 100.0), truth)


def test_fields_are_counted_by_patient_and_seeds_by_their_mean() -> None:
    given = Answers(
        ["a", "a", "b", "c"],
        np.array([100.0, 100.0, 50.0, 70.0]),
        {
            1: np.array([90.0, 110.0, 50.0, 70.0]),
            2: np.array([110.0, 130.0, 50.0, 70.0]),
        },
    )
    by_patient = given.by_patient()
    assert by_patient.groups == ["a", "b", "c"]
    assert by_patient.by_seed[1].tolist() == [100.0, 50.0, 70.0]
    assert by_patient.mean.tolist() == [110.0, 50.0, 70.0]
    found = with_intervals(by_patient, 100)
    # Seed 1 misses nothing, seed 2 one patient by 20.
    assert found[MAE].value == pytest.approx(20 / 3 / 2)
    assert "3 groups" in found[MAE].method


def test_error_by_concentration_and_its_slope_show_an_answer_drawn_to_the_mean(
    rng: np.random.Generator,
) -> None:
    truth = rng.uniform(50, 170, 120)
    given = Answers([str(i) for i in range(120)], truth, {1: 0.6 * truth + 0.4 * truth.mean()})
    bands = by_concentration(given, "hgb_g_per_l", 100)
    assert [(band.low, band.high) for band in bands] == [
        (None, 80.0),
        (80.0, 110.0),
        (110.0, 130.0),
        (130.0, None),
    ]
    assert sum(band.patients for band in bands) == 120
    assert bands[0].figures[BIAS].value > 5 > -5 > bands[-1].figures[BIAS].value
    assert shrinkage(given, 100).value == pytest.approx(-0.4)


def test_a_patient_of_another_source_has_no_part_in_the_line_that_answers_it() -> None:
    """Two samples of one blood count leave together; a far-off one shows who was left out."""
    truth = np.array([60.0, 80.0, 100.0, 120.0, 140.0, 500.0, 500.0])
    groups = ["a", "b", "c", "d", "e", "f", "f"]
    given = Answers(groups, truth, {1: np.array([30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 75.0])})
    found = calibrated(given, 1.0)
    assert found is not None
    assert found.mean[5] == pytest.approx(found.mean[6])
    assert found.mean[5] < 200
    assert mean_of_others(given).mean[5] == pytest.approx(100.0)
    assert calibrated(Answers(["a"] * 3, truth[:3], {1: truth[:3]}), 1.0) is None


# --- the test of density -------------------------------------------------------------------------


def density_world(
    rng: np.random.Generator, elasticity: float, noise: float, patients: int = 60
) -> tuple[Array, list[str], Answers]:
    """Covers (n,), patients, and answers that follow the density by so much."""
    groups = [f"p{i}" for i in range(patients) for _ in range(6)]
    truth = np.repeat(rng.uniform(3.0, 6.0, patients), 6)
    x = rng.normal(0, 0.25, len(groups))
    said = truth * (1 + elasticity * x + noise * rng.standard_normal(len(x)))
    return 0.3 * np.exp(x), groups, Answers(groups, truth, {1: said})


@pytest.mark.parametrize(
    ("elasticity", "noise", "patients", "r2", "verdict"),
    [
        (1.0, 0.05, 60, 0.9, "matters"),
        (0.0, 0.03, 60, 0.9, "does not matter"),
        (0.0, 0.30, 8, 0.9, "undecided"),
        (0.0, 0.00, 60, 0.1, "answers tell too little"),
    ],
)
def test_the_claim_that_density_does_not_matter_can_hold_and_fail(
    rng: np.random.Generator,
    elasticity: float,
    noise: float,
    patients: int,
    r2: float,
    verdict: Verdict,
) -> None:
    covers, groups, given = density_world(rng, elasticity, noise, patients)
    found = densities(covers, groups)
    test = density_tests(
        found,
        {"rbc_1e12_per_l": given},
        rounds=200,
        permutations=199,
        seed=1,
        r2={"rbc_1e12_per_l": r2},
    )["rbc_1e12_per_l"]
    assert test.verdict == verdict
    assert test.elasticity.value == pytest.approx(elasticity, abs=0.25)
    assert test.patients == patients
    assert len(test.thirds) == 3


def test_p_is_even_where_nothing_hangs_on_density_and_small_where_it_does(
    rng: np.random.Generator,
) -> None:
    found = []
    for elasticity in (0.0, 0.6):
        p = []
        for _ in range(40):
            covers, groups, given = density_world(rng, elasticity, 0.2, 12)
            fields = densities(covers, groups)
            p.append(permutation_p(fields, relative(given.of(fields.kept), fields), 99, seed=2))
        found.append(p)
    # 40 even values: a mean of 0.5 with a standard deviation of 0.046.
    assert 0.35 < np.mean(found[0]) < 0.65
    assert np.mean(np.array(found[1]) < 0.05) > 0.8


def test_a_patient_with_one_field_and_a_bare_field_say_nothing_of_density() -> None:
    found = densities(np.array([0.3, 0.2, 0.4, 0.001]), ["a", "b", "b", "b"])
    assert found.kept.tolist() == [False, True, True, False]
    assert found.x == pytest.approx([-np.log(2) / 2, np.log(2) / 2])


def test_p_values_are_adjusted_by_holm_and_the_verdict_wants_both() -> None:
    p: dict[Measurand, float] = {
        "hgb_g_per_l": 0.01,
        "hct_l_per_l": 0.04,
        "rbc_1e12_per_l": 0.03,
    }
    assert holm(p) == pytest.approx(
        {"hgb_g_per_l": 0.03, "rbc_1e12_per_l": 0.06, "hct_l_per_l": 0.06}
    )
    wide = EvaluationFigure(0.2, 0.1, 0.3, "")
    assert verdict_of(0.001, wide, telling=True) == "matters"
    assert verdict_of(0.2, wide, telling=True) == "undecided"
    # Surely there, and too small to matter.
    small = EvaluationFigure(0.02, 0.01, 0.03, "")
    assert verdict_of(0.001, small, telling=True) == "does not matter"


# --- the network ---------------------------------------------------------------------------------


def test_a_crop_is_of_the_field_and_a_small_field_is_continued_clear(
    rng: np.random.Generator,
) -> None:
    codes = rng.integers(0, 200, (20, 30, 3), np.uint8)
    cut = crop(codes, 12, rng)
    assert cut.shape == (12, 12, 3)
    assert set(map(tuple, cut.reshape(-1, 3))) <= set(map(tuple, codes.reshape(-1, 3)))
    padded = crop(codes, 40, rng)
    clear = (padded == CLEAR_FIELD_CODE).all(axis=2).sum()
    assert padded.shape == (40, 40, 3)
    assert clear >= 40 * 40 - 20 * 30
    assert shrunk(codes, 0.5).shape == (10, 15, 3)
    assert shrunk(codes, 0.5).mean() == pytest.approx(codes.mean(), abs=1.0)


def test_training_learns_what_the_fields_show_and_goes_on_where_it_stopped(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    """Fields whose darkness is the value, of patients that are then asked and of others."""
    values = np.linspace(60.0, 160.0, 24)

    def field(value: float) -> NDArray[np.uint8]:
        noise = rng.normal(0, 4, (40, 40, 3))
        return np.clip(210 - 0.6 * value + noise, 0, 255).astype(np.uint8)

    task = BloodCountTask([[field(v), field(v)] for v in values], values[:, None], 32)
    loop = LoopConfig(
        seed=1,
        steps=40,
        batch_size=8,
        learning_rate=2e-3,
        weight_decay=0.0,
        warmup_steps=4,
        clip_norm=5.0,
        average_decay=0.8,
    )
    told: list[int] = []
    net = trained(
        task, loop, tmp_path, start="scratch", progress=lambda step, parts: told.append(step)
    )
    asked = np.linspace(65.0, 155.0, 10)
    said = answers(net, [field(v) for v in asked], lambda done: None)[:, 0]
    assert np.corrcoef(said, asked)[0, 1] > 0.95
    assert told == [40]
    # What is stored is whole: the same again without a step.
    again = trained(task, loop, tmp_path, start="scratch")
    assert answers(again, [field(100.0)] * 1, lambda done: None).shape == (1, 1)
    stored, made = again.state_dict(), net.state_dict()
    assert all((stored[name] == made[name]).all() for name in made)


def test_what_a_training_begins_with_leaves_the_last_layer_out() -> None:
    assert first_weights("scratch") is None
    sibling = first_weights("sibling")
    assert sibling is not None
    assert "backbone.conv1.weight" in sibling
    assert not any(name.startswith("backbone.fc.") for name in sibling)


# --- data ----------------------------------------------------------------------------------------


def write_panels(path: Path, panels: Sequence[CBCPanel]) -> None:
    path.parent.mkdir(parents=True)
    names = "hgb_g_per_l hct_l_per_l rbc_1e12_per_l mcv_fl mch_pg wbc_1e9_per_l plt_1e9_per_l"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names.split())
        for panel in panels:
            writer.writerow([f"{getattr(panel, name):.6g}" for name in names.split()])


@pytest.fixture
def data_of_panels(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A data root with blood counts alone."""
    root = tmp_path / "data"
    write_panels(root / "anerbc" / "cbc_panels.csv", [draw_panel(rng) for _ in range(16)])
    return root


def write_pairs(folder: Path, rng: np.random.Generator, samples: int) -> None:
    """Pictures of the simulated microscope that lie there like a laboratory's own."""
    images = folder / "images"
    images.mkdir(parents=True)
    rows = []
    for number in range(samples):
        options = SimulatedOptions(seed=number, fields=2, width_px=320, height_px=320)
        with SimulatedMicroscope(options, panel=draw_panel(rng)) as camera:
            for index in range(2):
                camera.move_to_field(index)
                pixels = np.ascontiguousarray(camera.frame(5.0).pixels[..., ::-1])
                assert cv2.imwrite(str(images / f"s{number:02d}_{index}.png"), pixels)
            blood = camera.panel
        rows.append([f"s{number:02d}", *(f"{getattr(blood, name):.6g}" for name in MEASURANDS)])
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["sample", *MEASURANDS], *rows])


def test_patients_are_of_one_laboratory_each_and_too_few_are_told(data_of_panels: Path) -> None:
    study = STUDIES["yang"].load()
    own = data_of_panels.parent / "own.toml"
    own.write_text(TINY)
    config = read_study_configuration(study, own)
    panels = read_panels(data_of_panels / "anerbc" / "cbc_panels.csv")
    inside, outside = patients_by_laboratory(panels, config.simulated)
    assert (len(inside), len(outside)) == (10, 5)
    assert not {panel.hgb_g_per_l for panel in inside} & {panel.hgb_g_per_l for panel in outside}
    with pytest.raises(UsageError, match="14 complete blood counts are too few for 15"):
        patients_by_laboratory(panels[:14], config.simulated)


def test_what_a_folder_lacks_is_told_in_one_line(tmp_path: Path, data_of_panels: Path) -> None:
    with pytest.raises(UsageError, match=r"pairs\.csv with pictures .* or for a data root"):
        find_data(tmp_path)
    (data_of_panels / "anerbc" / "cbc_panels.csv").unlink()
    with pytest.raises(UsageError, match=r"0 patients .* no cbc_panels\.csv"):
        find_data(data_of_panels)


def test_samples_with_one_blood_count_are_one_patient(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    write_pairs(tmp_path / "own", rng, 2)
    table = tmp_path / "own" / "pairs.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], lines[1], "s01" + lines[1][3:]]) + "\n")
    first, second = samples_of_folder(tmp_path / "own")
    assert first.name != second.name
    assert first.group == second.group
    assert len(first.images) == 2


# --- whole runs ----------------------------------------------------------------------------------

RunTiny = Callable[..., dict[str, Any]]


class SmallBackbone(nn.Sequential):
    """What a ResNet18 is to the study, in a few weights: a run stores each training's state."""

    def __init__(self, weights: None, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, 4)
        self.pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(8, num_classes)


@pytest.fixture
def run_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunTiny:
    """Runs the study with `TINY` and some seeds; answers metrics.json."""
    monkeypatch.setattr(network, "resnet18", SmallBackbone)

    def go(data: Path, out: str, seeds: Sequence[int]) -> dict[str, Any]:
        study = STUDIES["yang"].load()
        own = tmp_path / "tiny.toml"
        own.write_text(f"seeds = {list(seeds)}\n{TINY}")
        config = read_study_configuration(study, own)
        run_study(study, data, tmp_path / out, config, quick=False)
        found: dict[str, Any] = json.loads((tmp_path / out / "metrics.json").read_text())
        return found

    return go


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Spares the time that drawings take in runs whose drawings nobody looks at."""

    def spare() -> None:
        monkeypatch.setattr(run, "png_and_svg", lambda figure, name: (b"png", b"svg"))

    return spare


def test_drawn_fields_are_called_simulated_wherever_they_are_told_of(
    run_tiny: RunTiny,
    undrawn: Callable[[], None],
    data_of_panels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = run_tiny(data_of_panels, "one", [1])
    validate(found)
    assert "SIMULATED" in found["summary"]
    assert not any(line["comparable"] for line in found["comparison"])
    assert all(
        "SIMULATED" in line["ours"] or "SIMULATED" in line["what"] for line in found["comparison"]
    )
    assert all("SIMULATED" in item["on"] for item in found["measures"])
    shown = (tmp_path / "one" / "index.html").read_text()
    sections = shown.split("<h2>")[2:-2]
    assert len(sections) >= 6
    assert all(text.startswith("SIMULATED") for text in sections)
    assert shown.count("<figcaption>") == shown.count("<figcaption>SIMULATED")
    with (tmp_path / "one" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all("SIMULATED" in line["source"] for line in rows)
    held_out = [line for line in rows if line["part"] == "folds" and line["method"] == "ResNet18"]
    # Each of three fields (usual, thin, thick), three measurands.
    assert len(held_out) == 10 * 3 * 3
    assert {line["fold"] for line in held_out} == {"1", "2"}
    assert {line["source"] for line in rows if line["part"] == "external"} == {
        "simulated laboratory B (SIMULATED)"
    }

    undrawn()

    # A second run takes everything up and draws nothing anew.
    def never(*_: object) -> None:
        raise AssertionError("drawn again")

    with monkeypatch.context() as forbidden:
        forbidden.setattr(simulated, "_photographed", never)
        (tmp_path / "one" / "metrics.json").unlink()
        again = run_tiny(data_of_panels, "one", [1])
    assert again["numbers_sha256"] == found["numbers_sha256"]
    assert all(part["taken_up"] for part in again["run"]["parts"])

    # Another folder: the same numbers from the same seeds.
    other = run_tiny(data_of_panels, "two", [1])
    assert other["numbers_sha256"] == found["numbers_sha256"]


def test_a_laboratorys_own_pairs_are_learnt_from_and_others_tried(
    run_tiny: RunTiny, undrawn: Callable[[], None], tmp_path: Path, rng: np.random.Generator
) -> None:
    undrawn()
    data = tmp_path / "our smears"
    write_pairs(data, rng, 6)
    write_pairs(data / "external" / "second microscope", rng, 4)
    (data / "images" / "s00_0.png").write_bytes(b"no picture")
    found = run_tiny(data, "out", [1, 2])
    assert "SIMULATED" not in (tmp_path / "out" / "index.html").read_text()
    assert all(line["comparable"] for line in found["comparison"][:9])
    assert {item["on"] for item in found["measures"]} == {
        "our smears, by patient",
        "our smears, folds trained again",
        "second microscope",
    }
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    inside = [line for line in rows if line["part"] == "folds"]
    assert {line["picture"] for line in inside if line["group"] == "s00"} == {"s00_1.png"}
    assert {line["seed"] for line in inside} == {"1", "2"}
    assert {line["target"] for line in rows} == set(MEASURANDS)
