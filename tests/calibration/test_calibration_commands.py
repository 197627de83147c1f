"""`edgehemo calibrate`: the pairs file, the flat field, the focus stack, the command lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.errors import CalibrationError, EdgeHemoError
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.profile.parts import ScaleCalibration
from edgehemo.profile.profile import load_profile, new_profile
from edgehemo_calibration.analyser.pairs import images_of_samples, read_pairs
from edgehemo_calibration.commands.calibrate import calibrate
from edgehemo_calibration.flat_field import measure_flat_field
from edgehemo_calibration.measuring import measure_stain
from edgehemo_calibration.sharpness import measure_focus, peak_of
from tests.support.smears import set_files

WHEN = datetime(2026, 11, 21, tzinfo=UTC)
HEADER = "image,hgb_g_per_l,hct_l_per_l,rbc_1e12_per_l"


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(
        calibrate, [str(a) for a in arguments], standalone_mode=False, catch_exceptions=True
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    (pictures / "S3").mkdir(parents=True)
    for name in ("a.png", "b.png", "S1_1.png", "S1_2.jpg", "S1-a.png", "S10_1.png", "S1.txt",
                 "S3/x.png", "S3/y.png", ".S1_hidden.png"):  # fmt: skip
        (pictures / name).write_bytes(b"x")
    return pictures


def pairs_file(folder: Path, text: str) -> Path:
    path = folder.parent / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_images_by_name(folder: Path) -> None:
    path = pairs_file(folder, f"{HEADER},note\na.png,120,0.36,4.1,ignored\nb.png,95.5,0.3,3.9,\n")
    pairs = read_pairs(path, folder)
    assert [pair.name for pair in pairs] == ["a.png", "b.png"]
    assert pairs[1].images == (folder / "b.png",)
    assert pairs[1].rows == (3,)
    assert pairs[1].reference == {
        "hgb_g_per_l": 95.5, "hct_l_per_l": 0.3, "rbc_1e12_per_l": 3.9,
    }  # fmt: skip


def test_samples_by_folder_or_by_the_beginning_of_a_name(folder: Path) -> None:
    path = pairs_file(folder, "sample,hgb_g_per_l\nS1,120\nS10,95\nS3,100\n")
    found = {pair.name: [image.name for image in pair.images] for pair in read_pairs(path, folder)}
    assert found == {
        "S1": ["S1-a.png", "S1_1.png", "S1_2.jpg"],
        "S10": ["S10_1.png"],
        "S3": ["x.png", "y.png"],
    }


def test_a_file_belongs_to_the_longest_name(folder: Path) -> None:
    (folder / "S1_1_a.png").write_bytes(b"x")
    found = images_of_samples(folder, ["S1", "S1_1"])
    assert [path.name for path in found["S1_1"]] == ["S1_1.png", "S1_1_a.png"]
    assert "S1_1_a.png" not in [path.name for path in found["S1"]]


def test_both_columns_put_several_pictures_into_one_sample(folder: Path) -> None:
    path = pairs_file(folder, "sample,image,hgb_g_per_l\np,a.png,120\np,b.png,120\n")
    (pair,) = read_pairs(path, folder)
    assert [image.name for image in pair.images] == ["a.png", "b.png"]
    path = pairs_file(folder, "sample,image,hgb_g_per_l\np,a.png,120\np,b.png,121\n")
    with pytest.raises(CalibrationError, match=r"row 3: sample 'p' has other values"):
        read_pairs(path, folder)


def test_every_problem_is_listed_with_its_row(folder: Path) -> None:
    text = "\n".join([
        HEADER, "a.png,12.0,36,4.1", "none.png,120,0.36,4.1", "a.png,120,0.36,4.1",
        "b.png,,abc,4.1", "../b.png,1e2,0.36,-4", "b.png,120,0.36", "", "S1_1.png,nan,0.3,4,1",
    ])  # fmt: skip
    with pytest.raises(CalibrationError) as caught:
        read_pairs(pairs_file(folder, text), folder)
    message = str(caught.value)
    for part in (
        "row 2: hgb_g_per_l 12 is outside 20 to 260; if it is in g/dL, multiply it by 10",
        "row 2: hct_l_per_l 36 is outside 0.05 to 0.8; if it is in per cent, multiply it by 0.01",
        "row 3: no image 'none.png'",
        "row 4: image 'a.png' is in row 2 already",
        "row 5: hgb_g_per_l is empty",
        "row 5: hct_l_per_l 'abc' is not a plain number",
        "row 6: hgb_g_per_l '1e2' is not a plain number",
        "row 6: rbc_1e12_per_l '-4' is not a plain number",
        "row 6: image '../b.png' must lie inside",
        "row 7: 3 cells, the header has 4",
        "row 9: 5 cells, the header has 4",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("image,hgb\na.png,1\n", "none of the columns"),
        ("name,hgb_g_per_l\na.png,100\n", "no column `image` or `sample`"),
        ("image;hgb_g_per_l\na.png;1.100,5\n", "not a plain number"),
        ('image,hgb_g_per_l\na.png,"100,5"\n', "not a plain number"),
        ("image,hgb_g_per_l,hgb_g_per_l\na.png,100,100\n", "occurs twice"),
        ("image,hgb_g_per_l\n", "no row below the header"),
        ("sample,hgb_g_per_l\nS9,100\n", "row 2: no picture for sample 'S9'"),
        ("sample,hgb_g_per_l\nS1,100\nS1,100\n", "row 3: sample 'S1' is in row 2 already"),
        ("sample,hgb_g_per_l\n..,100\n", "no picture for sample"),
        ('image,hgb_g_per_l\n"a.png,100\n', "no valid CSV"),
    ],
)
def test_unusable_files_are_refused_in_one_line(folder: Path, text: str, said: str) -> None:
    with pytest.raises(CalibrationError, match=said) as caught:
        read_pairs(pairs_file(folder, text), folder)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(folder: Path) -> None:
    with pytest.raises(CalibrationError, match="no such file of pairs"):
        read_pairs(folder / "none.csv", folder)
    with pytest.raises(CalibrationError, match="no such folder"):
        read_pairs(folder / "none.csv", folder / "none")
    (folder / "x.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(CalibrationError, match="UTF-8"):
        read_pairs(folder / "x.csv", folder)


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(st.lists(st.text(max_size=8), min_size=1, max_size=5), max_size=5))
def test_any_table_is_read_or_refused(
    rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "any.csv"
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sample", "hgb_g_per_l"])
        writer.writerows(rows)
    with pytest.raises(CalibrationError):
        read_pairs(path, folder)


def empty_field(level: float = 200.0, size: tuple[int, int] = (320, 240)) -> NDArray[np.uint8]:
    """A vignetted, tinted empty field with a little noise, uint8 RGB."""
    width, height = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = level * (1 - 0.2 * (x**2 + y**2)) * (1 + 0.05 * x)
    rgb = light[..., None] * np.array([1.0, 0.97, 0.9])
    noise = np.random.default_rng(0).normal(0, 1.5, rgb.shape)
    return np.asarray(np.clip(rgb + noise, 0, 255), np.uint8)


def test_the_flat_field_follows_the_light() -> None:
    pixels = empty_field()
    part = measure_flat_field([Frame(pixels, "a"), Frame(pixels, "b")])
    grid = part.array()
    assert grid.shape == (24, 32, 3)
    back = cv2.resize(grid, (320, 240), interpolation=cv2.INTER_LINEAR)
    ratio = pixels / back
    assert float(np.abs(cv2.blur(ratio, (15, 15)) - 1)[12:-12, 12:-12].max()) < 0.01
    assert part.frames == 2
    assert part.dark_level == 0.0


def test_the_dark_level_is_measured_when_given() -> None:
    dark = Frame(np.full((240, 320, 3), 3, np.uint8), "dark")
    assert measure_flat_field([Frame(empty_field(), "a")], [dark]).dark_level == 3.0


def test_frames_that_are_no_flat_field_are_refused_together() -> None:
    cells = empty_field()
    for x in range(20, 320, 40):
        for y in range(20, 240, 40):
            cv2.circle(cells, (x, y), 10, (150, 120, 140), cv2.FILLED)
    good = empty_field()
    frames = [Frame(good, "g1"), Frame(good, "g2"), Frame(good, "g3"), Frame(cells, "cells"),
              Frame(empty_field(30), "dark"), Frame(np.full_like(good, 255), "white")]  # fmt: skip
    with pytest.raises(CalibrationError) as caught:
        measure_flat_field(frames)
    for part in ("cells: not an empty field", "dark: too dark", "white: overexposed",
                 "dark: 85 % off the other frames"):  # fmt: skip
        assert part in str(caught.value)
    with pytest.raises(CalibrationError, match="not 320x240"):
        measure_flat_field([Frame(good, "a"), Frame(empty_field(size=(160, 120)), "b")])


def test_the_peak_of_a_stack() -> None:
    paths = [Path(f"z{i}.png") for i in range(5)]
    stack = peak_of(paths, [None, 2.0, 4.0, 3.0, 1.0])
    assert (stack.sharpest.name, stack.reference.sharp_reference) == ("z2.png", 4.0)
    for values, said in (
        ([5.0, 4, 3, 2, 1], "end of the stack"),
        ([1.0, 2, 3, 4, 5], "end of the stack"),
        ([3.9, 4.0, 4.1, 4.0, 3.9], "only 1.05 times"),
        ([None] * 5, "no red cells"),
    ):
        with pytest.raises(CalibrationError, match=said):
            peak_of(paths, values)


def test_scale_is_written_and_extended(tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    assert run("scale", "--um-per-px", 0.2, "--out", out, "--microscope", "No 7").exit_code == 0
    assert load_profile(out).scale == ScaleCalibration(
        um_per_px=0.2, relative_uncertainty=0.02, method="given"
    )
    result = run(
        "scale", "--micrometer-um", 100, "--micrometer-px", 500, "--out", out, "--json", "-"
    )
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert record["schema"] == "edgehemo.calibrate/1"
    assert record["scale"]["um_per_px"] == 0.2
    profile = load_profile(out)
    assert record["profile_sha256"] == profile.digest()
    assert profile.scale is not None and profile.scale.method == "stage micrometer"
    assert profile.scale.relative_uncertainty == pytest.approx(2**0.5 / 500)
    assert profile.microscope == "No 7", "what was known is kept"


def test_a_seal_of_before_the_simulated_camera_was_named_goes(tmp_path: Path) -> None:
    """Simulated profiles bear none; a stale one would say that the profile was changed by hand."""
    out = tmp_path / "p.json"
    scale = ("scale", "--um-per-px", 0.2, "--out", out)
    assert run(*scale).exit_code == 0
    assert load_profile(out).seal_state == "sealed"
    assert run(*scale, "--camera", "simulated").exit_code == 0
    assert load_profile(out).seal_state == "none"
    assert run(*scale).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--um-per-px", 0.2, "--micrometer-um", 100, "--micrometer-px", 500],
        ["--micrometer-um", 100], ["--um-per-px", 0.2, "--micrometer-um", 100],
        ["--micrometer-um", 10000, "--micrometer-px", 500],
    ],
)  # fmt: skip
def test_a_scale_given_twice_or_not_at_all_is_refused(tmp_path: Path, arguments: list[Any]) -> None:
    result = run("scale", *arguments, "--out", tmp_path / "p.json")
    assert isinstance(result.exception, EdgeHemoError)
    assert not (tmp_path / "p.json").exists()


def test_a_damaged_profile_is_not_extended(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    result = run("scale", "--um-per-px", 0.2, "--out", tmp_path / "p.json")
    assert isinstance(result.exception, EdgeHemoError)
    assert (tmp_path / "p.json").read_text() == "{}"


def test_illumination_from_a_folder(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for i in range(3):
        write_image(tmp_path / "empty" / f"{i}.png", empty_field())
    out = tmp_path / "p.json"
    assert run("illumination", tmp_path / "empty", "--out", out).exit_code == 0
    array = load_profile(out).flat_field_array()
    assert array is not None and array.shape == (24, 32, 3)
    assert isinstance(run("illumination", tmp_path / "no", "--out", out).exception, EdgeHemoError)


def test_stain_and_focus_extend_the_profile_and_are_dated(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    from edgehemo.capture.protocol import CameraSettings
    from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions

    out = tmp_path / "p.json"
    options = SimulatedOptions(seed=4, fields=3, width_px=400, height_px=300, um_per_px=0.2)
    with SimulatedMicroscope(options) as camera:
        for number in range(5):
            camera.apply(CameraSettings(focus_um=1.2 * (number - 2)))
            write_image(tmp_path / "stack" / f"{number}.png", camera.frame(5.0).pixels)
        camera.apply(CameraSettings(focus_um=0.0))
        for number in range(3):
            camera.move_to_field(number)
            write_image(tmp_path / "stain" / f"{number}.png", camera.frame(5.0).pixels)
    assert run("scale", "--um-per-px", 0.2, "--out", out, "--camera", "HQ").exit_code == 0
    assert run("stain", tmp_path / "stain", "--out", out).exit_code == 0
    assert run("focus", tmp_path / "stack", "--out", out).exit_code == 0
    profile = load_profile(out)
    assert profile.revision == 3
    assert (profile.camera, profile.stain is None, profile.focus is None) == ("HQ", False, False)
    for part in (profile.stain, profile.focus):
        assert part is not None and part.measured_at is not None
    other = run("stain", tmp_path / "stain", "--out", out, "--camera", "another")
    assert isinstance(other.exception, EdgeHemoError)
    assert "begin a new profile" in str(other.exception)
    assert load_profile(out) == profile


def test_a_profile_without_a_camera_says_so(tmp_path: Path) -> None:
    done = run("scale", "--um-per-px", 0.2, "--out", tmp_path / "p.json")
    assert "names no camera" in done.stderr
    named = run(
        "scale", "--um-per-px", 0.2, "--out", tmp_path / "q.json", "--camera", "picamera2:0"
    )
    assert "names no camera" not in named.stderr
    assert load_profile(tmp_path / "q.json").camera == "picamera2:0"


@pytest.mark.real
def test_analyser_on_the_eight_pairs(data_root: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "p.json", tmp_path / "r.json"
    source = data_root / "anerbc"
    result = run("analyser", "--images", source / "images", "--pairs", source / "pairs.csv",
                 "--out", out, "--json", report, "--um-per-px", 0.38, "--keep-refused")  # fmt: skip
    assert result.exit_code == 0, result.exception
    record = json.loads(report.read_text())
    assert len(record["images"]) == 8
    assert len(record["points"]) == 24
    profile = load_profile(out)
    assert profile.scale is not None and profile.scale.um_per_px == 0.38
    analyser = profile.analyser
    assert analyser is not None
    assert (analyser.grade, analyser.samples) == ("demonstration", 8)
    hgb = analyser.of("hgb_g_per_l")
    assert hgb is not None
    assert (hgb.samples, hgb.groups) == (8, 7), "001_h and 004_h carry one panel"
    assert hgb.nested_mae < 0.6 * hgb.mean_only_mae
    by_name = {candidate.estimator: candidate.loo_mae for candidate in hgb.candidates}
    assert by_name["dark-share"] is not None and by_name["dark-share"] < 15
    # With another scale the calibration no longer holds, and the command says so.
    again = run("scale", "--um-per-px", 0.5, "--out", out)
    assert "repeat it" in again.stderr
    mismatch = load_profile(out).analyser_mismatch()
    assert mismatch is not None and "repeat it" in mismatch.reason


@pytest.mark.real
def test_too_few_pairs_are_refused_and_nothing_is_written(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "anerbc"
    lines = (source / "pairs.csv").read_text().splitlines()[:4]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    result = run("analyser", "--images", source / "images", "--pairs", tmp_path / "pairs.csv",
                 "--out", tmp_path / "p.json")  # fmt: skip
    assert isinstance(result.exception, CalibrationError)
    assert "too few" in str(result.exception)
    assert not (tmp_path / "p.json").exists()


@pytest.mark.real
def test_stain_reference_of_real_fields(data_root: Path) -> None:
    fields = set_files(data_root, "anerbc")[:3]
    part = measure_stain(fields, profile=None, um_per_px=0.38)
    assert part.fields == 3
    assert 0.05 < part.cell_od[1] < 0.4
    assert part.cell_od[1] > part.cell_od[0], "red cells absorb green, not red"
    assert all(0 < counts <= 255 for counts in part.background_rgb)
    with pytest.raises(CalibrationError, match="too few"):
        measure_stain(fields[:2], profile=None, um_per_px=0.38)


@pytest.mark.real
def test_the_focus_of_a_real_field_blurred_on_purpose(
    data_root: Path, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    source = read_frame(data_root / "anerbc" / "images" / "003_h.png").pixels[:600, :800]
    stack = []
    for i, sigma in enumerate((4.0, 2.5, 1.2, 0.0, 1.5, 3.0)):
        pixels = source if sigma == 0 else cv2.GaussianBlur(source, (0, 0), sigma)
        stack.append(write_image(tmp_path / f"{i}.png", np.ascontiguousarray(pixels)))
    profile = new_profile(WHEN, software_version="0.1.0")
    result = measure_focus(stack, profile=profile, um_per_px=0.38)
    assert result.sharpest == stack[3]
    with pytest.raises(CalibrationError, match="needs the scale"):
        measure_focus(stack, profile=profile, um_per_px=None)
    with pytest.raises(CalibrationError, match="at the end of the stack"):
        measure_focus([*stack[3:], *stack[:2]], profile=profile, um_per_px=0.38)
