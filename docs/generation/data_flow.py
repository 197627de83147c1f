"""The picture of the data's way through edgehemo: an SVG drawn from a table of boxes and arrows."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 560
BOX_HEIGHT = 58
FONT = "font-family='system-ui, sans-serif'"


@dataclass(frozen=True)
class Box:
    """A step or a thing handed over: its middle, its width, what stands in it."""

    x: int
    y: int
    width: int
    title: str
    room: str
    kind: str = "step"


# The flow runs left to right in two rows; what is measured or made elsewhere comes from below.
BOXES = {
    "camera": Box(95, 110, 150, "camera, files", "capture/ images/"),
    "frame": Box(285, 110, 150, "Frame", "8-bit RGB as taken", "thing"),
    "canonical": Box(485, 110, 160, "CanonicalField", "field/", "thing"),
    "quality": Box(690, 68, 165, "quality verdict", "quality/"),
    "cells": Box(690, 152, 165, "cells and indices", "cells/ estimate/"),
    "reading": Box(872, 110, 150, "FieldReading", "screening/", "thing"),
    "sample": Box(872, 260, 150, "SampleReading", "pooled, graded", "thing"),
    "record": Box(690, 260, 140, "result.json", "report/", "thing"),
    "report": Box(520, 260, 140, "report.html", "report/ pages/"),
    "device": Box(115, 400, 190, "device configuration", "device/", "artefact"),
    "profile": Box(315, 400, 175, "calibration profile", "profile/", "artefact"),
    "bundle": Box(500, 400, 155, "model bundle", "bundle/", "artefact"),
    "firmware": Box(115, 500, 190, "who sets it up", "firmware_config/"),
    "calibration": Box(315, 500, 175, "laboratory", "calibration/"),
    "export": Box(500, 500, 155, "workstation", "export/"),
}
# From, to.
ARROWS: tuple[tuple[str, str], ...] = (
    ("camera", "frame"),
    ("frame", "canonical"),
    ("canonical", "quality"),
    ("canonical", "cells"),
    ("quality", "reading"),
    ("cells", "reading"),
    ("reading", "sample"),
    ("sample", "record"),
    ("record", "report"),
    ("export", "bundle"),
    ("calibration", "profile"),
    ("firmware", "device"),
)
FILL = {"step": "#e8f1f2", "thing": "#ffffff", "artefact": "#fdf1dc"}
STROKE = {"step": "#2a7f8e", "thing": "#8a1c3b", "artefact": "#b7791f"}


def data_flow_svg() -> str:
    """The picture, self-contained: no font, style or script is fetched."""
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' "
        f"role='img' aria-labelledby='t d' {FONT}>",
        "<title id='t'>How data flows through edgehemo</title>",
        "<desc id='d'>A frame from a camera or a file becomes a canonical field; quality judges "
        "it, cells and indices are measured in it; the readings of all fields are pooled into "
        "the sample's reading, the record and the report. Model bundle, calibration profile and "
        "device configuration come from the workstation, the laboratory and who sets the device "
        "up.</desc>",
        "<defs><marker id='a' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='8' "
        "markerHeight='8' orient='auto-start-reverse'><path d='M0 0 L10 5 L0 10 z' "
        "fill='#444'/></marker></defs>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff' rx='8'/>",
        _label(20, 28, "On the device, for every field"),
        _label(620, 214, "For the sample"),
        _label(20, 322, "Three files the device runs on"),
        # What the three artefacts serve: one rail under the flow.
        "<path d='M115 371 V337 H500 V371 M315 337 V371 M425 337 V141' "
        "fill='none' stroke='#b7791f' stroke-width='1.6' stroke-dasharray='5 4' "
        "marker-end='url(#a)'/>",
    ]
    parts += [_arrow(BOXES[start], BOXES[end]) for start, end in ARROWS]
    parts += [_box(box) for box in BOXES.values()]
    parts.append(
        _label(620, 396, "Each is versioned and validated.")
        + _label(620, 418, "edgehemo depends on none of its makers.")
    )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _box(box: Box) -> str:
    left, top = box.x - box.width // 2, box.y - BOX_HEIGHT // 2
    return (
        f"<rect x='{left}' y='{top}' width='{box.width}' height='{BOX_HEIGHT}' rx='7' "
        f"fill='{FILL[box.kind]}' stroke='{STROKE[box.kind]}' stroke-width='1.6'/>"
        f"<text x='{box.x}' y='{box.y - 4}' text-anchor='middle' font-size='15' "
        f"font-weight='600' fill='#1b1b1b'>{escape(box.title)}</text>"
        f"<text x='{box.x}' y='{box.y + 17}' text-anchor='middle' font-size='13' "
        f"fill='#555'>{escape(box.room)}</text>"
    )


def _arrow(start: Box, end: Box) -> str:
    """From border to border: sideways where the boxes stand side by side, else up or down."""
    if abs(start.x - end.x) * 2 > start.width + end.width:
        sign = 1 if end.x > start.x else -1
        x1, x2 = start.x + sign * start.width // 2, end.x - sign * end.width // 2
        y1, y2 = start.y, end.y
        if abs(y1 - y2) < BOX_HEIGHT:
            y1, y2 = (y1 + y2) // 2, (y1 + y2) // 2
    else:
        sign = 1 if end.y > start.y else -1
        x1 = x2 = end.x
        y1, y2 = start.y + sign * BOX_HEIGHT // 2, end.y - sign * BOX_HEIGHT // 2
    return (
        f"<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='#444' stroke-width='1.6' "
        "marker-end='url(#a)'/>"
    )


def _label(x: int, y: int, text: str) -> str:
    return f"<text x='{x}' y='{y}' font-size='14' fill='#555'>{escape(text)}</text>"
