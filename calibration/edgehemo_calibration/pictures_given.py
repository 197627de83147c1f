"""The pictures a command was given: is any there twice, and do two show one place?

One field counted twice would stand for two, and a control slide judged by the pictures of last
time would always pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from edgehemo.capture.overlap import Place, place_of, same_place
from edgehemo.errors import ImageError
from edgehemo.images.reading import read_frame


def content_digest(image: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a file; empty where it cannot be read."""
    try:
        return hashlib.sha256(image.read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def same_files(images: Sequence[Path]) -> list[str]:
    """Which pictures are there twice, one phrase each."""
    seen: dict[str, Path] = {}
    found = []
    for image in images:
        digest = content_digest(image)
        if digest and digest in seen:
            found.append(f"{image} is the same picture as {seen[digest]}")
        seen.setdefault(digest, image)
    return found


def same_places(images: Sequence[Path]) -> list[str]:
    """Which pictures show a place that one before shows; what cannot be read is passed over."""
    known: list[tuple[Path, Place]] = []
    found = []
    for image in images:
        try:
            place = place_of(read_frame(image).pixels)
        except ImageError:
            continue
        other = next((path for path, seen in known if same_place(place, seen)), None)
        if other is not None:
            found.append(f"{image} shows the same place as {other}")
        known.append((image, place))
    return found
