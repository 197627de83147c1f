"""TIFF files made tag by tag, so that every layout a camera or a program writes can be tried."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TagValue = int | Sequence[int] | bytes
NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773
_SHORT_TAGS = frozenset({254, 258, 259, 262, 266, 274, 277, 280, 281, 284, 317, 338, 339, 530})


@dataclass
class Page:
    """One directory: its tags beside those of the strips, and the strips as they are stored."""

    tags: dict[int, TagValue]
    strips: list[bytes]
    lengths: list[int] | None = None
    offsets_tag: int = 273
    lengths_tag: int = 279
    children: list[Page] = field(default_factory=list)


def packbits(data: bytes) -> bytes:
    """PackBits of literal runs and of runs of one byte (TIFF 6.0, section 9)."""
    coded = bytearray()
    position = 0
    while position < len(data):
        run = 1
        while run < 128 and data[position : position + run + 1] == bytes([data[position]]) * (
            run + 1
        ):
            run += 1
        if run > 2:
            coded += bytes([257 - run, data[position]])
            position += run
            continue
        literal = data[position : position + 100]
        coded += bytes([len(literal) - 1]) + literal
        position += len(literal)
    return bytes(coded)


def lzw(data: bytes) -> bytes:
    """LZW as TIFF 6.0 has it: most significant bit first, the width changed one code early."""
    bits: list[str] = []
    table: dict[bytes, int] = {}
    width = 9

    def clear() -> None:
        nonlocal table, width
        bits.append(format(256, f"0{width}b"))
        table = {bytes([byte]): byte for byte in range(256)}
        table[b"clear!"], table[b"end!"] = 256, 257
        width = 9

    clear()
    known = b""
    for byte in data:
        longer = known + bytes([byte])
        if longer in table:
            known = longer
            continue
        bits.append(format(table[known], f"0{width}b"))
        table[longer] = len(table)
        if len(table) > (1 << width) - 1:
            width += 1
        if len(table) >= 4094:
            clear()
        known = bytes([byte])
    if known:
        bits.append(format(table[known], f"0{width}b"))
        # A reader adds an entry for this code as well, and widens by it.
        if len(table) + 1 > (1 << width) - 1:
            width += 1
    bits.append(format(257, f"0{width}b"))
    joined = "".join(bits)
    joined += "0" * (-len(joined) % 8)
    return int(joined, 2).to_bytes(len(joined) // 8, "big")


CODERS: Mapping[int, Callable[[bytes], bytes]] = {
    NONE: lambda data: data,
    LZW: lzw,
    DEFLATE: zlib.compress,
    OLD_DEFLATE: zlib.compress,
    PACKBITS: packbits,
}


def page_of(
    samples: NDArray[np.generic],
    *,
    compression: int = NONE,
    rows_per_strip: int | None = None,
    tags: Mapping[int, TagValue] | None = None,
    order: str = "<",
    strips: list[bytes] | None = None,
    planar: bool = False,
    bits: int | None = None,
) -> Page:
    """A page of the samples (height, width) or (height, width, channels), of any integer type.

    bits: told instead of those of the samples' type. strips: instead of the coded samples.
    """
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    rows = rows_per_strip or height
    byte_order: Literal["<", ">"] = "<" if order == "<" else ">"
    stored = samples.astype(samples.dtype.newbyteorder(byte_order))
    planes = (
        [stored[..., channel] for channel in range(channels)]
        if planar and channels > 1
        else [stored]
    )
    coder = CODERS.get(compression, CODERS[NONE])
    coded = [
        coder(np.ascontiguousarray(plane[top : top + rows]).tobytes())
        for plane in planes
        for top in range(0, height, rows)
    ]
    depth = bits or samples.dtype.itemsize * 8
    every: dict[int, TagValue] = {
        256: width,
        257: height,
        258: [depth] * channels,
        259: compression,
        262: 2 if channels >= 3 else 1,
        277: channels,
        278: rows,
        284: 2 if planar else 1,
    }
    every.update(tags or {})
    return Page(every, coded if strips is None else strips)


def tiff(pages: Sequence[Page], *, order: str = "<", big: bool = False) -> bytes:
    """A whole file of these pages, one after another."""
    mark = b"II" if order == "<" else b"MM"
    pointer = "Q" if big else "I"
    if big:
        data = bytearray(mark + struct.pack(order + "HHHQ", 43, 8, 0, 0))
    else:
        data = bytearray(mark + struct.pack(order + "HI", 42, 0))
    link_at = len(data) - struct.calcsize(pointer)
    for page in pages:
        offset, next_at = _append(data, page, order, big)
        struct.pack_into(order + pointer, data, link_at, offset)
        link_at = next_at
    return bytes(data)


def _append(data: bytearray, page: Page, order: str, big: bool) -> tuple[int, int]:
    pointer, inline = ("Q", 8) if big else ("I", 4)
    starts = []
    for strip in page.strips:
        starts.append(len(data))
        data += strip + b"\0" * (len(strip) % 2)
    tags = dict(page.tags)
    tags[page.offsets_tag] = starts
    tags[page.lengths_tag] = page.lengths or [len(strip) for strip in page.strips]
    if page.children:
        tags[330] = [_append(data, child, order, big)[0] for child in page.children]
    entries = []
    for tag, value in sorted(tags.items()):
        if isinstance(value, bytes):
            kind, count, body = 2, len(value), value
        else:
            values = [value] if isinstance(value, int) else list(value)
            kind, code = (3, "H") if tag in _SHORT_TAGS else (4, "I")
            count, body = len(values), struct.pack(f"{order}{len(values)}{code}", *values)
        if len(body) > inline:
            at = len(data)
            data += body + b"\0" * (len(body) % 2)
            body = struct.pack(order + pointer, at)
        entries.append(
            struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, count)
            + body.ljust(inline, b"\0")
        )
    offset = len(data)
    data += struct.pack(order + ("Q" if big else "H"), len(entries)) + b"".join(entries)
    next_at = len(data)
    data += struct.pack(order + pointer, 0)
    return offset, next_at
