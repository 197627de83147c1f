"""Sources: what names what, files and folders and videos and cameras in one batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.capture import FailedSource, frames, is_camera, open_source
from edgehemo.capture.overlap import correlation, place_of, same_place
from edgehemo.capture.protocol import CameraSettings
from edgehemo.capture.replay import video_frames
from edgehemo.capture.sources import CameraSpec, camera_spec, size_option
from edgehemo.capture.uvc import UvcCamera
from edgehemo.errors import UsageError
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from tests.support.smears import set_files

Writer = Callable[..., Path]


def slide(rng: np.random.Generator, width: int = 1600, height: int = 240) -> NDArray[np.uint8]:
    """A strip of a smear to move over: dark discs on a bright ground, never twice the same."""
    picture = np.full((height, width, 3), 210, dtype=np.uint8)
    for _ in range(width * height // 900):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        shade = int(rng.integers(120, 180))
        cv2.circle(picture, centre, int(rng.integers(7, 11)), (shade + 40, shade, shade), -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.0), dtype=np.uint8)


def field(strip: NDArray[np.uint8], x: int) -> NDArray[np.uint8]:
    return strip[:, x : x + 320]


def relit(pixels: NDArray[np.uint8], rng: np.random.Generator, gain: float) -> NDArray[np.uint8]:
    noisy = pixels * gain + rng.normal(0, 3, pixels.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_video(path: Path, pictures: list[NDArray[np.uint8]], fps: float = 10.0) -> Path:
    height, width = pictures[0].shape[:2]
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), code, fps, (width, height))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture
def strip(rng: np.random.Generator) -> NDArray[np.uint8]:
    return slide(rng)


def test_specifications() -> None:
    assert is_camera("uvc:/dev/video0")
    assert is_camera("simulated:")
    assert camera_spec("picamera2:0?width=8&height=8") is not None
    for path in ("a.png", "/data/a.png", "folder", "C:\\smear.png", "x:y.png", "notes:2026.png"):
        assert not is_camera(path)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("uvs:/dev/video0", "uvc:/dev/video0"),
        ("UVC:/dev/video0", "uvc:/dev/video0"),
        ("picamera:0", "picamera2:0"),
        ("simulate:", "simulated:"),
    ],
)
def test_a_mistyped_camera_suggests_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        frames([typed])
    assert f"did you mean {meant}?" in str(caught.value)


def test_a_file_that_looks_like_a_camera_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_frame: Frame, write_image: Writer
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(Path("uvs:a.png"), small_frame.pixels)
    assert isinstance(next(frames(["uvs:a.png"])), Frame)


def test_options_of_a_camera() -> None:
    camera = UvcCamera.from_spec(spec_of("uvc:2?width=1280&height=960&fourcc=MJPG"))
    assert (camera.name, camera.size, camera.fourcc) == ("uvc:/dev/video2", (1280, 960), "MJPG")
    assert UvcCamera.from_spec(spec_of("uvc:")).device == "/dev/video0"
    with pytest.raises(UsageError, match="no option 'wdith'; known are width"):
        open_source("uvc:/dev/video0?wdith=3")
    with pytest.raises(UsageError, match="together"):
        open_source("uvc:/dev/video0?width=640")
    with pytest.raises(UsageError, match="32 to 16384"):
        size_option({"width": "1", "height": "1"}, "x")
    with pytest.raises(UsageError, match="four letters"):
        open_source("uvc:/dev/video0?fourcc=JPEG2")
    with pytest.raises(UsageError, match="is a number"):
        open_source("picamera2:first")
    with pytest.raises(UsageError, match="is not a camera"):
        open_source("smear.png")
    assert spec_of("uvc:a?b=1&c=").options({"b": "x", "c": "y"}) == {"b": "1", "c": ""}


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("uvc:", "uvc:/dev/video0"),
        ("uvc:?width=8&height=8", "uvc:/dev/video0"),
        ("uvc:00", "uvc:/dev/video0"),
        ("uvc:video2?fourcc=MJPG", "uvc:/dev/video2"),
        ("uvc:/dev/video2", "uvc:/dev/video2"),
        ("uvc:/dev/v4l/by-id/usb-eyepiece", "uvc:/dev/v4l/by-id/usb-eyepiece"),
        ("picamera2:", "picamera2:0"),
        ("picamera2:01?width=8&height=8", "picamera2:1"),
        ("simulated:?seed=3", "simulated:"),
    ],
)
def test_a_camera_has_one_name_however_it_is_typed(typed: str, name: str) -> None:
    assert spec_of(typed).name == name


def spec_of(text: str) -> CameraSpec:
    spec = camera_spec(text)
    assert spec is not None
    return spec


def test_one_bad_file_does_not_stop_the_batch(
    tmp_path: Path, small_frame: Frame, write_image: Writer
) -> None:
    good = write_image(tmp_path / "one.png", small_frame.pixels)
    folder = tmp_path / "folder"
    write_image(folder / "f10.png", small_frame.pixels)
    write_image(folder / "f2.png", small_frame.pixels)
    (folder / "f3.png").write_bytes(b"not a picture")
    (tmp_path / "empty").mkdir()
    missing = tmp_path / "missing.png"
    sources = [missing, good, folder, tmp_path / "empty", tmp_path / "none.mp4"]
    found = list(frames([str(path) for path in sources]))
    named = [
        ("failed", Path(item.image).name)
        if isinstance(item, FailedSource)
        else ("frame", Path(item.source).name)
        for item in found
    ]
    assert named == [
        ("failed", "missing.png"),
        ("frame", "one.png"),
        ("frame", "f2.png"),
        ("failed", "f3.png"),
        ("frame", "f10.png"),
        ("failed", "empty"),
        ("failed", "none.mp4"),
    ]
    assert found[0] == FailedSource(str(missing), f"{missing}: does not exist; check the name")
    assert isinstance(found[3], FailedSource)
    assert "not a picture" in found[3].error


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        frames(["a.png"], limit=0)


def test_the_simulated_microscope_gives_its_fields_and_stops() -> None:
    found = list(frames(["simulated:?fields=3&width=96&height=72"]))
    assert [item.source for item in found if isinstance(item, Frame)] == [
        f"simulated:seed-0-field-0{number}" for number in (1, 2, 3)
    ]
    assert len(found) == 3
    assert len(list(frames(["simulated:?fields=3&width=96&height=72"], limit=2))) == 2


def test_settings_reach_the_camera() -> None:
    found = list(
        frames(
            ["simulated:?fields=1&width=96&height=72"],
            settings=CameraSettings(exposure_us=7000),
        )
    )
    assert isinstance(found[0], Frame)
    assert found[0].metadata["exposure_us"] == 7000


def test_a_camera_that_fails_is_an_entry_and_the_rest_goes_on(
    tmp_path: Path, small_frame: Frame, write_image: Writer
) -> None:
    good = write_image(tmp_path / "one.png", small_frame.pixels)
    found = list(
        frames(["simulated:?fault=dark&width=96&height=72", "uvc:/dev/video77", str(good)])
    )
    assert isinstance(found[0], FailedSource)
    assert "is dark" in found[0].error
    assert isinstance(found[1], FailedSource)
    assert "no such device" in found[1].error
    assert isinstance(found[2], Frame)


def test_places_are_recognised_when_moved_and_relit(
    strip: NDArray[np.uint8], rng: np.random.Generator
) -> None:
    first = place_of(field(strip, 0))
    for shift in (0, 80, 160, 220):
        again = place_of(relit(field(strip, shift), rng, 0.85))
        assert correlation(first, again) > 0.85
        assert same_place(again, first)
    for x in (340, 700, 1200):
        assert correlation(first, place_of(field(strip, x))) < 0.6
    assert correlation(first, place_of(strip[:200, :200])) == 0.0
    blank = place_of(np.full((240, 320, 3), 128, dtype=np.uint8))
    assert not same_place(blank, blank)


@pytest.mark.real
def test_different_real_fields_are_different_places(data_root: Path) -> None:
    paths = set_files(data_root, "chula_disease")[::12][:6]
    pictures = [read_frame(path).pixels for path in paths]
    halves = [(p[: p.shape[0] // 2, : p.shape[1] // 2], p[-p.shape[0] // 2 :]) for p in pictures]
    places = [place_of(left) for left, _ in halves]
    for i, one in enumerate(places):
        moved = pictures[i][60 : 60 + halves[i][0].shape[0], 80 : 80 + halves[i][0].shape[1]]
        assert same_place(one, place_of(moved))
        assert not any(same_place(one, other) for other in places[:i])


def test_a_video_gives_each_place_once(
    tmp_path: Path, strip: NDArray[np.uint8], rng: np.random.Generator
) -> None:
    stops = [0, 400, 60, 800]  # the third lies over the first
    pictures = [relit(field(strip, x), rng, 1.0) for x in stops for _ in range(10)]
    path = write_video(tmp_path / "smear.avi", pictures)
    found = list(video_frames(path))
    assert [item.source for item in found if isinstance(item, Frame)] == [
        f"{path}#t={second}" for second in (0, 1, 3)
    ]
    assert len(found) == 3
    assert isinstance(found[1], Frame)
    assert found[1].metadata["time_s"] == 1.0
    assert np.abs(found[1].pixels.astype(int) - field(strip, 400)).mean() < 8
    assert len(list(video_frames(path, limit=2))) == 2
    assert len(list(frames([str(path)], limit=1))) == 1


def test_a_video_cut_short_gives_what_it_has_and_says_so(
    tmp_path: Path, strip: NDArray[np.uint8], rng: np.random.Generator
) -> None:
    pictures = [relit(field(strip, x), rng, 1.0) for x in (0, 400, 800, 1200) for _ in range(10)]
    data = write_video(tmp_path / "whole.avi", pictures).read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[: len(data) // 2])
    found = list(video_frames(path))
    assert isinstance(found[0], Frame)
    assert isinstance(found[-1], FailedSource)
    assert "ends after" in found[-1].error or "holds no frame" in found[-1].error


def test_what_is_no_video_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "film.mp4"
    for data in (b"", b"hello" * 100, b"\0\0\0\x18ftypisom" + bytes(400)):
        path.write_bytes(data)
        found = list(video_frames(path))
        assert len(found) == 1
        assert isinstance(found[0], FailedSource)
        assert "\n" not in found[0].error
    assert capfd.readouterr().err == ""
