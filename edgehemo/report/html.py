"""report.html: the view of a report as one self-contained page."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from edgehemo.errors import MissingDependencyError
from edgehemo.pages.environment import page_environment
from edgehemo.pages.prose import prose
from edgehemo.report.drawings import (
    COLOURS,
    NAMESPACE,
    code_svg,
    key_svg,
    kind_colour,
    scale_svg,
    shape_svg,
    sizes_svg,
)
from edgehemo.report.pictures import data_uri
from edgehemo.report.view import ReportView

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATE = "report.html.j2"


def report_html(view: ReportView) -> str:
    """The page as HTML text. Where the library of QR codes is not installed the page has none; what
    the code says stands in words beside it.
    """
    colour, tint = COLOURS[view.verdict.shape]
    page = _environment().get_template(TEMPLATE)
    return page.render(view=view, verdict_colour=colour, verdict_tint=tint, code=_code(view))


def _code(view: ReportView) -> str:
    if not view.code:
        return ""
    try:
        return code_svg(view.code, view.code_said)
    except MissingDependencyError:
        return ""


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from markupsafe import Markup  # noqa: PLC0415 - with the first page

    def drawn(svg: str) -> Markup:
        """A drawing of ours, whose texts are escaped already; within a page it needs no namespace,
        and the page names no address.
        """
        return Markup(svg.replace(f' xmlns="{NAMESPACE}"', "", 1))

    def key(kind: str) -> Markup:
        return drawn(key_svg(kind, kind_colour(kind)))

    return page_environment(
        "edgehemo.report",
        prose=prose,
        uri=data_uri,
        drawn=drawn,
        shape=lambda kind: drawn(shape_svg(kind)),
        scale=lambda found: drawn(scale_svg(found)),
        sizes=lambda found: drawn(sizes_svg(found)),
        key=key,
        kind=lambda block: type(block).__name__,
    )
