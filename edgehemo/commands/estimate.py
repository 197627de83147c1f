"""`edgehemo estimate`: HGB, HCT and RBC of one sample from its images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehemo.commands import common
from edgehemo.guidance.catalogue import catalogue
from edgehemo.measurands import MEASURAND_FACTS

if TYPE_CHECKING:
    from edgehemo.capture.protocol import FailedSource


@click.command()
@common.images_argument
@common.bundle_option
@common.profile_option
@common.scale_option
@common.json_option
def estimate(
    images: tuple[str, ...],
    bundle: Path | None,
    profile: Path | None,
    um_per_px: float | None,
    json_file: str | None,
) -> int:
    """Estimate HGB, HCT and RBC from IMAGE... of one sample (files or folders).

    Concentrations need a profile with an analyser calibration; without one there are indices and
    the words "not calibrated". The field estimator is always asked; its outputs are under `model`
    of the indices. Exit code 1 when no field could be trusted.
    """
    from edgehemo.api import screen_sources
    from edgehemo.screening.sample import UnreadableImage
    from edgehemo.screening.sample_output import EstimateEntry, EstimateOutput, EstimateSample

    with common.Progress("measuring", common.total_of(images)) as progress:
        result = screen_sources(
            images,
            None,
            bundle=bundle,
            profile=profile,
            um_per_px=um_per_px,
            anaemia_screen=False,
            field_estimator=True,
            on_image=lambda _: progress.advance(),
        )
    reading = result.reading
    entries: list[EstimateEntry | FailedSource] = []
    for item in reading.images:
        if isinstance(item, UnreadableImage):
            entries.append(common.failed(item.image, item.error))
        else:
            entries.append(EstimateEntry.of(item))
    output = EstimateOutput(images=entries, sample=EstimateSample.of(reading))
    for line in sample_lines(output.sample.model_dump()):
        common.say(line, json_file)
    common.write_json(json_file, output)
    return common.exit_code(entries, withheld=reading.withheld is not None)


def sample_lines(sample: dict[str, Any]) -> list[str]:
    """What a sample came to, for people: one line a measurand."""
    if sample["withheld"] is not None:
        withheld = sample["withheld"]
        return [f"withheld: {withheld['reason']}", f"  {withheld['action']}"]
    lines = []
    if sample["calibration"] == "demonstration":
        from edgehemo.report.result import DEMONSTRATION_NOTICE

        lines.append(DEMONSTRATION_NOTICE)
    for key, facts in MEASURAND_FACTS.items():
        item = sample[key]
        if item is None:
            lines.append(f"{facts.name}: {sample['reasons'].get(key, 'withheld')}")
        else:
            low, high = facts.shown(item["low"]), facts.shown(item["high"])
            lines.append(f"{facts.name}: {facts.with_unit(item['value'])} (95 %: {low} to {high})")
    indices = sample["indices"]
    rbc = indices["rbc_index"]
    lines += _actions(sample["reason_codes"])
    lines.append(
        f"indices: hgb {indices['hgb_index']:.4f}, hct {indices['hct_index']:.4f}, "
        f"rbc {'none' if rbc is None else f'{rbc:.0f} per mm2'}"
    )
    return lines


# What a value that is missing needs no further word on.
_SAID_ENOUGH = ("NOT_CALIBRATED", "NOT_CALIBRATED_FOR", "PART_MISSING", "PARTS_MISSING")


def _actions(reason_codes: dict[str, str]) -> list[str]:
    """What to do about the measurands that are not given, each action once."""
    codes = {reason_codes[key] for key in MEASURAND_FACTS if key in reason_codes}
    actions = [
        entry.action
        for code, entry in catalogue().items()
        if code in codes and code not in _SAID_ENOUGH
    ]
    return [f"  {action}" for action in dict.fromkeys(actions)]
