"""What of a sample looks as if it were not one sample: told beside its result, never in its place.

Nothing here can be known for certain, for slides of one microscope look alike and fields of one
slide differ. So nothing is withheld for it: the operator is told what was seen and looks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgehemo.capture.sources import CAMERA_SCHEMES
from edgehemo.guidance.withheld import Doubt, doubt
from edgehemo.screening.field import FieldReading
from edgehemo.statistics.medians import median_of

# Scales that red cells of one microscope give differ by less than this factor from their median:
# measured on real sets, 1.3 within one; the next objective makes 1.6 or more.
ONE_MAGNIFICATION = 1.45
# A name's last number counts the field; what stands before it names the sample.
_FIELD_NUMBER = re.compile(r"(?P<sample>.*?[A-Za-z0-9].*?)[-_ .(#]+\D{0,6}\d+\)?$")
# Names are taken for those of several samples where each of so many stands before so many.
_FIELDS_OF_A_SAMPLE = 2


def doubts_of(fields: Sequence[FieldReading]) -> tuple[Doubt, ...]:
    """Why the fields may be of several samples; empty for most. Accepted fields are looked at."""
    accepted = [field for field in fields if field.accepted]
    found = [_scales(accepted), _sizes(accepted), _folders(accepted)]
    return tuple(each for each in found if each is not None)


def _scales(fields: Sequence[FieldReading]) -> Doubt | None:
    """Fields of one picture size whose cells are of another size than the others'."""
    other: list[FieldReading] = []
    usual: list[float] = []
    for size in dict.fromkeys((field.width, field.height) for field in fields):
        alike = [
            field
            for field in fields
            if (field.width, field.height) == size and field.scale_source == "red_cells"
        ]
        if len(alike) < 2:
            continue
        middle = median_of(np.array([field.um_per_px for field in alike]))
        usual.append(middle)
        other += [
            field
            for field in alike
            if not 1 / ONE_MAGNIFICATION <= field.um_per_px / middle <= ONE_MAGNIFICATION
        ]
    if not other:
        return None
    return doubt(
        "SCALES_DIFFER",
        fields=_named(other),
        scales=", ".join(f"{field.um_per_px:.3g}" for field in other[:3]),
        usual=", ".join(f"{scale:.3g}" for scale in usual),
    )


def _sizes(fields: Sequence[FieldReading]) -> Doubt | None:
    sizes = Counter((field.width, field.height) for field in fields)
    if len(sizes) < 2:
        return None
    most = sizes.most_common(3)
    return doubt("SIZES_DIFFER", sizes=", ".join(f"{n} of {w}x{h} px" for (w, h), n in most))


def _folders(fields: Sequence[FieldReading]) -> Doubt | None:
    """Several folders, or one in which the names are those of several samples."""
    # Of a camera or a video the frames are numbered, not named by a person.
    names = [field.image for field in fields if field.image.partition(":")[0] not in CAMERA_SCHEMES]
    files = [Path(name) for name in names if "#t=" not in name]
    folders = list(dict.fromkeys(file.parent.name for file in files))
    if len({file.parent for file in files}) > 1:
        return doubt("SEVERAL_SAMPLES", samples=_listed(folders))
    numbered = [_FIELD_NUMBER.match(file.stem) for file in files]
    if not files or any(match is None for match in numbered):
        return None
    groups = Counter(match["sample"] for match in numbered if match is not None)
    if len(groups) < 2 or min(groups.values()) < _FIELDS_OF_A_SAMPLE:
        return None
    return doubt("SEVERAL_SAMPLES", samples=_listed(list(groups)))


def _named(fields: Sequence[FieldReading]) -> str:
    return _listed([Path(field.image).name for field in fields])


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
