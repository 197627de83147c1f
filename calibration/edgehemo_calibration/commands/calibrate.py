"""`edgehemo calibrate`: the group of commands that measure a microscope, a file each."""

from __future__ import annotations

import click

from edgehemo_calibration.commands.analyser import analyser
from edgehemo_calibration.commands.check import check
from edgehemo_calibration.commands.clear import clear
from edgehemo_calibration.commands.control import control
from edgehemo_calibration.commands.focus import focus
from edgehemo_calibration.commands.illumination import illumination
from edgehemo_calibration.commands.repeatability import repeatability
from edgehemo_calibration.commands.scale import scale
from edgehemo_calibration.commands.show import show
from edgehemo_calibration.commands.stain import stain
from edgehemo_calibration.commands.types import types


@click.group()
def calibrate() -> None:
    """Measure this microscope and write its calibration profile.

    In this order: scale, illumination, stain and focus, analyser, types, control. What is measured
    later stands on what was measured before. Then check a control slide every day.
    """


for _command in (
    scale,
    illumination,
    stain,
    focus,
    analyser,
    repeatability,
    types,
    control,
    check,
    clear,
    show,
):
    calibrate.add_command(_command)
