"""A screening is of one sample: no place counts twice, and what looks like several is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.cli import run
from edgehemo.errors import UsageError
from edgehemo.guidance.withheld import Withheld
from edgehemo.images.frame import Frame
from edgehemo.quality.check import QualityReport
from edgehemo.screening.doubts import doubts_of
from edgehemo.screening.field import FieldReader, FieldReading
from edgehemo.screening.labels import MAX_LABEL_CHARACTERS, SampleLabels
from edgehemo.screening.repeats import repeat_check, seen_place, sketch_of
from edgehemo.screening.resuming import kept, resumed
from edgehemo.screening.sample import Screening, screen_frames
from tests.support.screening_fakes import (
    TruthFinder,
    blurred,
    passed,
    scripted,
    simulated_frames,
    use_equipment,
)

WriteImage = Callable[..., Path]


def renamed(
    finder: TruthFinder, frame: Frame, name: str, pixels: NDArray[Any] | None = None
) -> Frame:
    finder.truths[name] = finder.truths[frame.source]
    return Frame(frame.pixels if pixels is None else pixels, name)


def reader(finder: TruthFinder, refused: Sequence[str] = ()) -> FieldReader:
    check = scripted(dict.fromkeys(refused, blurred()))
    return FieldReader(finder, um_per_px=0.25, check=check)


def screened(finder: TruthFinder, frames: Sequence[Frame], refused: Sequence[str] = ()) -> Any:
    return screen_frames(frames, Screening(reader(finder, refused)))


def test_one_picture_twenty_times_counts_once() -> None:
    finder = TruthFinder()
    frame, other = simulated_frames(finder, count=2)
    once = screened(finder, [frame, other])
    copies = [renamed(finder, frame, f"copy {number}") for number in range(19)]
    reading = screened(finder, [frame, *copies, other])
    assert len(reading.accepted) == 2
    assert reading.counts == once.counts
    assert reading.counting_error == once.counting_error
    for refused in reading.refused:
        assert refused.quality.faults == ("SAME_PLACE",)
        assert frame.source in refused.quality.failed[0].action
        assert refused.cells is None and refused.indices is None


def test_a_relit_recompressed_copy_and_a_moved_one_are_known_again(
    rng: np.random.Generator,
) -> None:
    finder = TruthFinder()
    (wide,) = simulated_frames(finder, width_px=480, height_px=240)
    first = renamed(finder, wide, "first", wide.pixels[:, :320])
    dimmed = wide.pixels[:, :320] * 0.9 + rng.normal(0, 2, (240, 320, 3))
    _, coded = cv2.imencode(".jpg", np.clip(dimmed, 0, 255).astype(np.uint8))
    again = renamed(finder, wide, "again", cv2.imdecode(coded, cv2.IMREAD_COLOR))
    moved = renamed(finder, wide, "moved", wide.pixels[:, 160:])
    reading = screened(finder, [first, again, moved])
    assert [field.accepted for field in reading.fields] == [True, False, False]


def test_a_place_that_was_refused_may_be_taken_again() -> None:
    finder = TruthFinder()
    (frame,) = simulated_frames(finder)
    reading = screened(finder, [frame, renamed(finder, frame, "in focus")], [frame.source])
    assert [field.accepted for field in reading.fields] == [False, True]


def test_different_fields_are_never_taken_for_one() -> None:
    finder = TruthFinder()
    assert len(screened(finder, simulated_frames(finder, count=10)).accepted) == 10


def test_a_continued_screening_still_knows_its_places() -> None:
    finder = TruthFinder()
    frame, other = simulated_frames(finder, count=2)
    before = Screening(reader(finder))
    before.consider(frame)
    after = Screening(reader(finder), images=resumed(kept(before.images)))
    copy, new = (after.consider(item) for item in (renamed(finder, frame, "copy"), other))
    assert isinstance(copy, FieldReading) and copy.quality.faults == ("SAME_PLACE",)
    assert isinstance(new, FieldReading) and new.accepted


@pytest.mark.parametrize("sketch", ["", "x", "4x4:!!", "4x4:AAAA", "-1x2:AAAA"])
def test_a_damaged_sketch_is_one_line(sketch: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        seen_place("a", sketch)


def test_fields_of_one_eyepiece_are_not_alike_for_its_black_rim(rng: np.random.Generator) -> None:
    rows, columns = np.mgrid[:300, :300]
    inside = np.hypot(rows - 150, columns - 150) < 130
    places = []
    for number in range(3):
        cells = cv2.GaussianBlur(rng.normal(0, 60, (300, 300)).astype(np.float32), (0, 0), 4)
        picture = np.where(inside, 200 + 6 * cells, 0)
        pixels = np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        places.append(seen_place(str(number), sketch_of(Frame(pixels, str(number)))))
    assert repeat_check(places[2], places[:2]) is None
    again = repeat_check(places[0], [places[1], places[0]])
    assert again is not None and again.code == "SAME_PLACE"


# -- several samples ----------------------------------------------------------------------------


def reading_of(image: str, scale: float = 0.2, size: tuple[int, int] = (640, 480)) -> FieldReading:
    return FieldReading(image, *size, scale, "red_cells", passed(), None, None)


def codes(fields: Sequence[FieldReading]) -> list[str]:
    return [doubt.code for doubt in doubts_of(fields)]


def test_one_sample_raises_no_doubt() -> None:
    assert codes([]) == []
    for pattern in (
        "p17/field_{}.jpg",
        "p17/{}.jpg",
        "IMG_20260101_{}.jpg",
        "simulated:seed-0-field-{}",
        "a/smear.mp4#t={}",
    ):
        fields = [reading_of(pattern.format(n), 0.2 * 1.05**n) for n in range(6)]
        assert codes(fields) == [], pattern
    names = ["a.jpg", "b.jpg", "smear 1.jpg", "smear 2.jpg"]
    assert codes([reading_of(name) for name in names]) == []


def test_two_magnifications_are_said_with_their_fields() -> None:
    fields = [reading_of(f"f{n}.jpg") for n in range(6)]
    fields += [reading_of("other.jpg", 0.08)]
    (doubt,) = doubts_of(fields)
    assert doubt.code == "SCALES_DIFFER"
    assert "other.jpg" in doubt.reason and "0.08" in doubt.reason and "0.2" in doubt.reason
    given = [replace(field, scale_source="given") for field in fields]
    assert codes(given) == [], "a scale that was given is judged field by field"
    refused = [*fields[:-1], replace(fields[-1], quality=blurred())]
    assert codes(refused) == []


def test_two_picture_sizes_are_said() -> None:
    fields = [reading_of("a1.jpg"), reading_of("a2.jpg", size=(1280, 960))]
    (doubt,) = doubts_of(fields)
    assert doubt.code == "SIZES_DIFFER" and "640x480" in doubt.reason


@pytest.mark.parametrize(
    "names",
    [
        ["p1/1.jpg", "p1/2.jpg", "p2/1.jpg"],
        ["anna_1.jpg", "anna_2.jpg", "ben_1.jpg", "ben_2.jpg"],
        ["P01-f1.png", "P01-f2.png", "P02-f1.png", "P02-f2.png", "P03-f1.png", "P03-f2.png"],
        ["s 001 (1).jpg", "s 001 (2).jpg", "s 002 (1).jpg", "s 002 (2).jpg"],
    ],
)
def test_names_of_several_samples_are_said(names: list[str]) -> None:
    assert codes([reading_of(name) for name in names]) == ["SEVERAL_SAMPLES"]


# -- the command line ---------------------------------------------------------------------------


@pytest.fixture
def smears(tmp_path: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch) -> Path:
    finder = TruthFinder()
    folder = tmp_path / "smears"
    for number, frame in enumerate(simulated_frames(finder, count=2), start=1):
        path = write_image(folder / f"{number}.png", frame.pixels)
        finder.truths[str(path)] = finder.truths[frame.source]
    copy = folder / "3.png"
    copy.write_bytes((folder / "1.png").read_bytes())
    finder.truths[str(copy)] = finder.truths[str(folder / "1.png")]
    check = scripted({str(folder / "2.png"): QualityReport(OUT_OF_FOCUS)})
    use_equipment(monkeypatch, finder, check=check)
    return folder


def _out_of_focus() -> tuple[Any, ...]:
    from edgehemo.quality.verdicts import flagged

    return (flagged("focus", 0.5, 2.4, "OUT_OF_FOCUS", "fail"),)


OUT_OF_FOCUS = _out_of_focus()


def screen(smears: Path, *options: str) -> int:
    out = smears.parent / "out"
    return run(["screen", str(smears), "--out", str(out), "--um-per-px", "0.25", *options])


def test_refused_fields_are_named_with_their_reasons(
    smears: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screen(smears) == 0
    said = capsys.readouterr().out
    assert "refused 2.png: " in said and "(OUT_OF_FOCUS)" in said
    assert "refused 3.png: " in said and "(SAME_PLACE)" in said and "1.png" in said
    assert "1 of 3 images accepted, 2 refused" in said
    assert "not calibrated" in said
    assert "next: Calibrate with `edgehemo calibrate analyser`" in said


def test_without_a_calibration_age_and_sex_are_not_asked_for(
    smears: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert screen(smears) == 0
    assert (
        "no WHO grade: there is no haemoglobin to grade (not calibrated" in capsys.readouterr().out
    )
    page = (smears.parent / "out" / "report.html").read_text()
    assert "no age and sex" not in page and "no haemoglobin to grade" in page


def test_labels_stand_in_the_result_and_on_the_page(
    smears: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    labels = ("--sample", "K-17 <b>", "--operator", "amina", "--site", "Kisumu 3")
    assert screen(smears, *labels) == 0
    assert "sample K-17 <b>" in capsys.readouterr().out
    result = json.loads((smears.parent / "out" / "result.json").read_text())
    assert result["labels"] == {"sample": "K-17 <b>", "operator": "amina", "site": "Kisumu 3"}
    page = (smears.parent / "out" / "report.html").read_text()
    assert "K-17 &lt;b&gt; · Blood smear screening report" in page
    assert "amina" in page and "Kisumu 3" in page
    assert screen(smears) == 2
    assert "holds the result of sample K-17 <b>" in capsys.readouterr().err
    assert screen(smears, "--force") == 0
    result = json.loads((smears.parent / "out" / "result.json").read_text())
    assert result["labels"] == {"sample": None, "operator": None, "site": None}


@pytest.mark.parametrize(
    "label", ["", "  ", "a\x1b[31mred", "a\nb", "x" * (MAX_LABEL_CHARACTERS + 1)]
)
def test_a_label_that_cannot_be_shown_is_refused_before_anything_is_read(
    smears: Path, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        SampleLabels(sample=label)
    assert screen(smears, "--sample", label) == 2
    assert "\x1b" not in capsys.readouterr().err
    assert not (smears.parent / "out").exists()


def test_an_unreadable_folder_is_not_called_refused(
    tmp_path: Path, smears: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "nowhere")
    assert run(["screen", missing, "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().out
    assert "nothing could be read: 1 of 1 inputs" in said
    assert "0 accepted" not in said and "0 refused" not in said


def test_a_blocked_sample_says_so_once(
    smears: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgehemo.device.equipment import open_equipment

    why = Withheld("CONTROL_FAILED", "the control check failed", "Run `edgehemo calibrate check`.")
    opened = open_equipment(None, None)
    monkeypatch.setattr("edgehemo.api.open_equipment", lambda *_: replace(opened, blocked=why))
    assert screen(smears) == 1
    said = capsys.readouterr().out
    assert said.count("the control check failed") == 1
    assert "1 of 3 images accepted, 2 refused" in said
    page = (smears.parent / "out" / "report.html").read_text()
    assert page.count("The control check failed") == 1
    assert "<code>edgehemo calibrate check</code>" in page and "`" not in page.split("</style>")[1]
    assert page.count('class="accepted"') == 1 and page.count('class="refused"') == 2


def test_subfolders_are_said_to_be_left_out(
    smears: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = smears / "patient 2"
    inner.mkdir()
    (inner / "1.png").write_bytes((smears / "1.png").read_bytes())
    assert screen(smears) == 0
    said = capsys.readouterr().err
    assert "subfolders (patient 2) are not read" in said
    (smears / ".hidden").mkdir()
    (smears / "empty").mkdir()
    assert screen(smears) == 0
    assert "(patient 2)" in capsys.readouterr().err


def test_a_folder_of_folders_says_which_to_give(
    tmp_path: Path, smears: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["screen", str(smears.parent), "--out", str(tmp_path / "o")]) == 2
    assert "subfolders (smears) are not read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "meant"),
    [("/dev/video0", "uvc:/dev/video0"), ("0", "uvc:/dev/video0"), ("2", "uvc:/dev/video2")],
)
def test_a_camera_named_as_elsewhere_is_named(
    source: str,
    meant: str,
    tmp_path: Path,
    smears: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["screen", source, "--out", str(tmp_path / "o")]) == 2
    assert meant in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_file_or_folder_called_by_a_number_is_read(
    tmp_path: Path,
    smears: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").write_bytes(b"no picture")
    assert run(["screen", "7", "--out", str(tmp_path / "o")]) == 2
    assert "uvc" not in capsys.readouterr().err
    assert (tmp_path / "o" / "result.json").is_file()
