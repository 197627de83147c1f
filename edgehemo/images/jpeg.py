"""The markers of a JPEG: its size, how often it is gone over, and that it has an end.

Sources: ITU-T T.81, annex B. Works on bytes.
"""

from __future__ import annotations

import re
import struct

from edgehemo.errors import ImageError
from edgehemo.images.claims import ImageHeader, damaged, truncated
from edgehemo.images.exif import exif_orientation
from edgehemo.images.kinds import SAVE_AS

# A marker inside entropy-coded data: not a stuffed zero, a restart or a fill byte (T.81, B.1.1.2).
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Baseline, extended sequential, progressive; with Huffman codes, and with arithmetic ones.
_JPEG_PROGRESSIVE = frozenset({0xC2, 0xCA})
_JPEG_READ = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})


def jpeg_header(data: bytes) -> ImageHeader:
    """Walks the markers to the end-of-image marker; bytes after that are left alone."""
    position = 2
    size: tuple[int, int] | None = None
    scans = 0
    unsent: dict[int, set[int]] = {}
    orientation = 1
    while True:
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        prefix, marker = struct.unpack_from(">BB", data, position)
        if prefix != 0xFF:
            raise damaged()
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        body, end = position + 4, position + 2 + length
        if length < 2:
            raise damaged()
        if end > len(data):
            raise truncated()
        if marker in _JPEG_FRAME_MARKERS:
            precision, height, width, parts = struct.unpack_from(">BHHB", data, body)
            if size is not None:
                raise damaged()
            _refuse_unread_jpeg(marker, precision, parts)
            size = width, height
            if marker in _JPEG_PROGRESSIVE:
                unsent = _unsent(data[body + 6 : end], parts)
        elif marker == 0xE1 and data[body : body + 6] == b"Exif\0\0" and orientation == 1:
            orientation = exif_orientation(data[body + 6 : end])
        if marker == 0xDA:
            scans += 1
            _mark_sent(unsent, data[body:end])
            found = _JPEG_MARKER.search(data, end)
            if found is None:
                raise truncated()
            position = found.start()
        else:
            position = end
    if size is None or not scans:
        raise damaged()
    if any(unsent.values()):
        raise truncated()
    return ImageHeader("jpeg", size[0], size[1], orientation, scans)


def _unsent(components: bytes, count: int) -> dict[int, set[int]]:
    """Component -> the coefficients (0 to 63) that a progressive JPEG has yet to send."""
    if len(components) < 3 * count:
        raise damaged()
    return {components[3 * index]: set(range(64)) for index in range(count)}


def _mark_sent(unsent: dict[int, set[int]], scan: bytes) -> None:
    """Strike what a scan sends to its last bit (T.81, G.1.1.1): a file cut between two scans is a
    whole picture to a decoder, but a blurred one.
    """
    count = scan[0]
    if not unsent or len(scan) < 4 + 2 * count:
        return
    first, last, approximation = scan[1 + 2 * count : 4 + 2 * count]
    if approximation & 0x0F == 0:
        for index in range(count):
            unsent.get(scan[1 + 2 * index], set()).difference_update(range(first, last + 1))


def _refuse_unread_jpeg(marker: int, precision: int, components: int) -> None:
    if marker not in _JPEG_READ:
        raise ImageError(f"is a lossless or hierarchical JPEG, which is not read here; {SAVE_AS}")
    if precision != 8:
        raise ImageError(f"is a JPEG of {precision} bits, of which 8 are read here; {SAVE_AS}")
    if components not in (1, 3, 4):
        raise ImageError(f"is a JPEG of {components} channels, not 1, 3 or 4; {SAVE_AS}")
