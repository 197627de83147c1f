"""AneRBC-I (Shahzad et al. 2024, CC BY 4.0 as quoted): fields with the same patient's CBC."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from edgehemo.errors import UsageError
from edgehemo_export.data.sets.picture import (
    BloodCount,
    Labels,
    SetPicture,
    picture_named,
    pictures_in,
)

SOURCE = "anerbc"
FOLDERS = ("anerbc", "AneRBC_dataset", "AneRBC dataset", "AneRBC", "AneRBC-I")
LICENCE = "CC BY 4.0 as quoted (AneRBC, Shahzad et al. 2024)"
WIDTH_UM = 465.0
COHORTS = {"Healthy_individuals": "healthy", "Anemic_individuals": "anaemic"}
_COHORTS_OF_TABLE = {"healthy": "healthy", "anemic": "anaemic"}
# What the reports call a value, and the factor to the field's unit: g/dL to g/L, % to L/L.
_REPORTED: dict[str, tuple[str, float]] = {
    "HGB": ("hgb_g_per_l", 10.0),
    "HCT": ("hct_l_per_l", 0.01),
    "RBC": ("rbc_1e12_per_l", 1.0),
    "MCV": ("mcv_fl", 1.0),
    "MCH": ("mch_pg", 1.0),
    "MCHC": ("mchc_g_per_dl", 1.0),
    "WBC": ("wbc_1e9_per_l", 1.0),
    "PLT": ("plt_1e9_per_l", 1.0),
}


def read(root: Path, folder: Path) -> Iterator[SetPicture]:
    """Takes ``images/ masks/ pairs.csv`` as well as the published ``AneRBC-I`` with a folder a
    cohort of ``Original_images``, ``Binary_segmented`` and ``CBC_reports``.

    AneRBC-II (the same pictures in twelve pieces) is left out. Pictures of one panel are one
    group, since two of them carry one and the same count.
    """
    if (folder / "pairs.csv").is_file():
        yield from _read_table(root, folder)
        return
    inner = folder / "AneRBC-I" if (folder / "AneRBC-I").is_dir() else folder
    for name, cohort in COHORTS.items():
        base = inner / name
        for path in pictures_in(base / "Original_images"):
            report = base / "CBC_reports" / f"{path.stem}.txt"
            count = read_report(report) if report.is_file() else None
            mask = picture_named(base / "Binary_segmented", path.stem)
            yield _picture(root, path, cohort, count, mask)


def read_panels(folder: Path) -> list[BloodCount]:
    """Every distinct blood count of the set, those without a picture as well."""
    table = folder / "cbc_panels.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            return [_count_of_row(row) for row in csv.DictReader(file)]
    panels = [read_report(path) for path in sorted(folder.rglob("CBC_reports/*.txt"))]
    return list(dict.fromkeys(panels))


def read_report(path: Path) -> BloodCount:
    """A report as published: lines ``test, result with unit, normal range``.

    A star marks a value out of range. HGB is in g/dL and HCT in percent there. Raises UsageError
    where no line holds a value.
    """
    values: dict[str, float] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split(",")
        known = _REPORTED.get(parts[0].strip().upper())
        number = re.search(r"\d+(?:\.\d+)?", parts[1]) if len(parts) > 1 else None
        if known is not None and number is not None:
            values[known[0]] = round(float(number.group()) * known[1], 6)
    if not values:
        raise UsageError(f"{path}: holds no line such as `HGB, 10.1 g/dL, 12 --- 15`")
    return BloodCount(**values)


def _read_table(root: Path, folder: Path) -> Iterator[SetPicture]:
    with (folder / "pairs.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path = folder / "images" / row["image"]
            if path.is_file():
                mask = picture_named(folder / "masks", path.stem)
                cohort = _COHORTS_OF_TABLE.get(row["cohort"], row["cohort"])
                yield _picture(root, path, cohort, _count_of_row(row), mask)


def _picture(
    root: Path, path: Path, cohort: str, count: BloodCount | None, mask: Path | None
) -> SetPicture:
    panel = None if count is None else count.panel
    return SetPicture(
        path=path,
        set_name=SOURCE,
        source=SOURCE,
        kind="field",
        group=f"{SOURCE}-{panel or path.stem}",
        original=path.stem,
        licence=LICENCE,
        labels=Labels(
            class_name=cohort,
            mask=None if mask is None else mask.relative_to(root).as_posix(),
            blood_count=count,
        ),
        width_um=WIDTH_UM,
        scale_known="estimated",
    )


def _count_of_row(row: dict[str, str]) -> BloodCount:
    names = BloodCount.model_fields
    return BloodCount(**{name: float(row[name]) for name in names if row.get(name)})
