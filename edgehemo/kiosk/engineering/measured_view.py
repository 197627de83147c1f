"""What a calibration command measured, as a page shows it before somebody accepts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgehemo.control.repeatability import BACKGROUND, LABELS, REPEATABILITY_FACTOR
from edgehemo.kiosk.engineering.profile_view import Fact
from edgehemo.kiosk.engineering.slide_runs import BETTER_RUNS
from edgehemo.kiosk.engineering.wizards import Part
from edgehemo.measurands import MEASURAND_FACTS
from edgehemo.profile.profile import CalibrationProfile
from edgehemo.words.language import Words

# A lamp or condenser is not centred where the light is more uneven than this (flat-field protocol).
UNEVEN = 0.40
# A scale that is off by more than this against the one before stands on another lens or mode.
SCALE_CHANGED = 0.02


@dataclass(frozen=True, slots=True)
class MeasuredView:
    """headline: the number that matters. facts: what else. curve: shares of its highest value, for
    a drawing; empty where there is nothing to draw. warning: what to look at before accepting.
    """

    headline: str
    facts: Sequence[Fact]
    curve: Sequence[float] = ()
    warning: str = ""


def measured_view(
    part: Part, document: Mapping[str, Any], before: CalibrationProfile | None, words: Words
) -> MeasuredView:
    """From the JSON of the command. before: the profile as it was."""
    show = {
        "scale": _scale,
        "illumination": _light,
        "stain": _stain,
        "focus": _focus,
        "analyser": _analyser,
        "repeatability": _repeatability,
        "control": _targets,
    }[part]
    return show(document, before, words)


def _scale(
    document: Mapping[str, Any], before: CalibrationProfile | None, words: Words
) -> MeasuredView:
    _ = words._
    scale = document["scale"]
    value, share = scale["um_per_px"], scale["relative_uncertainty"]
    facts = [
        Fact(_("Uncertainty"), f"± {words.number(share * 100, 2)} %"),
        Fact(_("Lines found"), words.number(scale["lines"])),
        Fact(_("Pictures"), words.number(len(document["images"]))),
    ]
    warning = ""
    if before is not None and before.scale is not None:
        change = value / before.scale.um_per_px - 1
        was, sign = words.number(before.scale.um_per_px, 4), "+" if change >= 0 else "−"
        facts.append(Fact(_("The scale before"), f"{was} µm/px"))
        said = f"{sign}{words.number(abs(change) * 100, 2)} %"
        facts.append(Fact(_("Difference"), said))
        if abs(change) > SCALE_CHANGED:
            warning = _("The scale has changed. Is it the same lens? The analyser part ends.")
    return MeasuredView(f"{words.number(value, 4)} µm/px", facts, (), warning)


def _light(
    document: Mapping[str, Any], before: CalibrationProfile | None, words: Words
) -> MeasuredView:
    _ = words._
    light = document["illumination"]
    facts = [
        Fact(_("Bright part, 0 to 255"), words.number(light["target_level"])),
        Fact(_("Pictures"), words.number(light["frames"])),
    ]
    warning = ""
    if light["unevenness"] > UNEVEN:
        warning = _("Very uneven: centre the lamp and the condenser, then begin again.")
    elif before is not None and before.analyser is not None:
        warning = _("The analyser calibration was made with other light and ends with this.")
    said = _("{share} % uneven", share=words.number(light["unevenness"] * 100))
    return MeasuredView(said, facts, (), warning)


def _stain(
    document: Mapping[str, Any], before: CalibrationProfile | None, words: Words
) -> MeasuredView:
    _ = words._
    stain = document["stain"]
    depth = " · ".join(
        f"{words.number(value, 2)} ± {words.number(sd, 2)}"
        for value, sd in zip(stain["cell_od"], stain["cell_od_sd"], strict=True)
    )
    background = " · ".join(words.number(value) for value in stain["background_rgb"])
    facts = [
        Fact(_("Depth of red cells, RGB"), depth),
        Fact(_("Background, RGB"), background),
    ]
    return MeasuredView(words.n_("{n} field", "{n} fields", stain["fields"]), facts)


def _focus(
    document: Mapping[str, Any], before: CalibrationProfile | None, words: Words
) -> MeasuredView:
    _ = words._
    values = [each["focus"] or 0.0 for each in document["images"]]
    highest = max(values, default=0.0)
    curve = [value / highest if highest > 0 else 0.0 for value in values]
    at = curve.index(1.0) + 1 if 1.0 in curve else 0
    facts = [
        Fact(_("Sharpest picture"), _("{n} of {all}", n=at, all=len(values))),
        Fact(_("Sharpness"), words.number(document["focus"]["sharp_reference"], 3)),
    ]
    return MeasuredView(_("It goes through focus."), facts, curve)


def _analyser(
    document: Mapping[str, Any], before: CalibrationProfile | None, words: Words
) -> MeasuredView:
    _ = words._
    analyser = document["analyser"]
    facts = []
    for item in analyser["measurands"]:
        known = MEASURAND_FACTS[item["measurand"]]
        agreement = item["agreement"]
        said = _(
            "error {error}, bias {bias}, limits {low} to {high} {unit}",
            error=words.number(item["nested_mae"], known.decimals),
            bias=words.number(agreement["bias"], known.decimals),
            low=words.number(agreement["lower_limit"], known.decimals),
            high=words.number(agreement["upper_limit"], known.decimals),
            unit=known.unit,
        )
        facts.append(Fact(known.name, said))
    for measurand in document["refused"]:
        facts.append(Fact(MEASURAND_FACTS[measurand].name, _("could not be calibrated"), "fails"))
    warning = ""
    if analyser["grade"] == "demonstration":
        warning = _("Fewer than 20 samples: every report will say that it is a demonstration.")
    said = words.n_("{n} sample", "{n} samples", analyser["samples"])
    return MeasuredView(said, facts, (), warning)


def _targets(
    document: Mapping[str, Any], before: CalibrationProfile | None, words: Words
) -> MeasuredView:
    _ = words._
    slide = document["control"]
    facts = [
        Fact(
            quantity_name(words, target["quantity"]),
            f"{words.number(target['mean'], LABELS[target['quantity']][2])} ± "
            f"{words.number(target['sd'], LABELS[target['quantity']][2] + 1)}",
        )
        for target in slide["targets"]
    ]
    runs = max((target["runs"] for target in slide["targets"]), default=0)
    warning = _("From now on results need a check of a control slide every day.")
    return MeasuredView(words.n_("{n} run", "{n} runs", runs), facts, (), warning)


def _repeatability(
    document: Mapping[str, Any], before: CalibrationProfile | None, words: Words
) -> MeasuredView:
    """Of each quantity how far two results of one slide lie apart by chance alone."""
    _ = words._
    facts = []
    for spread in document["repeatability"]["spreads"]:
        decimals = LABELS[spread["quantity"]][2]
        said = _(
            "{mean}, two results differ by at most {limit}",
            mean=words.number(spread["mean"], decimals),
            limit=words.number(REPEATABILITY_FACTOR * spread["sd"], decimals),
        )
        if name := quantity_name(words, spread["quantity"], known_only=True):
            facts.append(Fact(name, said))
    runs = len(document["runs"])
    warning = ""
    if runs < BETTER_RUNS["repeatability"]:
        warning = _("With 10 runs or more the figures would be surer.")
    return MeasuredView(words.n_("{n} run", "{n} runs", runs), facts, (), warning)


def quantity_name(words: Words, quantity: str, *, known_only: bool = False) -> str:
    """What a quantity of a control slide is called; one without words by its own name, or empty."""
    _ = words._
    known = {
        "hgb_index": _("Haemoglobin index"),
        "cell_od_green": _("Depth of red cells"),
        "cell_area_um2": _("Area of a red cell, µm²"),
        BACKGROUND: _("Light of the background"),
    }
    return known.get(quantity, "" if known_only else quantity)
