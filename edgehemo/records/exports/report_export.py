"""Results as reports: one file each, of several results in a folder."""

from __future__ import annotations

from pathlib import Path

from edgehemo.files.atomic import write_bytes_atomically
from edgehemo.records.exports.exporting import Exporting, one_file_each
from edgehemo.records.results import StoredResult
from edgehemo.records.stored_view import stored_view
from edgehemo.report.html import report_html
from edgehemo.report.pdf import FIRST_PAGE_ONLY, report_pdf
from edgehemo.report.view import ReportView


def write_pdf_export(export: Exporting, out: Path) -> None:
    """Reports on paper. MissingDependencyError where what sets them is not installed."""
    evidence = export.paper not in FIRST_PAGE_ONLY
    for result, place in one_file_each(export, out, ".pdf"):
        view = _view(export, result, evidence=evidence)
        write_bytes_atomically(place, report_pdf(view, export.paper))
        export.on_result()


def write_html_export(export: Exporting, out: Path) -> None:
    """Reports as self-contained pages."""
    for result, place in one_file_each(export, out, ".html"):
        view = _view(export, result, evidence=True)
        write_bytes_atomically(place, report_html(view).encode("utf-8"))
        export.on_result()


def _view(export: Exporting, result: StoredResult, *, evidence: bool) -> ReportView:
    return stored_view(
        export.reader,
        result.id,
        export.words,
        evidence=evidence,
        seen=export.view,
        audit=export.audit,
    )
