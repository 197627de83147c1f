"""What a device says of what runs on it: to its laboratory at every visit, and by stick."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from edgehemo.device.receivers import PublicationsRule
from edgehemo.files.strict import Count, Record, Sha256, Text
from edgehemo.published.terms import Kind, Standing

MOST_OUTCOMES = 20
# What this version can put in use.
TAKES: tuple[Kind, ...] = ("bundle", "language", "settings")


class RunningBundle(Record, frozen=True, kw_only=True):
    """sha256: of its manifest, as every result names it. shipped: whether it is the one that comes
    with edgehemo.
    """

    name: Text
    serial: Count
    sha256: Sha256
    shipped: bool


class RunningLanguage(Record, frozen=True, kw_only=True):
    """Words that were installed. sha256: of their file."""

    language: Text
    serial: Count
    sha256: Sha256


class PublicationOutcome(Record, frozen=True, kw_only=True):
    """What became of one publication. publication: SHA-256 of its file. words: why it stands so,
    for people. at: since when, by the kiosk's clock.
    """

    publication: Sha256
    kind: Kind
    standing: Standing
    words: str = ""
    at: str = ""


class Running(Record, frozen=True, kw_only=True):
    """bundle: in use; null where none can be opened. languages: installed beside those that come
    with edgehemo. settings_sha256: of the settings that a laboratory may set, as they are.
    keys: identifiers of the keys whose signatures are trusted. highest: the highest serials that
    were ever put in use, by ``kind name``: older ones are refused. policy: how what is offered
    comes in use. takes: what can be offered. outcomes: of the last publications, oldest first.
    """

    schema: Literal["edgehemo.running/1"] = "edgehemo.running/1"
    software_version: Text
    bundle: RunningBundle | None
    languages: tuple[RunningLanguage, ...] = ()
    settings_sha256: Sha256
    keys: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    highest: dict[str, int] = field(default_factory=dict)
    policy: PublicationsRule = "asked"
    takes: tuple[Kind, ...] = TAKES
    outcomes: Annotated[tuple[PublicationOutcome, ...], Meta(max_length=MOST_OUTCOMES)] = ()
