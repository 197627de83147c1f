"""Every code a person can meet, with what it means and what to do: one table, ``catalogue.json``.

A text is a whole sentence with named places for values (``{profile}``), never a piece that is
joined to another, so that a translation can order it as its language does. Translations are gettext
catalogues, looked up by the English text; `edgehemo.guidance.messages` lists the texts.
"""

from __future__ import annotations

import gettext
import logging
import string
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import msgspec

from edgehemo.guidance.codes import Code, Kind

log = logging.getLogger(__name__)

CATALOGUE_FILE = Path(__file__).with_name("catalogue.json")
# The language the catalogue is written in.
SOURCE_LANGUAGE = "en"
# gettext's domain, and where ``<language>/LC_MESSAGES/<domain>.mo`` is looked for.
DOMAIN = "edgehemo"
LOCALE_DIR = Path(__file__).parents[1] / "locale"


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One code as the catalogue holds it, its values not yet in place.

    kind: which part of the software it comes from. title: a few words. meaning: what it means.
    reason: what a result says where the code alone does not, else empty. action: what the operator
    can do. Values stand in reason and action only, so that title and meaning can be shown of a
    stored code.
    """

    kind: Kind
    title: str
    meaning: str
    action: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Guidance:
    """What a code says to a person, in one language, its values in place; see `Entry`."""

    code: Code
    kind: Kind
    title: str
    meaning: str
    reason: str
    action: str


@lru_cache(maxsize=1)
def catalogue() -> Mapping[Code, Entry]:
    """Code -> entry; the quality codes come in the order in which the checks are made."""
    entries = msgspec.json.decode(CATALOGUE_FILE.read_bytes(), type=dict[str, Entry])
    return MappingProxyType(entries)  # type: ignore[arg-type]  # a test compares the keys with Code


def guidance(code: Code, language: str = SOURCE_LANGUAGE, **values: object) -> Guidance:
    """What ``code`` means and what to do about it.

    language: as gettext names it (``hi``, ``sw``, ``pt_BR``); a text without a translation is given
    in English. values: what goes into the places of its reason and action, see `placeholders`; a
    place without a value stays as it is written. Raises KeyError for a code that does not exist.
    """
    return guidance_with(code, values, language)


def guidance_with(
    code: Code, values: Mapping[str, object], language: str = SOURCE_LANGUAGE
) -> Guidance:
    """`guidance` with its values in one mapping, for those that hand them on."""
    entry = catalogue()[code]
    translated = translations(language).gettext
    filled = _Filled(values)
    return Guidance(
        code=code,
        kind=entry.kind,
        title=translated(entry.title),
        meaning=translated(entry.meaning),
        reason=translated(entry.reason).format_map(filled) if entry.reason else "",
        action=translated(entry.action).format_map(filled),
    )


def placeholders(text: str) -> frozenset[str]:
    """The names of the places for values in a text."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


class _Filled(dict[str, object]):
    """The values of a text; a place that has none shows its name."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


def look_in(installed: Mapping[str, Path]) -> None:
    """Have the words of some languages come from other files (``.mo``) than those that come with
    edgehemo: language -> file. Each file was checked; one that cannot be read is passed over.
    """
    _installed.clear()
    _installed.update(installed)
    translations.cache_clear()


_installed: dict[str, Path] = {}


@lru_cache(maxsize=16)
def translations(language: str) -> gettext.NullTranslations:
    """The catalogue of a language; one without words for English and what is not known."""
    if language == SOURCE_LANGUAGE:
        return gettext.NullTranslations()
    file = _installed.get(language)
    if file is not None:
        try:
            with file.open("rb") as opened:
                return gettext.GNUTranslations(opened)
        except (OSError, ValueError, struct.error) as error:
            log.warning("%s: is not read (%s); what comes with edgehemo serves", file, error)
    return gettext.translation(DOMAIN, LOCALE_DIR, [language], fallback=True)
