"""The command line's contract: JSON, exit codes, one line for a user's mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgehemo
from edgehemo.capture import FailedSource
from edgehemo.cli import run
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD, BundleError
from edgehemo.images.frame import Frame
from edgehemo.screening.stopping import EXAMINED_FOR_COUNTING_ERROR, EXAMINED_PER_LIVE_SAMPLE
from tests.support.schemas import validate
from tests.support.screening_fakes import TruthFinder, simulated_frames, use_equipment

WriteImage = Callable[..., Path]


@pytest.fixture(scope="module")
def finder() -> TruthFinder:
    return TruthFinder()


@pytest.fixture(scope="module")
def frames(finder: TruthFinder) -> list[Frame]:
    return simulated_frames(finder, count=2, width_px=640, height_px=480, um_per_px=0.2)


@pytest.fixture
def smears(
    tmp_path: Path,
    finder: TruthFinder,
    frames: list[Frame],
    write_image: WriteImage,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder of two good fields, 1.png and 2.png, whose truth the commands' finder knows."""
    use_equipment(monkeypatch, finder)
    folder = tmp_path / "smears"
    for number, frame in enumerate(frames, start=1):
        path = write_image(folder / f"{number}.png", frame.pixels)
        finder.truths[str(path)] = finder.truths[frame.source]
    return folder


def json_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Standard output, which must be JSON and nothing else."""
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def add_unreadable(folder: Path) -> Path:
    path = folder / "0.png"
    path.write_bytes(b"")
    return path


def test_quality_judges_every_image_in_order(
    smears: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["quality", str(smears), "--um-per-px", "0.2", "--json", "-"])
    content = json_of(capsys)
    assert content["schema"] == "edgehemo.quality/1"
    assert [Path(entry["image"]).name for entry in content["images"]] == ["1.png", "2.png"]
    for entry in content["images"]:
        assert set(entry) == {"image", "accepted", "um_per_px", "scale_source", "checks"}
        for check in entry["checks"]:
            assert set(check) == {"name", "value", "limit", "verdict", "code", "action"}
    assert all(entry["accepted"] for entry in content["images"])
    assert code == EXIT_DONE


def test_quality_ends_with_1_when_an_image_is_refused(
    smears: Path,
    finder: TruthFinder,
    write_image: WriteImage,
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty = write_image(smears / "empty.png", np.full((480, 640, 3), 220, np.uint8))
    truth = finder.truths[str(smears / "1.png")]
    finder.truths[str(empty)] = type(truth)(**{**_fields(truth), "cells": ()})
    code = run(["quality", str(empty), "--um-per-px", "0.2", "--json", "-"])
    (entry,) = json_of(capsys)["images"]
    assert code == EXIT_WITHHELD
    assert entry["accepted"] is False
    failed = [check for check in entry["checks"] if check["verdict"] == "fail"]
    assert failed
    assert all(check["code"] and check["action"] for check in failed)


def test_cells_keeps_its_contract(
    smears: Path, frames: list[Frame], finder: TruthFinder, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["cells", str(smears / "1.png"), "--um-per-px", "0.2", "--json", "-"])
    content = json_of(capsys)
    assert code == EXIT_DONE
    assert content["schema"] == "edgehemo.cells/1"
    (entry,) = content["images"]
    assert entry["image"] == str(smears / "1.png")
    assert (entry["width"], entry["height"]) == (640, 480)
    assert entry["um_per_px"] == 0.2
    assert entry["scale_source"] == "given"
    drawn = finder.truths[frames[0].source].cells
    assert sum(entry["counts"].values()) == len(entry["cells"]) == len(drawn)
    for cell in entry["cells"]:
        keys = {"kind", "x0", "y0", "x1", "y1", "score", "type", "type_score"}
        assert set(cell) == keys | {"inclusion", "familiarity"}
        assert 0 <= cell["x0"] <= cell["x1"] <= 640
        assert 0 <= cell["y0"] <= cell["y1"] <= 480


def test_estimate_without_a_calibration_gives_indices_and_a_reason(
    smears: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["estimate", str(smears), "--um-per-px", "0.2", "--json", "-"])
    content = json_of(capsys)
    assert code == EXIT_DONE
    assert content["schema"] == "edgehemo.estimate/1"
    for entry in content["images"]:
        assert entry["hgb_index"] > 0
        assert 0 < entry["hct_index"] < 1
        assert entry["rbc_index"] > 0
    sample = content["sample"]
    for name in ("hgb_g_per_l", "hct_l_per_l", "rbc_1e12_per_l"):
        assert sample[name] is None
        assert sample["reasons"][name].startswith("not calibrated")


def test_screen_writes_the_result_the_report_and_the_fields(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    add_unreadable(smears)
    code = run(["screen", str(smears), "--out", str(out), "--um-per-px", "0.2"])
    said = capsys.readouterr()
    assert code == EXIT_BAD_INPUT  # one input could not be read; the rest was screened
    assert "2 of 3 images accepted" in said.out
    assert said.err.count("\n") == 1
    assert said.err.startswith("edgehemo: 0.png")
    record = json.loads((out / "result.json").read_text())
    validate(record)
    assert [entry["image"] for entry in record["images"]] == ["0.png", "1.png", "2.png"]
    assert str(tmp_path) not in (out / "result.json").read_text()
    assert str(tmp_path) not in (out / "report.html").read_text()
    assert sorted(path.name for path in (out / "fields").iterdir()) == ["002_1.jpg", "003_2.jpg"]
    assert [entry.get("picture") for entry in record["images"]] == [
        None,
        "fields/002_1.jpg",
        "fields/003_2.jpg",
    ]


def test_a_second_sample_leaves_no_field_of_the_first(smears: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(["screen", str(smears), "--out", str(out), "--um-per-px", "0.2"]) == EXIT_DONE
    (out / "fields" / "mine.png").write_bytes(b"kept")
    command = ["screen", str(smears / "2.png"), "--out", str(out), "--um-per-px", "0.2"]
    assert run(command) == EXIT_BAD_INPUT
    assert len(list((out / "fields").iterdir())) == 3
    assert run([*command, "--force"]) == EXIT_DONE
    assert sorted(path.name for path in (out / "fields").iterdir()) == ["001_2.jpg", "mine.png"]


def test_screen_prints_the_same_record_it_writes(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(["screen", str(smears), "--out", str(out), "--um-per-px", "0.2", "--json", "-"])
    assert json_of(capsys) == json.loads((out / "result.json").read_text())


def test_a_withheld_sample_ends_with_1_and_says_what_to_do(
    smears: Path,
    finder: TruthFinder,
    frames: list[Frame],
    tmp_path: Path,
    write_image: WriteImage,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dark = (frames[0].pixels // 12).astype(np.uint8)
    path = write_image(tmp_path / "dark.png", dark)
    finder.truths[str(path)] = finder.truths[frames[0].source]
    code = run(["screen", str(path), "--out", str(tmp_path / "o"), "--um-per-px", "0.2"])
    assert code == EXIT_WITHHELD
    assert "withheld: none of the 1 fields could be trusted" in capsys.readouterr().out
    record = json.loads((tmp_path / "o" / "result.json").read_text())
    assert record["outcome"] == "withheld"
    assert record["images"][0]["indices"] is None
    assert "No result" in (tmp_path / "o" / "report.html").read_text()


def test_fields_stops_after_so_many_accepted_ones(smears: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(["screen", str(smears), "--out", str(out), "--um-per-px", "0.2", "--fields", "1"])
    record = json.loads((out / "result.json").read_text())
    assert len(record["images"]) == 1
    assert record["sample"]["stopped_by"] == "accepted_fields"


def test_a_sample_stops_where_the_counting_error_is_met(smears: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["screen", str(smears), "--out", str(out), "--um-per-px", "0.2"]
    assert run([*arguments, "--counting-error", "0.9"]) == EXIT_DONE
    record = json.loads((out / "result.json").read_text())
    assert record["sample"]["stopped_by"] == "counting_error"
    assert 0 < record["sample"]["counting_error"] <= 0.9
    assert run([*arguments, "--counting-error", "0"]) == EXIT_BAD_INPUT


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sex", "female"],
        ["--age", "30"],
        ["--age", "30", "--sex", "male", "--pregnant", "2"],
        ["--age", "30", "--sex", "female", "--altitude", "9000"],
    ],
)
def test_a_person_that_cannot_be_graded_is_one_line_before_anything_is_read(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    out = tmp_path / "out"
    code = run(["screen", str(smears), "--out", str(out), *arguments])
    assert code == EXIT_BAD_INPUT
    assert capsys.readouterr().err.count("\n") == 1
    assert not (out / "result.json").exists()


def test_the_simulated_profile_is_refused_for_anything_else(
    smears: Path,
    tmp_path: Path,
    finder: TruthFinder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from edgehemo.demo.demonstration import SIMULATED_PROFILE
    from edgehemo.profile.profile import load_profile

    use_equipment(monkeypatch, finder, profile=load_profile(SIMULATED_PROFILE))
    assert run(["screen", str(smears), "--out", str(tmp_path / "o")]) == EXIT_BAD_INPUT
    assert "simulated microscope" in capsys.readouterr().err


def test_the_python_call_does_what_the_command_does(smears: Path, tmp_path: Path) -> None:

    result = edgehemo.screen([smears / "1.png"], tmp_path / "out", um_per_px=0.2)
    assert result.report == tmp_path / "out" / "report.html"
    assert result.record == json.loads((tmp_path / "out" / "result.json").read_text())
    nowhere = edgehemo.screen(smears, um_per_px=0.2)
    assert nowhere.report is None
    assert len(nowhere.reading.accepted) == 2


@pytest.mark.parametrize("command", ["quality", "cells", "estimate"])
def test_an_unreadable_image_is_an_entry_in_its_place_and_one_line(
    smears: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    empty = add_unreadable(smears)
    missing = smears / "missing.png"
    arguments = [str(smears / "2.png"), str(missing), str(smears), "--um-per-px", "0.2"]
    code = run([command, *arguments, "--json", "-"])
    said = capsys.readouterr()
    entries = json.loads(said.out)["images"]
    assert code == EXIT_BAD_INPUT
    assert [entry["image"] for entry in entries] == [
        str(smears / "2.png"),
        str(missing),
        str(empty),
        str(smears / "1.png"),
        str(smears / "2.png"),
    ]
    assert ["error" in entry for entry in entries] == [False, True, True, False, False]
    assert set(entries[1]) == {"image", "error"}
    assert said.err.count("\n") == 2
    assert "Traceback" not in said.err


def test_json_goes_to_a_file_and_words_to_the_terminal(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "deep" / "cells.json"
    assert run(["cells", str(smears), "--um-per-px", "0.2", "--json", str(file)]) == EXIT_DONE
    assert json.loads(file.read_text())["schema"] == "edgehemo.cells/1"
    assert "red" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scren"], "did you mean 'screen'?"),
        (["quality"], "Missing argument"),
        (["quality", "--nonsense", "x"], "--nonsense"),
        (["screen", "a.png"], "--out"),
        (["screen", "a.png", "--out", "o", "--um-per-px", "-1"], "--um-per-px"),
        (["cells", "a.png", "--profile", "no-such-profile.json"], "no such profile"),
        (["screen", "uvcc:/dev/video0", "--out", "o"], "did you mean"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    finder: TruthFinder,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--profile" not in arguments:
        use_equipment(monkeypatch, finder)
    assert run(arguments) == EXIT_BAD_INPUT
    said = capsys.readouterr()
    assert said.err.startswith("edgehemo: ")
    assert said.err.count("\n") == 1
    assert words in said.err
    assert said.out == ""


def test_a_missing_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["cells", "a.png", "--bundle", str(tmp_path / "none")])
    said = capsys.readouterr().err
    assert code == BundleError.exit_code
    assert said.count("\n") == 1
    assert "no such bundle" in said


def test_an_output_that_cannot_be_written_is_one_line(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    code = run(["cells", str(smears), "--um-per-px", "0.2", "--json", str(file / "x.json")])
    said = capsys.readouterr().err
    assert code == EXIT_BAD_INPUT
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_finding_cells_imports_only_what_it_needs(smears: Path) -> None:
    """A command's start is import time: what a field does not need is not loaded for it."""
    script = (
        f"import sys; from edgehemo.cli import run; run(['cells', {str(smears)!r}]); "
        "print([m for m in ('pydantic', 'scipy', 'rich', 'jinja2', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("[]")


def test_a_camera_that_fails_is_an_entry_too(
    finder: TruthFinder,
    frames: list[Frame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_equipment(monkeypatch, finder)

    def broken(specs: list[str], **_: object) -> Iterator[Frame | FailedSource]:
        yield frames[0]
        yield FailedSource("uvc:/dev/video0", "uvc:/dev/video0: was unplugged. Plug it in again.")

    monkeypatch.setattr("edgehemo.api.frames", broken)
    code = run(["screen", "uvc:/dev/video0", "--out", str(tmp_path / "o"), "--um-per-px", "0.2"])
    assert code == EXIT_BAD_INPUT
    assert "Plug it in again" in capsys.readouterr().err
    record = json.loads((tmp_path / "o" / "result.json").read_text())
    assert record["sample"]["accepted"] == 1
    assert record["simulated"] is True


def test_a_camera_goes_on_until_the_configured_counting_error(
    finder: TruthFinder, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'schema = "edgehemo.device/1"\nname = "d"\nboard = "workstation"\n[screening]\n'
    device = DeviceConfiguration.parse(text + "counting_error = 0.9\n", "d")
    use_equipment(monkeypatch, finder, device=device)
    limits: list[object] = []

    def shown(specs: list[str], *, limit: int | None, **_: object) -> Iterator[Frame]:
        limits.append(limit)
        yield from frames

    monkeypatch.setattr("edgehemo.api.frames", shown)
    by_device = edgehemo.screen("uvc:/dev/video0", um_per_px=0.2)
    assert by_device.reading.stopped_by == "counting_error"
    by_fields = edgehemo.screen("uvc:/dev/video0", um_per_px=0.2, fields=1)
    assert by_fields.reading.stopped_by == "accepted_fields"
    assert limits == [EXAMINED_FOR_COUNTING_ERROR, EXAMINED_PER_LIVE_SAMPLE]


def _fields(value: object) -> dict[str, Any]:
    from dataclasses import fields

    return {item.name: getattr(value, item.name) for item in fields(value)}  # type: ignore[arg-type]
