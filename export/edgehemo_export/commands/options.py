"""Options that several of the workstation's commands share, and those that tables drive."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgehemo.bundle.manifest import PRECISION_PREFERENCE
from edgehemo.errors import MissingDependencyError
from edgehemo_export.quantisation.formats import FORMATS, PRECISIONS, chosen_precisions


def need_host() -> None:
    """MissingDependencyError, saying what to install, where PyTorch is missing."""
    try:
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            'training and export need PyTorch: pip install ".[host]"'
        ) from None


data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Data root: the public sets side by side, each in a folder of its name, and sets of one's "
    "own (a folder with dataset.toml); or the folder of one's own set.",
)
format_option = click.option(
    "--format",
    "formats",
    metavar="NAME",
    multiple=True,
    help=f"Artefact format, {', '.join(item.name for item in FORMATS)}; repeatable [default: all].",
)


def precision_options(command: Callable[..., int]) -> Callable[..., int]:
    """A flag for each precision; the command gets ``precisions``, those chosen, largest first."""

    @functools.wraps(command)
    def with_precisions(**values: Any) -> int:
        asked = [name for name in PRECISIONS if values.pop(name)]
        return command(precisions=chosen_precisions(asked), **values)

    made: Callable[..., int] = with_precisions
    for name in reversed(PRECISION_PREFERENCE):
        made = click.option(f"--{name}", is_flag=True, help=PRECISIONS[name].says)(made)
    return made
