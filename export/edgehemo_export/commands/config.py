"""`edgehemo config`: the configuration that a training has in force, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE
from edgehemo_export.commands.options import need_host
from edgehemo_export.models.registry import BY_NAME

if TYPE_CHECKING:
    from edgehemo_export.configuration import ValueInForce


@click.group()
def config() -> None:
    """The configuration of a training: each value, and the file that says it."""


@config.command()
@click.argument("task", type=click.Choice(list(BY_NAME)))
@click.option(
    "--config",
    "override",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML that overrides keys of the shipped configuration, as `edgehemo train` takes it.",
)
@common.json_option
def show(task: str, override: Path | None, json_file: str | None) -> int:
    """Print the configuration of TASK as TOML; each value with the file that says it.

    What is printed is a configuration that `edgehemo train TASK --config` takes. A key that a
    configuration does not know is refused, with the nearest that it knows.
    """
    need_host()
    from edgehemo_export.configuration import values_in_force
    from edgehemo_export.output import ConfigEntry, ConfigShowOutput

    row = BY_NAME[task]
    in_force = values_in_force(row.load().read_config(override), row.shipped_config, override)
    common.write_json(
        json_file,
        ConfigShowOutput(
            task=task,
            shipped=row.shipped_config.name,
            override=None if override is None else override.name,
            values=[ConfigEntry(key=v.key, value=v.value, origin=v.origin) for v in in_force],
        ),
    )
    if json_file != common.STDOUT:
        common.say(_as_toml(in_force))
    return EXIT_DONE


def _as_toml(values: list[ValueInForce]) -> str:
    """The values as TOML, those without a table first; what is not set is told in a comment."""
    lines: list[str] = []
    table = ""
    for item in sorted(values, key=lambda item: item.key.rpartition(".")[0]):
        above, _, key = item.key.rpartition(".")
        if above != table:
            lines += ["", f"[{above}]"]
            table = above
        said = f"# {key} is not set" if item.value is None else f"{key} = {_toml(item.value)}"
        lines.append(f"{said}  # {item.origin}")
    return "\n".join(lines)


def _toml(value: object) -> str:
    """A value as TOML writes it: strings, numbers and lists of them as JSON does."""
    if value == {}:
        return "{}"
    return json.dumps(value, ensure_ascii=False)
