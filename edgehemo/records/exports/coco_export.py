"""Cells as one COCO file: images, annotations with boxes and outlines, categories.

The images' file names are those of an exported folder (`--format folder`) of the same results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgehemo.cells.cell import NOT_A_CELL, UNCERTAIN
from edgehemo.files.atomic import write_json_atomically
from edgehemo.records.exports.annotated_fields import (
    AnnotatedCell,
    AnnotatedField,
    annotated_fields,
)
from edgehemo.records.exports.exporting import Exporting
from edgehemo.report.asked_cells import INCLUSION_TYPES, TYPES_OF_KIND

_DECIMALS = 2


def write_coco_export(export: Exporting, out: Path) -> None:
    """One file over all fields of all results."""
    fields: list[AnnotatedField] = []
    for result in export.results:
        fields += annotated_fields(export, result)
        export.on_result()
    write_json_atomically(out, coco_of(fields))


def coco_of(fields: list[AnnotatedField]) -> dict[str, Any]:
    """The content. Images and annotations are counted from 1, in the order of the fields."""
    several = len({field.result for field in fields}) > 1
    numbers = category_numbers(fields)
    annotations: list[dict[str, Any]] = []
    for image, field in enumerate(fields, start=1):
        for cell in field.cells:
            annotations.append(_annotation(len(annotations) + 1, image, cell, numbers))
    return {
        "info": {
            "description": "Cells of stained blood smears, found and named by edgehemo and people",
            "version": "1",
        },
        "licenses": [],
        "images": [
            {
                "id": number,
                "file_name": f"{field.result}/{field.picture}" if several else field.picture,
                "width": field.width,
                "height": field.height,
                "result": field.result,
                "image": field.name,
                "um_per_px": field.um_per_px,
                "accepted": field.accepted,
            }
            for number, field in enumerate(fields, start=1)
        ],
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name, "supercategory": kind}
            for (kind, name), number in numbers.items()
        ],
    }


def category_numbers(fields: list[AnnotatedField]) -> dict[tuple[str, str], int]:
    """(kind, type) -> category: the known ones always have the same number, those of another
    bundle's types come after them by name.
    """
    known = [
        (kind, name)
        for kind, types in TYPES_OF_KIND.items()
        for name in (*types, *(INCLUSION_TYPES if kind == "rbc" else ()), UNCERTAIN, NOT_A_CELL)
    ]
    seen = {(cell.kind, cell.named) for field in fields for cell in field.cells}
    others = sorted(seen - set(known))
    return {each: number for number, each in enumerate((*dict.fromkeys(known), *others), start=1)}


def _annotation(
    number: int, image: int, cell: AnnotatedCell, numbers: dict[tuple[str, str], int]
) -> dict[str, Any]:
    x0, y0, x1, y1 = cell.box
    outline = [round(value, _DECIMALS) for corner in cell.outline for value in corner]
    return {
        "id": number,
        "image_id": image,
        "category_id": numbers[cell.kind, cell.named],
        "bbox": [round(value, _DECIMALS) for value in (x0, y0, x1 - x0, y1 - y0)],
        "area": round(_area(cell.outline), _DECIMALS),
        "segmentation": [outline],
        "iscrowd": 0,
        "score": cell.score,
        "attributes": {
            "cell": cell.cell + 1,
            "model_type": cell.type,
            "type_score": cell.type_score,
            "named_by": "person" if cell.by_person else "model",
            "review": None if cell.review is None else cell.review.verdict,
            "reviewed_type": None if cell.review is None else cell.review.type,
        },
    }


def _area(corners: list[tuple[float, float]]) -> float:
    """Of a polygon, px² (the shoelace formula)."""
    following = [*corners[1:], corners[0]]
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(corners, following, strict=True))) / 2
