"""The engineer's calibration: measured step by step, looked at, accepted or repeated."""

from __future__ import annotations

import asyncio
import stat
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehemo.capture.protocol import CameraSettings
from edgehemo.control.history import Clearance, ControlCheck
from edgehemo.device.configuration import ENVIRONMENT_VARIABLE, load_device
from edgehemo.errors import ProfileError, RecordsError
from edgehemo.kiosk.engineering import measuring, own_command
from edgehemo.kiosk.engineering.calibration import CalibrationArea, part_row
from edgehemo.kiosk.engineering.control_view import check_view, judged_again
from edgehemo.kiosk.engineering.measured_view import measured_view
from edgehemo.kiosk.engineering.own_command import Said
from edgehemo.kiosk.engineering.slide_runs import (
    LEAST_RUNS,
    forget_runs,
    is_slide_name,
    keep_run,
    kept_runs,
)
from edgehemo.kiosk.engineering.stored_pairs import paired_samples, write_pairs
from edgehemo.kiosk.engineering.wizards import (
    PARTS,
    WIZARDS,
    Part,
    goes_by_itself,
    instruction,
    pictures_of,
    source_for,
    steps_of,
    wizard_name,
)
from edgehemo.kiosk.messages import LookFailed, LookOrder, Order, TookPicture
from edgehemo.profile.parts import FixedSettings, IlluminationCalibration, ScaleCalibration
from edgehemo.profile.profile import CalibrationProfile, load_profile, new_profile, save_profile
from edgehemo.records.controls import keep_control, stored_controls
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.pairs import pair
from edgehemo.records.store import Store, Writer
from edgehemo.words.language import Words
from tests.support.control_slides import check_of, profile_with_slide
from tests.support.engineer_page import AtArea, engineer_at
from tests.support.screening_fakes import TruthFinder, simulated_frames
from tests.support.stored import stored

WORDS = Words("en")
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
CAMERA = "uvc:/dev/video0"
LIGHT = IlluminationCalibration(flat_field=[[(100.0, 100.0, 100.0)] * 3] * 3, target_level=178.0)
# A command that writes a scale into the profile it is given, as the real one does.
MEASURES = """\
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from edgehemo.profile.profile import load_profile, new_profile, save_profile
from edgehemo.profile.parts import ScaleCalibration
given = sys.argv[1:]
out = Path(given[given.index("--out") + 1])
pictures = sorted(path.name for path in Path(given[2]).iterdir())
now = datetime.now(UTC)
profile = load_profile(out) if out.exists() else new_profile(
    now, software_version="0.1.0", camera="under test")
scale = ScaleCalibration(um_per_px=0.2, relative_uncertainty=0.0015, method="found", lines=35,
    measured_at=now)
save_profile(profile.model_copy(update={"scale": scale, "revision": profile.revision + 1}), out)
print(json.dumps({"scale": {"um_per_px": 0.2, "relative_uncertainty": 0.0015, "lines": 35},
    "images": pictures, "given": given}))
"""


def commands(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Have a program in the place of the command, given its arguments."""

    def line(arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", program, *arguments]

    monkeypatch.setattr(own_command, "command_line", line)
    monkeypatch.setattr(
        "edgehemo.kiosk.engineering.calibration.has_command", lambda name: name == "calibrate"
    )


def camera_at(at: AtArea, fails: str = "") -> list[LookOrder]:
    """A camera that writes what is asked for, in a thread of its own; what it was asked."""
    asked: list[LookOrder] = []

    def answer(order: LookOrder) -> None:
        if fails and order.folder is not None:
            at.kiosk.look.hear(LookFailed(order.number, "CAMERA_UNPLUGGED", fails))
            return
        for index, _ in enumerate(order.pictures):
            assert order.folder is not None
            file = Path(order.folder) / f"{order.number:04d}-{index:03d}.png"
            done, data = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))
            assert done
            file.write_bytes(bytes(data))
            at.kiosk.look.hear(TookPicture(order.number, str(file)))

    def send(order: Order) -> None:
        assert isinstance(order, LookOrder)
        asked.append(order)
        threading.Thread(target=answer, args=(order,)).start()

    at.kiosk.look.send, at.kiosk.look.source = send, CAMERA
    return asked


def test_every_part_has_its_steps_and_a_name() -> None:
    for part in PARTS:
        assert wizard_name(WORDS, part)
        assert 3 <= len(steps_of(WORDS, part)) <= 4
    assert all(wizard.least <= wizard.pictures for wizard in WIZARDS.values())


@pytest.mark.parametrize("part", list(WIZARDS))
def test_the_instruction_is_for_the_picture_that_comes_next(part: Part) -> None:
    wanted = WIZARDS[part].pictures
    said = [instruction(WORDS, part, taken, moves_itself=False) for taken in range(wanted + 2)]
    assert said[wanted] == said[wanted + 1] == "All pictures are taken."
    assert said[0] != said[1]
    assert not any("Take all" in each for each in said)
    if part == "scale":
        assert "90 degrees" in said[1] and "in between" in said[2]
    if part == "stain":
        assert [number for number, each in enumerate(said) if "next smear" in each] == [
            2, 4, 6, 8, 10,
        ]  # fmt: skip
    assert "Take all" in instruction(WORDS, part, 0, moves_itself=True)
    assert goes_by_itself("simulated:", part, has_drive=False)
    assert goes_by_itself(CAMERA, part, has_drive=True) == (part == "focus")


def test_the_simulated_microscope_shows_the_slide_that_a_part_needs() -> None:
    assert source_for(CAMERA, "scale") == CAMERA
    assert "slide=ruling" in source_for("simulated:?seed=3", "scale")
    assert "slide=empty" in source_for("simulated:", "illumination")
    assert source_for("simulated:", "stain", 2) != source_for("simulated:", "stain", 1)
    assert "hgb=140" in source_for("simulated:", "control", 7)


def test_a_focus_stack_is_taken_by_the_drive_where_there_is_one() -> None:
    stack = pictures_of("focus", True, 13)
    assert [each.focus_um for each in stack] == sorted(each.focus_um or 0.0 for each in stack)
    assert pictures_of("focus", False, 1) == (CameraSettings(),)
    assert pictures_of("stain", True, 2) == (CameraSettings(), CameraSettings())


def device_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "device.toml"
    file.write_text(
        'schema = "edgehemo.device/1"\nname = "bench"\nboard = "workstation"\n'
        f'[paths]\ndata = "{folder}/data"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(file))
    monkeypatch.setenv("EDGEHEMO_KEYS", str(folder / "keys"))


def scaled(profile: CalibrationProfile, um_per_px: float = 0.2) -> CalibrationProfile:
    part = ScaleCalibration(
        um_per_px=um_per_px, relative_uncertainty=0.01, method="found", lines=9, measured_at=NOW
    )
    return profile.model_copy(update={"scale": part})


def test_a_trial_takes_the_profiles_place_only_where_nobody_changed_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device_at(tmp_path, monkeypatch)
    device = load_device(None)
    place = measuring.begin(CAMERA, device)
    assert place.before is None
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(place.pictures.stat().st_mode) == 0o700
    trial = load_device(place.environment[ENVIRONMENT_VARIABLE])
    assert trial.data_dir.is_relative_to(place.folder)
    made = new_profile(NOW, software_version="0.1.0", camera="under test")
    save_profile(scaled(made), place.trial)
    assert measuring.accept(place).scale == load_profile(place.out).scale
    # Another one measures at the same time: the first to be accepted counts.
    first = measuring.begin(CAMERA, device)
    assert load_profile(first.trial).digest() == first.before
    other = scaled(load_profile(first.out), 0.3)
    save_profile(other, first.out)
    with pytest.raises(ProfileError, match="measure again"):
        measuring.accept(first)
    assert load_profile(first.out).digest() == other.digest()
    measuring.forget(device)
    assert not (tmp_path / "data" / measuring.FOLDER).exists()


def test_the_light_is_kept_with_the_settings_it_was_measured_under(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device_at(tmp_path, monkeypatch)
    place = measuring.begin(CAMERA, load_device(None))
    made = new_profile(NOW, software_version="0.1.0", camera="under test")
    save_profile(made.model_copy(update={"illumination": LIGHT}), place.trial)
    profile = measuring.accept(place, FixedSettings(exposure_us=9_000.0))
    assert profile.illumination is not None
    assert profile.illumination.settings == FixedSettings(exposure_us=9_000.0)
    assert load_profile(place.out).seal_state == "sealed"


def test_a_part_says_until_when_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device_at(tmp_path, monkeypatch)
    device = load_device(None)
    profile = scaled(new_profile(NOW, software_version="0.1.0"))
    assert part_row("scale", None, device, WORDS, NOW).said == "not measured"
    row = part_row("scale", profile, device, WORDS, NOW)
    assert (row.verdict, row.said) == ("good", "holds until 2027-02-25")
    assert part_row("scale", profile, device, WORDS, NOW + timedelta(days=80)).verdict == "soon"
    assert part_row("scale", profile, device, WORDS, NOW + timedelta(days=99)).verdict == "fails"
    assert part_row("control", profile, device, WORDS, NOW).said == "no slide"
    assert part_row("control", profile_with_slide(), device, WORDS, NOW).said == "1 slide"


def test_what_was_measured_is_told_with_its_uncertainty_and_a_warning() -> None:
    before = scaled(new_profile(NOW, software_version="0.1.0"), 0.25)
    scale = {"um_per_px": 0.2, "relative_uncertainty": 0.0015, "lines": 35}
    view = measured_view("scale", {"scale": scale, "images": [1, 2]}, before, WORDS)
    said = {fact.called: fact.said for fact in view.facts}
    assert view.headline == "0.2000 µm/px"
    assert (said["Uncertainty"], said["Difference"]) == ("± 0.15 %", "−20.00 %")
    assert "Is it the same lens?" in view.warning
    light = {"unevenness": 0.5, "target_level": 178.0, "frames": 8}
    view = measured_view("illumination", {"illumination": light}, None, WORDS)
    assert "centre the lamp" in view.warning
    stack = [{"focus": None}, {"focus": 2.0}, {"focus": 4.0}, {"focus": 1.0}]
    document = {"images": stack, "focus": {"sharp_reference": 4.0}}
    view = measured_view("focus", document, None, WORDS)
    assert view.curve == [0.0, 0.5, 1.0, 0.25]
    assert view.facts[0].said == "3 of 4"


def test_a_scale_is_measured_looked_at_and_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands(monkeypatch, MEASURES)

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, CalibrationArea()) as at:
            asked = camera_at(at)
            assert "not measured" in (await at.get()).text
            assert "Put the stage micrometer" in (await at.get("scale")).text
            assert "Measure first: Scale" in (await at.get("focus")).text
            refused = await at.post("focus/begin")
            assert "Measure first: Scale" in refused.text
            text = (await at.post("scale/begin", pitch_um="50")).text
            assert "Take a picture" in text
            for count in (1, 2):
                await at.post("scale/take")
                await at.job_ends()
                assert f"<strong>{count}</strong>" in (await at.get("scale/take")).text
            assert asked[-1].source == CAMERA
            await at.post("scale/measure")
            await at.job_ends()
            text = (await at.get("scale/result")).text
            assert "Scale: 0.2000 µm/px" in text
            assert "Nothing is written before you accept it." in text
            profile = tmp_path / "data" / "profiles" / "microscope.json"
            assert not profile.exists()
            job = at.app.desk.jobs.of("calibration")
            assert job is not None
            assert isinstance(job.result, Said)
            given = job.result.document["given"]
            assert given[given.index("--pitch-um") + 1] == "50"
            assert given[given.index("--camera") + 1] == CAMERA
            assert len(job.result.document["images"]) == 2
            text = (await at.post("scale/accept")).text
            assert "in force from now on" in text
            assert load_device(None).paths.profile == str(profile)
            assert load_profile(profile).scale is not None
            assert at.chain("profile changed")[0]["calibrated"] == "scale"
            # The trial notes nothing of its own, and no picture is left.
            assert len(at.chain("profile changed")) == 1
            assert not (tmp_path / "data" / measuring.FOLDER).exists()

    asyncio.run(run())


def test_what_fails_says_why_and_leaves_the_profile_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands(
        monkeypatch,
        "import sys\nprint('edgehemo: no even ruling is in the picture', file=sys.stderr)\n"
        "sys.exit(2)",
    )

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, CalibrationArea()) as at:
            camera_at(at)
            await at.post("scale/begin")
            await at.post("scale/take")
            await at.job_ends()
            await at.post("scale/measure")
            await at.job_ends()
            text = (await at.get("scale/result")).text
            assert "The profile is as it was." in text
            assert "no even ruling is in the picture" in text
            text = (await at.post("scale/accept")).text
            assert "Measure first." in text
            await at.post("scale/again")
            assert "<strong>0</strong>" in (await at.get("scale/take")).text
            await at.post("scale/leave")
            assert not (tmp_path / "data" / measuring.FOLDER).exists()
            assert (await at.post("scale/nothing")).status_code == 404
            assert (await at.get("nothing")).status_code == 404

    asyncio.run(run())


def test_a_camera_that_is_pulled_is_told_and_nothing_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands(monkeypatch, MEASURES)

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, CalibrationArea()) as at:
            camera_at(at, fails="uvc: the camera was unplugged")
            await at.post("stain/begin")
            await at.post("stain/take")
            await at.job_ends()
            text = (await at.get("stain/take")).text
            assert "The camera was unplugged" in text
            assert "<strong>0</strong>" in text

    asyncio.run(run())


def test_without_the_package_the_page_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgehemo.kiosk.engineering.calibration.has_command", lambda _: False)

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, CalibrationArea()) as at:
            assert "pip install" in (await at.get()).text
            assert (await at.post("scale/begin")).status_code == 404

    asyncio.run(run())


FINDER = TruthFinder()
FRAMES = simulated_frames(FINDER, count=2)


def test_samples_take_part_where_they_are_of_this_microscope_and_have_pictures(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "records"
    with Writer(RecordsFolder(folder)) as writer:
        for sample in ("A/1", "B-2", "C-3"):
            stored(writer, FRAMES, FINDER, sample)
        pair(writer, "A/1", {"hgb_g_per_l": 120.0, "hct_l_per_l": 0.36}, analyser="X", by="g")
        pair(writer, "B-2", {"hct_l_per_l": 0.4}, analyser="X", by="g")
        found = paired_samples(writer, simulated=True, profile_made_at=None)
        assert [(each.sample, each.left) for each in found] == [("A/1", None), ("B-2", "no_value")]
        real = paired_samples(writer, simulated=False, profile_made_at=None)
        assert {each.left for each in real} == {"other_profile"}
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        table = write_pairs(writer, [found[0]], pictures)
        assert table.read_text("utf-8") == "sample,hgb_g_per_l,hct_l_per_l\nS001,120,0.36\n"
        files = sorted((pictures / "S001").iterdir())
        assert len(files) == len(found[0].fields) == 2
        picture = cv2.imread(str(files[0]))
        assert picture is not None
        assert np.array_equal(picture[..., ::-1], FRAMES[0].pixels)


def test_the_analyser_page_says_how_many_samples_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands(monkeypatch, MEASURES)

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, CalibrationArea()) as at:
            at.kiosk.look.source = "simulated:"
            stored(at.kiosk.writer, FRAMES, FINDER, "A-1")
            pair(at.kiosk.writer, "A-1", {"hgb_g_per_l": 120.0}, analyser="X", by="grace")
            assert "Measure first: Scale, Illumination" in (await at.get("analyser")).text
            text = (await at.post("analyser/begin")).text
            assert "Measure first: Scale, Illumination" in text
            made = scaled(new_profile(NOW, software_version="0.1.0", camera="simulated"))
            path = tmp_path / "data" / "profiles" / "simulated.json"
            path.parent.mkdir()
            save_profile(made.model_copy(update={"illumination": LIGHT}), path)
            text = (await at.get("analyser")).text
            assert "1 sample with an analyser" in text
            assert "7 samples more are needed." in text
            assert "A-1" in text
            text = (await at.post("analyser/begin")).text
            assert "7 samples more are needed." in text

    asyncio.run(run())


def test_runs_of_a_control_slide_are_kept_until_there_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device_at(tmp_path, monkeypatch)
    device = load_device(None)
    for number in range(2):
        pictures = tmp_path / "pictures"
        pictures.mkdir(exist_ok=True)
        (pictures / "1.png").write_bytes(b"x")
        runs = keep_run(device, "control", "normal 1", pictures, NOW + timedelta(seconds=number))
    assert (len(runs.folders), runs.more) == (2, LEAST_RUNS["control"] - 2)
    assert [each.name for each in kept_runs(device, "control")] == ["normal 1"]
    for name in ("", "../x", ".x", "a/b", "x" * 41):
        assert not is_slide_name(name)
        with pytest.raises(RecordsError):
            keep_run(device, "control", name, tmp_path / "pictures", NOW)
    forget_runs(device, "control", "..")
    forget_runs(device, "control", "normal 1")
    assert kept_runs(device, "control") == []
    assert device.data_dir.is_dir()


REPEATS = """\
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from edgehemo.profile.profile import load_profile, save_profile
from edgehemo.profile.parts import Repeatability, Spread
given = sys.argv[1:]
out = Path(given[given.index("--out") + 1])
runs = [Path(each) for each in given[2:given.index("--out")]]
assert given[:2] == ["calibrate", "repeatability"] and "--slide" not in given
assert all(len(list(run.iterdir())) == 3 for run in runs)
spread = Spread(
    quantity="hgb_index", mean=0.08, sd=0.01, sd_low=0.005, sd_high=0.03, runs=len(runs))
part = Repeatability(measured_at=datetime.now(UTC), fields=9, spreads=(spread,))
profile = load_profile(out)
changed = {"repeatability": part, "revision": profile.revision + 1}
save_profile(profile.model_copy(update=changed), out)
named = [run.name for run in runs]
print(json.dumps({"repeatability": part.model_dump(), "runs": named}))
"""


def test_repeatability_is_measured_of_runs_that_are_taken_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands(monkeypatch, REPEATS)

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, CalibrationArea()) as at:
            camera_at(at)
            path = tmp_path / "data" / "profiles" / "microscope.json"
            path.parent.mkdir()
            save_profile(scaled(new_profile(NOW, software_version="0.1.0", camera=CAMERA)), path)
            assert "How well does one slide repeat?" in (await at.get("repeatability")).text

            async def one_run() -> str:
                await at.post("repeatability/begin", purpose="run")
                for _ in range(3):
                    await at.post("repeatability/take")
                    await at.job_ends()
                assert "Keep the run" in (await at.get("repeatability/take")).text
                # Each run has a folder by its second.
                await asyncio.sleep(1.01)
                return (await at.post("repeatability/measure")).text

            assert "Run 1 of 3 is kept." in await one_run()
            assert "The runs are removed." in (await at.post("repeatability/drop_runs")).text
            for number in (1, 2, 3):
                assert f"Run {number} of 3 is kept." in await one_run()
            assert "3 runs are enough." in (await at.get("repeatability")).text
            await at.post("repeatability/begin", purpose="together")
            await at.job_ends()
            text = (await at.get("repeatability/result")).text
            assert "two results differ by at most 0.0277" in text
            assert load_profile(path).repeatability is None, "nothing before it is accepted"
            await at.post("repeatability/accept")
            assert load_profile(path).repeatability is not None
            assert kept_runs(load_device(None), "repeatability") == []
            assert "measured on" in (await at.get("")).text

    asyncio.run(run())


def test_a_check_is_judged_with_the_checks_before_it() -> None:
    profile = profile_with_slide()
    target = profile.controls[0]
    # Just above two standard deviations, once: a warning. Twice in a row: rejected (2-2s).
    first = check_of(profile, NOW, hgb_index=0.0047)
    alone = check_of(profile, NOW + timedelta(days=1), hgb_index=0.0047)
    assert alone.passed
    again = judged_again(alone.model_dump(), target, profile, [first])
    assert not again.passed
    view = check_view(again, profile, WORDS)
    assert view.headline == "failed"
    assert any("2-2s" in fact.said for fact in view.facts)
    assert check_view(alone, profile, WORDS).headline == "passed"


def test_a_failed_check_is_cleared_with_a_reason_and_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands(monkeypatch, MEASURES)

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, CalibrationArea()) as at:
            camera_at(at)
            profile = scaled(profile_with_slide())
            path = tmp_path / "data" / "profiles" / "microscope.json"
            path.parent.mkdir()
            save_profile(profile, path)
            failed = check_of(profile, datetime.now(UTC), hgb_index=0.05)
            assert isinstance(failed, ControlCheck)
            keep_control(at.kiosk.writer, profile, path, failed, by="Ines")
            text = (await at.get("control")).text
            assert "1 check failed." in text
            assert "Say in a few words" in (await at.post("control/clear", reason=" ")).text
            text = (await at.post("control/clear", reason="lamp replaced")).text
            assert "Check the control slide again." in text
            with Store.below(tmp_path / "data").reader() as reader:
                last = stored_controls(reader, profile)[-1]
            assert isinstance(last, Clearance)
            assert (last.reason, last.by) == ("lamp replaced", "Ines")
            wrong = await at.post("control/begin", slide="../x", purpose="run")
            assert "letters, digits" in wrong.text
            none = await at.post("control/begin", slide="other", purpose="check")
            assert "no targets yet" in none.text
            await at.post("control/begin", slide="other", purpose="run")
            for _ in range(3):
                await at.post("control/take")
                await at.job_ends()
            text = (await at.post("control/measure")).text
            assert "Run 1 of 10 is kept." in text

    asyncio.run(run())


def test_what_a_command_complains_of_is_shown_and_never_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commands(
        monkeypatch,
        "import sys\nprint('edgehemo: sample 26-0417 lies far off', file=sys.stderr)\nsys.exit(2)",
    )
    caplog.set_level("DEBUG", logger="edgehemo")

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, CalibrationArea()) as at:
            camera_at(at)
            await at.post("scale/begin")
            await at.post("scale/take")
            await at.job_ends()
            await at.post("scale/measure")
            await at.job_ends()
            assert "26-0417" in (await at.get("scale/result")).text

    asyncio.run(run())
    assert "26-0417" not in caplog.text
    assert "FAILED" in caplog.text
