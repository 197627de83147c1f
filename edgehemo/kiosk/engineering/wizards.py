"""What is measured of a microscope, step by step, in the protocols' words: one table.

The protocols themselves, and what the numbers stand on, come with the calibration package; here is
what a page shows of them. How many pictures are enough says the command that measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from edgehemo.capture.protocol import CameraSettings
from edgehemo.capture.simulated import Slide, format_simulated, parse_simulated
from edgehemo.kiosk.engineering.profile_view import part_name
from edgehemo.words.language import Words

Part = Literal["scale", "illumination", "stain", "focus", "analyser", "repeatability", "control"]
PARTS: tuple[Part, ...] = get_args(Part)
# The command that measures it, and the package that brings it.
COMMAND = "calibrate"
# Samples that an analyser measured: so many are asked for, and so many are better.
LEAST_SAMPLES, BETTER_SAMPLES = 8, 20


@dataclass(frozen=True, slots=True)
class Wizard:
    """How a part is measured. pictures: how many are wanted; least: how many the page asks for
    before it measures. slide: what the simulated microscope shows. smears: over how many of them
    its pictures are taken. stack: heights of the focus drive against the sharp one, um, where the
    camera has a drive; else a hand turns it.
    """

    pictures: int
    least: int
    slide: Slide = "smear"
    smears: int = 1
    stack: tuple[float, ...] = ()


WIZARDS: Mapping[Part, Wizard] = {
    "scale": Wizard(3, 2, "ruling"),
    "illumination": Wizard(8, 4, "empty"),
    "stain": Wizard(12, 10, smears=6),
    "focus": Wizard(
        13, 5, stack=(-2.4, -2.0, -1.6, -1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4)
    ),
    "repeatability": Wizard(5, 3),
    "control": Wizard(5, 3),
}
# What is measured later stands on what was measured before.
NEEDS: Mapping[Part, tuple[Part, ...]] = {
    "focus": ("scale",),
    "analyser": ("scale", "illumination"),
    "repeatability": ("scale",),
    "control": ("scale",),
}
# Places of a simulated slide.
MOST_PLACES = 64
# The blood of the simulated control slide: HGB g/L, MCV fL, MCHC g/L.
CONTROL_BLOOD = (140.0, 88.0, 335.0)
# The distances of lines that are sold, um.
PITCHES_UM: tuple[float, ...] = (10.0, 50.0, 100.0)


def wizard_name(words: Words, part: Part) -> str:
    """What a part is called."""
    _ = words._
    own = {"control": _("Control slide"), "repeatability": _("Repeatability")}
    return own.get(part) or part_name(words, part)


def steps_of(words: Words, part: Part) -> list[str]:
    """What a person does, in order."""
    _ = words._
    steps = {
        "scale": [
            _("Put the stage micrometer under the lens that is used for screening."),
            _("Focus until the lines are crisp. At least 4 lines fill the picture."),
            _("Take a picture. Turn the slide by 90 degrees and take another, then one between."),
        ],
        "illumination": [
            _("Switch the lamp on and wait 10 minutes."),
            _("Focus on a smear, then move to a clean, empty place at the same height."),
            _("The bright part has 180 to 230 of 255 counts. Do not change it afterwards."),
            _("Take 8 pictures. Move the slide a little between them."),
        ],
        "stain": [
            _("Take smears of different people that the supervisor calls well stained."),
            _("Look for places where cells lie side by side and hardly touch."),
            _("Take 10 pictures or more, over all the smears."),
        ],
        "focus": [
            _("Find a place with cells side by side on a good smear. Do not move the slide."),
            _("Turn the fine focus clearly below the sharp plane."),
            _("Take a picture after every small step, until you are clearly above it."),
        ],
        "analyser": [
            _("A supervisor types in what an analyser measured of samples screened here."),
            _("Take 8 samples or more, better 20, from low to high haemoglobin."),
            _("The pictures that were stored of them are measured again."),
        ],
        "repeatability": [
            _("Take 5 pictures of one good slide: that is a run."),
            _("Take the slide off, put it on again, and take a run of 5 other places."),
            _("Take 3 runs or more, better 10. Then touch Measure."),
        ],
        "control": [
            _("Put the control slide under the lens."),
            _("Look for places where cells lie side by side and hardly touch."),
            _("Take 5 pictures of different places."),
        ],
    }
    return steps[part]


def instruction(words: Words, part: Part, taken: int, *, moves_itself: bool) -> str:
    """What a person does now. taken: pictures so far. moves_itself: whether the microscope goes
    from place to place, or through focus, without a hand.
    """
    _ = words._
    wizard = WIZARDS[part]
    if taken >= wizard.pictures:
        return _("All pictures are taken.")
    if moves_itself and not taken:
        return _("The microscope moves by itself. Touch Take all, and leave the slide as it is.")
    if part == "scale":
        return (
            _("Focus until the lines are crisp. Take the first picture."),
            _("Turn the slide by 90 degrees. Take the second picture."),
            _("Turn the slide to an angle in between. Take the third picture."),
        )[taken]
    if part == "illumination":
        if not taken:
            return _(
                "Find a clean, empty place. Set the bright part to 180 to 230. Take a picture."
            )
        return _("Move the slide a little, to another empty place. Take a picture.")
    if part == "focus":
        if not taken:
            return _("Turn the fine focus clearly below the sharp plane. Take a picture.")
        return _("Turn the fine focus up by a small step. Do not move the slide. Take a picture.")
    each = -(-wizard.pictures // wizard.smears)
    if taken and taken % each == 0:
        return _(
            "Put on the next smear, number {n}. Find cells side by side. Take a picture.",
            n=taken // each + 1,
        )
    if taken:
        return _("Move to another place with cells side by side. Take a picture.")
    return _("Find a place where cells lie side by side and hardly touch. Take a picture.")


def goes_by_itself(source: str, part: Part, has_drive: bool) -> bool:
    """Whether all pictures of a part can be taken without a hand. has_drive: of the focus."""
    return source.startswith("simulated:") or (has_drive and bool(WIZARDS[part].stack))


def source_for(source: str, part: Part, smear: int = 0) -> str:
    """The camera that a part is measured with: the simulated microscope gets the slide it needs.
    smear: which of several, or which places of the control slide.
    """
    if not source.startswith("simulated:"):
        return source
    options = parse_simulated(source)
    wizard = WIZARDS[part]
    if part in ("control", "repeatability"):
        # One slide, and other places of it each time: the same blood, another draw.
        hgb, mcv, mchc = CONTROL_BLOOD
        options = replace(options, hgb_g_per_l=hgb, mcv_fl=mcv, mchc_g_per_l=mchc)
    return format_simulated(
        replace(
            options,
            slide=wizard.slide,
            # A stage that moves by itself needs as many places as pictures are taken.
            fields=max(options.fields, MOST_PLACES),
            bad=0,
            seed=options.seed + smear,
        )
    )


def pictures_of(part: Part, has_drive: bool, count: int) -> tuple[CameraSettings, ...]:
    """What is given to the camera before each picture."""
    stack = WIZARDS[part].stack
    if stack and has_drive and count > 1:
        return tuple(CameraSettings(focus_um=height) for height in stack)
    return (CameraSettings(),) * count
