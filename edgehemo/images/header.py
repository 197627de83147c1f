"""The size of a picture from its first bytes, before anything is decoded.

A decoder allocates what the header claims, so the claim is read and bounded first. Also checked
here, because decoders differ in it: that the file is whole. OpenCV before 5 fills the missing part
of a truncated JPEG with grey and says nothing. No I/O: everything works on bytes.

Sources: PNG, W3C recommendation (3rd edition), 5 and 11; JPEG, ITU-T T.81 annex B; EXIF 2.32,
4.6; TIFF 6.0 and its BigTIFF extension; BMP, the BITMAPINFOHEADER family; WebP, RFC 9649.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from edgehemo.errors import ImageError

ImageFormat = Literal["png", "jpeg", "bmp", "tiff", "webp"]
READABLE = "JPEG, PNG, BMP, TIFF and WebP"

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# A marker inside entropy-coded data: not a stuffed zero, a restart or a fill byte (T.81, B.1.1.2).
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXIF_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT = 0x0100, 0x0101
_TIFF_STRIP_OFFSETS, _TIFF_STRIP_BYTES = 0x0111, 0x0117
_TIFF_TILE_OFFSETS, _TIFF_TILE_BYTES = 0x0144, 0x0145
# Bytes of one value of each TIFF field type (TIFF 6.0, section 2; 16 to 18 are BigTIFF's).
_TIFF_TYPES = {
    1: "B", 3: "H", 4: "I", 16: "Q",
}  # fmt: skip
# More directory entries than any camera or program writes: a damaged count.
_MAX_TIFF_ENTRIES = 4096
_MAX_TIFF_PARTS = 1_000_000


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the first bytes claim: format, stored size in px, EXIF orientation (1 to 8).

    The orientation of a TIFF is 1 here: its decoder turns the picture itself.
    """

    format: ImageFormat
    width: int
    height: int
    orientation: int = 1


def read_header(data: bytes) -> ImageHeader:
    """The header of a whole picture file.

    Raises ImageError, without the file's name, when the bytes are empty, no picture of a readable
    format, damaged or cut short.
    """
    if not data:
        raise ImageError("is empty (0 bytes); copy or take it again")
    try:
        if data.startswith(_PNG_SIGNATURE):
            header = _png(data)
        elif data.startswith(b"\xff\xd8\xff"):
            header = _jpeg(data)
        elif data[:4] in _TIFF_SIGNATURES:
            header = _tiff(data)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            header = _webp(data)
        elif data.startswith(b"BM") and len(data) > 26 and _is_bmp(data):
            header = _bmp(data)
        else:
            raise ImageError(_unreadable(data))
    except struct.error:
        raise _truncated() from None
    if header.width <= 0 or header.height <= 0:
        raise ImageError(f"claims a size of {header.width}x{header.height} px; it is damaged")
    return header


def _truncated() -> ImageError:
    return ImageError("is cut short (truncated); copy or take it again")


def _damaged() -> ImageError:
    return ImageError("is damaged; copy or take it again")


def _unreadable(data: bytes) -> str:
    """What to say of bytes that no reader here takes."""
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
            return f"is a HEIC picture; save it as JPEG or PNG ({READABLE} are read)"
        if brand in (b"avif", b"avis"):
            return f"is an AVIF picture; save it as JPEG or PNG ({READABLE} are read)"
        return "is a video, not a picture; give it to `edgehemo screen`, which samples frames"
    for start, name in (
        (b"GIF8", "a GIF"),
        (b"%PDF", "a PDF"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000"),
        (b"8BPS", "a Photoshop"),
    ):
        if data.startswith(start):
            return f"is {name} file; save it as JPEG or PNG ({READABLE} are read)"
    return f"is not a picture; {READABLE} are read"


def _png(data: bytes) -> ImageHeader:
    """Walks all chunks and checks their CRCs, so that no flipped bit reaches the decoder."""
    position = len(_PNG_SIGNATURE)
    width = height = 0
    orientation = 1
    seen_data = False
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        body, end = position + 8, position + 8 + length
        (stored,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(memoryview(data)[position + 4 : end]) != stored:
            raise _damaged()
        if kind == b"IHDR":
            if width or length != 13:
                raise _damaged()
            width, height = struct.unpack_from(">II", data, body)
        elif not width:
            raise _damaged()
        elif kind == b"IDAT":
            seen_data = True
        elif kind == b"eXIf":
            orientation = _exif_orientation(data[body:end])
        elif kind == b"IEND":
            if not seen_data:
                raise _damaged()
            return ImageHeader("png", width, height, orientation)
        position = end + 4


def _jpeg(data: bytes) -> ImageHeader:
    """Walks the markers to the end-of-image marker; bytes after that are left alone."""
    position = 2
    size: tuple[int, int] | None = None
    scanned = False
    orientation = 1
    while True:
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        prefix, marker = struct.unpack_from(">BB", data, position)
        if prefix != 0xFF:
            raise _damaged()
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        body, end = position + 4, position + 2 + length
        if length < 2:
            raise _damaged()
        if end > len(data):
            raise _truncated()
        if marker in _JPEG_FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, body + 1)
            if size is not None:
                raise _damaged()
            size = width, height
        elif marker == 0xE1 and data[body : body + 6] == b"Exif\0\0" and orientation == 1:
            orientation = _exif_orientation(data[body + 6 : end])
        if marker == 0xDA:
            scanned = True
            found = _JPEG_MARKER.search(data, end)
            if found is None:
                raise _truncated()
            position = found.start()
        else:
            position = end
    if size is None or not scanned:
        raise _damaged()
    return ImageHeader("jpeg", size[0], size[1], orientation)


def _exif_orientation(block: bytes) -> int:
    """Orientation of an EXIF block (a TIFF file of its own), 1 where there is none or nonsense."""
    try:
        order = {b"II": "<", b"MM": ">"}[block[:2]]
        (offset,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, offset)
        for index in range(min(entries, _MAX_TIFF_ENTRIES)):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, offset + 2 + 12 * index)
            if tag == _EXIF_ORIENTATION and kind == 3 and 1 <= value <= 8:
                return int(value)
    except (KeyError, struct.error):
        return 1
    return 1


def _tiff(data: bytes) -> ImageHeader:
    """The first directory's size; that every strip or tile lies in the file is checked too."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    if big:
        (offset,) = struct.unpack_from(order + "Q", data, 8)
        count_code, entry_code, step = "Q", "HHQ", 20
    else:
        (offset,) = struct.unpack_from(order + "I", data, 4)
        count_code, entry_code, step = "H", "HHI", 12
    entries = _unpack(data, order + count_code, offset)[0]
    if not 0 < entries <= _MAX_TIFF_ENTRIES:
        raise _damaged()
    first = offset + struct.calcsize(order + count_code)
    found: dict[int, tuple[int, ...]] = {}
    wanted = {
        _TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_STRIP_OFFSETS, _TIFF_STRIP_BYTES, _TIFF_TILE_OFFSETS,
        _TIFF_TILE_BYTES,
    }  # fmt: skip
    for index in range(entries):
        position = first + index * step
        tag, kind, count = _unpack(data, order + entry_code, position)
        if tag not in wanted or kind not in _TIFF_TYPES:
            continue
        if not 0 < count <= _MAX_TIFF_PARTS:
            raise _damaged()
        code = f"{order}{count}{_TIFF_TYPES[kind]}"
        value_at = position + struct.calcsize(order + entry_code)
        if struct.calcsize(code) > (8 if big else 4):
            value_at = _unpack(data, order + ("Q" if big else "I"), value_at)[0]
        found[tag] = _unpack(data, code, value_at)
    if _TIFF_WIDTH not in found or _TIFF_HEIGHT not in found:
        raise _damaged()
    starts = found.get(_TIFF_STRIP_OFFSETS, found.get(_TIFF_TILE_OFFSETS, ()))
    lengths = found.get(_TIFF_STRIP_BYTES, found.get(_TIFF_TILE_BYTES, ()))
    if not starts:
        raise _damaged()
    if any(start >= len(data) for start in starts) or any(
        start + length > len(data) for start, length in zip(starts, lengths, strict=False)
    ):
        raise _truncated()
    return ImageHeader("tiff", found[_TIFF_WIDTH][0], found[_TIFF_HEIGHT][0])


def _unpack(data: bytes, code: str, offset: int) -> tuple[int, ...]:
    """``struct.unpack_from`` for offsets read from a file, which may be absurd."""
    if offset + struct.calcsize(code) > len(data):
        raise _truncated()
    return struct.unpack_from(code, data, offset)


def _webp(data: bytes) -> ImageHeader:
    (declared,) = struct.unpack_from("<I", data, 4)
    if declared + 8 > len(data):
        raise _truncated()
    kind = data[12:16]
    if kind == b"VP8X":
        flags = data[20]
        if flags & 0x02:
            raise ImageError("is an animated WebP; save one frame of it as JPEG or PNG")
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        return ImageHeader("webp", width, height, _webp_orientation(data))
    if kind == b"VP8L":
        signature, bits = struct.unpack_from("<BI", data, 20)
        if signature != 0x2F:
            raise _damaged()
        return ImageHeader("webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise _damaged()
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("webp", width & 0x3FFF, height & 0x3FFF)
    raise _damaged()


def _webp_orientation(data: bytes) -> int:
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if kind == b"EXIF":
            block = data[body : body + length]
            return _exif_orientation(block.removeprefix(b"Exif\0\0"))
        position = body + length + (length & 1)
    return 1


def _is_bmp(data: bytes) -> bool:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    return header_bytes in (12, 16, 40, 52, 56, 64, 108, 124)


def _bmp(data: bytes) -> ImageHeader:
    """Width and height; a negative height means that the rows run from the top."""
    pixels_at, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
        compression = struct.unpack_from("<I", data, 30)[0] if header_bytes >= 40 else 0
    height = abs(height)
    if pixels_at >= len(data):
        raise _truncated()
    row_bytes = (width * bits + 31) // 32 * 4
    if compression in (0, 3) and width > 0 and pixels_at + row_bytes * height > len(data):
        raise _truncated()
    return ImageHeader("bmp", width, height)
