"""What a laboratory offered this device, and how it stands with each of it: one state file.

A publication goes this way: ``offered`` while it is not here yet, ``waiting`` once it is here and
checked, ``putting`` while it is being put in use, ``on trial`` until the next self-check with it,
``in use``. It ends before that as ``refused`` (by its checks), ``declined`` (by a person),
``withdrawn`` (the laboratory offers it no more) or ``fell back`` (what was in use before is again).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from edgehemo.device.installed_languages import InstalledLanguage
from edgehemo.errors import PublicationError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.lock import locked
from edgehemo.files.strict import Count, Record, RecordError, Sha256, Text
from edgehemo.published.slide import SlideNumbers
from edgehemo.published.terms import OPEN, USED, Kind, Standing

log = logging.getLogger(__name__)

FOLDER, STATE_NAME = "published", "state.json"
# Of what has ended so many are remembered: each digest that was refused is refused again.
MOST_ENDED = 60
MOST_WORDS = 500
# Beginnings of a putting in use that may be made: a plug pulled in each, and it is left.
TRIES = 3


class Before(Record, frozen=True, kw_only=True):
    """What was in use before: the bundle's folder in the device's store, None of the one that comes
    with edgehemo; the language's words, None likewise; the settings' values.
    """

    bundle: str | None = None
    language: InstalledLanguage | None = None
    settings: dict[str, dict[str, str | int | float | bool | None]] | None = None


class Published(Record, frozen=True, kw_only=True):
    """One publication. sha256: of its file, by which it is known. digest: of its manifest, once it
    is here. origin: who offers it: a receiver's name. expected: what its test slide gives.
    words: why it stands so. at: since when, by this device's clock. by: who put it in use or
    refused it; empty where the device did. tries_left: see `TRIES`.
    """

    sha256: Sha256
    kind: Kind
    name: Text
    serial: Count
    bytes: Count
    origin: Text
    standing: Standing
    digest: str = ""
    signed_by: str = ""
    expected: SlideNumbers | None = None
    words: str = ""
    at: str = ""
    by: str = ""
    tries_left: Annotated[int, Meta(ge=0, le=100)] = TRIES
    before: Before | None = None

    @property
    def called(self) -> str:
        """What a log calls it: a name that the laboratory gave, of no person and no picture."""
        return f"{self.kind} {self.name}"


class PublishedState(Record, frozen=True, kw_only=True):
    """items: in the order in which they were first offered. highest_settings: the highest serial of
    settings that were put in use, by name.
    """

    schema: Literal["edgehemo.published/1"] = "edgehemo.published/1"
    items: tuple[Published, ...] = ()
    highest_settings: dict[str, int] = field(default_factory=dict)

    def of(self, sha256: str) -> Published | None:
        """The one of a file."""
        return next((each for each in self.items if each.sha256 == sha256), None)

    def in_use(self, kind: Kind, name: str | None = None) -> Published | None:
        """The newest of a kind that is in use or on trial."""
        found = [
            each
            for each in self.items
            if each.kind == kind and each.standing in USED and name in (None, each.name)
        ]
        return found[-1] if found else None

    def waiting(self) -> list[Published]:
        """What is here and could be put in use."""
        return [each for each in self.items if each.standing == "waiting"]


class PublishedStore:
    """The folder ``published`` below a device's data: the state, and files that are not in use."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FOLDER

    def state(self) -> PublishedState:
        """How everything stands. A file that is missing or damaged knows nothing: what is offered
        is fetched again, and what is in use stands in the stores of bundles and languages.
        """
        file = self.path / STATE_NAME
        try:
            return PublishedState.model_validate(msgspec.json.decode(file.read_bytes()))
        except FileNotFoundError:
            return PublishedState()
        except (OSError, msgspec.DecodeError, RecordError) as error:
            log.warning("%s: is not read (%s); what is offered is fetched again", file, error)
            return PublishedState()

    def change(self, work: Callable[[PublishedState], PublishedState]) -> PublishedState:
        """Change the state under its lock; as it then is, on the disk."""
        with locked(self.path / STATE_NAME, PublicationError):
            before = self.state()
            after = _trimmed(work(before))
            if after != before:
                try:
                    text = after.model_dump_json(indent=2) + "\n"
                    write_text_atomically(self.path / STATE_NAME, text)
                except OSError as error:
                    raise PublicationError(
                        f"{self.path}: cannot be written ({error.strerror or error})"
                    ) from None
            kept = {each.sha256 for each in after.items if each.standing in OPEN}
            for file in (*self.path.glob("*.zip"), *self.path.glob("*.part")):
                if file.stem not in kept:
                    file.unlink(missing_ok=True)
            return after

    def note(self, item: Published) -> Published:
        """Have one stand as given, in the place of what is known of its file."""

        def noted(state: PublishedState) -> PublishedState:
            if state.of(item.sha256) is None:
                return state.model_copy(update={"items": (*state.items, item)})
            items = tuple(item if each.sha256 == item.sha256 else each for each in state.items)
            return state.model_copy(update={"items": items})

        self.change(noted)
        return item

    def file(self, sha256: str) -> Path:
        """Where a publication lies once it is whole."""
        return self.path / f"{sha256}.zip"

    def part(self, sha256: str) -> Path:
        """Where the beginning of one lies."""
        return self.path / f"{sha256}.part"


def _trimmed(state: PublishedState) -> PublishedState:
    ended = [each for each in state.items if each.standing not in (*OPEN, *USED)]
    used = [each for each in state.items if each.standing in USED]
    # Of what is in use the last of each name counts; of the others, one before is remembered.
    lasting = {(each.kind, each.name): each.sha256 for each in used}
    gone = {each.sha256 for each in used if each.sha256 not in lasting.values()}
    drop = {each.sha256 for each in ended[: max(0, len(ended) - MOST_ENDED)]}
    drop |= set([each.sha256 for each in used if each.sha256 in gone][:-MOST_ENDED])
    if not drop:
        return state
    kept = tuple(each for each in state.items if each.sha256 not in drop)
    return state.model_copy(update={"items": kept})
