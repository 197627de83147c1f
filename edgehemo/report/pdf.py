"""A report on paper: the view as PDF, set by typst, archivable (PDF/A-2a) and accessible (UA-1).

The same view gives the same bytes, as long as the same fonts and the same typst are there: the date
in the file is the result's. Nothing is fetched; fonts are those of the system.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib.resources import files as package_files
from typing import Any

from edgehemo.errors import MissingDependencyError
from edgehemo.report.drawings import (
    COLOURS,
    FAMILIES,
    NARROW,
    WIDE,
    code_svg,
    key_svg,
    kind_colour,
    photograph_svg,
    scale_svg,
    shape_svg,
    sizes_svg,
)
from edgehemo.report.paper import Paper
from edgehemo.report.view import (
    Cells,
    Facts,
    Fields,
    Listing,
    Note,
    ReportView,
    Section,
    Sizes,
    Table,
)

# These hold no evidence.
FIRST_PAGE_ONLY: frozenset[Paper] = frozenset({"a4_one_page", "roll_80mm"})
# Archivable with its structure, and accessible; typst refuses to compile what does not keep them.
STANDARDS = ["a-2a", "ua-1"]
_TEMPLATE = "report.typ"
# Size of the text, pt: the first is wanted, the next are tried where one page must hold all.
_SIZES: Mapping[Paper, tuple[float, ...]] = {
    "a4": (10.0,),
    "letter": (10.0,),
    "a4_one_page": (10.0, 9.25, 8.5, 7.75, 7.0, 6.3),
    "roll_80mm": (9.0,),
}
# The typst families of the page, in the order they are looked for; the last comes with typst.
_FONTS = (*FAMILIES, "Libertinus Serif")
_Files = dict[str, bytes]


def report_pdf(view: ReportView, paper: Paper = "a4") -> bytes:
    """The report as a PDF file. paper: a4 and letter hold all of it; a4_one_page and roll_80mm the
    first page alone.

    Raises MissingDependencyError, one line, where typst is not installed.
    """
    first_only = paper in FIRST_PAGE_ONLY
    *wanted, last = _SIZES[paper]
    sources: _Files = {}
    for size in (*wanted, last):
        sources = _sources(view, paper, size, first_only=first_only)
        if size == last or _pages(sources) == 1:
            break
    made = _typst().compile(
        sources,
        format="pdf",
        font_paths=_fonts(),
        ignore_system_fonts=True,
        pdf_standards=STANDARDS,
        timestamp=int(view.made_at.timestamp()),
    )
    return bytes(made)


def _pages(sources: _Files) -> int:
    found = _typst().query(
        sources, "<pages>", field="value", one=True, font_paths=_fonts(), ignore_system_fonts=True
    )
    return int(json.loads(found))


@lru_cache(maxsize=1)
def _fonts() -> Any:
    """The system's fonts and those that typst brings; looked for once."""
    return _typst().Fonts(include_system_fonts=True)


def _typst() -> Any:
    # Only who prints needs it, and it is large.
    try:
        import typst  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'a report as PDF needs typst, which is not installed: pip install ".[pdf]" in the '
            "folder of the source"
        ) from None
    return typst


def _sources(view: ReportView, paper: Paper, size: float, *, first_only: bool) -> _Files:
    """The template, the view as JSON, and the pictures, by the names that the template has."""
    template = package_files("edgehemo.report").joinpath("templates", _TEMPLATE)
    made: _Files = {"main.typ": template.read_bytes()}
    data = _first_page(view, paper, size, made)
    data["sections"] = [] if first_only else [_section(part, made) for part in view.sections]
    made["view.json"] = json.dumps(data, ensure_ascii=False).encode("utf-8")
    return made


def _kept(made: _Files, svg: str) -> str:
    """Put a picture among the sources; returns its name."""
    name = f"{len(made)}.svg"
    made[name] = svg.encode("utf-8")
    return name


def _first_page(view: ReportView, paper: Paper, size: float, made: _Files) -> dict[str, Any]:
    colour, tint = COLOURS[view.verdict.shape]
    scale = view.scale
    roll = paper == "roll_80mm"
    width = NARROW if roll else WIDE
    identity = [fact.value for fact in view.facts[:1]] + [
        fact.value for fact in view.facts if fact.code
    ]
    code = code_svg(view.code, view.code_said) if view.code else None
    return {
        "paper": paper,
        "size": size,
        "fonts": list(_FONTS),
        "language": view.language,
        "name": view.name,
        "made": [view.made_at.year, view.made_at.month, view.made_at.day],
        "footer": " · ".join(["edgehemo", *identity, *view.audit[:1]]),
        "page_of": view.page_of,
        "heading": view.heading,
        "facts": _plain(view.facts),
        "notice": view.notice,
        "banners": _plain(view.banners),
        "verdict_title": view.verdict.title,
        "verdict_colour": colour,
        "verdict_tint": tint,
        "shape_file": _kept(made, shape_svg(view.verdict.shape, grey=roll)),
        "note": view.note,
        "hgb": None if view.verdict.hgb is None else view.verdict.hgb[0],
        "hgb_interval": view.hgb_interval,
        "unit": view.unit,
        "scale_file": None if scale is None else _kept(made, scale_svg(scale, width, grey=roll)),
        "scale_said": "" if scale is None else scale.said,
        "quantities": _plain(view.quantities),
        "todo": list(view.todo),
        "sure": list(view.sure),
        "attention": _plain(view.attention),
        "not_given": _plain(view.not_given),
        "signature": _plain(view.signature),
        "headings": _plain(view.headings),
        "audit": list(view.audit),
        "code_file": None if code is None else _kept(made, code),
        "code_said": view.code_said,
    }


def _plain(value: Any) -> Any:
    """JSON values of records that hold text and numbers alone."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _section(section: Section, made: _Files) -> dict[str, Any]:
    return {
        "title": section.title,
        "together": section.together,
        "blocks": [
            {"kind": type(block).__name__, **_block(block, made)} for block in section.blocks
        ],
    }


def _block(block: Any, made: _Files) -> dict[str, Any]:
    match block:
        case Note() | Facts() | Listing():
            return dict(_plain(block))
        case Table():
            return {**_plain(block), "widths": _widths(block)}
        case Sizes():
            return {"file": _kept(made, sizes_svg(block)), "said": block.said}
        case Fields():
            return {
                "key": [
                    {"file": _kept(made, key_svg(kind, kind_colour(kind))), "said": said}
                    for kind, said in block.key
                ],
                "shown": _shown(block, made),
            }
        case Cells():
            return {"shown": _shown(block, made)}
    raise AssertionError(f"no such part of a report: {type(block).__name__}")


def _shown(block: Fields | Cells, made: _Files) -> list[dict[str, Any]]:
    return [
        {
            **{
                item.name: _plain(getattr(shown, item.name))
                for item in fields(shown)
                if item.name != "picture"
            },
            "file": _kept(made, photograph_svg(shown.picture)),
        }
        for shown in block.shown
    ]


def _widths(table: Table) -> list[float]:
    """Shares of the columns' widths: by the longest text of each, within bounds."""
    return [
        min(34.0, 2.0 + max(5, *(len(text) for text in column)))
        for column in zip(table.header, *table.rows, strict=True)
    ]
