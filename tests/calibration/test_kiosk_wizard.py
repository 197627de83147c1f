"""The kiosk's wizards with the real command and the real process, on the simulated microscope."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgehemo.kiosk.engineering import measuring
from edgehemo.kiosk.engineering.calibration import CalibrationArea
from edgehemo.kiosk.work import WorkerProcess
from edgehemo.profile.profile import load_profile
from tests.support.engineer_page import engineer_at

# Half a minute on a slow machine.
pytestmark = pytest.mark.lab
TRUE_UM_PER_PX = 0.2


def test_scale_and_light_are_measured_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, CalibrationArea()) as at:
            at.kiosk.work = WorkerProcess(at.kiosk, at.app.device, "simulated:")
            for part in ("scale", "illumination"):
                await at.post(f"{part}/begin")
                await at.post(f"{part}/take_all")
                await at.job_ends(90)
                await at.post(f"{part}/measure")
                await at.job_ends(90)
                text = (await at.get(f"{part}/result")).text
                assert "Nothing is written before you accept it." in text
                text = (await at.post(f"{part}/accept")).text
                assert "Kept in the profile." in text
            profile = load_profile(tmp_path / "data" / "profiles" / "simulated.json")
            assert profile.camera == "simulated"
            assert profile.scale is not None
            assert profile.scale.um_per_px == pytest.approx(TRUE_UM_PER_PX, rel=0.003)
            assert profile.illumination is not None
            assert profile.illumination.settings is not None
            assert profile.illumination.settings.exposure_us == 10_000
            assert [entry["calibrated"] for entry in at.chain("profile changed")] == [
                "scale",
                "illumination",
            ]
            # Simulated: never in force for a real microscope.
            assert at.app.device.paths.profile is None
            assert not (tmp_path / "data" / measuring.FOLDER).exists()

    asyncio.run(run())


def test_a_slide_without_lines_is_refused_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgehemo.kiosk.engineering.calibration.source_for",
        lambda source, part, smear=0: "simulated:?slide=empty",
    )

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, CalibrationArea()) as at:
            at.kiosk.work = WorkerProcess(at.kiosk, at.app.device, "simulated:")
            await at.post("scale/begin")
            await at.post("scale/take_all")
            await at.job_ends(90)
            await at.post("scale/measure")
            await at.job_ends(90)
            text = (await at.get("scale/result")).text
            assert "The profile is as it was." in text
            assert "ruling" in text
            assert not (tmp_path / "data" / "profiles" / "simulated.json").exists()

    asyncio.run(run())
