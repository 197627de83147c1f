"""The formats that the records know by themselves; `edgehemo.interop.exports` has all of them."""

from __future__ import annotations

from collections.abc import Mapping

from edgehemo.records.exports.archive_export import write_archive_export
from edgehemo.records.exports.coco_export import write_coco_export
from edgehemo.records.exports.csv_export import write_csv_export
from edgehemo.records.exports.exporting import ExportFormat
from edgehemo.records.exports.folder_export import write_folder_export
from edgehemo.records.exports.geojson_export import write_geojson_export
from edgehemo.records.exports.json_export import write_json_export
from edgehemo.records.exports.report_export import write_html_export, write_pdf_export
from edgehemo.records.exports.training_export import write_training_export

FORMATS: Mapping[str, ExportFormat] = {
    item.name: item
    for item in (
        ExportFormat("pdf", "the report on paper", write_pdf_export),
        ExportFormat("html", "the report as a page", write_html_export),
        ExportFormat(
            "folder", "report, fields and pictures in a folder", write_folder_export, pictures=True
        ),
        ExportFormat("csv", "a table, one row a result", write_csv_export),
        ExportFormat("json", "all that is stored but the pictures", write_json_export),
        ExportFormat("geojson", "cells over each field, for QuPath", write_geojson_export),
        ExportFormat("coco", "cells of all fields in one file", write_coco_export),
        ExportFormat(
            "archive",
            "everything in one file, encrypted to the supervisors' keys",
            write_archive_export,
            pictures=True,
        ),
        ExportFormat(
            "training",
            "cells that people named and samples with values, as a data set without names",
            write_training_export,
        ),
    )
}
