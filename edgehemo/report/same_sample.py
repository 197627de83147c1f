"""Whether the result in a folder is of the sample that is screened anew.

A mistyped folder must not cost an older sample's report. Samples with a label are told by it; one
without by what its images are called. Of a real camera nobody can tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgehemo.capture.sources import camera_spec
from edgehemo.errors import ImageError, UsageError
from edgehemo.images.reading import images_in
from edgehemo.report.folder import RESULT_FILE, own_files
from edgehemo.report.result import name_of

_SIMULATED = "simulated"


def refuse_another_sample(path: Path, sample: str | None, sources: Sequence[str | None]) -> None:
    """UsageError where a folder holds another sample's result.

    sample: what the new one is called. sources: what it is screened from; None for a picture that
    has no name.
    """
    if not own_files(path):
        return
    earlier = json.loads((path / RESULT_FILE).read_bytes())
    label = (earlier.get("labels") or {}).get("sample")
    if sample is not None or label is not None:
        same = sample == label
    else:
        same = _of_these(_names(earlier), sources)
    if not same:
        named = f"sample {label}" if label is not None else "another sample"
        raise UsageError(
            f"{path}: holds the result of {named}; choose another --out, or replace it with --force"
        )


def _names(record: dict[str, Any]) -> set[str]:
    """What the images of a result are called, without their pages and times."""
    images = record.get("images")
    return {
        str(image.get("image", "")).partition("#")[0]
        for image in (images if isinstance(images, list) else ())
        if isinstance(image, dict)
    }


def _of_these(names: set[str], sources: Sequence[str | None]) -> bool:
    """Whether a result's images can be those of the sources, all of them and no others."""
    if any(source is None for source in sources):
        return True  # pictures without names
    cameras = [spec for source in sources if source and (spec := camera_spec(source))]
    if any(spec.scheme != _SIMULATED for spec in cameras):
        return False
    prefixes = tuple(_slide(spec.text) for spec in cameras)
    files = [source for source in sources if source and camera_spec(source) is None]
    wanted = set(_file_names(files))
    drawn = {name for name in names if prefixes and name.startswith(prefixes)}
    return names - drawn == wanted and bool(drawn) == bool(prefixes)


def _slide(spec: str) -> str:
    """How the fields of a simulated slide are called."""
    # A screening of files does not wait for what draws smears.
    from edgehemo.capture.simulated import parse_simulated  # noqa: PLC0415

    return f"{_SIMULATED}:seed-{parse_simulated(spec).seed}-"


def _file_names(sources: Sequence[str]) -> Iterable[str]:
    for source in sources:
        try:
            for path in images_in([source]):
                yield name_of(str(path))
        except ImageError:
            yield name_of(source)
