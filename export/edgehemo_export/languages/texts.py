"""Every text that pages and reports can show: in templates, code and the guidance catalogue."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from jinja2 import Environment
from jinja2.ext import extract_from_ast

import edgehemo
from edgehemo.anaemia.who_grade import limits
from edgehemo.guidance.catalogue import catalogue, placeholders
from edgehemo.guidance.codes import Advice
from edgehemo.kiosk.faults import CARETAKER, FAULT_CODES, OUT_OF_SERVICE
from edgehemo.kiosk.selfcheck import SELF_CHECK_CODES
from edgehemo.kiosk.told_sentences import SENTENCES
from edgehemo.monitor.quantities import QUANTITIES
from edgehemo.report.result import DEMONSTRATION_NOTICE, NOTICE, SIMULATED_NOTICE

PACKAGE = Path(edgehemo.__file__).parent
# The rooms whose code speaks to people in their language.
SPEAKING = (PACKAGE / "words", PACKAGE / "report", PACKAGE / "kiosk")
# Called with one text, and with a singular and a plural.
_ONE, _TWO = "_", "n_"


@dataclass(frozen=True, slots=True, order=True)
class Text:
    """A text in English, and its plural where it has one. where: file or code it comes from."""

    text: str
    plural: str | None = None
    where: str = ""


def kiosk_texts() -> list[Text]:
    """All of them, each once, in the order in which they are met."""
    found: dict[str, Text] = {}
    for text in (*_of_templates(), *_of_code(), *_of_guidance(), *_of_reports()):
        known = found.setdefault(text.text, text)
        if known.plural is None and text.plural is not None:
            found[text.text] = text
    return list(found.values())


def _of_templates() -> Iterator[Text]:
    environment = Environment(autoescape=True)
    for path in sorted((PACKAGE / "kiosk" / "templates").rglob("*.j2")):
        tree = environment.parse(path.read_text("utf-8"))
        for _, function, message in extract_from_ast(tree, (_ONE, _TWO)):
            yield _text(function, message, path.name)


def _text(function: str, message: object, where: str) -> Text:
    strings = [part for part in message if part is not None] if isinstance(message, tuple) else []
    if function == _TWO:
        return Text(strings[0], strings[1], where)
    return Text(strings[0] if strings else str(message), None, where)


def _of_code() -> Iterator[Text]:
    for path in (path for room in SPEAKING for path in sorted(room.rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else None
            name = function.id if isinstance(function, ast.Name) else name
            strings = [
                argument.value
                for argument in node.args
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            ]
            if name == _ONE and strings:
                yield Text(strings[0], None, path.name)
            elif name == _TWO and len(strings) == 2:
                yield Text(strings[0], strings[1], path.name)


def _of_reports() -> Iterator[Text]:
    """What is stored or said in English and put into words where it is shown: notices, sentences of
    the device check, and the groups of the WHO.
    """
    for notice in (NOTICE, SIMULATED_NOTICE, DEMONSTRATION_NOTICE):
        yield Text(notice, None, "result.py")
    for sentence in SENTENCES:
        yield Text(sentence, None, "told_sentences.py")
    table = limits()
    for group in (*(each.limits for each in table.groups), *table.trimesters.values()):
        yield Text(group.name, None, "who_2024.json")


# Kinds of codes of which pages and papers say the title.
_BY_TITLE = ("quality", "value", "finding", "doubt", "sending", "error", "device", "kiosk")


def _of_guidance() -> Iterator[Text]:
    entries = catalogue()
    for code in (*get_args(Advice), *FAULT_CODES, *SELF_CHECK_CODES, OUT_OF_SERVICE):
        entry = entries[code]
        shown = [entry.title, entry.meaning]
        if code not in CARETAKER:
            shown.append(entry.action)
        for text in shown:
            yield Text(text, None, code)
    # Of what has changed over weeks, what to do.
    for code in dict.fromkeys(way for each in QUANTITIES for way in (each.up, each.down) if way):
        yield Text(entries[code].title, None, code)
        yield Text(entries[code].action, None, code)
    yield Text(entries["CONTROL_DRIFTS"].title, None, "CONTROL_DRIFTS")
    # Of a refused field, of a result that is withheld, has no grade or is not with its receiver,
    # of the device, and of what cannot be done, the first words.
    for code, entry in entries.items():
        if entry.kind in _BY_TITLE:
            yield Text(entry.title, None, code)
        if entry.kind == "device":
            # The engineer reads them whole, with the values in their places.
            yield Text(entry.meaning, None, code)
            yield Text(entry.action, None, code)
        elif entry.kind == "withheld":
            yield Text(entry.meaning, None, code)
        # An advice with values in it is stored with them, and stays in English.
        advising = entry.kind in ("quality", "finding", "doubt", "withheld")
        if advising and not placeholders(entry.action):
            yield Text(entry.action, None, code)
