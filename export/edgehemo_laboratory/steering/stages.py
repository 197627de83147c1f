"""Stages of a publication, and which kiosks are in one. Pure.

A share of the kiosks comes first, spread over the sites; who it is says the digest of the
publication together with the kiosk's name. Whoever came in stays in, whoever comes later.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping
from typing import Annotated

from msgspec import Meta

from edgehemo.files.strict import Count, Record, Share
from edgehemo_laboratory.errors import LaboratoryError

_HOUR_S = 3600
MOST_STAGES = 10


class Stage(Record, frozen=True, kw_only=True):
    """share: of the kiosks that are in it. wait_s: how long it lasts at least. used_share: of its
    kiosks that must use it before the next begins. results: so many must have come that were made
    with it, of a bundle.
    """

    share: Annotated[float, Meta(gt=0, le=1)]
    wait_s: Count = 24 * _HOUR_S
    used_share: Share = 0.8
    results: Count = 0


# Where nobody says otherwise.
STAGES: tuple[Stage, ...] = (
    Stage(share=0.05, wait_s=24 * _HOUR_S, results=20),
    Stage(share=0.25, wait_s=48 * _HOUR_S, results=100),
    Stage(share=1.0, wait_s=0),
)
_WAIT = re.compile(r"(\d{1,4})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": _HOUR_S, "d": 24 * _HOUR_S}


def stages_of(text: str) -> tuple[Stage, ...]:
    """Stages as a person writes them: ``5%/24h,25%/2d,100%``, or one share, which all follow.

    What else must hold is as by default. LaboratoryError for anything else.
    """
    stages: list[Stage] = []
    for part in text.replace(" ", "").split(","):
        share, _, wait = part.partition("/")
        number = _percent(share)
        if number is None or (wait and not _WAIT.fullmatch(wait)):
            raise LaboratoryError(
                f"{part[:40]!r} is no stage; write a share and how long it lasts at least, such as "
                "5%/24h,25%/2d,100%"
            )
        usual = STAGES[min(len(stages), len(STAGES) - 2)]
        wait_s = int(wait[:-1]) * _UNITS_S[wait[-1]] if wait else usual.wait_s
        stages.append(Stage(share=number, wait_s=wait_s, results=usual.results))
    shares = [each.share for each in stages]
    if shares != sorted(set(shares)) or len(stages) > MOST_STAGES:
        raise LaboratoryError("the share of each stage must be above that of the one before")
    if shares[-1] < 1:
        stages.append(Stage(share=1.0, wait_s=0))
    return tuple(stages)


def _percent(text: str) -> float | None:
    try:
        number = float(text.removesuffix("%")) / 100
    except ValueError:
        return None
    return number if text.endswith("%") and 0 < number <= 1 else None


def lot(publication: str, what: str) -> float:
    """A number from 0 to 1 that a publication (its digest) draws for something; always the same."""
    digest = hashlib.sha256(f"{publication}\0{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def chosen(
    publication: str,
    sites: Mapping[str, Collection[str]],
    share: float,
    already: Collection[str] = (),
) -> set[str]:
    """The kiosks that are in a stage. sites: the kiosks that it is for, by site. already: those
    that came in before: they stay, and count.

    Of each site so many come as its share is, rounded up or down by lot, so that all sites together
    give the share; one at least of all.
    """
    within = {name for names in sites.values() for name in names}
    found = set(already) & within
    for site, names in sites.items():
        many = math.floor(share * len(names) + lot(publication, f"site {site}"))
        many = min(len(names), max(many, math.floor(share * len(names))))
        left = sorted((lot(publication, f"kiosk {name}"), name) for name in set(names) - found)
        for _, name in left[: max(0, many - len(set(names) & found))]:
            found.add(name)
    if not found and within:
        found.add(min(within, key=lambda name: lot(publication, f"kiosk {name}")))
    return found | set(already)
