"""What is in the folders that were given, before any picture is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgehemo.capture.replay import is_video
from edgehemo.capture.sources import camera_spec
from edgehemo.errors import ImageError
from edgehemo.images.reading import images_in, is_folder


def count_of(sources: Sequence[str]) -> int | None:
    """How many images the sources stand for; None where a camera or a video is among them."""
    count = 0
    for source in sources:
        path = Path(source)
        if camera_spec(source) is not None or is_video(path):
            return None
        try:
            count += len(images_in([path]))
        except ImageError:
            count += 1  # an entry of its own says why
    return count


def folders_left_out(sources: Sequence[str]) -> list[str]:
    """One line for each given folder whose subfolders hold pictures that are not read."""
    lines = []
    for source in sources:
        if camera_spec(source) is not None or not is_folder(Path(source)):
            continue
        inner = subfolders_with_pictures(Path(source))
        if inner:
            named = ", ".join(folder.name for folder in inner[:3])
            more = f" and {len(inner) - 3} more" if len(inner) > 3 else ""
            lines.append(
                f"{source}: the pictures in its subfolders ({named}{more}) are not read; "
                "screen the folder of each sample by itself"
            )
    return lines


def subfolders_with_pictures(folder: Path) -> list[Path]:
    """Subfolders, not hidden, in which pictures lie; empty where the folder cannot be listed."""
    try:
        inner = sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError:
        return []
    return [path for path in inner if _holds_pictures(path)]


def _holds_pictures(folder: Path) -> bool:
    try:
        return bool(images_in([folder]))
    except ImageError:
        return False
