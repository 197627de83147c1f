"""Options that several of the workstation's commands share."""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.errors import MissingDependencyError


def need_host() -> None:
    try:
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            'training and export need PyTorch: pip install "edgehemo[host]"'
        ) from None


data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Data root: the public sets side by side, each in a folder of its name.",
)
