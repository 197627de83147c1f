"""The engineer's page of profiles and bundles: in force, put in from a stick, taken back."""

from __future__ import annotations

import asyncio
import json
import shutil
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgehemo.bundle.bundle import SHIPPED_BUNDLE, Bundle, load_bundle
from edgehemo.demo.demonstration import SIMULATED_PROFILE
from edgehemo.device.artefacts_on_sticks import artefacts_on
from edgehemo.device.configuration import load_device
from edgehemo.device.installed_bundles import BundleStore
from edgehemo.device.profile_store import install_profile, kept_profiles, roll_back_profile
from edgehemo.device.sticks import Stick
from edgehemo.errors import BundleError, ProfileError
from edgehemo.kiosk.engineering.artefacts import ArtefactsArea
from edgehemo.kiosk.engineering.bundle_view import shipped_view
from edgehemo.kiosk.engineering.profile_view import profile_view
from edgehemo.profile.profile import load_profile, new_profile, previous_path, save_profile
from edgehemo.words.language import Words
from tests.support.engineer_page import AtArea, engineer_at

WORDS = Words("en")
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
CAMERA = "uvc:HD USB Camera"


def profile_at(path: Path, camera: str = CAMERA, microscope: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = new_profile(NOW, software_version="0.1.0", camera=camera, microscope=microscope).sealed()
    save_profile(made, path)
    return path


def test_a_stick_is_looked_through_and_no_further(tmp_path: Path) -> None:
    profile_at(tmp_path / "a.json")
    profile_at(tmp_path / "below" / "b.json")
    profile_at(tmp_path / "below" / "deeper" / "c.json")
    (tmp_path / "other.json").write_text('{"schema": "something/1"}', encoding="utf-8")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.writestr("manifest.json", "{}")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as packed:
        packed.writestr("photo.jpg", "x")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    found = artefacts_on([Stick(tmp_path, "STICK", 10, True)])
    assert [(each.kind, each.path.name) for each in found] == [
        ("profile", "a.json"),
        ("profile", "b.json"),
        ("bundle", "bundle"),
        ("bundle", "packed.zip"),
    ]
    assert artefacts_on([Stick(tmp_path / "pulled", "STICK", 0, False)]) == []


def test_a_profile_never_takes_anothers_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEHEMO_KEYS", str(tmp_path / "keys"))
    file = tmp_path / "device.toml"
    file.write_text(
        'schema = "edgehemo.device/1"\nname = "bench"\nboard = "workstation"\n'
        f'[paths]\ndata = "{tmp_path}"\n',
        encoding="utf-8",
    )
    device = load_device(file)
    first = install_profile(device, profile_at(tmp_path / "one" / "my profile.json"))
    again = install_profile(device, tmp_path / "one" / "my profile.json")
    assert first == again
    assert first.name == "my-profile.json"
    source = profile_at(tmp_path / "two" / "my profile.json", microscope="another")
    other = install_profile(device, source)
    assert other != first
    assert load_profile(first).microscope == ""
    assert load_profile(other).seal_state == "sealed"
    (tmp_path / "three.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ProfileError):
        install_profile(device, tmp_path / "three.json")
    assert len(kept_profiles(device)) == 2


def test_going_back_keeps_the_profile_of_now(tmp_path: Path) -> None:
    path = profile_at(tmp_path / "p.json", microscope="old")
    with pytest.raises(ProfileError, match="none from before"):
        roll_back_profile(path)
    save_profile(load_profile(path).model_copy(update={"microscope": "new", "seal": None}), path)
    assert roll_back_profile(path).microscope == "old"
    assert load_profile(path).microscope == "old"
    assert load_profile(previous_path(path)).microscope == "new"
    assert roll_back_profile(path).microscope == "new"
    previous_path(path).write_text("{}", encoding="utf-8")
    with pytest.raises(ProfileError):
        roll_back_profile(path)
    assert load_profile(path).microscope == "new"


def test_a_profile_says_what_was_measured_and_how_long_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "device.toml"
    file.write_text(
        'schema = "edgehemo.device/1"\nname = "bench"\nboard = "workstation"\n'
        f'[paths]\ndata = "{tmp_path}"\nprofile = "{tmp_path}/real.json"\n',
        encoding="utf-8",
    )
    content = json.loads(SIMULATED_PROFILE.read_text("utf-8"))
    (tmp_path / "real.json").write_text(json.dumps({**content, "camera": CAMERA}), "utf-8")
    device = load_device(file)
    (kept,) = kept_profiles(device)
    view = profile_view(kept, device, WORDS, NOW)
    said = {fact.called: fact.said for fact in view.facts}
    assert view.in_force
    assert said["Camera"] == CAMERA
    assert said["Scale"].startswith("0.2000 µm/px ± 0.1")
    assert said["Analyser"] == "40 samples"
    assert said["Error of haemoglobin"].endswith("g/L, 95 % within ± 15")
    assert said["Stain"] == "not measured"
    assert view.main[0].said == CAMERA
    old = profile_view(kept, device, WORDS, NOW.replace(year=2028))
    assert (old.verdict, {f.called: f.verdict for f in old.facts}["Holds until"]) == (
        "fails",
        "fails",
    )
    (tmp_path / "real.json").write_text("{", "utf-8")
    (broken,) = kept_profiles(device)
    view = profile_view(broken, device, WORDS, NOW)
    assert view.verdict == "fails"
    assert "not valid JSON" in (view.problem or "")


def test_a_bundle_says_who_vouches_for_it_and_its_first_figures() -> None:
    view = shipped_view(load_bundle(), True, WORDS)
    assert view.role == "in use"
    assert view.facts[0].said == "comes with edgehemo"
    assert [fact.called for fact in view.figures] == [
        "anaemia screen", "finds cells", "estimates haemoglobin", "names red cells",
        "names white cells",
    ]  # fmt: skip
    assert all("–" in fact.said for fact in view.figures)


def stick_of(at: AtArea) -> Path:
    folder = at.app.device.kiosk.stick
    assert folder is not None
    return Path(folder)


def test_a_profile_comes_from_a_stick_and_is_put_into_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, ArtefactsArea()) as at:
            at.kiosk.look.source = "simulated:"
            assert "simulated-profile.json" in (await at.get()).text
            assert "No profile yet." in (await at.get("profiles")).text
            assert "No profile and no bundle" in (await at.get("stick")).text
            source = profile_at(stick_of(at) / "mic.json")
            assert "mic.json" in (await at.get("stick")).text
            text = (await at.post("install", path=str(source))).text
            assert "Installed. It is not in force yet." in text
            text = (await at.post("use", name="mic.json")).text
            assert "In force from the next self-check on." in text
            assert at.app.device.paths.profile == str(tmp_path / "data" / "profiles" / "mic.json")
            digest = load_profile(source).digest()
            assert at.chain("profile changed") == [
                {"installed": "mic.json", "sha256": digest, "by": "Ines"},
                {"put into force": "mic.json", "sha256": digest, "by": "Ines"},
            ]
            gone = await at.post("install", path=str(tmp_path / "device.toml"))
            assert "not on the stick any more" in gone.text

    asyncio.run(run())


def test_a_profile_of_another_camera_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, ArtefactsArea()) as at:
            at.kiosk.look.source = "uvc:/dev/video7"
            profile_at(tmp_path / "data" / "profiles" / "other.json", camera="uvc:Another")
            profile_at(tmp_path / "data" / "profiles" / "sim.json", camera="simulated")
            for name, why in (("other.json", "uvc:Another"), ("sim.json", "simulated microscope")):
                text = (await at.post("use", name=name)).text
                assert "Nothing was changed." in text
                assert why in text
            assert load_device(None).paths.profile is None
            text = (await at.post("back", name="other.json")).text
            assert "none from before" in text
            assert at.chain("profile changed") == []

    asyncio.run(run())


def test_a_bundle_is_installed_by_all_checks_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(bundle: Bundle, *, threads: int) -> list[object]:
        return []

    monkeypatch.setattr("edgehemo.inference.verification.verify_artefacts", quick)

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, ArtefactsArea()) as at:
            at.kiosk.look.source = "simulated:"
            good, bad = stick_of(at) / "good", stick_of(at) / "bad"
            shutil.copytree(SHIPPED_BUNDLE, good)
            shutil.copytree(SHIPPED_BUNDLE, bad)
            manifest = bad / "manifest.json"
            manifest.write_text(manifest.read_text("utf-8").replace("Apache-2.0", "none"), "utf-8")
            await at.post("install", path=str(bad))
            await at.job_ends()
            text = (await at.get("job")).text
            assert "The bundle was not installed." in text
            assert "is not signed" in text
            assert BundleStore(tmp_path / "data").current() is None
            await at.post("put_away")
            await at.post("install", path=str(good))
            await at.job_ends()
            assert "Installed and in use" in (await at.get("job")).text
            assert BundleStore(tmp_path / "data").current() is not None
            (entry,) = at.chain("bundle changed")
            assert (entry["by"], entry["installed"]) == ("Ines", "edgehemo")
            text = (await at.post("bundle/back")).text
            assert "no bundle to go back to" in text

    asyncio.run(run())


def test_the_bundle_in_use_is_checked_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answers(bundle: Bundle, *, threads: int) -> list[object]:
        asked.append(bundle.digest)
        if len(asked) > 1:
            raise BundleError("finder: answers otherwise than where it was made")
        return []

    monkeypatch.setattr("edgehemo.kiosk.engineering.artefacts.verify_artefacts", answers)

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, ArtefactsArea()) as at:
            await at.post("bundle/check")
            await at.job_ends()
            assert "answers here as where it was made" in (await at.get("job")).text
            await at.post("bundle/check")
            await at.job_ends()
            text = (await at.get("job")).text
            assert "The bundle failed its check." in text
            assert "answers otherwise" in text
            assert (await at.get("no-such")).status_code == 404

    asyncio.run(run())
