"""Whether a result says no more of people and places than its kiosk may tell; pure.

A kiosk without that right sends pseudonyms. What it says of itself (``identified``) is not
believed: what would be a name, a day or free text is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgehemo.records.deidentified import ALTITUDE_STEP_M, OLDEST_TOLD_YEARS
from edgehemo_laboratory.intake.contents import Contents

_PSEUDONYM = re.compile(r"[SPLD]-[0-9a-f]{12}")
_MONTH = re.compile(r"\d{4}-\d\d-01T00:00:00\+00:00")
_NUMBER = re.compile(r"\d{3,}")


def is_pseudonym(text: str) -> bool:
    """Whether it is a name that a kiosk made up for another."""
    return _PSEUDONYM.fullmatch(text) is not None


def is_month(text: str) -> bool:
    """Whether it is a date that says no day."""
    return _MONTH.fullmatch(text) is not None


def told_too_much(contents: Contents) -> str | None:
    """What a result without names says all the same, a phrase; None where there is nothing."""
    return next(_found(contents), None)


def _found(contents: Contents) -> Iterator[str]:
    said = contents.said
    if said.identified:
        yield "it comes with names and numbers"
    names = [
        ("sample's number", said.sample),
        ("site's name", said.site),
        ("operator's name", said.operator),
        ("device's name", said.device),
        *((f"{key}'s name", value) for key, value in said.record.labels.items()),
    ]
    for what, value in names:
        if value is not None and not is_pseudonym(value):
            yield f"a {what} stands in it"
    created = said.record.provenance.get("created_at")
    if not _MONTH.fullmatch(said.made_at) or not (
        isinstance(created, str) and _MONTH.fullmatch(created)
    ):
        yield "the day stands in it"
    for version in said.versions:
        if not _MONTH.fullmatch(version.at):
            yield "the day of a version stands in it"
        if version.by is not None and not _PSEUDONYM.fullmatch(version.by):
            yield "the name of who signed stands in it"
        if version.sample is not None and not _PSEUDONYM.fullmatch(version.sample):
            yield "a version's sample number stands in it"
        if version.reason or version.amendments.comment:
            yield "free text stands in it"
    yield from _person(said.person)
    if any(not _NUMBER.fullmatch(image.image) for image in said.record.images):
        yield "names of picture files stand in it"


def _person(person: dict[str, object] | None) -> Iterator[str]:
    if person is None:
        return
    years, altitude = person.get("age_years"), person.get("altitude_m")
    if isinstance(years, int | float):
        step = 1.0 if years >= 2 else 0.5
        if years % step or years > OLDEST_TOLD_YEARS:
            yield "the exact age stands in it"
    if isinstance(altitude, int | float) and altitude % ALTITUDE_STEP_M:
        yield "the exact altitude stands in it"
