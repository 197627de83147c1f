"""What a picture file claims of itself before it is decoded, and that it is not whole."""

from __future__ import annotations

from dataclasses import dataclass

from edgehemo.errors import ImageError
from edgehemo.images.kinds import ImageFormat


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the first bytes claim: format, stored size in px, EXIF orientation (1 to 8).

    scans: how often the decoder goes over the picture; more than one in a progressive JPEG.
    bytes_per_pixel: what the decoder allocates for each.
    """

    format: ImageFormat
    width: int
    height: int
    orientation: int = 1
    scans: int = 1
    bytes_per_pixel: int = 3


def truncated() -> ImageError:
    """For a file that ends before its picture does."""
    return ImageError("is cut short (truncated); copy or take it again")


def damaged() -> ImageError:
    """For a file whose content contradicts itself."""
    return ImageError("is damaged; copy or take it again")
