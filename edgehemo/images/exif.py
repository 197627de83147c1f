"""How a picture is turned: the one thing that is read of EXIF (EXIF 2.32, 4.6). Works on bytes."""

from __future__ import annotations

import struct

_EXIF_ORIENTATION = 0x0112
_MAX_EXIF_ENTRIES = 4096


def exif_orientation(block: bytes) -> int:
    """Orientation of an EXIF block (a TIFF file of its own), 1 where there is none or nonsense."""
    try:
        order = {b"II": "<", b"MM": ">"}[block[:2]]
        (offset,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, offset)
        for index in range(min(entries, _MAX_EXIF_ENTRIES)):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, offset + 2 + 12 * index)
            if tag == _EXIF_ORIENTATION and kind == 3 and 1 <= value <= 8:
                return int(value)
    except (KeyError, struct.error):
        return 1
    return 1
