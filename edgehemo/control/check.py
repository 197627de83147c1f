"""Control slides: targets from repeated runs, and a run judged against them by Westgard's rules.

Pure: readings and the history come in, a verdict goes out. Who calls it reads the slide
(`edgehemo.screening`) and keeps the record (`edgehemo.control.history`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from edgehemo.control.history import (
    Clearance,
    ControlCheck,
    Violation,
    checks_since_clearance,
    control_block,
)
from edgehemo.control.repeatability import BACKGROUND, LABELS, Run, run_of, spreads_of
from edgehemo.control.westgard import RULES, evaluate
from edgehemo.errors import CalibrationError
from edgehemo.guidance.withheld import Withheld
from edgehemo.profile.parts import ControlSlide, Spread
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.screening.field import FieldReading
from edgehemo.screening.sample import UnreadableImage
from edgehemo.statistics.student import normal_deviate
from edgehemo.version import __version__
from edgehemo.words.counted import counted

# Westgard asks for 20 runs over 10 days or more; 10 serve provisionally.
MIN_RUNS = 10
MIN_RUNS_ESTABLISHED = 20
# What is judged: colour and depth (stain, lamp), size (scale, focus), light, and the index that
# becomes HGB. Every quantity more would add its own false alarms; cover alone hangs on where on
# the slide one looks, and the count on the cover.
JUDGED = ("hgb_index", "cell_od_green", "cell_area_um2", BACKGROUND)
# Runs of one slide scatter by at least this share of the mean whatever a few lucky runs say.
MIN_RELATIVE_SD = 0.002
# A check needs this share of the fields that a run of the targets had, or of the pictures given
# where the targets do not tell: of fewer the values scatter more than the targets allow for.
FIELDS_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class ControlVerdict:
    """A control slide judged: the record to keep, and why results are withheld with it in the
    history; None where they may be given. An earlier failure that was not cleared withholds them
    although this check passed.
    """

    check: ControlCheck
    blocked: Withheld | None

    @property
    def passed(self) -> bool:
        """Whether results may be given: this check passed and nothing else withholds them."""
        return self.check.passed and self.blocked is None


def judge_control(
    images: Sequence[FieldReading | UnreadableImage],
    slide: ControlSlide,
    profile: CalibrationProfile,
    history: Sequence[ControlCheck | Clearance],
    *,
    bundle_sha256: str | None,
    at: datetime,
    expires_hours: int,
    pictures: tuple[str, ...] | None = None,
) -> ControlVerdict:
    """Judge today's readings of a control slide; nothing is written.

    slide: one of the profile's. history: its records, oldest first. at: timezone-aware.
    expires_hours: how long a check holds. pictures: digests of what it stands on, for the record.
    Raises CalibrationError naming pictures that could not be
    read.
    """
    run = run_of(slide.name, images, profile, bundle_sha256)
    check = checked(run, slide, history, profile_sha256=profile.digest(), at=at)
    check = check.model_copy(update={"pictures": pictures})
    blocked = control_block(profile, (*history, check), now=at, expires_hours=expires_hours)
    return ControlVerdict(check, blocked)


def control_slide(name: str, runs: Sequence[Run], established_at: datetime) -> ControlSlide:
    """The targets of a control slide from runs on several days.

    Raises CalibrationError with fewer than 10 runs, or runs without an accepted field.
    """
    targets = []
    for spread in spreads_of(runs, MIN_RUNS):
        if spread.quantity in JUDGED:
            least = MIN_RELATIVE_SD * abs(spread.mean)
            targets.append(spread.model_copy(update={"sd": max(spread.sd, least)}))
    if not targets:
        raise CalibrationError("the runs have no judged quantity in common")
    established = len(runs) >= MIN_RUNS_ESTABLISHED
    return ControlSlide(
        name=name,
        established_at=established_at,
        grade="established" if established else "provisional",
        targets=tuple(targets),
        fields_wanted=fields_wanted(median(run.fields for run in runs)),
    )


def fields_wanted(usual: float) -> int:
    """How many accepted fields a check needs where a run has ``usual`` of them."""
    return max(1, math.ceil(FIELDS_SHARE * usual))


def without_target(slide: ControlSlide) -> tuple[str, ...]:
    """The judged quantities that a slide has no target for, as people call them."""
    known = {target.quantity for target in slide.targets}
    return tuple(LABELS[name][0] for name in JUDGED if name not in known)


def standard_deviations(value: float, target: Spread) -> float:
    """How far a value lies from its target, as the normal deviate that is as rare.

    The target's mean and SD are known from so many runs only: the distance over the SD of a new
    value follows Student's t, which is turned into a normal deviate
    (`edgehemo.statistics.student.normal_deviate`). From some fifty runs on it is the plain distance
    in SD.
    """
    t = (value - target.mean) / (target.sd * math.sqrt(1.0 + 1.0 / target.runs))
    return normal_deviate(t, target.runs - 1)


def with_slide(profile: CalibrationProfile, slide: ControlSlide) -> CalibrationProfile:
    """The profile with the slide in the place of an older one of its name, else added."""
    others = tuple(other for other in profile.controls if other.name != slide.name)
    return profile.model_copy(update={"controls": (*others, slide)})


def checked(
    run: Run,
    slide: ControlSlide,
    history: Sequence[ControlCheck | Clearance],
    *,
    profile_sha256: str,
    at: datetime,
) -> ControlCheck:
    """Judge a run of a control slide against its targets and the checks before it.

    The rules look at checks of this slide against these targets since the last clearance: what was
    mended must not count against what came after. A run without an accepted field fails, and so
    does a quantity that can no longer be measured.
    """
    deviations: dict[str, float] = {}
    violations: list[Violation] = []
    warnings: list[str] = []
    reasons: list[str] = []
    before = [
        check
        for check in checks_since_clearance(history)
        if check.slide == slide.name and check.established_at == slide.established_at
    ]
    if not run.fields:
        reasons.append(f"no field accepted ({', '.join(run.codes) or 'no picture'})")
    wanted = slide.fields_wanted or fields_wanted(run.fields + run.refused)
    if 0 < run.fields < wanted:
        why = f" ({', '.join(run.codes)})" if run.codes else ""
        taken = counted(run.fields + run.refused, "field")
        reasons.append(f"{run.fields} of {taken} accepted, {wanted} wanted{why}")
    for target in slide.targets if run.fields else ():
        name = target.quantity
        label = LABELS[name][0] if name in LABELS else name
        value = run.values.get(name)
        if value is None or not math.isfinite(value):
            reasons.append(f"{label} could not be measured")
            continue
        deviation = standard_deviations(value, target)
        deviations[name] = deviation
        series = [c.deviations[name] for c in before if name in c.deviations]
        outcome = evaluate([*series, deviation])
        violations += [Violation(quantity=name, rule=rule) for rule in outcome.rejected_by]
        if outcome.rejected_by:
            said = "; ".join(f"{rule}: {RULES[rule]}" for rule in outcome.rejected_by)
            reasons.append(f"{label} {deviation:+.1f} SD ({said})")
        elif outcome.warned:
            warnings.append(f"{label} {deviation:+.1f} SD (1-2s: {RULES['1-2s']})")
    return ControlCheck(
        at=at,
        software_version=__version__,
        slide=slide.name,
        established_at=slide.established_at,
        profile_sha256=profile_sha256,
        fields=run.fields,
        refused=run.refused,
        values={name: float(value) for name, value in run.values.items()},
        deviations=deviations,
        violations=tuple(violations),
        warnings=tuple(warnings),
        passed=not reasons,
        reason="; ".join(reasons),
    )
