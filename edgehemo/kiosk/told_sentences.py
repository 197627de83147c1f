"""Sentences that other parts of the device write in English, in the language of the page.

What the device check says of a thing, and what is wrong with the records, is made where it is
found, without a language. It is a bounded list of sentences, which are put into words here; what
stands in their places (a path, a version, a digest) is told as it is. A sentence that is not in the
list, such as one of the system's own, stays English.
"""

from __future__ import annotations

import re
from functools import lru_cache

from edgehemo.words.language import Words

# As they are written where they are found; `{name}` holds a value, or another of the sentences.
SENTENCES: tuple[str, ...] = (
    # of the device check
    "edgehemo {version} runs, {installed} is installed",
    "edgehemo runs from its source and is not installed, so what it requires is not known",
    "opencv-python and opencv-python-headless overwrite each other's files",
    "{device}, from the shipped profile {profile}",
    "{device}, from {file}",
    "edgehemo {version} is on trial",
    "edgehemo {version}, proved on this device",
    "is chosen in the device configuration and not installed",
    "not installed (pip install '{requirement}')",
    "{runtime} cannot be loaded ({problem})",
    "{runtime}, chosen",
    "{machine} computer, {n} processors",
    "{board}; the device configuration is for a {other}",
    "{now} °C; the processor slows down from {limit} °C on",
    "none plugged in",
    "none: results are indices, not concentrations",
    "{bundle}, nobody vouches for it",
    "{bundle}, comes with edgehemo",
    "{bundle}, signed by {key}",
    "{path} may not be read by this user",
    "{path} may not be written by this user",
    "{camera} is not plugged in",
    "{camera} needs picamera2, which is not installed",
    "{camera}: {n} sensor(s) found on the board's connectors",
    "not known where data lies",
    "{size} GB free for {folder}",
    "none: results are sent to nobody",
    "not told by this system",
    "{free} of {all} MB available",
    "{free} of {all} MB available, {wanted} wanted",
    "{time}: before this software was released",
    "nothing is stored yet",
    "1 result, chain {head}",
    "{n} results, chain {head}",
    "{records}; damaged and set aside: {names}",
    "{records}; {free} MB free, no sample is begun below {least} MB",
    "the stored results were never backed up",
    "{at}, {held} of 1 result",
    "{at}, {held} of {n} results",
    "the last good backup is of {at}, with {held} of 1 result",
    "the last good backup is of {at}, with {held} of {n} results",
    # of a look through the records
    "the database: a row names another that is not there",
    "the database: {problem}",
    "result {id}: no audit entry says that it was recorded",
    "result {id} was changed since it was recorded",
    "result {id}: the list does not show its latest version",
    "result {id}: version {n} was changed since it was made",
    "result {id}: version {n} is not there any more",
    "the picture {digest} is not there",
    "the picture {digest} was changed or is damaged",
    "the reading {digest} is not there",
    "the reading {digest} was changed or is damaged",
    "the bundle {digest} is not there",
    "the bundle {digest} was changed or is damaged",
    "the profile {digest} is not there",
    "the profile {digest} was changed or is damaged",
    "{table}: the row of audit entry {n} was changed",
    "{table}: the row of audit entry {n} is not there any more",
    "audit entries {first} to {last} are missing",
    "audit entry {n} does not follow the one before it",
    "audit entry {n} was changed",
)
_PLACE = re.compile(r"\{(\w+)\}")


def in_words(words: Words, said: str) -> str:
    """A sentence of the list in the person's language; any other as it is."""
    if words.language == "en":
        return said
    for sentence in SENTENCES:
        found = _pattern(sentence).fullmatch(said)
        if found is not None:
            values = {name: in_words(words, value) for name, value in found.groupdict().items()}
            return words.known(sentence).format_map(values)
    return said


@lru_cache(maxsize=len(SENTENCES))
def _pattern(sentence: str) -> re.Pattern[str]:
    """What matches a sentence with anything in its places."""
    parts = _PLACE.split(sentence)
    return re.compile(
        "".join(
            f"(?P<{part}>.+?)" if number % 2 else re.escape(part)
            for number, part in enumerate(parts)
        ),
        re.DOTALL,
    )
