"""Reading pictures: every kind that is read, every kind of damage that is refused."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.errors import ImageError
from edgehemo.images.header import read_header
from edgehemo.images.reading import (
    IMAGE_SUFFIXES,
    MAX_FILE_BYTES,
    MAX_PIXELS,
    decode_frame,
    images_in,
    natural_key,
    read_frame,
)

Writer = Callable[..., Path]
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def encoded(suffix: str, *parameters: int, height: int = 24, width: int = 32) -> bytes:
    """A small picture that keeps its bytes from run to run."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 255, (4, 5, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    done, coded = cv2.imencode(suffix, picture, list(parameters))
    assert done
    return bytes(coded.tobytes())


SAMPLES = {
    "jpeg": encoded(".jpg"),
    "progressive": encoded(".jpg", *PROGRESSIVE),
    "restarts": encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "png": encoded(".png"),
    "bmp": encoded(".bmp"),
    "tiff": encoded(".tiff"),
    "webp": encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 90),
    "lossless webp": encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def exif_block(orientation: int, order: str = "<") -> bytes:
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_jpeg_exif(jpeg: bytes, block: bytes) -> bytes:
    body = b"Exif\0\0" + block
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def with_png_exif(png: bytes, block: bytes) -> bytes:
    return png[:33] + chunk(b"eXIf", block) + png[33:]


def with_webp_exif(webp: bytes, block: bytes, width: int, height: int) -> bytes:
    flags = struct.pack("<I", 0x08) + (width - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + flags + (height - 1).to_bytes(3, "little")
    exif = b"EXIF" + struct.pack("<I", len(block)) + block + b"\0" * (len(block) % 2)
    body = b"WEBP" + extended + webp[12:] + exif
    return b"RIFF" + struct.pack("<I", len(body)) + body


def message_of(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_frame(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_lossless_formats_keep_every_pixel_in_rgb_order(
    tmp_path: Path, small_pixels: NDArray[np.uint8], write_image: Writer, suffix: str
) -> None:
    parameters = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()
    path = write_image(tmp_path / f"a{suffix}", small_pixels, *parameters)
    frame = read_frame(path)
    np.testing.assert_array_equal(frame.pixels, small_pixels)
    assert frame.source == str(path)
    assert frame.metadata["bits_per_sample"] == 8


@pytest.mark.parametrize("parameters", [(), PROGRESSIVE, (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)])
def test_jpeg_is_read_in_rgb_order(
    tmp_path: Path, write_image: Writer, parameters: tuple[int, ...]
) -> None:
    red = np.zeros((32, 48, 3), dtype=np.uint8)
    red[..., 0] = 200
    frame = read_frame(write_image(tmp_path / "red.jpg", red, *parameters))
    assert frame.pixels.shape == (32, 48, 3)
    assert frame.pixels[..., 0].min() > 190
    assert frame.pixels[..., 1:].max() < 12


def test_grey_becomes_three_equal_channels(
    tmp_path: Path, small_pixels: NDArray[np.uint8], write_image: Writer
) -> None:
    grey = np.ascontiguousarray(small_pixels[..., 1])
    frame = read_frame(write_image(tmp_path / "grey.png", grey))
    for channel in range(3):
        np.testing.assert_array_equal(frame.pixels[..., channel], grey)


def test_alpha_is_dropped_and_hidden_colours_kept(
    tmp_path: Path, small_pixels: NDArray[np.uint8], write_image: Writer
) -> None:
    alpha = np.full((*small_pixels.shape[:2], 1), 128, dtype=np.uint8)
    path = write_image(tmp_path / "a.png", np.concatenate([small_pixels, alpha], axis=2))
    np.testing.assert_array_equal(read_frame(path).pixels, small_pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_to_eight(
    tmp_path: Path, small_pixels: NDArray[np.uint8], write_image: Writer, suffix: str
) -> None:
    path = write_image(tmp_path / f"a{suffix}", small_pixels.astype(np.uint16) * 257)
    frame = read_frame(path)
    np.testing.assert_array_equal(frame.pixels, small_pixels)
    assert frame.metadata["bits_per_sample"] == 16


def test_twelve_bits_in_sixteen_are_not_read_as_black(
    tmp_path: Path, small_pixels: NDArray[np.uint8], write_image: Writer
) -> None:
    twelve = (small_pixels.astype(np.float64) * 4095 / 255).round().astype(np.uint16)
    frame = read_frame(write_image(tmp_path / "a.tif", twelve))
    assert np.abs(frame.pixels.astype(int) - small_pixels).max() <= 1
    assert frame.metadata["bits_per_sample"] == 12


def test_float_samples_are_refused(tmp_path: Path, write_image: Writer) -> None:
    path = write_image(tmp_path / "a.tif", np.zeros((8, 8, 3), dtype=np.float32))
    assert "8 or 16 bits" in message_of(path)


# Where the stored picture's top-left pixel comes to lie (EXIF 2.32, 4.6.4 A).
CORNERS = {
    1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0),
}  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_exif_orientation_is_applied_in_every_format(
    kind: str, order: str, orientation: int
) -> None:
    picture = np.zeros((16, 32, 3), dtype=np.uint8)
    picture[:8, :8] = (0, 0, 255)  # BGR: a red corner where the stored picture begins
    suffix = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}[kind]
    data = cv2.imencode(suffix, picture)[1].tobytes()
    block = exif_block(orientation, order)
    if kind == "jpeg":
        data = with_jpeg_exif(data, block)
    elif kind == "png":
        data = with_png_exif(data, block)
    else:
        data = with_webp_exif(data, block, 32, 16)
    pixels = decode_frame(data, "turned").pixels
    assert pixels.shape == ((32, 16, 3) if orientation >= 5 else (16, 32, 3))
    row, column = CORNERS[orientation]
    assert pixels[row, column, 0] > 180 and pixels[row, column, 2] < 80
    assert pixels[..., 0].astype(int).sum() < 0.3 * 255 * 16 * 32


def test_exif_that_is_nonsense_is_left_alone() -> None:
    for block in (b"", b"II*\0", b"XX" + bytes(30), exif_block(9), b"II*\0\xff\xff\xff\xff"):
        data = with_jpeg_exif(SAMPLES["jpeg"], block)
        assert decode_frame(data, "x").pixels.shape == (24, 32, 3)


@pytest.mark.parametrize("kind", SAMPLES)
def test_header_tells_size_and_format(kind: str) -> None:
    header = read_header(SAMPLES[kind])
    assert (header.width, header.height) == (32, 24)
    assert header.format in kind or header.format == "jpeg"


def test_each_failure_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    assert "does not exist" in message_of(tmp_path / "missing.png")
    assert "is a folder" in message_of(tmp_path)
    assert "0 bytes" in message_of(file("empty.jpg", b""))
    assert "not a picture" in message_of(file("text.jpg", b"hello, this is a text" * 20))
    assert "HEIC" in message_of(file("phone.jpg", b"\0\0\0\x18ftypheic" + bytes(40)))
    assert "a video" in message_of(file("film.jpg", b"\0\0\0\x18ftypisom" + bytes(40)))
    assert "GIF" in message_of(file("a.png", b"GIF89a" + bytes(40)))
    assert "PDF" in message_of(file("a.png", b"%PDF-1.7" + bytes(40)))
    assert "not a valid file name" in message_of(Path("a\0b.png"))


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    assert "not a regular file" in message_of(pipe)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(SAMPLES["png"])
    path.chmod(0)
    assert "cannot be opened" in message_of(path)


def test_absurd_sizes_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_decoding(*_: object) -> None:
        raise AssertionError("decoded before the size was checked")

    monkeypatch.setattr(cv2, "imdecode", no_decoding)
    side = 60_000
    png = bytearray(SAMPLES["png"])
    png[16:24] = struct.pack(">II", side, side)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    start = SAMPLES["jpeg"].index(b"\xff\xc0")
    jpeg = bytearray(SAMPLES["jpeg"])
    jpeg[start + 5 : start + 9] = struct.pack(">HH", side, side)
    webp = with_webp_exif(SAMPLES["webp"], b"", side, side)
    tiff = bytearray(SAMPLES["tiff"])
    directory = struct.unpack_from("<I", tiff, 4)[0]
    for entry in range(struct.unpack_from("<H", tiff, directory)[0]):
        at = directory + 2 + 12 * entry
        if struct.unpack_from("<H", tiff, at)[0] in (0x100, 0x101):
            struct.pack_into("<HIHH", tiff, at + 2, 3, 1, side, 0)
    for name, data in {"a.png": png, "a.jpg": jpeg, "a.webp": webp, "a.tif": tiff}.items():
        (tmp_path / name).write_bytes(bytes(data))
        assert "60000x60000 px, more than" in message_of(tmp_path / name)
    assert side * side > MAX_PIXELS


def test_absurd_bmp_is_refused() -> None:
    bmp = bytearray(SAMPLES["bmp"])
    struct.pack_into("<ii", bmp, 18, 60_000, -60_000)
    with pytest.raises(ImageError, match=r"cut short|more than"):
        decode_frame(bytes(bmp), "x")


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # a hole: takes no room on the disk
    assert "MB, more than" in message_of(path)


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_truncation_is_refused(kind: str) -> None:
    """A missing last byte too: what is drawn from half a picture must not be measured."""
    data = SAMPLES[kind]
    # A TIFF may end in a directory entry's padding, any other byte is needed.
    for length in sorted({0, 1, 2, 3, 8, *range(12, len(data), 41), len(data) - 1}):
        with pytest.raises(ImageError):
            decode_frame(data[:length], "cut")


def test_a_jpeg_whose_rest_was_lost_but_whose_end_was_kept_is_refused() -> None:
    """What an SD card leaves: the tail is zeros or missing, the decoder would paint it grey."""
    data = encoded(".jpg", height=240, width=320)
    start = data.index(b"\xff\xda")
    half = data[: start + (len(data) - start) // 2]
    for tail in (b"\xff\xd9", bytes(500), bytes(500) + b"\xff\xd9"):
        with pytest.raises(ImageError, match=r"damaged|cut short"):
            decode_frame(half + tail, "lost")


def test_a_progressive_jpeg_that_lacks_its_last_scans_is_refused() -> None:
    """To a decoder it is whole, and blurred."""
    data = encoded(".jpg", *PROGRESSIVE, height=120, width=160)
    starts = [place for place in range(len(data)) if data.startswith(b"\xff\xda", place)]
    assert decode_frame(data, "whole").width == 160
    for start in starts[1:]:
        with pytest.raises(ImageError, match="cut short"):
            decode_frame(data[:start] + b"\xff\xd9", "cut")


def test_bytes_after_the_end_are_harmless() -> None:
    """Phones append a second picture, cameras pad."""
    for kind in ("jpeg", "progressive", "png"):
        assert decode_frame(SAMPLES[kind] + bytes(100), kind).width == 32
    assert decode_frame(SAMPLES["jpeg"] + SAMPLES["jpeg"], "two").width == 32


def test_a_header_that_contradicts_the_picture_is_refused() -> None:
    webp = with_webp_exif(SAMPLES["webp"], b"", 64, 64)
    with pytest.raises(ImageError):
        decode_frame(webp, "x")


def test_decoders_stay_silent_and_others_are_heard() -> None:
    """The C libraries print to stderr; only the one line of ours may reach the user."""
    program = (
        "import os, sys, cv2, numpy as np\n"
        "from edgehemo.errors import ImageError\n"
        "from edgehemo.images.reading import decode_frame\n"
        "picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype('u1')\n"
        "jpeg = cv2.imencode('.jpg', picture)[1].tobytes()\n"
        "try:\n"
        "    decode_frame(jpeg[: len(jpeg) // 2] + b'\\xff\\xd9', 'x')\n"
        "except ImageError as error:\n"
        "    os.write(2, f'mine: {error}\\n'.encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.startswith("mine: x: is damaged")
    assert done.stderr.count("\n") == 1


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def readable_or_refused(data: bytes) -> None:
    try:
        frame = decode_frame(data, "fuzz")
    except ImageError as error:
        assert str(error).startswith("fuzz: ")
        assert "\n" not in str(error)
    else:
        assert frame.pixels.dtype == np.uint8
        assert frame.width * frame.height <= MAX_PIXELS


@FUZZ
@given(st.binary(max_size=200), st.sampled_from(["", *SAMPLES]))
def test_any_bytes_are_read_or_refused(tail: bytes, kind: str) -> None:
    readable_or_refused((SAMPLES[kind][:30] if kind else b"") + tail)


@FUZZ
@given(st.sampled_from(list(SAMPLES)), st.floats(0, 1))
def test_any_truncation_is_read_or_refused(kind: str, share: float) -> None:
    data = SAMPLES[kind]
    readable_or_refused(data[: int(share * len(data))])


@FUZZ
@given(
    st.sampled_from(list(SAMPLES)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1),
)
def test_any_flipped_bits_are_read_or_refused(kind: str, flips: list[tuple[float, int]]) -> None:
    data = bytearray(SAMPLES[kind])
    for place, bit in flips:
        data[int(place * len(data))] ^= 1 << bit
    readable_or_refused(bytes(data))


@FUZZ
@given(st.integers(0, len(SAMPLES["png"]) * 8 - 1))
def test_no_single_flipped_bit_of_a_png_goes_unnoticed(bit: int) -> None:
    data = bytearray(SAMPLES["png"])
    data[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(ImageError):
        decode_frame(bytes(data), "flip")


def test_a_folder_stands_for_its_pictures_in_natural_order(tmp_path: Path) -> None:
    for name in ("f10.png", "f2.PNG", "f1.jpg", ".hidden.png", "notes.txt", "F3.tiff"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "s1.png").write_bytes(b"")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "c.png").write_bytes(b"")
    names = [path.name for path in images_in([tmp_path])]
    assert names == ["f1.jpg", "f2.PNG", "F3.tiff", "f10.png"]
    deep = [path.name for path in images_in([tmp_path], recursive=True)]
    assert deep == [*names, "s1.png"]


def test_files_are_kept_as_given_existing_or_not(tmp_path: Path) -> None:
    given_paths = [tmp_path / "b.xyz", tmp_path / "a.png"]
    assert images_in(given_paths) == given_paths


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no picture"):
        images_in([tmp_path])


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=12)))
def test_natural_order_is_total(names: list[str]) -> None:
    paths = [Path("folder") / name for name in names if name not in (".", "..")]
    turned = paths[::-1]
    assert sorted(turned, key=natural_key) == sorted(paths, key=natural_key)


@pytest.mark.real
def test_every_kind_of_real_file_is_read(data_root: Path) -> None:
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(data_root.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            folder = path.relative_to(data_root).parts[0]
            kinds.setdefault((folder, path.suffix.lower()), []).append(path)
    assert len(kinds) >= 5
    for paths in kinds.values():
        for path in paths[:: max(1, len(paths) // 8)]:
            frame = read_frame(path)
            assert min(frame.width, frame.height) >= 60
            assert 5 < frame.pixels.mean() < 250
