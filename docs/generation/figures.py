"""Reference figures in pages: ``{{ name .2f }}`` becomes the number, tables list them all.

A placeholder names a figure of `edgehemo_export.reference` and how it is written: Python's format
specification, where a percentage stands apart from its sign as in print.
``{{ name.interval .3f }}`` writes "0.938 to 0.969", ``{{ name.items ,d }}`` how many items the
figure stands on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from docs.generation.markdown import cell, table
from edgehemo_export.reference.figures import Figure, Measurement

PLACEHOLDER = re.compile(r"\{\{\s*([a-z0-9_]+)(?:\.(interval|items))?\s+([^\s}]+)\s*\}\}")
_ANY_BRACES = re.compile(r"\{\{.*?\}\}", re.DOTALL)


class UnknownFigureError(Exception):
    """A page names a figure that is not there, or writes it in a way that cannot be."""


def filled(text: str, figures: Mapping[str, Figure], page: str) -> str:
    """The page with its figures. Raises UnknownFigureError, naming ``page``."""

    def written(match: re.Match[str]) -> str:
        name, part, form = match.groups()
        figure = figures.get(name)
        if figure is None:
            raise UnknownFigureError(f"{page}: there is no reference figure {name}")
        if part == "items":
            if figure.items is None:
                raise UnknownFigureError(f"{page}: the figure {name} states no items")
            return format(figure.items, form)
        if part == "interval":
            if figure.low is None or figure.high is None:
                raise UnknownFigureError(f"{page}: the figure {name} has no interval")
            return interval(figure.low, figure.high, form)
        return number(figure.value, form)

    done = PLACEHOLDER.sub(written, text)
    left = _ANY_BRACES.search(done)
    if left is not None:
        raise UnknownFigureError(f"{page}: {left.group()} is not a placeholder of a figure")
    return done


def number(value: float, form: str) -> str:
    """A number by its format specification; ``%`` stands apart, as in print."""
    whole = int(value) if form.endswith("d") else value
    return format(whole, form).replace("%", " %")


def interval(low: float, high: float, form: str) -> str:
    """Both ends of an interval; a percentage's sign is written once."""
    first = number(low, form)
    return f"{first.removesuffix(' %')} to {number(high, form)}"


def all_tables(measurements: Iterable[Measurement]) -> str:
    """Every measurement with its command, machine and date, and its figures as a table."""
    parts = []
    for item in measurements:
        lines = [f"### {item.title}", "", f"    {item.command}", ""]
        about = f"Measured on {item.date.isoformat()}; {item.machine}."
        lines += [f"{about} {sentence(item.note)}".rstrip(), ""]
        rows = [
            (
                cell(figure.source),
                cell(figure.metric),
                f"{_plain(figure.value)} {figure.unit}".strip(),
                "" if figure.low is None else f"{figure.low:g} to {figure.high:g}",
                "" if figure.items is None else f"{figure.items:,}",
                f"{figure.tolerance:g}",
            )
            for figure in item.figures.values()
        ]
        heads = ("of", "what", "value", "95 % interval", "items", "tolerance")
        parts.append("\n".join([*lines, table(heads, rows)]))
    return "\n\n".join(parts)


def sentence(text: str) -> str:
    """A note as a sentence of its own."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 10 else f"{value:g}"
