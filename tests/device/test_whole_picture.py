"""Half a picture is noticed by its pixels; what is flat for another reason is not one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.api import quality
from edgehemo.capture import distinct_frames
from edgehemo.capture.guard import GuardedCamera
from edgehemo.errors import ImageError
from edgehemo.guidance.catalogue import guidance
from edgehemo.images.frame import Frame
from edgehemo.images.reading import IMAGE_SUFFIXES, read_frame
from edgehemo.images.whole import MIN_MISSING_SHARE, missing_part

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 240, 320


@pytest.fixture
def smear(rng: np.random.Generator) -> Pixels:
    """Discs on a bright ground, through a lens: with noise everywhere."""
    picture = np.full((HEIGHT, WIDTH, 3), 205, dtype=np.uint8)
    for _ in range(60):
        centre = (int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT)))
        cv2.circle(picture, centre, 12, (190, 130, 140), -1)
    noisy = cv2.GaussianBlur(picture, (0, 0), 1.2) + rng.normal(0, 2, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def grey(pixels: Pixels, share: float, value: int = 128) -> Pixels:
    cut = pixels.copy()
    cut[round((1 - share) * HEIGHT) :] = value
    return cut


def last_line(pixels: Pixels, share: float) -> Pixels:
    cut = pixels.copy()
    row = round((1 - share) * HEIGHT)
    cut[row:] = cut[row]
    return cut


def jpeg(pixels: Pixels, quality: int = 85) -> Pixels:
    coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)


@pytest.mark.parametrize("share", [0.08, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("coded", [False, True])
def test_a_flat_part_is_found_on_every_side(
    smear: Pixels, share: float, value: int, coded: bool
) -> None:
    cut = grey(smear, share, value)
    seen = jpeg(cut) if coded else cut
    for turns, side in enumerate(("lower", "right", "upper", "left")):
        missing = missing_part(np.ascontiguousarray(np.rot90(seen, turns)))
        assert missing is not None
        assert missing.side == side
        assert missing.share == pytest.approx(share, abs=20 / HEIGHT)
        assert "stops half way" in str(missing)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_a_repeated_line_is_found(smear: Pixels, quality: int) -> None:
    for seen in (last_line(smear, 0.4), jpeg(last_line(smear, 0.4), quality)):
        missing = missing_part(seen)
        assert missing is not None and missing.side == "lower"
        assert missing.share == pytest.approx(0.4, abs=0.08)


def test_a_transfer_that_stops_within_a_row_of_blocks(smear: Pixels) -> None:
    cut = grey(smear, 0.5)
    cut[HEIGHT // 2 - 16 : HEIGHT // 2, WIDTH // 3 :] = 128
    assert missing_part(jpeg(cut)) is not None
    tail = grey(smear, 0.5)
    tail[-1, -1] = 17  # what was written last, the end of a file
    found = missing_part(tail)
    assert found is not None and found.side == "lower"
    band = smear.copy()
    band[80:120] = 0
    found = missing_part(band)
    assert found is not None and found.side == "middle"


def field_stop(pixels: Pixels, radius: int, value: int) -> Pixels:
    round_field = np.full_like(pixels, value)
    inside = np.zeros(pixels.shape[:2], np.uint8)
    cv2.circle(inside, (WIDTH // 2, HEIGHT // 2), radius, 1, -1)
    round_field[inside > 0] = pixels[inside > 0]
    return round_field


def test_what_is_flat_for_another_reason_is_whole(smear: Pixels) -> None:
    clipped = smear.copy()
    clipped[smear.min(axis=2) > 195] = 255
    bars = smear.copy()
    bars[:30] = bars[-30:] = 0
    scale_bar = smear.copy()
    scale_bar[-30:-10, -120:-10] = 255
    drawn = np.full((HEIGHT, WIDTH, 3), 220, np.uint8)
    cv2.circle(drawn, (100, 60), 20, (200, 120, 130), -1)
    half_plane = np.full((HEIGHT, WIDTH, 3), 220, np.uint8)
    half_plane[HEIGHT // 2 :] = 0
    for whole in (
        smear,
        jpeg(smear, 40),
        field_stop(smear, 100, 0),
        field_stop(smear, 140, 0),
        field_stop(smear, 90, 255),
        clipped,
        bars,
        scale_bar,
        drawn,
        half_plane,
        np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        grey(smear, 0.8 * MIN_MISSING_SHARE),
    ):
        assert missing_part(whole) is None


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg", ".webp"])
def test_half_a_picture_of_any_format_is_no_frame(
    tmp_path: Path, smear: Pixels, suffix: str
) -> None:
    path = tmp_path / f"half{suffix}"
    path.write_bytes(cv2.imencode(suffix, grey(smear, 0.5))[1].tobytes())
    with pytest.raises(ImageError, match=r"stops half way: its lower part \(\d\d %\)"):
        read_frame(path)
    path.write_bytes(cv2.imencode(suffix, grey(smear, 0.1))[1].tobytes())
    assert read_frame(path).height == HEIGHT


def test_the_missing_end_of_a_frame_is_a_fault_of_its_field(smear: Pixels) -> None:
    for share, verdict in ((0.0, "pass"), (0.1, "fail"), (0.5, "fail")):
        report = quality(grey(smear, share))
        check = next(check for check in report.checks if check.name == "whole_picture")
        assert check.verdict == verdict
        assert check.value == pytest.approx(share, abs=0.01)
        if verdict == "fail":
            assert check.code == "PICTURE_INCOMPLETE"
            assert check.action == guidance("PICTURE_INCOMPLETE").action


class _LosingCamera:
    """Sends the frames it is given, the last one for ever."""

    name = "losing"
    has_stage = True

    def __init__(self, pictures: list[Pixels]) -> None:
        self._pictures = pictures
        self.sent = 0

    def frame(self, deadline_s: float) -> Frame:
        self.sent += 1
        return Frame(self._pictures[min(self.sent, len(self._pictures)) - 1], self.name)

    def move_to_next_field(self) -> bool:
        return True


def taken(camera: _LosingCamera, limit: int) -> Iterator[Frame]:
    guarded: GuardedCamera = camera  # type: ignore[assignment]
    return distinct_frames(guarded, limit)


def test_a_frame_that_lost_its_end_is_taken_again(smear: Pixels) -> None:
    camera = _LosingCamera([grey(smear, 0.5), last_line(smear, 0.3), smear, smear])
    frames = list(taken(camera, 2))
    assert camera.sent == 4
    assert all(missing_part(frame.pixels) is None for frame in frames)
    # A camera that sends nothing whole is not waited for: quality names the fault.
    broken = _LosingCamera([grey(smear, 0.5)])
    (frame,) = taken(broken, 1)
    assert broken.sent == 4
    assert missing_part(frame.pixels) is not None


def test_seen_files(cases_root: Path) -> None:
    with pytest.raises(ImageError, match=r"stops half way: its lower part \(50 %\)"):
        read_frame(cases_root / "half_grey_bccd.jpg")
    whole = read_frame(cases_root / "whole_bccd.jpg").pixels
    repeated = whole.copy()
    repeated[300:] = repeated[300]
    assert missing_part(jpeg(repeated)) is not None
    with pytest.raises(ImageError, match="is damaged"):
        read_frame(cases_root / "damaged.webp")
    assert read_frame(cases_root / "whole.webp").width == 640


@pytest.mark.real
def test_real_pictures_are_whole(data_root: Path) -> None:
    """Every set, single cells cut out of a scan too; all of them are read (11,694 in 2026-11)."""
    sets: dict[str, list[Path]] = {}
    for path in sorted(data_root.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            sets.setdefault(path.relative_to(data_root).parts[0], []).append(path)
    assert len(sets) >= 8
    for name, paths in sets.items():
        for path in paths[:: max(1, len(paths) // 60)]:
            pixels = read_frame(path).pixels
            if name in ("lmu", "pbc", "three_class"):
                continue
            assert missing_part(pixels) is None, path
            if min(pixels.shape[:2]) >= 240:
                half = pixels.copy()
                half[len(half) // 2 :] = half[len(half) // 2]
                assert missing_part(half) is not None, path
