"""A calibration profile as pages show it: what was measured, how well, until when it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.profile_store import KeptProfile
from edgehemo.device.readiness import SIMULATED_CAMERA, why_blocked
from edgehemo.measurands import MEASURAND_FACTS
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.words.language import Words

Verdict = Literal["good", "soon", "fails"]
# So many days before it expires a calibration is told to be due soon.
DUE_DAYS = 14
# Of a profile so many lines stand on the first page.
MAIN_FACTS = 5


@dataclass(frozen=True, slots=True)
class Fact:
    """One line. verdict: where it is not simply so."""

    called: str
    said: str
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class ProfileView:
    """name: of its file, which its address says. facts: what it is. said: in a few words whether
    results may be given with it.
    """

    name: str
    in_force: bool
    has_previous: bool
    verdict: Verdict
    said: str
    facts: Sequence[Fact]
    problem: str | None

    @property
    def main(self) -> Sequence[Fact]:
        """What stands on the first page: its camera, what is not in order, then the rest."""
        wrong = [fact for fact in self.facts[1:] if fact.verdict in ("soon", "fails")]
        rest = [fact for fact in self.facts[1:] if fact.verdict not in ("soon", "fails")]
        return [*self.facts[:1], *wrong, *rest][:MAIN_FACTS]


def part_name(words: Words, part: str) -> str:
    """What a part of a profile is called."""
    _ = words._
    return {
        "scale": _("Scale"),
        "illumination": _("Illumination"),
        "stain": _("Stain"),
        "focus": _("Focus"),
        "analyser": _("Analyser"),
    }[part]


def profile_view(
    kept: KeptProfile, device: DeviceConfiguration, words: Words, now: datetime
) -> ProfileView:
    """now: timezone-aware."""
    _ = words._
    name = kept.path.name
    profile = kept.profile
    if profile is None:
        said = words.title("CALIBRATION_UNREADABLE")
        return ProfileView(name, kept.in_force, kept.has_previous, "fails", said, (), kept.problem)
    verdict, said = standing(profile, kept.path, device, words, now)
    facts = profile_facts(profile, device, words, now)
    return ProfileView(name, kept.in_force, kept.has_previous, verdict, said, facts, None)


def standing(
    profile: CalibrationProfile,
    path: Path,
    device: DeviceConfiguration,
    words: Words,
    now: datetime,
) -> tuple[Verdict, str]:
    """Whether results may be given with it, in a few words."""
    _ = words._
    blocked = why_blocked(profile, path, device, now=now)
    if blocked is not None:
        return "fails", words.title(blocked.code)
    if profile.camera == SIMULATED_CAMERA:
        return "soon", _("of the simulated microscope")
    if profile.analyser is None:
        return "soon", words.title("CALIBRATION_NONE")
    if profile.analyser.grade == "demonstration":
        return "soon", words.title("CALIBRATION_DEMONSTRATION")
    return "good", _("in order")


def profile_facts(
    profile: CalibrationProfile, device: DeviceConfiguration, words: Words, now: datetime
) -> list[Fact]:
    """What was measured of it, and what it holds for."""
    _ = words._
    none = Fact("", _("not measured"), "soon")
    seals = {
        "none": Fact(_("Seal"), _("not sealed"), "soon"),
        "sealed": Fact(_("Seal"), _("unchanged"), "good"),
        "foreign": Fact(_("Seal"), _("of a key not known here"), "soon"),
        "broken": Fact(_("Seal"), _("changed by hand"), "fails"),
    }
    facts = [Fact(_("Camera"), profile.camera or _("not named"))]
    if profile.microscope or profile.objective:
        named = ", ".join(each for each in (profile.microscope, profile.objective) if each)
        facts.append(Fact(_("Microscope"), named))
    scale = profile.scale
    facts.append(
        Fact(part_name(words, "scale"), none.said, none.verdict)
        if scale is None
        else Fact(
            part_name(words, "scale"), _scale(scale.um_per_px, scale.relative_uncertainty, words)
        )
    )
    for part in ("illumination", "stain", "focus"):
        held = getattr(profile, part)
        at = None if held is None else held.measured_at or profile.created_at
        shown = none if at is None else Fact("", words.date(at.astimezone()))
        facts.append(Fact(part_name(words, part), shown.said, shown.verdict))
    facts.append(_analyser(profile, words))
    facts += _errors(profile, words)
    facts += _expiry(profile, device, words, now)
    facts.append(seals[profile.seal_state])
    return facts


def _scale(um_per_px: float, uncertainty: float, words: Words) -> str:
    return f"{words.number(um_per_px, 4)} µm/px ± {words.number(uncertainty * 100, 2)} %"


def _analyser(profile: CalibrationProfile, words: Words) -> Fact:
    _ = words._
    analyser = profile.analyser
    called = part_name(words, "analyser")
    if analyser is None:
        return Fact(called, _("not measured"), "soon")
    said = words.n_("{n} sample", "{n} samples", analyser.samples)
    if analyser.grade == "demonstration":
        return Fact(called, _("{samples}, a demonstration", samples=said), "soon")
    return Fact(called, said)


def _errors(profile: CalibrationProfile, words: Words) -> list[Fact]:
    """The honest error of haemoglobin; of the others there is no room."""
    _ = words._
    item = None if profile.analyser is None else profile.analyser.of("hgb_g_per_l")
    if item is None:
        return []
    facts = MEASURAND_FACTS["hgb_g_per_l"]
    within = item.t95 * item.prediction_sd
    said = _(
        "{error} {unit}, 95 % within ± {within}",
        error=words.hgb(item.nested_mae),
        unit=words.unit if words.unit == "g/dL" else facts.unit,
        within=words.hgb(within),
    )
    return [Fact(_("Error of haemoglobin"), said)]


def _expiry(
    profile: CalibrationProfile, device: DeviceConfiguration, words: Words, now: datetime
) -> list[Fact]:
    _ = words._
    dates = profile.expiring()
    if not dates:
        return []
    part, at = min(dates.items(), key=lambda item: item[1])
    ends = at + timedelta(days=device.screening.calibration_expires_days)
    said = _("{date} ({part})", date=words.date(ends.astimezone()), part=part_name(words, part))
    if profile.camera == SIMULATED_CAMERA:
        return []
    left = ends - now
    verdict: Verdict | None = None
    if left < timedelta(0):
        verdict = "fails"
    elif left < timedelta(days=DUE_DAYS):
        verdict = "soon"
    return [Fact(_("Holds until"), said, verdict)]
