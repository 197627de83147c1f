"""Words that were installed beside those that come with edgehemo: one file a language.

A file counts only where it is complete: every text that this version shows has its words, with the
same places for values. After an update of edgehemo that shows more, its own words serve again.
What is in force is one state file; a pulled plug leaves the words of before or the new ones.
"""

from __future__ import annotations

import gettext
import hashlib
import io
import logging
import string
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from edgehemo.bundle.manifest import MAX_SERIAL
from edgehemo.errors import PublicationError
from edgehemo.files.atomic import write_bytes_atomically, write_text_atomically
from edgehemo.files.lock import locked
from edgehemo.files.strict import Record, RecordError, Sha256
from edgehemo.guidance.catalogue import SOURCE_LANGUAGE
from edgehemo.words.language import LANGUAGES, LANGUAGES_FOLDER, missing_in, use_installed

log = logging.getLogger(__name__)

STATE_NAME = "state.json"
# Counts that a page can show; a plural form is asked for each.
_COUNTS = (*range(200), 1000, 1_000_000)
# Of many problems no more than these are told.
MOST_PROBLEMS = 3
Serial = Annotated[int, Meta(ge=1, le=MAX_SERIAL)]


class InstalledLanguage(Record, frozen=True, kw_only=True):
    """sha256: of the ``.mo`` file, which is called so."""

    serial: Serial
    sha256: Sha256


class LanguagesState(Record, frozen=True, kw_only=True):
    """in_use: by language; one that is not there comes with edgehemo. highest_serial: ever
    installed, by language.
    """

    schema: Literal["edgehemo.languages/1"] = "edgehemo.languages/1"
    in_use: dict[str, InstalledLanguage] = field(default_factory=dict)
    highest_serial: dict[str, int] = field(default_factory=dict)


def problems_of(language: str, content: bytes) -> list[str]:
    """Why a ``.mo`` file does not serve as the words of a language here; empty where it does."""
    if language == SOURCE_LANGUAGE:
        return ["English is what the texts are written in, and is not replaced"]
    if language not in LANGUAGES:
        known = ", ".join(each for each in LANGUAGES if each != SOURCE_LANGUAGE)
        return [f"this version knows {known}; another language comes with an update of edgehemo"]
    try:
        found = gettext.GNUTranslations(io.BytesIO(content))
    except (OSError, ValueError, struct.error, LookupError, IndexError, RecursionError) as error:
        return [f"is no .mo file of gettext ({error})"]
    missing = missing_in(found)
    if missing:
        return [f"{len(missing)} texts have no words, such as {missing[0]!r}"]
    return list(_misplaced(found))[:MOST_PROBLEMS]


def _misplaced(found: gettext.GNUTranslations) -> Iterator[str]:
    catalogue: dict[object, str] = getattr(found, "_catalog", {})
    # Of gettext's own making, as the catalogue is: what its types do not name.
    rule: Callable[[int], int] = getattr(found, "plural", lambda count: int(count != 1))
    forms = set()
    for count in _COUNTS:
        try:
            forms.add(int(rule(count)))
        except (ArithmeticError, ValueError, RecursionError) as error:
            yield f"its rule for plurals has no answer for {count} ({error})"
            return
    plurals = {key[0] for key in catalogue if isinstance(key, tuple)}
    for text in plurals:
        if lacking := sorted(form for form in forms if not catalogue.get((text, form))):
            yield f"{text!r} has no plural form {lacking[0]}"
    for key, said in catalogue.items():
        text = key[0] if isinstance(key, tuple) else key
        if not isinstance(text, str) or not text:
            continue
        if not said.strip(" \t\n\0"):
            yield f"{text!r} has no words"
            continue
        wanted, given = _places(text), _places(said)
        if given is None or wanted is None:
            if wanted is not None:
                yield f"the words of {text!r} have a brace that is no place for a value"
        elif given - wanted - ({"n"} if text in plurals else set()):
            yield f"the words of {text!r} have the place {sorted(given - wanted)[0]!r}"
        elif wanted - given - {"n"}:
            yield f"the words of {text!r} lack the place {sorted(wanted - given)[0]!r}"


def _places(text: str) -> set[str] | None:
    """The places of a text; None where its braces are none. A place is a plain name: nothing of a
    value but itself is shown.
    """
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError:
        return None
    names = set()
    for _, name, spec, conversion in parsed:
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            return None
        names.add(name)
    return names


class LanguageStore:
    """The installed languages below a device's data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / LANGUAGES_FOLDER

    def state(self) -> LanguagesState:
        """What is in force; nothing where the file is missing or damaged: then the words that come
        with edgehemo serve.
        """
        file = self.path / STATE_NAME
        try:
            return LanguagesState.model_validate(msgspec.json.decode(file.read_bytes()))
        except FileNotFoundError:
            return LanguagesState()
        except (OSError, msgspec.DecodeError, RecordError) as error:
            log.warning(
                "%s: is not read (%s); the words that come with edgehemo serve", file, error
            )
            return LanguagesState()

    def _file(self, installed: InstalledLanguage) -> Path:
        return self.path / f"{installed.sha256}.mo"

    def install(self, language: str, serial: int, content: bytes) -> InstalledLanguage | None:
        """Put words in force, checked; what was in force before, None where it came with edgehemo.

        PublicationError where they are incomplete, or older than what was installed.
        """
        self.refuse_unfit(language, serial, content)
        with self._locked():
            state = self.state()
            before = state.in_use.get(language)
            digest = hashlib.sha256(content).hexdigest()
            new = InstalledLanguage(serial=serial, sha256=digest)
            write_bytes_atomically(self._file(new), content)
            changed = {
                "in_use": {**state.in_use, language: new},
                "highest_serial": {**state.highest_serial, language: serial},
            }
            self._store(state.model_copy(update=changed))
        self.use()
        return before

    def refuse_unfit(self, language: str, serial: int, content: bytes) -> None:
        """PublicationError for words that are incomplete here, or older than what was installed."""
        if problems := problems_of(language, content):
            raise PublicationError(f"{language}: {'; '.join(problems)}")
        highest = self.state().highest_serial.get(language, 0)
        if serial < highest:
            raise PublicationError(
                f"{language}: is serial {serial}, serial {highest} was installed here; older "
                "words are not used"
            )

    def put_back(self, language: str, before: InstalledLanguage | None) -> None:
        """Have the words in force again that were before; those that come with edgehemo, where
        there were none or their file is gone.
        """
        with self._locked():
            state = self.state()
            kept = {name: each for name, each in state.in_use.items() if name != language}
            if before is not None and self._is_whole(before):
                kept[language] = before
            self._store(state.model_copy(update={"in_use": kept}))
        self.use()

    def serving(self) -> dict[str, InstalledLanguage]:
        """The installed languages that are whole, and complete for this version."""
        found = {}
        for language, installed in self.state().in_use.items():
            try:
                content = self._file(installed).read_bytes()
            except OSError:
                content = b""
            whole = hashlib.sha256(content).hexdigest() == installed.sha256
            if not whole or problems_of(language, content):
                log.warning(
                    "the installed words of %s are %s; those that come with edgehemo serve",
                    language,
                    "not complete for this version" if whole else "damaged",
                )
                continue
            found[language] = installed
        return found

    def use(self) -> None:
        """Have this process show them."""
        use_installed({name: self._file(each) for name, each in self.serving().items()})

    def _is_whole(self, installed: InstalledLanguage) -> bool:
        try:
            content = self._file(installed).read_bytes()
        except OSError:
            return False
        return hashlib.sha256(content).hexdigest() == installed.sha256

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.path / STATE_NAME, PublicationError)

    def _store(self, state: LanguagesState) -> None:
        before = {each.sha256 for each in self.state().in_use.values()}
        write_text_atomically(self.path / STATE_NAME, state.model_dump_json(indent=2) + "\n")
        # What is in force and what was just before: the way back stays open.
        kept = before | {each.sha256 for each in state.in_use.values()}
        for path in self.path.glob("*.mo"):
            if path.stem not in kept:
                path.unlink(missing_ok=True)
