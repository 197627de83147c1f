"""The device configuration: the shipped profiles, where it is found, what is refused."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.capture.protocol import CameraSettings
from edgehemo.device import configuration as device_module
from edgehemo.device.configuration import (
    DeviceConfiguration,
    configured_path,
    list_profiles,
    load_device,
    load_profile,
)
from edgehemo.device.named_profiles import ENTRY_POINT_GROUP
from edgehemo.errors import DeviceError

LEAST = 'schema = "edgehemo.device/1"\nname = "bench 1"\nboard = "workstation"\n'


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the machine that runs the tests."""
    monkeypatch.delenv("EDGEHEMO_DEVICE", raising=False)
    monkeypatch.setattr(device_module, "SYSTEM_PATH", tmp_path / "etc" / "device.toml")
    monkeypatch.setattr(device_module, "user_path", lambda: tmp_path / "user" / "device.toml")


def problems_of(text: str) -> list[str]:
    with pytest.raises(DeviceError) as caught:
        DeviceConfiguration.parse(text, "d.toml")
    lines = str(caught.value).splitlines()
    assert all(line.startswith("d.toml: ") for line in lines)
    return [line.removeprefix("d.toml: ") for line in lines]


def offer(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """What is installed beside the device package, as its metadata says it."""
    entries = [EntryPoint(f"e{i}", value, ENTRY_POINT_GROUP) for i, value in enumerate(values)]
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda *, group: entries if group == ENTRY_POINT_GROUP else [],
    )


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `profile_maker` beside a folder of profiles that it offers; the folder."""
    folder = tmp_path / "offered"
    folder.mkdir()
    (folder / "bench_1.toml").write_text(LEAST, encoding="utf-8")
    (folder / "notes.txt").write_text("not a profile", encoding="utf-8")
    (tmp_path / "profile_maker.py").write_text(
        "from pathlib import Path\nnot_callable = 3\n"
        "def folder():\n    return Path(__file__).with_name('offered')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "profile_maker", raising=False)
    return folder


def test_the_device_has_its_fallback_without_any_other_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch)
    assert list_profiles() == ["workstation"]
    for device in (load_device(), load_device("workstation"), load_profile("workstation")):
        assert (device.name, device.board) == ("workstation", "workstation")
        assert device.camera.source is None
        assert (device.inference.threads, device.inference.memory_limit_mb) == (2, 2048)
    with pytest.raises(DeviceError, match="no device profile is called 'raspberry_pi_4'"):
        load_profile("raspberry_pi_4")


def test_profiles_are_found_through_their_makers(
    maker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, "profile_maker:folder", "profile_maker:folder")
    assert list_profiles() == ["bench_1", "workstation"]
    assert load_device("bench_1").name == "bench 1"
    (maker / "bench_1.toml").write_text(LEAST + "nmae = 1\n", encoding="utf-8")
    with pytest.raises(DeviceError, match="profile bench_1: nmae: "):
        load_device("bench_1")


@pytest.mark.parametrize("value", ["no_such_module:folder", "profile_maker:no_such_name",
                                   "profile_maker:not_callable"])  # fmt: skip
def test_a_maker_that_fails_is_named_and_the_fallback_stays(
    value: str, maker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, value)
    with pytest.raises(DeviceError, match=f"device profiles of {value} cannot be read"):
        load_profile("raspberry_pi_4")
    assert load_device("workstation").name == load_device().name == "workstation"


def test_two_profiles_of_one_name_are_refused(maker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (maker / "workstation.toml").write_text(LEAST, encoding="utf-8")
    offer(monkeypatch, "profile_maker:folder")
    with pytest.raises(DeviceError, match="two packages offer a device profile 'workstation'"):
        load_profile("bench_1")


def test_defaults_fill_what_is_not_said() -> None:
    device = DeviceConfiguration.parse(LEAST, "x")
    assert device.inference.runtime == "onnx"
    assert device.camera.settings() == CameraSettings()
    assert device.kiosk.language == "en"
    assert device.data_dir.is_absolute()


def test_data_folder_expands_home_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("STORE", "/mnt/store")
    text = LEAST + '[paths]\ndata = "{}"\n'
    assert DeviceConfiguration.parse(text.format("~/e"), "x").data_dir == Path("/home/someone/e")
    assert DeviceConfiguration.parse(text.format("$STORE/e"), "x").data_dir == Path("/mnt/store/e")


def test_every_problem_is_named_at_once() -> None:
    found = problems_of(
        'schema = "edgehemo.device/1"\nbord = "workstation"\nname = ""\n'
        '[inference]\nthreads = 0\nruntme = "onnx"\nruntime = "tensorrt"\n'
        '[camera]\nsource = "uvs:/dev/video0"\nexposure_us = 1\n'
        "[screening]\nfields_wanted = 'many'\n"
    )
    text = "\n".join(found)
    assert "bord: is not a known key; did you mean board?" in found
    assert "board: is missing" in found
    assert "inference.runtme: is not a known key; did you mean runtime?" in found
    assert "camera.exposure_us: Expected `float` >= 20.0, not 1" in found
    for part in ("name: ", "inference.threads: ", "inference.runtime: "):
        assert part in text
    assert "screening.fields_wanted: " in text
    assert len(found) == 8


def test_what_must_agree_is_told_once_each_value_is_right() -> None:
    (found,) = problems_of(LEAST + '[camera]\nsource = "uvs:/dev/video0"\nred_gain = 2.0\n')
    assert "did you mean uvc:" in found
    assert "red_gain and blue_gain must be given together" in found
    (found,) = problems_of(LEAST + "[camera]\nred_gain = 99.0\nblue_gain = 2.0\n")
    assert found.startswith("camera.red_gain: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema = 1 2", "not valid TOML"),
        (LEAST.replace("/1", "/2"), "'edgehemo.device/2', this software reads"),
        ("", "schema: is missing"),
        (LEAST + "camera = 3\n", "camera: "),
        (LEAST + '[camera]\nsource = "smear.png"\n', "is not a camera"),
        (LEAST + "[camera]\ngain = nan\n", "camera.gain: "),
        (LEAST + "[inference]\nthreads = true\n", "inference.threads: "),
        (LEAST + "[screening]\ncounting_error = 1.0\n", "screening.counting_error: "),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    assert said in "\n".join(problems_of(text))


def test_the_first_that_exists_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, name: str) -> Path:
        path.parent.mkdir(exist_ok=True)
        path.write_text(LEAST.replace("bench 1", name), encoding="utf-8")
        return path

    assert configured_path() is None
    assert load_device().name == "workstation"
    write(tmp_path / "user" / "device.toml", "of the user")
    assert load_device().name == "of the user"
    write(tmp_path / "etc" / "device.toml", "of the system")
    assert load_device().name == "of the system"
    named = write(tmp_path / "named.toml", "named")
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(named))
    assert load_device().name == "named"
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(tmp_path / "gone.toml"))
    with pytest.raises(DeviceError, match="there is no such device configuration"):
        load_device()
    assert load_device("raspberry_pi_5").board == "raspberry_pi_5"
    assert load_device(named).name == "named"


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "d.toml"
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(DeviceError, match="UTF-8"):
        load_device(path)
    path.write_bytes(b"#" * 200_000)
    with pytest.raises(DeviceError, match="larger than 100 kB"):
        load_device(path)
    with pytest.raises(DeviceError, match="no such"):
        load_device(tmp_path)
    with pytest.raises(DeviceError, match="did you mean raspberry_pi_5"):
        load_profile("rasberry_pi_5")


@given(st.text(max_size=80))
def test_any_text_is_a_configuration_or_a_message(tail: str) -> None:
    for text in (tail, LEAST + tail, LEAST + "[camera]\n" + tail):
        try:
            device = DeviceConfiguration.parse(text, "x")
        except DeviceError as error:
            assert str(error).startswith("x: ")
        else:
            assert device.schema == tomllib.loads(text)["schema"]
