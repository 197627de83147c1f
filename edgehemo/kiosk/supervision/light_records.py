"""What stored results say, without their cells: read once, kept for the pages that follow.

A result's document never changes, so that what was read of it stays right for as long as it is
kept. Of its images all stays but the cells, which are most of it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from edgehemo.records.reading_document import unpacked
from edgehemo.records.store import Reader

# Some 50 kB each, of 24 fields.
KEPT = 96
_kept: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
_one_at_a_time = threading.Lock()


def light_record(reader: Reader, reading_sha256: str) -> Mapping[str, Any]:
    """The record as result.json holds it, its images without ``cells``.

    RecordsError where the document is gone or damaged.
    """
    with _one_at_a_time:
        if reading_sha256 in _kept:
            _kept.move_to_end(reading_sha256)
            return _kept[reading_sha256]
    record = unpacked(reader.contents.read(reading_sha256)).record
    light = {
        **record,
        "images": [
            {key: value for key, value in image.items() if key != "cells"}
            for image in record["images"]
        ],
    }
    with _one_at_a_time:
        _kept[reading_sha256] = light
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return light
