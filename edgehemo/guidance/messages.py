"""The texts of the catalogue as translators meet them: gettext message ids.

`extract` is an extraction method of Babel, which is not needed to use it::

    [extractors]
    guidance = edgehemo.guidance.messages:extract
    [guidance: edgehemo/guidance/catalogue.json]
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import BinaryIO

import msgspec

from edgehemo.guidance.catalogue import Entry, placeholders
from edgehemo.guidance.codes import Code

_FIELDS = ("title", "meaning", "reason", "action")


def texts(entries: Mapping[Code, Entry] | Mapping[str, Entry]) -> Iterator[tuple[str, str, str]]:
    """Every text as (code, which of its fields, text); an empty one is left out."""
    for code, entry in entries.items():
        for name in _FIELDS:
            text: str = getattr(entry, name)
            if text:
                yield code, name, text


def extract(
    fileobj: BinaryIO,
    keywords: Collection[str],
    comment_tags: Collection[str],
    options: Mapping[str, object],
) -> Iterator[tuple[int, str, str, list[str]]]:
    """The message ids of a catalogue file, each with its line, gettext's function and comments.

    Only ``fileobj`` is looked at; the rest of the parameters are what Babel hands to every method.
    The comment says which text it is and which places for values a translation must keep.
    """
    content = fileobj.read()
    lines = content.decode("utf-8").splitlines()
    line = 0
    for code, name, text in texts(msgspec.json.decode(content, type=dict[str, Entry])):
        wanted = f'"{name}": {msgspec.json.encode(text).decode("utf-8")}'
        line = next((number for number in range(line, len(lines)) if wanted in lines[number]), line)
        comments = [f"{code}: {name}"]
        if kept := sorted(placeholders(text)):
            comments.append(f"keep {', '.join(f'{{{place}}}' for place in kept)}")
        yield line + 1, "gettext", text, comments
