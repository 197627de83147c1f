"""Words, numbers and dates of the kiosk's pages and of reports, in one language.

A language is one file, ``locale/<language>/LC_MESSAGES/edgehemo.mo``, written from the ``.po``
beside it on the workstation and read by Python's own gettext. It is offered only where it is
complete: every text of ``locale/kiosk.json`` has its translation. Template and catalogue texts are
English, and their own keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from gettext import NullTranslations
from pathlib import Path
from typing import Literal, cast, get_args

from edgehemo.guidance.catalogue import (
    LOCALE_DIR,
    SOURCE_LANGUAGE,
    Guidance,
    guidance,
    look_in,
    translations,
)
from edgehemo.guidance.codes import Code

Language = Literal["en", "es", "fr", "pt", "sw"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
Unit = Literal["g/L", "g/dL"]
# What each calls itself.
NAMES: Mapping[Language, str] = {
    "en": "English",
    "es": "Español",
    "fr": "Français",
    "pt": "Português",
    "sw": "Kiswahili",
}
# Decimal sign and what stands between thousands; a narrow space that does not break.
_NUMBERS: Mapping[Language, tuple[str, str]] = {
    "en": (".", ","),
    "es": (",", "\u202f"),
    "fr": (",", "\u202f"),
    "pt": (",", "\u202f"),
    "sw": (".", ","),
}
# The texts that a language must have, written by the extraction.
TEXTS_FILE = LOCALE_DIR / "kiosk.json"
# Below a device's data folder: words that were installed beside those that come with edgehemo.
LANGUAGES_FOLDER = "languages"
_G_PER_DL = 10.0


@lru_cache(maxsize=1)
def wanted_texts() -> tuple[str, ...]:
    """Every text that pages and reports can show, in English; of plurals the singular."""
    return tuple(json.loads(TEXTS_FILE.read_text("utf-8"))["texts"])


def missing_texts(language: Language) -> list[str]:
    """What a language has no words for; nothing of English."""
    if language == SOURCE_LANGUAGE:
        return []
    return missing_in(translations(language))


def missing_in(catalogue: NullTranslations) -> list[str]:
    """What a catalogue has no words for."""
    known = getattr(catalogue, "_catalog", {})
    return [text for text in wanted_texts() if not (known.get(text) or known.get((text, 0)))]


@lru_cache(maxsize=1)
def offered() -> tuple[Language, ...]:
    """The languages that are complete."""
    return tuple(language for language in LANGUAGES if not missing_texts(language))


def use_installed(installed: Mapping[str, Path]) -> None:
    """Have the words of some languages come from files that were installed; see
    `edgehemo.guidance.catalogue.look_in`.
    """
    look_in(installed)
    offered.cache_clear()


@dataclass(frozen=True, slots=True)
class Words:
    """A language and the site's unit. What templates call: `_`, `n_`, `number`, `hgb`."""

    language: Language = "en"
    unit: Unit = "g/L"

    def _(self, text: str, **values: object) -> str:
        """A text, its places filled."""
        translated = translations(self.language).gettext(text)
        return translated.format_map(values) if values else translated

    def known(self, text: str) -> str:
        """A text that is no constant of the code, such as a stored one: translated where it is
        known, else as it is.
        """
        return translations(self.language).gettext(text) if text else text

    def n_(self, one: str, many: str, count: int, **values: object) -> str:
        """A text with a count, in the form the count asks for; ``{n}`` is its place, and values
        fill the others.
        """
        translated = translations(self.language).ngettext(one, many, count)
        return translated.format_map({"n": self.number(count), **values})

    def number(self, value: float, decimals: int = 0) -> str:
        """As the language writes numbers."""
        point, thousands = _NUMBERS[self.language]
        text = f"{value:,.{decimals}f}"
        return text.replace(",", "\0").replace(".", point).replace("\0", thousands)

    def hgb(self, g_per_l: float) -> str:
        """Haemoglobin in the site's unit, without it."""
        if self.unit == "g/dL":
            return self.number(g_per_l / _G_PER_DL, 1)
        return self.number(g_per_l)

    def time(self, at: datetime) -> str:
        """A time of day."""
        return f"{at:%H:%M}"

    def date(self, at: datetime) -> str:
        """A day, in the order of the language; the month as a number, which none mistakes where
        the year stands first.
        """
        return f"{at:%Y-%m-%d}" if self.language == "en" else f"{at:%d/%m/%Y}"

    def moment(self, at: datetime) -> str:
        """A day and a time in this device's zone, and which zone that is."""
        here = at.astimezone()
        offset = f"{here:%z}"
        zone = "UTC" if offset == "+0000" else f"UTC{offset[:3]}:{offset[3:]}"
        return f"{self.date(here)} {self.time(here)} ({zone})"

    def percent(self, share: float, decimals: int = 0) -> str:
        """A share of one in percent, its sign included."""
        return f"{self.number(100 * share, decimals)}\u00a0%"

    def plain(self, value: float) -> str:
        """Three significant digits at most, without zeros at the end."""
        text = self.significant(value)
        point = _NUMBERS[self.language][0]
        return text.rstrip("0").rstrip(point) if point in text else text

    def significant(self, value: float | None) -> str:
        """Three significant digits and no more than four decimals; a dash for None."""
        if value is None:
            return "–"
        if value == 0:
            return self.number(0)
        size = abs(value)
        if size >= 100:
            return self.number(value)
        return self.number(value, 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4)

    def guidance(self, code: str) -> Guidance:
        """What a code of the guidance catalogue says."""
        # The state holds codes of the catalogue, as text.
        return guidance(cast("Code", code), self.language)

    def title(self, code: str) -> str:
        """What a code of the guidance catalogue is called."""
        return self.guidance(code).title
