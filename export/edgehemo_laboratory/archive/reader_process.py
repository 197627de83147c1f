"""The process that reads fields and samples, apart from the worker that asks it.

What ends it (a library that crashes on a picture, a time limit) ends nothing else, and whoever asks
knows which picture it was. Both ways: a line of JSON that announces bytes, and these.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from edgehemo.images.child import asked, exactly, tell
from edgehemo_laboratory.archive.equipment import ReadingEquipment, open_equipment
from edgehemo_laboratory.archive.place import open_archive
from edgehemo_laboratory.archive.reading import MissingPictureError, read_field, read_sample
from edgehemo_laboratory.errors import StorageError

Answer = tuple[dict[str, Any], bytes]
# What is asked for -> what answers it.
Asks = Mapping[str, Callable[[ReadingEquipment, Mapping[str, Any]], Answer]]


def _field(equipment: ReadingEquipment, ask: Mapping[str, Any]) -> Answer:
    return read_field(equipment, ask)


def _sample(equipment: ReadingEquipment, ask: Mapping[str, Any]) -> Answer:
    rows = pa.ipc.open_stream(ask["body"]).read_all().to_pylist()
    return read_sample(equipment, rows)


ASKS: Asks = {"field": _field, "sample": _sample}


def serve(asks: Asks = ASKS) -> None:
    """Answer until nobody asks any more."""
    wanted = json.loads(sys.argv[1])
    answers = io.FileIO(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints does not go among the answers
    incoming = io.FileIO(0, "rb")
    tell(answers, {"begun": True})
    try:
        equipment = open_equipment(
            open_archive(wanted["archive"]),
            wanted["bundle_sha256"],
            Path(wanted["bundle"]) if wanted["bundle"] else None,
            tuple(wanted["networks"]),
        )
    except Exception as error:
        tell(answers, {"broken": _said(error)})
        return
    tell(answers, {"ready": True})
    while (ask := asked(incoming)) is not None:
        given = json.loads(exactly(incoming, ask["head"]))
        given["body"] = exactly(incoming, ask["body"])
        told, blob = _answered(asks, equipment, given)
        head = json.dumps(told).encode()
        tell(answers, {"head": len(head), "body": len(blob)}, memoryview(head + blob))


def _answered(asks: Asks, equipment: ReadingEquipment, ask: Mapping[str, Any]) -> Answer:
    try:
        return asks[ask["what"]](equipment, ask)
    except StorageError as error:
        return {"storage": str(error)}, b""
    except MissingPictureError as error:
        return {"missing": str(error)}, b""
    except Exception as error:
        return {"error": _said(error)}, b""


def _said(error: Exception) -> str:
    """What went wrong, one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


if __name__ == "__main__":
    serve()
