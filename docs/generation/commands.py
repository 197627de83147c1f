"""Every command with its options, as the program itself knows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import click

from docs.generation.markdown import cell, code, table
from edgehemo.cli import edgehemo

PROGRAM = "edgehemo"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name, groups before what is in them."""
    root = cast(click.Group, edgehemo)
    with click.Context(root, info_name=PROGRAM) as context:
        yield from _below(root, context, PROGRAM)


def commands_page() -> str:
    """The page of all commands."""
    intro = (
        "# Every command\n\n"
        "Made from the program's own help: `edgehemo COMMAND --help` says the same in a "
        "terminal.\n\n"
        "Every command that measures or checks something also writes JSON with `--json FILE` "
        "(`-` for standard output). A folder stands for the pictures in it. Exit codes: 0 done; "
        "1 done, but the result was withheld or failed its check; 2 bad usage, or an input could "
        "not be read (it is named on one line, and the rest is done all the same).\n"
    )
    return intro + "\n" + "\n".join(_section(name, command) for name, command in commands())


def _below(
    group: click.Group, context: click.Context, name: str
) -> Iterator[tuple[str, click.Command]]:
    for short in group.list_commands(context):
        command = group.get_command(context, short)
        if command is None or command.hidden:
            continue
        full = f"{name} {short}"
        yield full, command
        if isinstance(command, click.Group):
            with click.Context(command, info_name=short, parent=context) as inner:
                yield from _below(command, inner, full)


def _section(name: str, command: click.Command) -> str:
    level = "#" * (1 + len(name.split()) - 1)
    with click.Context(command, info_name=name) as context:
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        lines = [f"{level} {name}", "", *_paragraphs(command.help or ""), f"    {usage}", ""]
        rows = [_row(item, context) for item in command.params if isinstance(item, click.Option)]
    if rows:
        lines.append(table(("option", "value", "meaning"), rows))
    return "\n".join(lines) + "\n"


def _row(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    names = " / ".join(code(name) for name in [*option.opts, *option.secondary_opts])
    value = "" if option.is_flag or option.count else _value(option.make_metavar(context))
    extra = option.get_help_extra(context)
    notes = [extra["range"]] if "range" in extra else []
    if option.required:
        notes.append("required")
    if option.multiple:
        notes.append("may be repeated")
    if "default" in extra:
        notes.append(f"default: {extra['default']}")
    meaning = cell(option.help or "")
    if notes:
        meaning = f"{meaning} ({cell('; '.join(notes))})".strip()
    return names, code(value) if value else "", meaning


def _value(metavar: str) -> str:
    """Click's name of a kind of value; a range is told beside the meaning."""
    kind = metavar.removesuffix(" RANGE")
    return {"FLOAT": "NUMBER", "INTEGER": "WHOLE NUMBER"}.get(kind, kind)


def _paragraphs(text: str) -> Iterator[str]:
    # click's own marks: \b keeps lines as they are, \f ends what is shown.
    for paragraph in text.partition("\f")[0].replace("\b\n", "").split("\n\n"):
        if paragraph.strip():
            yield " ".join(paragraph.split())
            yield ""
