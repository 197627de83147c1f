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
from typing import TYPE_CHECKING

from edgehemo.anaemia.who_grade import Person, bands_g_per_l, grade
from edgehemo.capture.protocol import FailedSource
from edgehemo.cells.cell import CELL_KINDS, CellKind, CountInterval, FieldCells
from edgehemo.errors import FieldError, UsageError
from edgehemo.estimate.anaemia_screen import AnaemiaScreenResult, screen_sample
from edgehemo.estimate.pooling import pool
from edgehemo.estimate.sample import estimate_sample
from edgehemo.estimate.values import FieldIndices, SampleEstimate, SampleIndices
from edgehemo.guidance.withheld import Doubt, NotGiven, SampleFinding, Withheld, not_given, withheld
from edgehemo.images.frame import Frame
from edgehemo.measurands import MEASURANDS
from edgehemo.quality.check import QualityReport
from edgehemo.screening.cell_types import sample_types
from edgehemo.screening.doubtful_names import borne_out, strange_kinds
from edgehemo.screening.doubts import doubts_of
from edgehemo.screening.field import FieldReader, FieldReading
from edgehemo.screening.findings import findings_of
from edgehemo.screening.repeats import SeenPlace, repeat_check, seen_place, sketch_of
from edgehemo.screening.slide_scale import MIN_FIELDS, slide_scale
from edgehemo.screening.stopping import StopReason, StopRule
from edgehemo.statistics.interval import Interval
from edgehemo.statistics.normal import Z_95
from edgehemo.statistics.poisson import poisson_interval

if TYPE_CHECKING:
    from edgehemo.anaemia.who_grade import AnaemiaGrade
    from edgehemo.bundle.manifest import FamiliarityRule
    from edgehemo.cells.shares import TypeShare
    from edgehemo.field.scale import ScaleEstimate
    from edgehemo.screening.cell_types import SampleTypes


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
    withheld or where the bundle names no cells. anaemia_screen: None with its reason, mostly that
    nobody asked for it. doubts: what
    looks as if the fields were not of one sample. findings: what in the cells a person must look
    at. Of the person nothing is kept but what the grade says.
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
    anaemia_screen_reason: str = ""
    doubts: tuple[Doubt, ...] = ()
    findings: tuple[SampleFinding, ...] = ()

    def __repr__(self) -> str:
        said = f"withheld: {self.withheld.reason}" if self.withheld is not None else ""
        if self.estimate is not None:
            values = {name: getattr(self.estimate, name) for name in MEASURANDS}
            said = ", ".join(
                f"{name} {value.value:.4g} ({value.low:.4g} to {value.high:.4g})"
                for name, value in values.items()
                if value is not None
            )
        said = said or "indices alone, not calibrated"
        return f"<SampleReading {len(self.accepted)} of {len(self.images)} accepted; {said}>"

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

    reader: reads each frame. person: for the WHO grade. bundle_sha256: of the bundle it reads
    with. blocked: why no result may be given at all (an expired calibration, a failed control
    check): fields are still judged and shown as judged, nothing is measured in them, and the
    sample is withheld. notes: what a concentration must say of the profile. images: what was made
    of the frames so far. A screening is wholly said by these: one that was interrupted goes on
    where it was with the images of before (`resuming`).
    """

    reader: FieldReader
    person: Person | None = None
    bundle_sha256: str | None = None
    rule: StopRule = field(default_factory=StopRule)
    blocked: Withheld | None = None
    notes: tuple[str, ...] = ()
    images: list[FieldReading | UnreadableImage] = field(default_factory=list)
    _seen: list[SeenPlace] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._seen = [
            seen_place(reading.image, reading.place)
            for reading in self._accepted()
            if reading.place
        ]
        if self.person is not None and (problems := self.person.problems()):
            raise UsageError("; ".join(problems))

    def consider(self, item: Frame | FailedSource) -> FieldReading | UnreadableImage:
        """Read one frame, or note one that could not be had; returns what was made of it."""
        result: FieldReading | UnreadableImage
        if isinstance(item, Frame):
            try:
                reading = self.reader.read(
                    item,
                    sharpest=self.sharpest_of(item.width, item.height),
                    slide=self.scale_of(item.width, item.height),
                )
                if reading.accepted:
                    reading = replace(reading, place=sketch_of(item))
                result = reading
            except FieldError as error:
                result = UnreadableImage(item.source, str(error))
        else:
            result = UnreadableImage(item.image, item.error)
        return self.take(result)

    def take(self, result: FieldReading | UnreadableImage) -> FieldReading | UnreadableImage:
        """Note what the reader made of a frame, as `consider` does; returns what counts of it.

        An accepted reading has its ``place``, and was made with what `sharpest_of` and `scale_of`
        say now.
        """
        if isinstance(result, FieldReading):
            result = self._new(result)
        self.images.append(result)
        return result

    def _new(self, reading: FieldReading) -> FieldReading:
        """The reading, refused where its place was counted before; bare where it may not count."""
        if reading.accepted:
            place = seen_place(reading.image, reading.place)
            again = repeat_check(place, self._seen)
            if again is None:
                self._seen.append(place)
            else:
                quality = QualityReport((again, *reading.quality.checks))
                reading = replace(reading, quality=quality, cells=None, indices=None, place="")
        return reading if self.blocked is None else replace(reading, cells=None, indices=None)

    def sharpest_of(self, width: int, height: int) -> float | None:
        """The best focus value of the fields of one picture size accepted so far, per pixel: what
        later ones are held against. None before any.

        Fields of one camera are compared in its own pixels: a field whose scale was misread, of
        the very blur perhaps, is so held against the same.
        """
        values = [
            check.value * reading.um_per_px
            for reading in self._accepted()
            if (reading.width, reading.height) == (width, height)
            for check in reading.quality.checks
            if check.name == "focus" and check.value is not None
        ]
        return max(values, default=None)

    def scale_of(
        self, width: int, height: int, *, min_fields: int = MIN_FIELDS
    ) -> ScaleEstimate | None:
        """The slide's scale, as its accepted fields of one picture size say it (`slide_scale`)."""
        return slide_scale(self._accepted(), width, height, min_fields=min_fields)

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
        return self.rule.reached(
            accepted=len(self._accepted()),
            examined=len(self.images),
            counting_error=self.counting_error,
        )

    def finish(self) -> SampleReading:
        """Pool the accepted fields, or withhold with a reason and an action."""
        strange = strange_kinds(self._accepted(), self.reader.typer)
        images = self._borne_out(strange)
        accepted = [r for r in images if isinstance(r, FieldReading) and r.accepted]
        indices = estimate = anaemia = None
        reason = not_given("SAMPLE_WITHHELD").reason
        measured = [reading.indices for reading in accepted if reading.indices is not None]
        screened = self._anaemia_screen(measured, known=not strange)
        types, likely = self._types(accepted, strange) if measured else (None, None)
        if measured:
            indices = pool(measured)
            estimate = estimate_sample(
                indices, self.reader.profile, bundle_sha256=self.bundle_sha256
            )
            if estimate.calibration != "none":
                estimate = replace(estimate, notes=(*self.notes, *estimate.notes))
            if estimate.hgb_g_per_l is None:
                # Said first: age and sex would not help.
                why = estimate.reasons["hgb_g_per_l"]
                reason = not_given("HAEMOGLOBIN_UNKNOWN", why=why).reason
            elif self.person is None:
                reason = not_given("PERSON_UNKNOWN").reason
            elif too_wide := _too_wide(estimate.hgb_g_per_l, self.person):
                reason = too_wide.reason
            else:
                anaemia, reason = grade(estimate.hgb_g_per_l, self.person), ""
        return SampleReading(
            images=images,
            counts=summed_counts([r.cells for r in accepted if r.cells is not None]),
            counting_error=self.counting_error,
            stopped_by=self.stop_reason or "source_ended",
            indices=indices,
            estimate=estimate,
            anaemia=anaemia,
            anaemia_reason=reason,
            withheld=None if measured else self.blocked or why_withheld(self.images),
            doubts=doubts_of([item for item in self.images if isinstance(item, FieldReading)]),
            findings=findings_of(images, likely),
            types=types,
            anaemia_screen=screened if isinstance(screened, AnaemiaScreenResult) else None,
            anaemia_screen_reason=screened.reason if isinstance(screened, NotGiven) else "",
        )

    def _anaemia_screen(
        self, fields: Sequence[FieldIndices], *, known: bool
    ) -> AnaemiaScreenResult | NotGiven:
        """What the screen says of the sample. known: whether its cells look like those that the
        classifiers learnt from; the screen, which learnt from fewer sets, knows them less.
        """
        networks = self.reader.networks
        if networks is None or "anaemia_screen" not in networks.asked:
            return not_given("ANAEMIA_SCREEN_NOT_ASKED")
        if networks.screen_point is None:
            return not_given("ANAEMIA_SCREEN_MISSING")
        if not fields:
            return not_given("SAMPLE_WITHHELD")
        if not known:
            return not_given("ANAEMIA_SCREEN_SILENT")
        return screen_sample(fields, networks.screen_point) or not_given("ANAEMIA_SCREEN_SILENT")

    def _types(
        self, accepted: Sequence[FieldReading], strange: Mapping[CellKind, FamiliarityRule]
    ) -> tuple[SampleTypes | None, tuple[TypeShare, ...] | None]:
        if self.reader.typer is None:
            return None, None
        profile = self.reader.profile
        checked = None if profile is None else profile.red_cell_types
        return sample_types(accepted, self.reader.typer, tuple(strange), checked)

    def _borne_out(
        self, strange: Mapping[CellKind, FamiliarityRule]
    ) -> tuple[FieldReading | UnreadableImage, ...]:
        """The images, without names that the sample as a whole does not bear out."""
        places = [
            place
            for place, item in enumerate(self.images)
            if isinstance(item, FieldReading) and item.accepted
        ]
        changed = borne_out(self._accepted(), strange)
        images = list(self.images)
        for number, reading in changed.items():
            images[places[number]] = reading
        return tuple(images)

    def _accepted(self) -> list[FieldReading]:
        return [r for r in self.images if isinstance(r, FieldReading) and r.accepted]


def _too_wide(hgb: Interval, person: Person) -> NotGiven | None:
    """Why an interval is too wide to be graded: one wider than all bands between severe and no
    anaemia would be graded by chance.
    """
    bands = bands_g_per_l(person)
    if hgb.high - hgb.low <= bands:
        return None
    return not_given(
        "INTERVAL_TOO_WIDE", low=f"{hgb.low:.0f}", high=f"{hgb.high:.0f}", bands=f"{bands:.0f}"
    )


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
        return withheld("NO_IMAGE")
    if not fields:
        return withheld("NOTHING_READABLE", inputs=len(entries))
    faults = Counter(check.name for item in fields for check in item.quality.failed)
    # Two checks may find one fault: its action counts once a field.
    actions = Counter(
        action
        for item in fields
        for action in dict.fromkeys(check.action for check in item.quality.failed)
    )
    named = ", ".join(f"{name} ({count})" for name, count in faults.most_common())
    return withheld(
        "NO_FIELD_ACCEPTED",
        action=actions.most_common(1)[0][0],
        fields=len(fields),
        checks=named,
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
