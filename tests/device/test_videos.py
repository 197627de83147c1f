"""Videos by what they are and by their own time; and what lies in a folder beside its pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.capture import FailedSource, frames, replay
from edgehemo.capture.footage import Footage
from edgehemo.capture.overlap import place_of, same_place
from edgehemo.capture.replay import is_video, path_frames, video_frames
from edgehemo.errors import ImageError
from edgehemo.images.frame import Frame
from edgehemo.images.kinds import picture_format, video_kind, why_not_read
from edgehemo.images.reading import decode_frame, read_frame
from tests.support.tiff import page_of, tiff

Pixels = NDArray[np.uint8]
Writer = Callable[..., Path]


def field(seed: int) -> Pixels:
    """A field of a smear, each seed another place."""
    rng = np.random.default_rng(seed)
    picture = np.full((240, 320, 3), 210, dtype=np.uint8)
    for _ in range(90):
        centre = (int(rng.integers(0, 320)), int(rng.integers(0, 240)))
        cv2.circle(picture, centre, 9, (190, 130, 140), -1)
    noisy = cv2.GaussianBlur(picture, (0, 0), 1.0) + rng.normal(0, 2, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_video(path: Path, code: str, fields: int = 3, fps: float = 20.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, (320, 240))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {code} into {path.suffix}")
    for number in range(fields):
        for _ in range(round(fps)):
            writer.write(cv2.cvtColor(field(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def fields_of(items: list[Frame | FailedSource]) -> list[Frame]:
    assert all(isinstance(item, Frame) for item in items), items
    return [item for item in items if isinstance(item, Frame)]


@pytest.mark.parametrize(
    ("suffix", "code"),
    [(".avi", "MJPG"), (".mp4", "mp4v"), (".mkv", "MJPG"), (".mpg", "PIM1"), (".ts", "mp4v"),
     (".wmv", "WMV2"), (".3gp", "mp4v"), (".flv", "FLV1"), (".mov", "mp4v"), (".webm", "VP80"),
     (".m4v", "mp4v"), (".ogv", "THEO")],
)  # fmt: skip
def test_a_healthy_video_of_any_container_gives_its_fields_under_any_name(
    tmp_path: Path, suffix: str, code: str
) -> None:
    path = write_video(tmp_path / f"smear{suffix}", code)
    assert video_kind(path.read_bytes()[:1024]) is not None
    for name in (path.name, "smear", "smear.jpg", "50%d off.bin", "file:smear:1"):
        renamed = tmp_path / name
        renamed.write_bytes(path.read_bytes())
        assert is_video(renamed)
        found = fields_of(list(path_frames(renamed)))
        assert len(found) == 3, name
        for number, frame in enumerate(found):
            assert same_place(place_of(frame.pixels), place_of(field(number)))


def test_seen_videos(cases_root: Path) -> None:
    same = fields_of(list(path_frames(cases_root / "same_as.mp4")))
    assert len(same) == 6
    places = [place_of(frame.pixels) for frame in same]
    for name in ("browser_recorded.webm", "picamera2.h264", "eyepiece_camera.wmv"):
        found = fields_of(list(frames([str(cases_root / name)])))
        assert len(found) == 6, name
        for frame, place in zip(found, places, strict=True):
            assert same_place(place_of(frame.pixels), place), name
    browser = fields_of(list(path_frames(cases_root / "browser_recorded.webm")))
    for one, other in zip(browser, same, strict=True):
        assert one.metadata["time_s"] == pytest.approx(other.metadata["time_s"], abs=0.6)


class _Told:
    """A video whose header tells a frame rate and a length of its own."""

    def __init__(self, path: str, fps: float, count: float) -> None:
        self._video = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        self._told = {cv2.CAP_PROP_FPS: fps, cv2.CAP_PROP_FRAME_COUNT: count}
        self.isOpened, self.grab = self._video.isOpened, self._video.grab
        self.retrieve, self.release = self._video.retrieve, self._video.release

    def get(self, prop: int) -> float:
        return self._told.get(prop, self._video.get(prop))


@pytest.mark.parametrize(
    ("fps", "count"),
    [(1000.0, -9.2e18), (1000.0, 3000.0), (10.0, 60.0), (40.0, 60.0), (0.0, 0.0), (90_000.0, 1e9),
     (float("nan"), float("nan"))],
)  # fmt: skip
def test_a_header_that_tells_another_rate_loses_no_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fps: float, count: float
) -> None:
    path = write_video(tmp_path / "smear.avi", "MJPG")
    told = Footage(_Told(str(path), fps, count))  # type: ignore[arg-type]  # stands in
    monkeypatch.setattr(replay, "_opened", lambda _: told)
    items = list(video_frames(path))
    assert len([item for item in items if isinstance(item, Frame)]) == 3
    assert not [item.error for item in items if isinstance(item, FailedSource)]


@pytest.mark.parametrize(("suffix", "code"), [(".avi", "MJPG"), (".mkv", "MJPG"), (".ts", "mp4v")])
def test_a_video_that_was_cut_is_read_to_its_end(tmp_path: Path, suffix: str, code: str) -> None:
    path = write_video(tmp_path / f"smear{suffix}", code, fields=4)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    items = list(video_frames(path))
    assert len([item for item in items if isinstance(item, Frame)]) >= 2
    if suffix != ".ts":  # a transport stream promises no length
        assert isinstance(items[-1], FailedSource)
        assert "ends after" in items[-1].error


def test_what_is_no_video_is_not_given_to_ffmpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of addresses is a video to FFmpeg: it would fetch them."""

    def opened(*_: object) -> None:
        raise AssertionError("given to FFmpeg")

    monkeypatch.setattr(replay, "_opened", opened)
    path = tmp_path / "film.mp4"
    for data in (b"#EXTM3U\nhttp://127.0.0.1/a.ts\n", b"ffconcat version 1.0\nfile /etc/x\n",
                 b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", b"<MPD></MPD>", b"hello"):  # fmt: skip
        path.write_bytes(data)
        (item,) = path_frames(path)
        assert isinstance(item, FailedSource)
        assert "is not a video; copy or record it again" in item.error


def test_a_picture_with_the_name_of_a_video_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "smear.mp4"
    path.write_bytes(cv2.imencode(".png", field(1))[1].tobytes())
    assert not is_video(path)
    assert len(fields_of(list(path_frames(path)))) == 1


def test_motion_jpeg_without_a_container(tmp_path: Path) -> None:
    path = tmp_path / "smear.mjpeg"
    pictures = [cv2.imencode(".jpg", field(number))[1].tobytes() for number in (1, 1, 2)]
    path.write_bytes(b"".join(picture * 25 for picture in pictures))
    assert len(fields_of(list(path_frames(path)))) == 2


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x18ftypmp42" + bytes(9), "MP4"),
        (b"\0\0\0\x18ftyp3gp5" + bytes(9), "MP4"),
        (b"\0\0\0\x08wide" + bytes(9), "QuickTime"),
        (b"\x1a\x45\xdf\xa3" + bytes(9), "Matroska"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (bytes.fromhex("3026b2758e66cf11a6d9"), "Windows Media"),
        (b"\0\0\1\xba" + bytes(9), "MPEG"),
        ((b"\x47" + bytes(187)) * 4, "transport"),
        (b"\0\0\0\0" + (b"\x47" + bytes(191)) * 4, "transport"),
        (b"\0\0\0\1\x67\x42", "H.264"),
        (b"\0\0\1\x09\xf0", "H.264"),
        (b"\0\0\0\1\x40\1\x0c", "H.265"),
        (b"FLV\1\5", "Flash"),
        (b"OggS\0", "Ogg"),
    ],
)
def test_kinds_of_video(data: bytes, kind: str) -> None:
    found = video_kind(data)
    assert found is not None and kind in found
    assert picture_format(data) is None
    assert why_not_read(data).startswith(f"is a video ({found})")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(9), "HEIC"),
        (b"\0\0\0\x18ftypavif" + bytes(9), "AVIF"),
        (b"\0\0\0\x18ftypcrx " + bytes(9), "Canon CR3"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"II\xbc\1", "JPEG XR"),
        (b"IIU\0" + bytes(9), "Panasonic RW2"),
        (b"IIRO" + bytes(9), "Olympus ORF"),
        (b"FUJIFILMCCD-RAW 0201", "Fujifilm RAF"),
        (b"II\x1a\0\0\0HEAPCCDR", "Canon CRW"),
        (b"SIMPLE  =      T", "FITS"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"ZISRAWFILE", "Zeiss CZI"),
        (b"PK\3\4" + bytes(9), "ZIP"),
    ],
)
def test_pictures_not_read_are_named(data: bytes, name: str) -> None:
    assert video_kind(data) is None
    with pytest.raises(ImageError) as caught:
        decode_frame(data, "x")
    assert name in str(caught.value)
    assert "damaged" not in str(caught.value)
    assert "save it as JPEG, PNG or plain TIFF" in str(caught.value) or "unpack it" in str(
        caught.value
    )


def test_a_video_among_pictures_is_named_and_the_pictures_go_on(
    tmp_path: Path, write_image: Writer
) -> None:
    for number in (1, 2):
        write_image(tmp_path / f"f{number}.png", field(number))
    write_video(tmp_path / "a.avi", "MJPG", fields=1)
    (tmp_path / "clip.bin").write_bytes((tmp_path / "a.avi").read_bytes())
    raw = page_of(field(1)[..., 0].copy(), tags={262: 32803, 50706: bytes([1, 4, 0, 0])})
    (tmp_path / "raw.dng").write_bytes(tiff([raw]))
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    for name in ("notes.txt", "table.csv", ".hidden.mp4"):
        (tmp_path / name).write_bytes(b"a,b\n1,2\n")
    (tmp_path / "f3.jpg").write_bytes((tmp_path / "a.avi").read_bytes())
    items = list(path_frames(tmp_path))
    named = [
        Path(item.source).name if isinstance(item, Frame) else f"! {item.error}" for item in items
    ]
    assert named[:2] == ["f1.png", "f2.png"]
    said = "\n".join(named[2:])
    assert len(named) == 7
    assert f"{tmp_path / 'f3.jpg'}: is a video (AVI), not a picture" in said
    assert f"{tmp_path / 'a.avi'}: is a video, not a picture; give it by itself" in said
    assert f"{tmp_path / 'clip.bin'}: is a video" in said
    assert f"{tmp_path / 'raw.dng'}: is a DNG raw picture" in said
    assert f"{tmp_path / 'phone.heic'}: is a HEIC picture" in said


def test_a_folder_of_videos_alone_names_them(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", "MJPG", fields=1)
    (item,) = path_frames(tmp_path)
    assert isinstance(item, FailedSource)
    assert "a.avi: is a video, not a picture; give it by itself" in item.error


def test_the_pages_of_a_tiff_are_fields_and_a_damaged_one_does_not_stop_the_rest(
    tmp_path: Path,
) -> None:
    pages = [page_of(field(number), compression=8) for number in (1, 2, 3)]
    pages[1].strips = [pages[1].strips[0][:5000] + bytes(len(pages[1].strips[0]) - 5000)]
    path = tmp_path / "stack.tif"
    path.write_bytes(tiff(pages))
    items = list(frames([str(path)]))
    assert [type(item) for item in items] == [Frame, FailedSource, Frame]
    assert [getattr(item, "source", getattr(item, "image", "")) for item in items] == [
        f"{path}#page={number}" for number in (1, 2, 3)
    ]
    with pytest.warns(match="holds 3 fields"):
        np.testing.assert_array_equal(read_frame(path).pixels, field(1))


def test_a_path_that_is_too_long_does_not_end_the_batch(
    tmp_path: Path, write_image: Writer
) -> None:
    good = write_image(tmp_path / "f.png", field(1))
    items = list(frames(["x" * 5000 + ".jpg", "y" * 5000, str(good)]))
    assert [type(item) for item in items] == [FailedSource, FailedSource, Frame]
