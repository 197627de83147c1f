"""Why a result is not given, or doubted, and what to do: of a sample, and of one of its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgehemo.files.strict import Count, Text
from edgehemo.guidance.catalogue import guidance_with
from edgehemo.guidance.codes import DoubtCode, FindingCode, ValueCode, WithheldCode


@dataclass(frozen=True, slots=True)
class Withheld:
    """Why a sample has no result, and what the operator can do."""

    code: WithheldCode
    reason: Text
    action: Text


def withheld(code: WithheldCode, *, action: str = "", **values: object) -> Withheld:
    """A sample withheld for ``code``; ``action``: instead of the catalogue's.

    values: what goes into the places of the catalogue's reason and action.
    """
    told = guidance_with(code, values)
    return Withheld(code, told.reason, action or told.action)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What of a sample that has a result looks wrong, and what the operator can do."""

    code: DoubtCode
    reason: Text
    action: Text


def doubt(code: DoubtCode, **values: object) -> Doubt:
    """A doubt about a sample; values: what goes into the places of its reason and action."""
    told = guidance_with(code, values)
    return Doubt(code, told.reason, told.action)


@dataclass(frozen=True, slots=True)
class FoundCell:
    """A cell that a finding stands on: the place of its image among the sample's, from 0, and its
    box in pixels of that image.
    """

    image: Count
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class SampleFinding:
    """What of a sample a person must look at, what to do about it, and in which cells it was seen.

    cells: the first `MOST_FOUND_CELLS` of them.
    """

    code: FindingCode
    reason: Text
    action: Text
    cells: tuple[FoundCell, ...] = ()


# Cells that a finding names: more than a person will look at.
MOST_FOUND_CELLS = 24


def sample_finding(
    code: FindingCode, found: Sequence[FoundCell], **values: object
) -> SampleFinding:
    """A finding in a sample; values: what goes into the places of its reason and action."""
    told = guidance_with(code, values)
    return SampleFinding(code, told.reason, told.action, tuple(found[:MOST_FOUND_CELLS]))


@dataclass(frozen=True, slots=True)
class NotGiven:
    """Why one value of a sample is not given."""

    code: ValueCode
    reason: str


def not_given(code: ValueCode, **values: object) -> NotGiven:
    """A value not given for ``code``; values: what goes into the places of its reason."""
    return NotGiven(code, guidance_with(code, values).reason)
