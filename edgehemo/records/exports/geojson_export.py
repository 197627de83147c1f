"""Cells as GeoJSON (RFC 7946), one file a field, as QuPath reads it: drag it onto the image.

Coordinates are pixels of the image, x to the right and y down, not degrees: that is how viewers of
pictures use GeoJSON.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgehemo.cells.cell import NOT_A_CELL, CellKind
from edgehemo.files.atomic import write_json_atomically
from edgehemo.records.exports.annotated_fields import (
    AnnotatedCell,
    AnnotatedField,
    annotated_fields,
)
from edgehemo.records.exports.exporting import Exporting
from edgehemo.report.pictures import KIND_RGB

_NAMESPACE = uuid.UUID("b3c0c2c4-5a1c-5d0f-9f0e-ed9e8e4a0002")
_DECIMALS = 2
# What a person took out is drawn in grey.
_NOT_A_CELL_RGB = (128, 128, 128)
_KIND_NAMES: Mapping[CellKind, str] = {
    "rbc": "Red cell", "wbc": "White cell", "platelet": "Platelet",
}  # fmt: skip


def write_geojson_export(export: Exporting, out: Path) -> None:
    """A folder with a file a field; of several results one below it for each."""
    for result in export.results:
        folder = out if len(export.results) == 1 else out / result.id
        folder.mkdir(parents=True, exist_ok=True)
        for field in annotated_fields(export, result):
            names_people = export.view.identified
            write_json_atomically(
                folder / f"{field.stem}.geojson", geojson_of(field, names_people=names_people)
            )
        export.on_result()


def geojson_of(field: AnnotatedField, *, names_people: bool) -> dict[str, Any]:
    """The FeatureCollection of a field; names_people: with who reviewed a cell."""
    return {
        "type": "FeatureCollection",
        "features": [_feature(field, cell, names_people) for cell in field.cells],
        # Members of our own, which RFC 7946 allows and readers pass over.
        "image": field.name,
        "picture": field.picture,
        "result": field.result,
        "width": field.width,
        "height": field.height,
        "um_per_px": field.um_per_px,
        "accepted": field.accepted,
    }


def _feature(field: AnnotatedField, cell: AnnotatedCell, names_people: bool) -> dict[str, Any]:
    ring = [[round(x, _DECIMALS), round(y, _DECIMALS)] for x, y in cell.outline]
    measurements = {"Finder score": cell.score}
    if cell.type_score is not None:
        measurements["Type score"] = cell.type_score
    about = {
        "kind": cell.kind,
        "field": str(cell.field + 1),
        "cell": str(cell.cell + 1),
        "model type": cell.type or "",
        "named by": "person" if cell.by_person else "model",
        "outline": "ellipse in the box found" if cell.kind == "rbc" else "box found",
    }
    if cell.review is not None:
        about["review"] = cell.review.verdict
        about["reviewed type"] = cell.review.type or ""
        if names_people:
            about |= {"reviewed by": cell.review.by, "reviewed at": cell.review.at}
    name = f"{_KIND_NAMES[cell.kind]}: {cell.named.replace('_', ' ')}"
    rgb = _NOT_A_CELL_RGB if cell.named == NOT_A_CELL else KIND_RGB[cell.kind]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, f"{field.result}/{cell.field}/{cell.cell}")),
        "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        "properties": {
            "objectType": "detection",
            "name": f"{cell.field + 1}.{cell.cell + 1}",
            "classification": {"name": name, "color": list(rgb)},
            "measurements": measurements,
            "metadata": about,
        },
    }
