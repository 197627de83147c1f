"""TIFF: every layout is read as it was meant, and half a one is never read."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo.errors import EdgeHemoWarning, ImageError
from edgehemo.images.frame import Frame
from edgehemo.images.reading import Picture, decode_frame, picture_of, read_frame
from edgehemo.images.tiff_parts import _inflated_bytes, _lzw_bytes, _unpacked_bytes
from tests.support.tiff import (
    DEFLATE,
    JPEG,
    LZW,
    NONE,
    OLD_DEFLATE,
    PACKBITS,
    Page,
    TagValue,
    lzw,
    packbits,
    page_of,
    tiff,
)

Pixels = NDArray[np.uint8]
COMPRESSIONS = (NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS)


def opened(pages: list[Page], *, order: str = "<", big: bool = False) -> Picture:
    return picture_of(tiff(pages, order=order, big=big), "x.tif")


def frame_of(page: Page, *, order: str = "<", big: bool = False) -> Frame:
    picture = opened([page], order=order, big=big)
    assert len(picture) == 1
    return picture.frame(0)


def refusal(data: bytes) -> str:
    def read_all() -> None:
        picture = picture_of(data, "x.tif")
        for field in range(len(picture)):
            picture.frame(field)

    with pytest.raises(ImageError) as caught:
        read_all()
    message = str(caught.value)
    assert message.startswith("x.tif") and "\n" not in message
    return message


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_every_compression_order_and_size_of_pointers(
    small_pixels: Pixels, compression: int, order: str, big: bool
) -> None:
    page = page_of(small_pixels, compression=compression, rows_per_strip=7, order=order)
    np.testing.assert_array_equal(frame_of(page, order=order, big=big).pixels, small_pixels)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("depth", [8, 16])
def test_channels_stored_apart(small_pixels: Pixels, compression: int, depth: int) -> None:
    """OpenCV mixes the planes of 16-bit files up."""
    samples = small_pixels if depth == 8 else small_pixels.astype(np.uint16) * 257
    page = page_of(samples, compression=compression, rows_per_strip=5, planar=True)
    np.testing.assert_array_equal(frame_of(page).pixels, small_pixels)


@pytest.mark.parametrize("depth", [8, 16])
def test_white_is_zero(small_pixels: Pixels, depth: int) -> None:
    grey = small_pixels[..., 1]
    samples = (255 - grey).astype(np.uint8)
    stored = samples if depth == 8 else samples.astype(np.uint16) * 257
    pixels = frame_of(page_of(stored, tags={262: 0})).pixels
    np.testing.assert_array_equal(pixels[..., 0], grey)


@pytest.mark.parametrize("meaning", [0, 1, 2])
def test_transparency_changes_no_colour(small_pixels: Pixels, meaning: int) -> None:
    alpha = np.full((*small_pixels.shape[:2], 1), 100, dtype=np.uint8)
    page = page_of(np.concatenate([small_pixels, alpha], axis=2), tags={338: meaning})
    np.testing.assert_array_equal(frame_of(page).pixels, small_pixels)


def test_tiles(small_pixels: Pixels) -> None:
    padded = np.pad(small_pixels, ((0, 16), (0, 0), (0, 0)))
    tiles = [
        np.ascontiguousarray(padded[y : y + 32, x : x + 32]).tobytes()
        for y in (0, 32)
        for x in (0, 32)
    ]
    page = page_of(small_pixels, tags={322: 32, 323: 32}, strips=tiles)
    del page.tags[278]
    page.offsets_tag, page.lengths_tag = 324, 325
    np.testing.assert_array_equal(frame_of(page).pixels, small_pixels)
    page.strips = tiles[:3]
    assert "damaged" in refusal(tiff([page]))


def test_jpeg_inside(small_pixels: Pixels) -> None:
    bgr = np.ascontiguousarray(small_pixels[..., ::-1])
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    page = page_of(small_pixels, compression=JPEG, tags={262: 6}, strips=[jpeg])
    difference = frame_of(page).pixels.astype(int) - small_pixels
    assert np.abs(difference).mean() < 4
    page.strips = [jpeg[: len(jpeg) // 2]]
    assert "damaged" in refusal(tiff([page]))
    page.strips = [jpeg[: len(jpeg) // 2] + bytes(len(jpeg) // 2 - 2) + b"\xff\xd9"]
    assert "damaged" in refusal(tiff([page]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(small_pixels: Pixels, orientation: int) -> None:
    told = frame_of(page_of(small_pixels, tags={274: orientation})).pixels
    assert told.shape == ((64, 48, 3) if orientation >= 5 else (48, 64, 3))
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1),
              7: (-1, -1), 8: (-1, 0)}[orientation]  # fmt: skip
    np.testing.assert_array_equal(told[corner], small_pixels[0, 0])


# -- 9 to 16 bits -------------------------------------------------------------------------------


def scaled(pixels: Pixels, bits: int) -> NDArray[np.uint16]:
    stretched = pixels.astype(np.float64)
    stretched *= 255 / stretched.max()
    return np.round(stretched * ((1 << bits) - 1) / 255).astype(np.uint16)


@pytest.mark.parametrize("bits", range(9, 17))
@pytest.mark.parametrize("kind", ["tif", "png"])
def test_bits_by_content(small_pixels: Pixels, bits: int, kind: str) -> None:
    samples = scaled(small_pixels, bits)
    if kind == "tif":
        data = tiff([page_of(samples, compression=LZW)])
    else:
        data = cv2.imencode(".png", np.ascontiguousarray(samples[..., ::-1]))[1].tobytes()
    frame = decode_frame(data, "x")
    assert frame.metadata["bits_per_sample"] == bits
    assert np.abs(frame.pixels.astype(int) - scaled(small_pixels, 8)).max() <= 1


OME = (
    b'<?xml version="1.0"?><OME><Image><Pixels DimensionOrder="XYCZT" SizeC="3" SizeT="1" '
    b'SizeZ="1" SignificantBits="12"><Channel SamplesPerPixel="3"/></Pixels></Image></OME>\0'
)


@pytest.mark.parametrize(
    "tags",
    [
        {281: [4095, 4095, 4095]},
        {341: [4095, 4095, 4095]},
        {270: OME},
        {51123: b'{"PixelType": "GRAY16", "BitDepth": 12}\0'},
        {270: b"ImageJ=1.54f\nimages=1\nmin=0.0\nmax=4095.0\n\0"},
    ],
)
def test_bits_by_what_the_file_says(small_pixels: Pixels, tags: dict[int, TagValue]) -> None:
    """A dim picture of 12 bits needs 10 by its pixels."""
    dim = scaled(small_pixels, 10)
    frame = frame_of(page_of(dim, tags=tags))
    assert frame.metadata["bits_per_sample"] == 12
    assert np.abs(frame.pixels.astype(int) - scaled(small_pixels, 8) // 4).max() <= 1


def test_pixels_that_contradict_the_tag_are_believed(small_pixels: Pixels) -> None:
    frame = frame_of(page_of(scaled(small_pixels, 14), tags={281: [1023] * 3}))
    assert frame.metadata["bits_per_sample"] == 14


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits(small_pixels: Pixels, bits: int) -> None:
    samples = scaled(small_pixels, bits)
    spread = (samples.reshape(48, -1)[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    packed = np.packbits(spread.astype(np.uint8).reshape(48, -1), axis=1).tobytes()
    frame = frame_of(page_of(samples, bits=bits, strips=[packed]))
    assert frame.metadata["bits_per_sample"] == bits
    assert np.abs(frame.pixels.astype(int) - scaled(small_pixels, 8)).max() <= 1


# -- pages --------------------------------------------------------------------------------------


def test_each_page_is_a_field(small_pixels: Pixels) -> None:
    pictures = [small_pixels, small_pixels[::-1], small_pixels[:, ::-1]]
    picture = opened([page_of(p, compression=DEFLATE) for p in pictures])
    assert len(picture) == 3
    for number, pixels in enumerate(pictures):
        frame = picture.frame(number)
        np.testing.assert_array_equal(frame.pixels, pixels)
        assert frame.source == f"x.tif#page={number + 1}"
        assert frame.metadata["fields_in_file"] == 3


def test_the_first_of_several_fields_alone_is_not_read_without_a_word(
    tmp_path: Path, small_pixels: Pixels
) -> None:
    path = tmp_path / "stack.tif"
    path.write_bytes(tiff([page_of(small_pixels), page_of(small_pixels[::-1])]))
    with pytest.warns(EdgeHemoWarning, match="holds 2 fields; only the first"):
        frame = read_frame(path)
    assert frame.metadata["fields_in_file"] == 2


def planes(pixels: Pixels, order: str = "rgb") -> list[Page]:
    return [page_of(np.ascontiguousarray(pixels[..., "rgb".index(colour)])) for colour in order]


def ome(channels: str, **sizes: int) -> bytes:
    told = {"SizeC": 3, "SizeZ": 1, "SizeT": 1} | sizes
    text = " ".join(f'{name}="{value}"' for name, value in told.items())
    order = "XYTCZ" if sizes.get("SizeT", 1) > 1 else "XYCZT"
    return (
        f'<OME xmlns="x"><Image><Pixels {text} DimensionOrder="{order}">{channels}'
        "</Pixels></Image></OME>\0"
    ).encode()


def named(*names: str) -> str:
    return "".join(f'<Channel Name="{name}" SamplesPerPixel="1"/>' for name in names)


def test_planes_by_name_in_any_order(small_pixels: Pixels) -> None:
    pages = planes(small_pixels, "bgr")
    pages[0].tags[270] = ome(named("Blue", "Green", "Red"))
    picture = opened(pages)
    assert len(picture) == 1
    np.testing.assert_array_equal(picture.frame(0).pixels, small_pixels)
    assert picture.frame(0).metadata["colour_planes"] == 3


def test_planes_by_colour(small_pixels: Pixels) -> None:
    pages = planes(small_pixels, "gbr")
    colours = (0x00FF00FF, 0x0000FFFF, -16776961)
    pages[0].tags[270] = ome("".join(f'<Channel Color="{colour}"/>' for colour in colours))
    np.testing.assert_array_equal(opened(pages).frame(0).pixels, small_pixels)


def test_planes_of_several_fields(small_pixels: Pixels) -> None:
    fields = [small_pixels, small_pixels[::-1]]
    interleaved = [page for colour in "rgb" for f in fields for page in planes(f, colour)]
    interleaved[0].tags[270] = ome(named("R", "G", "B"), SizeT=2)
    imagej = [page for f in fields for page in planes(f)]
    imagej[0].tags[270] = b"ImageJ=1.54f\nimages=6\nchannels=3\nframes=2\nmode=color\n\0"
    for pages in (interleaved, imagej):
        picture = opened(pages)
        assert len(picture) == 2
        for number, pixels in enumerate(fields):
            np.testing.assert_array_equal(picture.frame(number).pixels, pixels)


def test_three_grey_pages_without_a_word_are_planes_where_they_show_one_place(
    small_pixels: Pixels, rng: np.random.Generator
) -> None:
    light = cv2.GaussianBlur(rng.integers(0, 255, (48, 64)).astype(np.float32), (0, 0), 2)
    place = np.stack([40 + light * share for share in (0.5, 0.8, 0.7)], axis=2).astype(np.uint8)
    assert len(opened(planes(place))) == 1
    np.testing.assert_array_equal(opened(planes(place)).frame(0).pixels, place)
    others = [np.ascontiguousarray(np.roll(place[..., 1], 16 * n, axis=n % 2)) for n in range(3)]
    assert len(opened([page_of(other) for other in others])) == 3


@pytest.mark.parametrize(
    ("text", "count", "said"),
    [
        (ome(named("DAPI", "FITC"), SizeC=2), 2, "2 colour planes (DAPI, FITC), not red, green"),
        (ome(named("R", "G", "B")), 2, "promises 3 planes and holds 2"),
        (ome("", SizeC=1, SizeZ=3), 3, "focus stack of 3 steps"),
        (b"ImageJ=1.54f\nimages=7\nslices=7\n\0", 1, "promises 7 planes and holds 1"),
    ],
)
def test_other_pages_are_named(small_pixels: Pixels, text: bytes, count: int, said: str) -> None:
    pages = [page_of(np.ascontiguousarray(small_pixels[..., 0])) for _ in range(count)]
    pages[0].tags[270] = text
    assert said in refusal(tiff(pages))


def thumbnail() -> Page:
    return page_of(np.full((12, 16, 3), 90, np.uint8), tags={254: 1})


def test_a_thumbnail_is_never_taken_for_the_field(small_pixels: Pixels) -> None:
    untold = page_of(np.full((12, 16, 3), 90, np.uint8))
    for preview in (thumbnail(), untold):
        for pages in ([preview, page_of(small_pixels)], [page_of(small_pixels), preview]):
            picture = opened(pages)
            assert len(picture) == 1
            np.testing.assert_array_equal(picture.frame(0).pixels, small_pixels)
            assert picture.frame(0).metadata["previews_left_out"] == 1
    below = thumbnail()
    below.children = [page_of(small_pixels)]
    np.testing.assert_array_equal(frame_of(below).pixels, small_pixels)
    assert "only a small preview" in refusal(tiff([thumbnail()]))


# -- what is not read is named ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compression", "name"),
    [(50000, "ZSTD"), (34926, "ZSTD"), (34712, "JPEG-2000"), (33003, "JPEG-2000"), (9, "JBIG"),
     (34661, "JBIG"), (34887, "LERC"), (34925, "LZMA"), (50001, "WebP"), (50002, "JPEG XL"),
     (4, "CCITT"), (6, "old-style JPEG"), (47123, "number 47123")],
)  # fmt: skip
def test_compressions_not_read(small_pixels: Pixels, compression: int, name: str) -> None:
    said = refusal(tiff([page_of(small_pixels, compression=compression)]))
    assert f"compression {name}" in said
    assert "save it as JPEG, PNG or plain TIFF" in said
    assert "damaged" not in said


def test_samples_and_colours_not_read(small_pixels: Pixels) -> None:
    four = np.concatenate([small_pixels, small_pixels[..., :1]], axis=2)
    grey = np.ascontiguousarray(small_pixels[..., 0])
    for page, said in (
        (page_of(small_pixels.astype(np.float32), tags={339: [3, 3, 3]}), "floating-point"),
        (page_of(small_pixels.astype(np.int16), tags={339: [2, 2, 2]}), "signed"),
        (page_of(small_pixels.astype(np.uint32)), "32-bit samples"),
        (page_of(four, tags={262: 5}), "a CMYK picture"),
        (page_of(small_pixels, tags={262: 8}), "a CIELAB picture"),
        (page_of(four, tags={262: 1}), "4 channels where 1"),
        (page_of(small_pixels, tags={258: [8, 8, 16]}), "different bits"),
        (page_of(grey, bits=4, strips=[bytes(48 * 32)]), "4-bit samples"),
    ):
        message = refusal(tiff([page]))
        assert said in message
        assert "damaged" not in message


def test_camera_raws_are_named_and_their_thumbnails_not_taken(small_pixels: Pixels) -> None:
    mosaic = page_of(np.ascontiguousarray(small_pixels[..., 0]), tags={262: 32803})
    dng = thumbnail()
    dng.tags[50706] = bytes([1, 4, 0, 0])
    dng.tags |= {271: b"Raspberry Pi\0", 272: b"imx477\0"}
    dng.children = [mosaic]
    assert "is a DNG raw picture of Raspberry Pi imx477" in refusal(tiff([dng]))
    nef = page_of(np.full((12, 16, 3), 90, np.uint8), tags={271: b"NIKON\0"})
    nef.children = [page_of(small_pixels[..., 0], compression=34713)]
    arw = page_of(np.full((12, 16, 3), 90, np.uint8))
    arw.children = [page_of(small_pixels[..., 0], compression=32767)]
    for pages in ([nef], [arw], [thumbnail(), mosaic]):
        assert "a camera's raw picture" in refusal(tiff(pages))
    cr2 = bytearray(tiff([page_of(small_pixels, strips=[bytes(2), small_pixels.tobytes()])]))
    cr2[8:10] = b"CR"
    assert "a camera's raw picture" in refusal(bytes(cr2))


# -- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [LZW, DEFLATE, PACKBITS])
@pytest.mark.parametrize("rows", [6, 48])
def test_half_of_the_data_lost_is_noticed(
    small_pixels: Pixels, compression: int, rows: int
) -> None:
    page = page_of(small_pixels, compression=compression, rows_per_strip=rows)
    whole = b"".join(page.strips)
    half = whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2)
    lost: list[bytes] = []
    for strip in page.strips:
        lost.append(half[: len(strip)])
        half = half[len(strip) :]
    assert "damaged" in refusal(tiff([Page(page.tags, lost)]))
    empty = [*page.strips[:-1], b""]
    assert "damaged" in refusal(tiff([Page(page.tags, empty)]))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_short_strip_is_noticed(small_pixels: Pixels, compression: int) -> None:
    """The last rows alone are missing: the decoder would fill them with zeros."""
    short = page_of(small_pixels[:-2], compression=compression)
    assert "damaged" in refusal(tiff([Page({**short.tags, 257: 48, 278: 48}, short.strips)]))


def test_absurd_directories_are_refused(small_pixels: Pixels) -> None:
    data = bytearray(tiff([page_of(small_pixels)]))
    directory = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, directory)[0]
    looped = bytearray(data)
    struct.pack_into("<I", looped, directory + 2 + 12 * count, directory)
    assert "damaged" in refusal(bytes(looped))
    many = tiff([page_of(np.zeros((1, 1, 3), np.uint8)) for _ in range(1001)])
    assert "more than 1000 pages" in refusal(many)
    strips = Page(page_of(small_pixels).tags, [b"\0"])
    assert "damaged" in refusal(tiff([strips]))


def test_a_thousand_pages_of_one_long_list_are_not_read_a_thousand_times() -> None:
    tags: dict[int, TagValue] = {256: 8, 257: 8, 258: [8] * 3, 262: 2, 277: 3}
    data = bytearray(tiff([Page(dict(tags), [b"\0"] * 300_000)]))
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    size = 2 + 12 * count + 4
    copies = data[first : first + size]
    for _ in range(60):
        struct.pack_into("<I", data, len(data) - 4, len(data))
        data += copies
    assert "too many strips" in refusal(bytes(data))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=3000) | st.integers(0, 255).map(lambda b: bytes([b]) * 9000))
def test_lengths_without_decoding(data: bytes) -> None:
    """What each coder wrote has the length that went in, and every part of it less."""
    for code, length in (
        (lzw, _lzw_bytes),
        (packbits, _unpacked_bytes),
        (zlib.compress, _inflated_bytes),
    ):
        coded = code(data)
        assert length(memoryview(coded), 10**9) == len(data)
        if len(data) > 300:
            assert length(memoryview(coded[: len(coded) // 2]), len(data)) < len(data)


def test_long_lzw_is_as_libtiff_writes_it(rng: np.random.Generator) -> None:
    """Every width of codes and many clear codes, from another writer."""
    noise = rng.integers(0, 256, (300, 400, 3)).astype(np.uint8)
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), dtype=np.uint8)
    for pixels in (noise, smooth):
        done, coded = cv2.imencode(".tif", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, LZW])
        assert done
        frame = decode_frame(coded.tobytes(), "x")
        np.testing.assert_array_equal(frame.pixels, pixels[..., ::-1])


# -- the files that were seen -------------------------------------------------------------------


def test_seen_files(cases_root: Path) -> None:
    def picture(name: str) -> Picture:
        return picture_of((cases_root / name).read_bytes(), name)

    whole = picture("whole_lzw.tif").frame(0).pixels
    for name, bits in (("camera_10bit_in_16.tif", 10), ("camera_12bit_in_16.tif", 12)):
        frame = picture(name).frame(0)
        assert frame.metadata["bits_per_sample"] == bits
        assert np.abs(frame.pixels.astype(int) - whole).max() <= 2
    planes = picture("micromanager_3_planes.ome.tif")
    assert len(planes) == 1
    np.testing.assert_array_equal(planes.frame(0).pixels, whole)
    stack = picture("stack_of_3_fields.tif")
    assert len(stack) == 3
    for number in range(3):
        jpeg = picture(f"stack_field_{number + 1}.jpg").frame(0).pixels
        assert np.abs(stack.frame(number).pixels.astype(int) - jpeg).mean() < 4
    for name, said in (
        ("damaged_lzw.tif", "is damaged"),
        ("pi_camera_raw.dng", "is a DNG raw picture, which is not read here"),
        ("compressed_jpeg2000.tif", "compression JPEG-2000, which is not read here"),
    ):
        assert said in refusal((cases_root / name).read_bytes())
