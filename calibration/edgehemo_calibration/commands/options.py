"""The arguments and options that the calibrate commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgehemo.commands import common

Command = TypeVar("Command", bound=Callable[..., Any])
path_type = click.Path(path_type=Path)

images_argument = click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
runs_argument = click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=path_type)
scale_option = click.option(
    "--um-per-px",
    type=click.FloatRange(0.02, 2.0),
    help="Scale of the images, where the profile has none.",
)
slide_option = click.option(
    "--slide", required=True, help="Name of the control slide, as written on it."
)
checked_profile_option = click.option(
    "--profile", "profile_path", metavar="FILE", type=path_type, help="Profile of this microscope."
)


def profile_options(command: Command) -> Command:
    """``--out``, ``--profile``, ``--json`` and the names of microscope, camera and objective."""
    for option in (
        click.option("--objective", help="Name of the objective, kept in the profile."),
        click.option(
            "--camera",
            help="Name of the camera, kept in the profile; a specification such as "
            "uvc:/dev/video0 stands for the name that camera gives itself.",
        ),
        click.option("--microscope", help="Name of the microscope, kept in the profile."),
        click.option(
            "--profile",
            "base",
            metavar="FILE",
            type=path_type,
            help="Profile to extend; without it the one at --out, if there is one.",
        ),
        click.option(
            "--out", metavar="FILE", type=path_type, required=True, help="Profile to write."
        ),
        common.json_option,
    ):
        command = option(command)
    return command
