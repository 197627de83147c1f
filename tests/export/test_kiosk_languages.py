"""The kiosk's language files: up to date, whole, and with their places kept."""

from __future__ import annotations

import gettext
import io
import re
import string

import pytest

babel = pytest.importorskip("babel")

from babel.messages.pofile import read_po

from edgehemo.guidance.catalogue import LOCALE_DIR
from edgehemo.words.language import LANGUAGES
from edgehemo_export.languages.files import merged, po_path, wanted_files
from edgehemo_export.languages.texts import Text, kiosk_texts
from edgehemo_export.languages.typesetting import typeset

OTHERS = [language for language in LANGUAGES if language != "en"]


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_files_are_up_to_date() -> None:
    stale = [path.name for path, content in wanted_files().items() if path.read_bytes() != content]
    assert not stale, "run `make languages`"


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_keeps_the_places_of_its_text(language: str) -> None:
    catalog = read_po(io.BytesIO(po_path(language).read_bytes()), locale=language)
    for text in kiosk_texts():
        message = catalog.get(text.text)
        assert message is not None, text
        strings = message.string if isinstance(message.string, (tuple, list)) else (message.string,)
        for translated in strings:
            assert translated, text
            assert places(translated) == places(text.text), (language, text.text)


def test_new_texts_are_empty_and_old_ones_go() -> None:
    kept = 'msgid ""\nmsgstr ""\n\nmsgid "kept"\nmsgstr "gardé"\n'
    before = (kept + '\nmsgid "old"\nmsgstr "vieux"\n').encode()
    catalog = merged(before, "fr", [Text("kept"), Text("new"), Text("{n} cell", "{n} cells")])
    found = {message.id: message.string for message in catalog if message.id}
    assert found == {"kept": "gardé", "new": "", ("{n} cell", "{n} cells"): ("", "", "")}


def test_french_keeps_its_marks_with_their_word() -> None:
    assert typeset("Prêt ? Oui : « 3 » ; 12:30", "fr") == (
        "Prêt\xa0? Oui\xa0: «\xa03\xa0»\xa0; 12:30"
    )
    assert typeset("Ready ?", "sw") == "Ready ?"
    shown = gettext.translation("edgehemo", LOCALE_DIR, ["fr"])
    told = [shown.gettext(text.text) for text in kiosk_texts() if text.plural is None]
    assert any("\xa0:" in text for text in told)
    assert not [text for text in told if re.search(r"\S [:;?!»]|« ", text)]
