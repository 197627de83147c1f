"""The state machine of one sample, free of I/O.

Frames go in one by one; each becomes a field that is accepted or refused with a reason and an
action; when the rule says that there is enough, the accepted ones are pooled. Where frames come
from, where a report goes and what time it is are the caller's business.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from edgehemo.anaemia.who_grade import Person, grade
from edgehemo.capture.protocol import FailedSource
from edgehemo.cells.cell import CELL_KINDS, CellKind, CountInterval, FieldCells
from edgehemo.errors import FieldError, UsageError
from edgehemo.estimate.anaemia_screen import AnaemiaScreenResult, screen_sample
from edgehemo.estimate.pooling import pool
from edgehemo.estimate.sample import estimate_sample
from edgehemo.estimate.values import FieldIndices, SampleEstimate, SampleIndices
from edgehemo.guidance.withheld import Withheld
from edgehemo.images.frame import Frame
from edgehemo.quality.check import Check, QualityReport
from edgehemo.screening.field import FieldReading, Finder, read_field
from edgehemo.statistics.poisson import Z_95, poisson_interval

if TYPE_CHECKING:
    from edgehemo.anaemia.who_grade import AnaemiaGrade
    from edgehemo.cells.typing import CellTyper
    from edgehemo.estimate.network import FieldNetworks
    from edgehemo.profile.profile import CalibrationProfile
    from edgehemo.screening.cell_types import SampleTypes

StopReason = Literal["source_ended", "accepted_fields", "counting_error", "examined_fields"]


@dataclass(frozen=True, slots=True)
class StopRule:
    """When a sample has enough; None switches a limit off, and all None reads to the end.

    accepted_fields: so many accepted fields. counting_error: the relative half width of the red
    count's 95 % Poisson interval has fallen this low. examined_fields: so many frames looked at,
    whatever became of them.
    """

    accepted_fields: int | None = None
    counting_error: float | None = None
    examined_fields: int | None = None

    def __post_init__(self) -> None:
        for name in ("accepted_fields", "examined_fields"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise UsageError(f"{name} must be at least 1, got {limit}")
        if self.counting_error is not None and not 0 < self.counting_error < 1:
            raise UsageError(f"counting_error must lie between 0 and 1, got {self.counting_error}")


@dataclass(frozen=True, slots=True)
class UnreadableImage:
    """An input that gave no field: its name and one line on why and what to do."""

    image: str
    error: str


@dataclass(frozen=True, slots=True)
class SampleReading:
    """One sample: every field in the order given, and what they say together.

    counts: interior counts over the accepted fields. counting_error: relative half width of the
    red count's 95 % Poisson interval, None before any cell. stopped_by: why no further field was
    read. indices, estimate: None where withheld. anaemia: None with its reason. types: None where
    withheld or where the bundle names no cells. anaemia_screen: None where withheld, where the
    bundle holds no such model or where the fields are unlike those it was trained on. Of the
    person nothing is kept but what the grade says.
    """

    images: tuple[FieldReading | UnreadableImage, ...]
    counts: dict[CellKind, CountInterval]
    counting_error: float | None
    stopped_by: StopReason
    indices: SampleIndices | None
    estimate: SampleEstimate | None
    anaemia: AnaemiaGrade | None
    anaemia_reason: str
    withheld: Withheld | None
    types: SampleTypes | None = None
    anaemia_screen: AnaemiaScreenResult | None = None

    @property
    def fields(self) -> tuple[FieldReading, ...]:
        return tuple(item for item in self.images if isinstance(item, FieldReading))

    @property
    def accepted(self) -> tuple[FieldReading, ...]:
        return tuple(item for item in self.fields if item.accepted)

    @property
    def refused(self) -> tuple[FieldReading, ...]:
        return tuple(item for item in self.fields if not item.accepted)

    @property
    def unreadable(self) -> tuple[UnreadableImage, ...]:
        return tuple(item for item in self.images if isinstance(item, UnreadableImage))


@dataclass(slots=True)
class Screening:
    """One sample being screened: `consider` takes a frame, `stop_reason` says when to stop.

    blocked: why no result may be given at all (an expired calibration, a failed control check):
    fields are still judged, but all are refused for that reason and the sample is withheld.
    """

    finder: Finder
    profile: CalibrationProfile | None = None
    person: Person | None = None
    um_per_px: float | None = None
    bundle_sha256: str | None = None
    envelope: Mapping[str, Any] | None = None
    rule: StopRule = field(default_factory=StopRule)
    blocked: Withheld | None = None
    typer: CellTyper | None = None
    networks: FieldNetworks | None = None
    _images: list[FieldReading | UnreadableImage] = field(default_factory=list, init=False)
    # Of the fields accepted so far: what later ones are held against.
    _sharpest: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.person is not None and (problems := self.person.problems()):
            raise UsageError("; ".join(problems))

    def consider(self, item: Frame | FailedSource) -> FieldReading | UnreadableImage:
        """Read one frame, or note one that could not be had; returns what was made of it."""
        result: FieldReading | UnreadableImage
        if isinstance(item, Frame):
            try:
                result = read_field(
                    item,
                    self.finder,
                    profile=self.profile,
                    um_per_px=self.um_per_px,
                    envelope=self.envelope,
                    typer=self.typer,
                    networks=self.networks,
                    sharpest=self._sharpest,
                )
            except FieldError as error:
                result = UnreadableImage(item.source, str(error))
            else:
                self._note_sharpness(result)
                if self.blocked is not None:
                    result = _blocked(result, self.blocked)
        else:
            result = UnreadableImage(item.image, item.error)
        self._images.append(result)
        return result

    @property
    def counting_error(self) -> float | None:
        """Relative half width of the red count's 95 % Poisson interval so far."""
        red = sum(
            reading.cells.interior_counts["rbc"].value
            for reading in self._accepted()
            if reading.cells is not None
        )
        return Z_95 / math.sqrt(red) if red > 0 else None

    @property
    def stop_reason(self) -> StopReason | None:
        """Which limit of the rule has been reached, None while more fields are wanted."""
        rule, error = self.rule, self.counting_error
        if rule.accepted_fields is not None and len(self._accepted()) >= rule.accepted_fields:
            return "accepted_fields"
        if rule.counting_error is not None and error is not None and error <= rule.counting_error:
            return "counting_error"
        if rule.examined_fields is not None and len(self._images) >= rule.examined_fields:
            return "examined_fields"
        return None

    def finish(self) -> SampleReading:
        """Pool the accepted fields, or withhold with a reason and an action."""
        accepted = self._accepted()
        indices = estimate = anaemia = None
        reason = "the sample was withheld"
        measured = [reading.indices for reading in accepted if reading.indices is not None]
        if measured:
            indices = pool(measured)
            estimate = estimate_sample(indices, self.profile, bundle_sha256=self.bundle_sha256)
            if self.person is None:
                reason = "no age and sex were given"
            elif estimate.hgb_g_per_l is None:
                reason = "there is no haemoglobin to grade"
            else:
                anaemia, reason = grade(estimate.hgb_g_per_l, self.person), ""
        return SampleReading(
            images=tuple(self._images),
            counts=summed_counts([r.cells for r in accepted if r.cells is not None]),
            counting_error=self.counting_error,
            stopped_by=self.stop_reason or "source_ended",
            indices=indices,
            estimate=estimate,
            anaemia=anaemia,
            anaemia_reason=reason,
            withheld=None if measured else self.blocked or why_withheld(self._images),
            types=self._types() if measured else None,
            anaemia_screen=self._anaemia_screen(measured),
        )

    def _note_sharpness(self, reading: FieldReading) -> None:
        for check in reading.quality.checks:
            if check.name == "focus" and check.value is not None and reading.accepted:
                self._sharpest = max(check.value, self._sharpest or 0.0)

    def _anaemia_screen(self, fields: Sequence[FieldIndices]) -> AnaemiaScreenResult | None:
        if self.networks is None or self.networks.screen_point is None:
            return None
        return screen_sample(fields, self.networks.screen_point)

    def _types(self) -> SampleTypes | None:
        if self.typer is None:
            return None
        from edgehemo.screening.cell_types import sample_types

        return sample_types(self._accepted(), self.typer)

    def _accepted(self) -> list[FieldReading]:
        return [r for r in self._images if isinstance(r, FieldReading) and r.accepted]


def _blocked(reading: FieldReading, why: Withheld) -> FieldReading:
    """A field refused whatever it shows, its own checks kept behind the one that says why."""
    check = Check("calibration", None, None, "fail", "RESULTS_WITHHELD", why.action)
    quality = QualityReport((check, *reading.quality.checks))
    return replace(reading, quality=quality, cells=None, indices=None)


def screen_frames(
    frames: Iterable[Frame | FailedSource],
    screening: Screening,
    on_image: Callable[[FieldReading | UnreadableImage, Frame | None], None] | None = None,
) -> SampleReading:
    """Screen a sample to its end: frames until the rule is satisfied or there are no more.

    ``on_image`` is called with each result and the frame it came from (None where unreadable);
    no frame is kept afterwards, so a sample of any length needs the memory of one field.
    """
    for item in frames:
        result = screening.consider(item)
        if on_image is not None:
            on_image(result, item if isinstance(item, Frame) else None)
        if screening.stop_reason is not None:
            break
    return screening.finish()


def summed_counts(fields: Iterable[FieldCells]) -> dict[CellKind, CountInterval]:
    """Interior counts of several fields together.

    Poisson errors of fields are independent and add in quadrature; what an interval holds beyond
    that is the finder's own error, which is common to all fields and adds linearly.
    """
    known = list(fields)
    return {kind: _summed([item.interior_counts[kind] for item in known]) for kind in CELL_KINDS}


def why_withheld(images: Iterable[FieldReading | UnreadableImage]) -> Withheld:
    """The reason and the action for a sample without an accepted field."""
    entries = list(images)
    fields = [item for item in entries if isinstance(item, FieldReading)]
    if not entries:
        return Withheld("no image was given", "Give at least one field of a stained smear.")
    if not fields:
        return Withheld(
            f"none of the {len(entries)} inputs could be read as a field",
            "Check the files or the camera; each one's fault is listed.",
        )
    faults = Counter(check.name for item in fields for check in item.quality.failed)
    # Two checks may find one fault: its action counts once a field.
    actions = Counter(
        action
        for item in fields
        for action in dict.fromkeys(check.action for check in item.quality.failed)
    )
    named = ", ".join(f"{name} ({count})" for name, count in faults.most_common())
    return Withheld(
        f"none of the {len(fields)} fields could be trusted; failed checks: {named}",
        actions.most_common(1)[0][0],
    )


def _summed(counts: list[CountInterval]) -> CountInterval:
    value = sum(count.value for count in counts)
    low, high = poisson_interval(value)
    below = above = 0.0
    for count in counts:
        own_low, own_high = poisson_interval(count.value)
        below += _beyond(count.value - count.low, count.value - own_low)
        above += _beyond(count.high - count.value, own_high - count.value)
    return CountInterval(
        value=value,
        low=max(0.0, value - math.hypot(value - low, below)),
        high=value + math.hypot(high - value, above),
    )


def _beyond(width: float, poisson: float) -> float:
    """What an interval's half width holds beyond the Poisson part, in quadrature."""
    return math.sqrt(max(0.0, width**2 - poisson**2))
