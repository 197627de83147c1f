"""The size of a picture from its first bytes, before anything is decoded.

A decoder allocates what the header claims and works as long as it asks, so the claim is read and
bounded first. Also checked here, because decoders differ in it: that the file is whole. OpenCV
before 5 fills the missing part of a truncated JPEG with grey and says nothing. No I/O: everything
works on bytes. JPEG and TIFF have modules of their own.

Sources: PNG, W3C recommendation (3rd edition), 5 and 11; BMP, the BITMAPINFOHEADER family; WebP,
RFC 9649; VP8, RFC 6386, 9.
"""

from __future__ import annotations

import struct
import zlib

from edgehemo.errors import ImageError
from edgehemo.images.claims import ImageHeader, damaged, truncated
from edgehemo.images.exif import exif_orientation
from edgehemo.images.jpeg import jpeg_header
from edgehemo.images.kinds import PNG_SIGNATURE, SAVE_AS, picture_format, why_not_read

__all__ = ["ImageHeader", "read_header"]

# Entropy-coded data hold no long run of one byte, but where a transfer stopped and the rest of the
# file was filled. Of a blank picture libwebp writes 1 zero for 10,000 px, so a run is dead only
# when it is longer than the picture's size explains.
_DEAD_RUN_BYTES = 64
_DEAD_RUN_PER_PX = 1 / 2000


def read_header(data: bytes) -> ImageHeader:
    """The header of a whole picture file; of a TIFF, that of its first field.

    Raises ImageError, without the file's name, when the bytes are empty, no picture of a readable
    format, of a kind of that format that is not read, damaged or cut short.
    """
    if not data:
        raise ImageError("is empty (0 bytes); copy or take it again")
    kind = picture_format(data)
    if kind is None:
        raise ImageError(why_not_read(data))
    readers = {"png": _png, "jpeg": jpeg_header, "tiff": _tiff, "webp": _webp, "bmp": _bmp}
    try:
        header = readers[kind](data)
    except (struct.error, IndexError):
        raise truncated() from None
    if header.width <= 0 or header.height <= 0:
        raise ImageError(f"claims a size of {header.width}x{header.height} px; it is damaged")
    return header


def _png(data: bytes) -> ImageHeader:
    """Walks all chunks and checks their CRCs, so that no flipped bit reaches the decoder."""
    position = len(PNG_SIGNATURE)
    width = height = depth = 0
    orientation = 1
    seen_data = False
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        body, end = position + 8, position + 8 + length
        (stored,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(memoryview(data)[position + 4 : end]) != stored:
            raise damaged()
        if kind == b"IHDR":
            if width or length != 13:
                raise damaged()
            width, height, depth = struct.unpack_from(">IIB", data, body)
        elif not width:
            raise damaged()
        elif kind == b"IDAT":
            seen_data = True
        elif kind == b"eXIf":
            orientation = exif_orientation(data[body:end])
        elif kind == b"IEND":
            if not seen_data:
                raise damaged()
            return ImageHeader(
                "png", width, height, orientation, bytes_per_pixel=6 if depth > 8 else 4
            )
        position = end + 4


def _tiff(data: bytes) -> ImageHeader:
    # Its reader is as large as all the others together, and most pictures are no TIFF.
    from edgehemo.images.tiff import tiff_header  # noqa: PLC0415

    return tiff_header(data)


def _webp(data: bytes) -> ImageHeader:
    """Size, and that the coded picture was not filled up where a transfer stopped.

    libwebp decodes such a file without a word: the bytes that are missing read as zeros, which
    are valid.
    """
    (declared,) = struct.unpack_from("<I", data, 4)
    if declared + 8 > len(data):
        raise truncated()
    size: tuple[int, int] | None = None
    orientation = 1
    coded = False
    position = 12
    while position + 8 <= declared + 8:
        kind, length = struct.unpack_from("<4sI", data, position)
        body, end = position + 8, position + 8 + length
        if end > declared + 8:
            raise truncated()
        if kind == b"VP8X":
            if data[body] & 0x02:
                raise ImageError(f"is an animated WebP; save one frame of it; {SAVE_AS}")
            wide, tall = data[body + 4 : body + 7], data[body + 7 : body + 10]
            size = 1 + int.from_bytes(wide, "little"), 1 + int.from_bytes(tall, "little")
        elif kind in (b"VP8 ", b"VP8L"):
            inner = _vp8(data, body, end) if kind == b"VP8 " else _vp8l(data, body, end)
            coded = True
            # The larger claim is the one to bound; a decoder refuses two that disagree.
            size = inner if size is None else max(size, inner)
            if _dead_run(
                data[body:end], max(_DEAD_RUN_BYTES, int(size[0] * size[1] * _DEAD_RUN_PER_PX))
            ):
                raise damaged()
        elif kind == b"EXIF":
            orientation = exif_orientation(data[body:end].removeprefix(b"Exif\0\0"))
        position = end + (length & 1)
    if size is None or not coded:
        raise damaged()
    return ImageHeader("webp", *size, orientation)


def _vp8(data: bytes, body: int, end: int) -> tuple[int, int]:
    """Size of a lossy WebP; its partitions must lie in it (RFC 6386, 9.1 and 9.5)."""
    if data[body + 3 : body + 6] != b"\x9d\x01\x2a":
        raise damaged()
    width, height = struct.unpack_from("<HH", data, body + 6)
    first_bytes = int.from_bytes(data[body : body + 3], "little") >> 5
    if body + 10 + first_bytes >= end:
        raise truncated()
    return width & 0x3FFF, height & 0x3FFF


def _vp8l(data: bytes, body: int, end: int) -> tuple[int, int]:
    if end - body < 5:
        raise truncated()
    signature, bits = struct.unpack_from("<BI", data, body)
    if signature != 0x2F:
        raise damaged()
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)


def _dead_run(coded: bytes, length: int) -> bool:
    """Whether bytes hold a run of ``length`` equal ones."""
    step = length // 2
    sampled = coded[::step]
    # A run of that length covers two samples at least, which are then equal.
    for index in range(len(sampled) - 1):
        if sampled[index] == sampled[index + 1]:
            first = index * step
            run = sampled[index : index + 1] * length
            if coded.find(run, max(0, first - length), first + 2 * length) >= 0:
                return True
    return False


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
        raise truncated()
    row_bytes = (width * bits + 31) // 32 * 4
    if compression not in (0, 1, 2, 3, 6):
        raise ImageError(f"is a BMP of compression {compression}, not read here; {SAVE_AS}")
    if compression in (0, 3, 6) and width > 0 and pixels_at + row_bytes * height > len(data):
        raise truncated()
    if compression in (1, 2) and not _run_lengths_end(data, pixels_at, pack=compression):
        raise truncated()
    return ImageHeader("bmp", width, height)


def _run_lengths_end(data: bytes, position: int, *, pack: int) -> bool:
    """Whether run-length coded rows reach their end mark; ``pack`` pixels lie in a byte."""
    while position + 1 < len(data):
        count, code = data[position], data[position + 1]
        position += 2
        if count:
            continue
        if code == 1:
            return True
        if code == 2:
            position += 2
        elif code > 2:
            position += ((code + pack - 1) // pack + 1) // 2 * 2
    return False
