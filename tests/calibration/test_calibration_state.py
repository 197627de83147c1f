"""`calibrate show`, the demonstration's banner, and a focus stack that is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgehemo.capture import FRAME_DEADLINE_S
from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.commands.estimate import sample_lines
from edgehemo.demo.demonstration import SIMULATED_PROFILE
from edgehemo.errors import CalibrationError
from edgehemo.profile.profile import load_profile, new_profile, save_profile
from edgehemo.report.building import report_view
from edgehemo.report.html import report_html
from edgehemo.report.result import DEMONSTRATION_NOTICE
from edgehemo.words.language import Words
from edgehemo_calibration.commands.calibrate import calibrate
from edgehemo_calibration.pictures_given import same_files, same_places
from edgehemo_calibration.sharpness import measure_focus

WHEN = datetime(2026, 11, 21, tzinfo=UTC)


def shown(*arguments: Any) -> Any:
    return CliRunner().invoke(calibrate, ["show", *map(str, arguments)], standalone_mode=False)


def test_show_tells_what_is_in_force(tmp_path: Path) -> None:
    done = shown("--profile", SIMULATED_PROFILE)
    assert done.return_value == 0, done.exception
    for part in ("named by --profile", "camera simulated", "scale 0.2 um/px", "40 samples",
                 "640x480 px", "HGB error", "saying the mean", "no control slide"):  # fmt: skip
        assert part in done.stdout
    made = load_profile(SIMULATED_PROFILE)
    path = tmp_path / "p.json"
    save_profile(made.model_copy(update={"camera": "HQ"}).sealed(), path)
    path.write_text(path.read_text().replace('"HQ"', '"LQ"'))
    edited = shown("--profile", path, "--json", tmp_path / "s.json")
    assert edited.return_value == 1
    assert "EDITED by hand" in edited.stdout and "results are withheld" in edited.stdout
    record = json.loads((tmp_path / "s.json").read_text())
    assert (record["seal"], record["blocked"]["code"]) == ("broken", "PROFILE_EDITED")


def test_a_demonstration_is_as_loud_as_a_simulation() -> None:
    import edgehemo

    made = load_profile(SIMULATED_PROFILE)
    assert made.analyser is not None
    analyser = made.analyser.model_copy(update={"grade": "demonstration"})
    result = edgehemo.screen("simulated:?seed=7&fields=2", profile=SIMULATED_PROFILE, fields=2)
    record = json.loads(json.dumps(result.record))
    assert not any("DEMONSTRATION" in line for line in sample_lines(
        {**record["sample"], "withheld": None}))  # fmt: skip
    assert "DEMONSTRATION" not in report_html(report_view(record, Words()))
    record["sample"]["calibration"] = analyser.grade
    lines = sample_lines({**record["sample"], "withheld": None})
    assert lines[0] == DEMONSTRATION_NOTICE
    page = report_html(report_view(record, Words()))
    assert page.count(DEMONSTRATION_NOTICE) == 2
    assert "DEMONSTRATION" in page.partition("</title>")[0]


def pictures(folder: Path, write: Callable[..., Path], count: int) -> list[Path]:
    with SimulatedMicroscope(SimulatedOptions(seed=5, fields=count)) as microscope:
        paths = []
        for index in range(count):
            microscope.move_to_field(index)
            frame = microscope.frame(FRAME_DEADLINE_S)
            paths.append(write(folder / f"{index}.png", frame.pixels))
    return paths


def test_different_fields_are_no_focus_stack(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    paths = pictures(tmp_path, write_image, 6)
    profile = new_profile(WHEN, software_version="0.1.0")
    with pytest.raises(CalibrationError, match=r"not a stack of one field: 0\.png"):
        measure_focus(paths, profile=profile, um_per_px=0.2)
    with pytest.raises(CalibrationError, match="is the same picture as"):
        measure_focus([paths[0]] * 6, profile=profile, um_per_px=0.2)


def test_pictures_of_one_place_are_noticed(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    from edgehemo.images.reading import read_frame

    paths = pictures(tmp_path, write_image, 3)
    assert same_files(paths) == [] and same_places(paths) == []
    moved = write_image(tmp_path / "m.png", read_frame(paths[1]).pixels[40:, 60:])
    same = write_image(tmp_path / "s.jpg", read_frame(paths[1]).pixels)
    assert moved.exists() and same_files([*paths, same]) == []
    assert same_places([*paths, same]) == [f"{same} shows the same place as {paths[1]}"]
