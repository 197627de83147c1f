"""Labels: how many of each class, and whether they lie in their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import EdgeHemoError
from edgehemo.words.counted import counted
from edgehemo_export.data.checking.findings import Finding, finding
from edgehemo_export.data.manifest import DataManifest, ManifestRow
from edgehemo_export.data.sets.picture import SetPicture

# Fewer of a class than these: its recall alone would have an interval of some forty per cent.
FEW = 20
# The most frequent class over the rarest, above which it is told.
UNBALANCED = 10.0


def class_counts(rows: Iterable[ManifestRow]) -> dict[str, int]:
    """How many there are of each class: pictures where pictures bear a class, else typed cells."""
    rows = list(rows)
    pictures = Counter(row.labels.class_name for row in rows if row.labels.class_name is not None)
    if pictures:
        return {str(name): count for name, count in sorted(pictures.items())}
    cells: Counter[str] = Counter()
    for row in rows:
        if row.labels.points is not None:
            cells.update(row.labels.points.counts)
    return dict(sorted(cells.items()))


def box_counts(rows: Iterable[ManifestRow]) -> dict[str, int]:
    """How many boxes there are of each kind of cell."""
    found: Counter[str] = Counter()
    for row in rows:
        if row.labels.boxes is not None:
            found.update(row.labels.boxes.counts)
    return dict(sorted(found.items()))


def balance_findings(manifest: DataManifest) -> list[Finding]:
    """Classes of which there are few, and sets whose classes are far from equal."""
    out: list[Finding] = []
    for name in dict.fromkeys(row.set_name for row in manifest.rows):
        counts = class_counts(manifest.of(name))
        if len(counts) < 2:
            continue
        few = {called: count for called, count in counts.items() if count < FEW}
        if few:
            told = ", ".join(f"{called} {count}" for called, count in few.items())
            says = f"fewer than {FEW} of a class: {told}"
            out.append(finding("few_of_a_class", name, says))
        least, *_, most = sorted(counts, key=counts.__getitem__)
        if counts[most] >= UNBALANCED * counts[least]:
            says = (
                f"{counts[most]:,} of {most} and {counts[least]:,} of {least}: "
                f"{counts[most] / counts[least]:.0f} to 1"
            )
            out.append(finding("unbalanced", name, says))
    return out


def outside_findings(
    pictures: Iterable[SetPicture], rows: Mapping[str, ManifestRow], names: Mapping[str, str]
) -> list[Finding]:
    """Cells whose centre is not in their picture, and labels whose places cannot be read.

    rows: by path. names: the path that findings give a picture, by its key.
    """
    found: dict[str, list[str]] = {}
    cells: Counter[str] = Counter()
    broken: list[Finding] = []
    for picture in pictures:
        row = rows.get(names[picture.key])
        if row is None:
            continue
        try:
            centres = _centres(picture)
        except (EdgeHemoError, ValueError) as error:
            said = str(error) if row.path in str(error) else f"{row.path}: its labels: {error}"
            broken.append(finding("labels_broken", picture.set_name, said, [row.path]))
            continue
        if centres is None:
            continue
        edge = np.array([row.width_px, row.height_px], np.float32)
        wrong = int(((centres < 0) | (centres > edge)).any(axis=1).sum())
        if wrong:
            found.setdefault(picture.set_name, []).append(row.path)
            cells[picture.set_name] += wrong
    return broken + [
        finding(
            "cells_outside",
            name,
            f"{counted(cells[name], 'labelled cell')} outside of {counted(len(paths), 'picture')}",
            paths,
        )
        for name, paths in found.items()
    ]


def _centres(picture: SetPicture) -> NDArray[np.float32] | None:
    if picture.read_boxes is not None:
        boxes = picture.read_boxes().boxes
        return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32)
    if picture.read_points is not None:
        return picture.read_points().centres
    return None
