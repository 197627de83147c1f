"""Why a result is not given, or doubted, and what to do: of a sample, and of one of its values."""

from __future__ import annotations

from dataclasses import dataclass

from edgehemo.files.strict import Text
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
class SampleFinding:
    """What of a sample a person must look at, and what to do about it."""

    code: FindingCode
    reason: Text
    action: Text


def sample_finding(code: FindingCode, **values: object) -> SampleFinding:
    """A finding in a sample; values: what goes into the places of its reason and action."""
    told = guidance_with(code, values)
    return SampleFinding(code, told.reason, told.action)


@dataclass(frozen=True, slots=True)
class NotGiven:
    """Why one value of a sample is not given."""

    code: ValueCode
    reason: str


def not_given(code: ValueCode, **values: object) -> NotGiven:
    """A value not given for ``code``; values: what goes into the places of its reason."""
    return NotGiven(code, guidance_with(code, values).reason)
