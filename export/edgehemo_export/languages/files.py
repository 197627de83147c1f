"""The files: the list of texts, the ``.po`` of each language, the ``.mo`` that devices read."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from edgehemo.guidance.catalogue import DOMAIN, LOCALE_DIR, SOURCE_LANGUAGE
from edgehemo.words.language import LANGUAGES, TEXTS_FILE
from edgehemo_export.languages.texts import Text, kiosk_texts
from edgehemo_export.languages.typesetting import typeset

HEADER = """\
The kiosk's words. Short sentences; the places in braces stay as they are.
Not checked by native readers."""


def po_path(language: str) -> Path:
    """Where the words of a language are edited."""
    return LOCALE_DIR / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def wanted_files() -> dict[Path, bytes]:
    """What the files should be: path -> content."""
    texts = kiosk_texts()
    listed = {"texts": [text.text for text in texts]}
    files = {TEXTS_FILE: (json.dumps(listed, indent=1, ensure_ascii=False) + "\n").encode()}
    for language in LANGUAGES:
        if language == SOURCE_LANGUAGE:
            continue
        path = po_path(language)
        catalog = merged(path.read_bytes() if path.exists() else b"", language, texts)
        po, mo = io.BytesIO(), io.BytesIO()
        write_po(po, catalog, width=100, omit_header=False, no_location=True, sort_output=False)
        write_mo(mo, shown(catalog, language))
        files[path], files[path.with_suffix(".mo")] = po.getvalue(), mo.getvalue()
    return files


def merged(before: bytes, language: str, texts: Sequence[Text]) -> Catalog:
    """A language's catalogue with exactly these texts: new ones empty, old ones gone."""
    known = read_po(io.BytesIO(before), locale=language) if before else Catalog(locale=language)
    catalog = Catalog(
        locale=language, domain=DOMAIN, header_comment=_comment(), fuzzy=False,
        project="edgehemo", version="1", copyright_holder="", msgid_bugs_address="",
    )  # fmt: skip
    # Always the same date: the file changes when the words do.
    catalog.creation_date = catalog.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    for text in texts:
        key = text.text if text.plural is None else (text.text, text.plural)
        message = known.get(text.text)
        string = "" if message is None or message.fuzzy else message.string
        if text.plural is not None and isinstance(string, str):
            string = tuple("" for _ in range(catalog.num_plurals))
        elif text.plural is None and not isinstance(string, str):
            string = next(iter(string or ("",)))
        catalog.add(key, string, auto_comments=[text.where])
    return catalog


def shown(catalog: Catalog, language: str) -> Catalog:
    """The catalogue with its words as devices show them (see `typeset`)."""
    out = Catalog(locale=language, domain=DOMAIN, fuzzy=False)
    out.mime_headers = catalog.mime_headers
    for message in catalog:
        said = message.string
        set_ = (
            typeset(said, language)
            if isinstance(said, str)
            else tuple(typeset(form, language) for form in said or ())
        )
        out.add(message.id, set_ if message.id else said)
    return out


def _comment() -> str:
    return "\n".join(f"# {line}" for line in HEADER.splitlines())
