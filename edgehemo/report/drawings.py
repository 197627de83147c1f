"""The drawings of a report as SVG: the same on the page and on paper.

Colours differ in lightness too and every band has its name, for prints in black and white. Sizes
are CSS pixels.
"""

from __future__ import annotations

import io
from html import escape

from edgehemo.errors import MissingDependencyError
from edgehemo.report.pictures import KIND_RGB, REFUSED_RGB, Picture, data_uri
from edgehemo.report.verdict import Shape
from edgehemo.report.view import GradeScale, Sizes

NAMESPACE = "http://www.w3.org/2000/svg"
INK, SOFT, LINE = "#1d2430", "#59636f", "#d5dae0"
# Families that are looked for, in this order; see docs/pages/using/reports.md.
FAMILIES = ("Noto Sans", "DejaVu Sans", "Liberation Sans")
_FONT = ", ".join(f"'{name}'" for name in FAMILIES) + ", sans-serif"
# Of a grade, or of a result without one: its colour, and a tint of it.
COLOURS: dict[Shape, tuple[str, str]] = {
    "none": ("#17694a", "#e2f1ea"),
    "mild": ("#8a6200", "#fdf3d6"),
    "moderate": ("#b04a08", "#fbe6d8"),
    "severe": ("#a5142b", "#f9dfe2"),
    "withheld": ("#3f4a55", "#e9ecef"),
    "ungraded": ("#3f4a55", "#e9ecef"),
}
_BANDS = {"severe": "#d98f98", "moderate": "#eebf98", "mild": "#f5e2a3", "none": "#d3ead9"}
_GREYS = {"severe": "#8a8a8a", "moderate": "#b4b4b4", "mild": "#dddddd", "none": "#ffffff"}
# Chevrons of an anaemia, the worse the more.
_CHEVRONS = {"mild": (10.0,), "moderate": (8.0, 13.0), "severe": (6.0, 11.0, 16.0)}

WIDE = 560
NARROW = 272


def _svg(width: float, height: float, parts: list[str], said: str) -> str:
    role = f'role="img" aria-label="{escape(said, quote=True)}"' if said else 'aria-hidden="true"'
    return (
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" {role}>{"".join(parts)}</svg>'
    )


def _text(
    x: float, y: float, text: str, *, size: float = 11, anchor: str = "start", colour: str = SOFT,
    bold: bool = False,
) -> str:  # fmt: skip
    weight = ' font-weight="700"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-family="{_FONT}" font-size="{size:g}" fill="{colour}" '
        f'text-anchor="{anchor}"{weight}>{escape(text)}</text>'
    )


def shape_svg(shape: Shape, *, grey: bool = False) -> str:
    """The grade's own shape: a disc with a tick, a diamond with chevrons, a square that asks. grey:
    for a printer without colours.
    """
    colour = INK if grey else COLOURS[shape][0]
    mark = 'fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round"'
    if shape == "none":
        parts = [
            f'<circle cx="12" cy="12" r="11" fill="{colour}"/>',
            f'<path d="M6.5 12.500l4 4 7-8" {mark}/>',
        ]
    elif shape in _CHEVRONS:
        parts = [f'<path d="M12 .5L23.500 12 12 23.500.5 12z" fill="{colour}"/>']
        parts += [f'<path d="M8 {y:g}l4 3 4-3" {mark}/>' for y in _CHEVRONS[shape]]
    else:
        parts = [
            f'<rect x="1" y="1" width="22" height="22" rx="4" fill="{colour}"/>',
            f'<path d="M8 9a4 4 0 117 2.500c-1.500 1-3 1.500-3 3M12 18v.2" {mark}/>',
        ]
    return _svg(24, 24, parts, "")


def scale_svg(scale: GradeScale, width: int = WIDE, *, grey: bool = False) -> str:
    """The bands, their names and ranges beneath, the value and its interval above."""
    shades = _GREYS if grey else _BANDS
    left, right = 6.0, width - 6.0
    top, height = 28.0, 24.0

    def at(place: float) -> float:
        return left + place * (right - left)

    parts: list[str] = []
    for band in scale.bands:
        x, end = at(band.start), at(band.end)
        parts.append(
            f'<rect x="{x:.1f}" y="{top:g}" width="{end - x:.1f}" height="{height:g}" '
            f'fill="{shades[band.grade]}" stroke="{SOFT}" stroke-width="0.8"/>'
        )
    for x in (at(place) for place, _ in scale.ticks):
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{top + height + 4:g}" '
            f'stroke="{INK}" stroke-width="1"/>'
        )
    parts += _tick_labels(scale, at, top + height + 15)
    parts.append(_text(right, top + height + 15, scale.unit, anchor="end"))
    value, low, high = at(scale.value), at(scale.low), at(scale.high)
    parts += [
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="14" y2="14" stroke="{INK}" stroke-width="2.4"/>',
        *(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="20" stroke="{INK}" stroke-width="2.4"/>'
            for x in (low, high)
        ),
        f'<line x1="{value:.1f}" x2="{value:.1f}" y1="14" y2="{top + height:g}" stroke="{INK}" '
        'stroke-width="1.4"/>',
        f'<circle cx="{value:.1f}" cy="14" r="5.5" fill="{INK}"/>',
    ]
    y = top + height + 36
    columns = 4 if width >= WIDE else 1
    step = (right - left) / columns
    for number, band in enumerate(scale.bands):
        x, line = left + (number % columns) * step, y + (number // columns) * 17
        parts.append(
            f'<rect x="{x:.1f}" y="{line - 10:.1f}" width="12" height="12" '
            f'fill="{shades[band.grade]}" stroke="{SOFT}" stroke-width="0.8"/>'
        )
        said_twice = columns == 1
        name = f"{band.name}: {band.range}" if said_twice else band.name
        parts.append(_text(x + 17, line, name, colour=INK))
        if not said_twice:
            parts.append(_text(x + 17, line + 14, band.range))
    bottom = y + (18 if columns == 4 else 17 * (len(scale.bands) - 1) + 4)
    return _svg(width, bottom, parts, scale.said)


def _tick_labels(scale: GradeScale, at: object, y: float) -> list[str]:
    """Limits below the bar; of two that would touch, the lower moves left and the higher right."""
    assert callable(at)
    places = [float(at(place)) for place, _ in scale.ticks]
    labels = [label for _, label in scale.ticks]
    anchors = ["middle"] * len(places)
    for n in range(len(places) - 1):
        if places[n + 1] - places[n] < 26:
            anchors[n], anchors[n + 1] = "end", "start"
    return [
        _text(
            x + (1 if anchor == "end" else -1 if anchor == "start" else 0), y, label, anchor=anchor
        )
        for x, label, anchor in zip(places, labels, anchors, strict=True)
    ]


def sizes_svg(sizes: Sizes) -> str:
    """The histogram of red-cell diameters; the usual range is shaded, the median dashed."""
    h = sizes.drawn
    parts = [
        f'<rect x="{h.normal_x}" y="{h.top}" width="{h.normal_width}" height="{h.base - h.top}" '
        'fill="#e3eee8"/>',
        _text(h.normal_x + h.normal_width + 4, h.top + 11, sizes.usual),
    ]
    for y, label in h.ticks_y:
        parts.append(
            f'<line x1="{h.left}" x2="{h.right}" y1="{y}" y2="{y}" stroke="{LINE}" '
            'stroke-width="0.7"/>'
        )
        parts.append(_text(h.left - 6, y + 4, label, anchor="end"))
    parts += [
        f'<rect x="{bar.x}" y="{bar.y}" width="{bar.width}" height="{bar.height}" fill="#a8535f"/>'
        for bar in h.bars
    ]
    parts += [
        f'<line x1="{h.median_x}" x2="{h.median_x}" y1="{h.top}" y2="{h.base}" stroke="{INK}" '
        'stroke-width="1.4" stroke-dasharray="4 3"/>',
        f'<line x1="{h.left}" x2="{h.right}" y1="{h.base}" y2="{h.base}" stroke="{INK}"/>',
    ]
    parts += [_text(x, h.base + 14, label, anchor="middle") for x, label in h.ticks_x]
    parts.append(_text((h.left + h.right) / 2, h.height - 6, sizes.axis, anchor="middle"))
    middle = (h.top + h.base) / 2
    parts.append(
        f'<g transform="rotate(-90 12 {middle:g})">'
        f"{_text(12, middle, sizes.cells, anchor='middle')}</g>"
    )
    return _svg(h.width, h.height, parts, sizes.said)


def key_svg(kind: str, colour: str) -> str:
    """How cells of a kind, and refused fields, are outlined in the pictures."""
    body = {
        "rbc": '<ellipse cx="9" cy="8" rx="7" ry="6.5" stroke-width="1.8"/>',
        "wbc": '<rect x="2" y="2" width="14" height="12" stroke-width="2.4"/>',
        "platelet": '<path d="M9 2L15 8 9 14 3 8Z" stroke-width="2.4"/>',
        "refused": '<rect x="1.5" y="1.5" width="15" height="13" stroke-width="3"/>',
    }[kind]
    return _svg(18, 16, [f'<g fill="none" stroke="{colour}">{body}</g>'], "")


def photograph_svg(picture: Picture) -> str:
    """A photograph within an SVG, as it is: typst takes in memory nothing but text."""
    size = f'width="{picture.width}" height="{picture.height}"'
    return (
        f'<svg xmlns="{NAMESPACE}" {size} '
        f'viewBox="0 0 {picture.width} {picture.height}">'
        f'<image {size} href="{data_uri(picture)}"/></svg>'
    )


def kind_colour(kind: str) -> str:
    """The colour that a kind of cell, or a refused field, is drawn with."""
    rgb = next((colour for name, colour in KIND_RGB.items() if name == kind), REFUSED_RGB)
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def code_svg(text: str, said: str) -> str:
    """A QR code. MissingDependencyError where the library that draws it is not installed."""
    try:
        import segno  # noqa: PLC0415 - only who prints needs it
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'a report on paper needs segno, which is not installed: pip install ".[pdf]" in the '
            "folder of the source"
        ) from None
    target = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        target, kind="svg", scale=1, border=2, xmldecl=False, title=said, omitsize=True
    )
    return target.getvalue().decode("utf-8").strip()
