"""The strips and tiles of a TIFF's page: whether they are whole, and what a decoder is given.

libtiff fills what is missing with whatever the memory holds or with zeros, and OpenCV returns it.
So each part is decompressed here for its length alone, before the decoder sees the file. And of
the many layouts of a TIFF the decoder is given one it reads rightly: OpenCV 5 mixes up the planes
of 16-bit files that store them apart, forgets to turn white-is-zero of 16 bits round and
multiplies colours by their transparency.

Sources: TIFF 6.0, sections 9 (PackBits) and 13 (LZW); Technical Note 2 (JPEG); RFC 1950 and 1951.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import ImageError
from edgehemo.images import tiff
from edgehemo.images.claims import damaged, truncated
from edgehemo.images.jpeg import jpeg_header
from edgehemo.images.tiff import TiffPage

# Decompressed by and by, so that a page takes no second time its own memory.
_PIECE_BYTES = 4_000_000
_CLEAR, _END, _FIRST = 256, 257, 258
# Codes between two clear codes: the table of 12 bits is full by then (libtiff allows 1,024 more).
_MAX_CODES = 4096 + 1024 - _FIRST


def check_parts(data: bytes, page: TiffPage) -> None:
    """Raise ImageError unless every strip or tile decodes to the length that was promised."""
    starts, lengths = page.starts, page.lengths
    expected = list(_expected_bytes(page))
    if len(starts) < len(expected) or (lengths and len(lengths) < len(expected)):
        raise damaged()
    view = memoryview(data)
    for index, wanted in enumerate(expected):
        start = starts[index]
        length = lengths[index] if lengths else max(0, len(data) - start)
        if start >= len(data) or start + length > len(data):
            raise truncated()
        if not start or not length:
            raise damaged()
        if not _holds(view[start : start + length], wanted, expected[0], page):
            raise damaged()


def _expected_bytes(page: TiffPage) -> Iterator[int]:
    """How many bytes each part holds when it is decompressed, in the file's order."""
    apart = page.samples if page.separate else 1
    together = 1 if page.separate else page.samples
    if page.tiled:
        wide, tall = page.number(tiff.TILE_WIDTH, 0), page.number(tiff.TILE_HEIGHT, 0)
        if not 0 < wide <= 65_536 or not 0 < tall <= 65_536:
            raise damaged()
        across, down = -(-page.width // wide), -(-page.height // tall)
        if across * wide * down * tall > 4 * max(page.pixels, 1_000_000):
            raise damaged()
        size = _block_bytes(page, wide, tall, together)
        yield from [size] * (across * down * apart)
        return
    rows = min(page.number(tiff.ROWS_PER_STRIP, page.height), page.height)
    if rows <= 0:
        raise damaged()
    for _ in range(apart):
        for top in range(0, page.height, rows):
            yield _block_bytes(page, page.width, min(rows, page.height - top), together)


def _block_bytes(page: TiffPage, width: int, height: int, samples: int) -> int:
    if page.photometric == tiff.YCBCR:
        across, down = (page.numbers(tiff.YCBCR_SUBSAMPLING) or (2, 2))[:2]
        if across not in (1, 2, 4) or down not in (1, 2, 4):
            raise damaged()
        return -(-width // across) * -(-height // down) * (across * down + 2)
    return (width * samples * page.bits + 7) // 8 * height


def _holds(part: memoryview, wanted: int, full: int, page: TiffPage) -> bool:
    """Whether a stored part decodes to at least ``wanted`` bytes; a full one holds ``full``."""
    if page.compression == tiff.JPEG:
        return _whole_jpeg(part)
    if page.compression in (tiff.DEFLATE, tiff.OLD_DEFLATE):
        # Some programs fill the last strip up to the height of the others.
        return _inflated_bytes(part, full) >= wanted
    if page.number(tiff.FILL_ORDER, 1) != 1:
        # Bits in reverse order, as fax machines had them; the decoder alone judges these.
        return True
    if page.compression == tiff.PACKBITS:
        return _unpacked_bytes(part, wanted) >= wanted
    if page.compression == tiff.LZW:
        return _lzw_bytes(part, wanted) >= wanted
    return len(part) >= wanted


def _whole_jpeg(part: memoryview) -> bool:
    try:
        return jpeg_header(bytes(part)).scans > 0
    except (ImageError, struct.error, IndexError):
        return False


def _inflated_bytes(part: memoryview, most: int) -> int:
    """How many bytes a zlib stream holds, -1 for one that has no right end.

    Read to its end, for that is where its checksum stands: bytes put in the place of lost ones
    decode to something. ``most``: a stream that goes on beyond this is taken for lost as well.
    """
    stream = zlib.decompressobj()
    done = 0
    waiting: bytes | memoryview = part
    try:
        while not stream.eof:
            piece = stream.decompress(waiting, _PIECE_BYTES)
            waiting = stream.unconsumed_tail
            done += len(piece)
            if done > most or not (piece or waiting or stream.eof):
                return -1
    except zlib.error:
        return -1
    return done


def _unpacked_bytes(part: memoryview, wanted: int) -> int:
    """PackBits: a byte n below 128 announces n + 1 literal bytes, above 128 a run of 257 - n."""
    done = position = 0
    end = len(part)
    while done < wanted and position < end:
        count = part[position]
        if count < 128:
            position += 2 + count
            if position > end:
                return done
            done += count + 1
        elif count > 128:
            position += 2
            if position > end:
                return done
            done += 257 - count
        else:
            position += 1
    return done


@lru_cache(maxsize=1)
def _code_layout() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bit offset and width of each code after a clear code.

    After code i the next free entry is 258 + i; one before the last of a width the codes grow
    ("early change").
    """
    index = np.arange(_MAX_CODES)
    free = _FIRST + np.maximum(index - 1, 0)
    widths = 9 + (free > 510).astype(np.int64) + (free > 1022) + (free > 2046)
    return np.concatenate([[0], np.cumsum(widths)[:-1]]), widths


def _lzw_bytes(part: memoryview, wanted: int) -> int:
    """How many bytes an LZW strip decodes to, -1 for one that holds an impossible code.

    The codes between two clear codes are looked at together: their places are known, and a
    string is one byte longer than the one it was made from.
    """
    coded = np.frombuffer(part, dtype=np.uint8)
    if len(coded) >= 2 and coded[0] == 0 and coded[1] & 1:
        return wanted  # bits the other way round, as before TIFF 6.0; the decoder alone judges it
    padded = np.concatenate([coded, np.zeros(4, dtype=np.uint8)]).astype(np.uint32)
    bits = 8 * len(coded)
    offsets, widths = _code_layout()
    ends = offsets + widths
    position = done = 0
    while done < wanted:
        count = int(np.searchsorted(ends, bits - position, side="right"))
        if count == 0:
            break
        at = position + offsets[:count]
        byte = at >> 3
        window = padded[byte] << 16 | padded[byte + 1] << 8 | padded[byte + 2]
        codes = window >> (24 - (at & 7) - widths[:count]).astype(np.uint32)
        codes = (codes & ((1 << widths[:count]) - 1).astype(np.uint32)).astype(np.int64)
        stops = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        length = int(stops[0]) if len(stops) else count
        run = _string_bytes(codes[:length])
        if run < 0:
            return -1
        done += run
        if not len(stops):
            # The table cannot grow on: without a clear code nothing can follow.
            return done if count < _MAX_CODES or done >= wanted else -1
        if codes[length] == _END:
            break
        position = int(position + offsets[length] + widths[length])
    return done


def _string_bytes(codes: NDArray[np.int64]) -> int:
    """Bytes the codes between two clear codes stand for, -1 for a code not yet in the table."""
    if not len(codes):
        return 0
    index = np.arange(len(codes))
    made_of = codes - _FIRST
    if codes[0] > 255 or np.any(made_of >= index):
        return -1
    # Each string is its parent's and one byte more; literals are their own parents.
    literal = made_of < 0
    parents = np.where(literal, index, made_of)
    lengths = np.where(literal, 0, 1)
    while True:
        grand = parents[parents]
        if np.array_equal(grand, parents):
            return int(lengths.sum()) + len(codes)
        lengths = lengths + lengths[parents]
        parents = grand


# What a decoder needs to know of a page, and nothing else.
_KEPT = (
    tiff.WIDTH, tiff.HEIGHT, tiff.COMPRESSION, tiff.FILL_ORDER, tiff.ROWS_PER_STRIP,
    tiff.PREDICTOR, tiff.COLOUR_MAP, tiff.TILE_WIDTH, tiff.TILE_HEIGHT, tiff.JPEG_TABLES,
    tiff.YCBCR_SUBSAMPLING, tiff.YCBCR_POSITION,
)  # fmt: skip
_TYPE_OF = {tiff.JPEG_TABLES: 7}
_SHORT, _LONG, _LONG8 = 3, 4, 16


def plain_files(data: bytes, page: TiffPage) -> Iterator[bytearray]:
    """The file with one directory in place of its own, which describes the page plainly.

    Channels stored apart come one after another, each as a grey picture. Grey is black-is-zero
    (`white_is_zero` tells of the other), transparency is a channel of no meaning, and nothing is
    turned.
    """
    starts, lengths = page.starts, page.lengths
    if not page.separate:
        yield _with_directory(data, page, starts, lengths, page.samples)
        return
    per_channel = len(list(_expected_bytes(page))) // page.samples
    colours = 3 if page.photometric == tiff.RGB else 1
    for channel in range(colours):
        chosen = slice(channel * per_channel, (channel + 1) * per_channel)
        yield _with_directory(data, page, starts[chosen], lengths[chosen], 1)


def _with_directory(
    data: bytes, page: TiffPage, starts: Sequence[int], lengths: Sequence[int], samples: int
) -> bytearray:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    offsets_tag = tiff.TILE_OFFSETS if page.tiled else tiff.STRIP_OFFSETS
    lengths_tag = tiff.TILE_BYTES if page.tiled else tiff.STRIP_BYTES
    tags: dict[int, tuple[int, ...] | bytes] = {
        tag: page.tags[tag] for tag in _KEPT if tag in page.tags
    }
    grey = page.photometric == tiff.WHITE_IS_ZERO or page.separate
    tags[tiff.PHOTOMETRIC] = (tiff.BLACK_IS_ZERO if grey else page.photometric,)
    tags[tiff.BITS] = (page.bits,) * samples
    tags[tiff.SAMPLES] = (samples,)
    tags[tiff.PLANAR] = (1,)
    tags[offsets_tag] = tuple(starts)
    if lengths:
        tags[lengths_tag] = tuple(lengths)
    colours = 3 if tags[tiff.PHOTOMETRIC] in ((tiff.RGB,), (tiff.YCBCR,)) else 1
    if samples > colours:
        tags[tiff.EXTRA_SAMPLES] = (0,) * (samples - colours)
    plain = bytearray(data)
    plain += b"\0" * (-len(plain) % 8)
    offset = _append_directory(plain, tags, order, big)
    struct.pack_into(order + ("Q" if big else "I"), plain, 8 if big else 4, offset)
    return plain


def _append_directory(
    plain: bytearray, tags: Mapping[int, tuple[int, ...] | bytes], order: str, big: bool
) -> int:
    inline, count_code, pointer = (8, "Q", "Q") if big else (4, "I", "I")
    entries = bytearray()
    for tag in sorted(tags):
        value = tags[tag]
        if isinstance(value, bytes):
            kind, count, body = _TYPE_OF.get(tag, 7), len(value), value
        else:
            largest = max(value)
            if min(value) < 0:
                # None of the tags that are kept can be: a signed type stands where none may.
                raise ImageError("is damaged; copy or take it again")
            kind, code = (_SHORT, "H") if largest < 65_536 else (_LONG, "I")
            if largest >= 1 << 32:
                kind, code = _LONG8, "Q"
            count, body = len(value), struct.pack(f"{order}{len(value)}{code}", *value)
        if len(body) > inline:
            at = len(plain)
            plain += body + b"\0" * (-len(body) % 8)
            body = struct.pack(order + pointer, at)
        entries += struct.pack(order + "HH" + count_code, tag, kind, count)
        entries += body.ljust(inline, b"\0")
    offset = len(plain)
    plain += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
    plain += b"\0" * (8 if big else 4)
    return offset
