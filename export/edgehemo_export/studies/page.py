"""The page of a study: one file that loads nothing, the paper's figures beside ours."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from edgehemo.pages.environment import page_environment
from edgehemo.pages.prose import prose
from edgehemo_export.studies.output import MeasureOutput, StudyOutput
from edgehemo_export.studies.study import Block, StudyFigure, StudyResult, Table, worded

TEMPLATE = "study.html.j2"
# Steps below it are in metrics.json alone.
LEAST_TOLD_S = 0.5


def study_page(output: StudyOutput, result: StudyResult, pngs: Mapping[str, bytes]) -> str:
    """The page as HTML. pngs: the drawings by name."""
    template = page_environment("edgehemo_export.studies", prose=prose).get_template(TEMPLATE)
    return template.render(
        out=output,
        data=result.data,
        sections=[
            {"title": section.title, "blocks": [_block(block, pngs) for block in section.blocks]}
            for section in result.sections
        ],
        several_seeds=any(len(item.seeds) > 1 for item in output.measures),
        measures=[_row(item) for item in output.measures],
        expected=minutes(output.run.expected_seconds),
        taken=minutes(output.run.seconds),
        parts=[
            (part.name, f"{part.seconds:.1f}", "taken up" if part.taken_up else "made now")
            for part in output.run.parts
            if part.seconds >= LEAST_TOLD_S
        ],
    )


def minutes(seconds: float) -> str:
    """A time as people say it: seconds below two minutes, else minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _row(item: MeasureOutput) -> tuple[str, ...]:
    if item.value is None:
        shown = "none"
    else:
        shown = worded(item.value, item.low, item.high) + (f" {item.unit}" if item.unit else "")
    seeds = ", ".join(
        f"{seed}: {'none' if value is None else worded(value)}"
        for seed, value in item.seeds.items()
    )
    if item.sd is not None:
        seeds = f"{seeds}; sd {worded(item.sd)}"
    return (item.of, item.on, item.name, shown, str(item.n), item.interval, seeds)


def _block(block: Block, pngs: Mapping[str, bytes]) -> Mapping[str, Any]:
    if isinstance(block, str):
        return {"kind": "text", "text": block}
    if isinstance(block, Table):
        return {"kind": "table", "table": block}
    figures = block if isinstance(block, tuple) else (block,)
    return {"kind": "figures", "figures": [_picture(item, pngs[item.name]) for item in figures]}


def _picture(item: StudyFigure, png: bytes) -> Mapping[str, Any]:
    width, height = item.figure.get_size_inches()
    return {
        "name": item.name,
        "png": base64.b64encode(png).decode(),
        "width": round(96 * width),
        "height": round(96 * height),
        "caption": item.caption,
    }
