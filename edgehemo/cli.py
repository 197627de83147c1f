"""The `edgehemo` command: finds a command, runs it, and turns errors into one line.

Built-in commands are imported when they are called. The workstation's commands (train, export,
calibrate, ...) come from the entry-point group `edgehemo.commands`, which is read only when a
name is no built-in or when help is asked, so a device without PyTorch starts as fast as before.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from edgehemo.errors import (
    EXIT_BAD_INPUT,
    EXIT_CRASHED,
    EXIT_DONE,
    EdgeHemoError,
    EdgeHemoWarning,
    MissingDependencyError,
)
from edgehemo.version import __version__

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "edgehemo.commands"
EXIT_INTERRUPTED = 130

# Options of `edgehemo` itself that take a value.
_WITH_VALUE = ("--log-file",)

# Commands of other distributions -> the extra that brings what they need; of all others it is host.
EXTRAS = {"laboratory": "laboratory", "archive": "laboratory"}

# name -> what the list of commands says of it; each lives in edgehemo.commands.<name>.
BUILT_IN = {
    "demo": "Run a whole screening in the simulated microscope.",
    "screen": "Screen one sample: result.json, report.html, annotated fields.",
    "kiosk": "Serve the page on which a sample is screened by touch.",
    "records": "List, show, export, back up and check stored results.",
    "monitor": "Say how this device has changed over weeks, and what to do.",
    "outbox": "Show what waits to be sent and what was received; send it.",
    "users": "Add, list and remove who may work with this device's kiosk.",
    "quality": "Check focus, light, stain and density of images.",
    "cells": "Find the red cells, white cells and platelets of images.",
    "classify": "Name the one cell in the middle of each image.",
    "estimate": "Estimate HGB, HCT and RBC from the images of one sample.",
    "bench": "Time each stage of a screening on this machine.",
    "verify": "Check a model bundle: signature, digests, answers.",
    "bundle": "Install, list, roll back and pack model bundles.",
    "keys": "Make and trust the keys that sign model bundles.",
    "doctor": "Say what is installed and plugged in, and what is wrong.",
}


class CommandGroup(click.Group):
    """Built-in commands and those of installed distributions, loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*BUILT_IN, *sorted(_entry_points())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in BUILT_IN:
            module = importlib.import_module(f"edgehemo.commands.{cmd_name}")
            return _telling(_as_command(getattr(module, cmd_name), cmd_name))
        entry_point = _entry_points().get(cmd_name)
        if entry_point is None:
            return None
        return _telling(_as_command(_loaded(entry_point), cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            import difflib

            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see `edgehemo --help`"
            raise click.UsageError(f"no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; how it ended goes into the log."""
        from edgehemo.commands import logs

        try:
            result = super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.exceptions.Abort):
            raise
        except BaseException as error:
            logs.ended(error)
            raise
        logs.ended(exit_code=result if isinstance(result, int) else EXIT_DONE)
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = list(BUILT_IN.items())
        for name, entry_point in sorted(_entry_points().items()):
            try:
                command = _as_command(_loaded(entry_point), name)
            except MissingDependencyError:
                rows.append((name, f'Not available here: pip install ".[{extra_of(name)}]"'))
            else:
                rows.append((name, command.get_short_help_str(limit=60)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _asked(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """What an option of `_telling_options` does with its value."""

    def take(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            from edgehemo.commands import logs

            logs.ask(context, **{name: value})

    return take


def _telling_options(*, hidden: bool) -> list[click.Parameter]:
    """`-v`, `-q` and `--log-file`: how much a command tells of its work."""
    return [
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            hidden=hidden,
            callback=_asked("verbose"),
            help="Say on standard error what is being done; -vv says every step.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_asked("quiet"),
            help="Say nothing on standard error but errors: no progress, no warnings.",
        ),
        click.Option(
            list(_WITH_VALUE),
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            expose_value=False,
            hidden=hidden,
            callback=_asked("log_file"),
            help="Add what is being done to FILE (with -v every step). It never takes more than "
            "4 MB, and holds nothing of a patient: no name, age, sex or value.",
        ),
    ]


def _telling(command: click.Command) -> click.Command:
    """The command, taking the same options after its name as before it; its beginning is logged.

    Of a group, its commands likewise. A command is looked up more than once and changed once.
    """
    if any(_WITH_VALUE[0] in option.opts for option in command.params):
        return command
    taken = {name for option in command.params for name in option.opts}
    command.params += [
        option for option in _telling_options(hidden=True) if taken.isdisjoint(option.opts)
    ]
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            _telling(sub)
    elif (work := command.callback) is not None:
        command.callback = _noted(work)
    return command


def _noted(work: Callable[..., Any]) -> Callable[..., Any]:
    """A command's work, its beginning noted in the log once all options are read."""

    @functools.wraps(work)
    def noted(*arguments: Any, **options: Any) -> Any:
        from edgehemo.commands import logs
        from edgehemo.memory import secure_products

        secure_products()
        logs.begun(click.get_current_context().command_path)
        return work(*arguments, **options)

    return noted


@click.group(
    cls=CommandGroup,
    params=_telling_options(hidden=False),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="edgehemo")
@click.pass_context
def edgehemo(context: click.Context) -> None:
    """Offline anaemia screening from stained blood smears.

    A research and screening aid, never a diagnosis.

    The options below may stand before the command or after it: `edgehemo -v screen ...`.
    """
    from edgehemo.commands import logs

    logs.ask(context)
    context.call_on_close(logs.stop)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 1 withheld, 2 bad usage or input, 70 a
    fault of the program itself, 130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with warnings.catch_warnings():
        _say_our_warnings()
        return _run(given)


def _run(given: list[str]) -> int:
    try:
        result = edgehemo.main(given, prog_name="edgehemo", standalone_mode=False)
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message(), err=True)
        return EXIT_BAD_INPUT
    except click.ClickException as error:
        return _complain(_one_line(error.format_message()), EXIT_BAD_INPUT)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _complain("interrupted", EXIT_INTERRUPTED)
    except EdgeHemoError as error:
        for line in error.lines[:-1]:
            _complain(line, error.exit_code)
        last = error.lines[-1] if error.lines else _one_line(str(error))
        return _complain(last, error.exit_code)
    except ModuleNotFoundError as error:
        if _ran_out(error):
            return _no_memory()
        missing = (error.name or "").partition(".")[0]
        if not missing or missing.startswith("edgehemo"):
            return _crashed(error)
        return _complain(_what_to_install(missing, given), EXIT_BAD_INPUT)
    except BrokenPipeError:
        # The reader of our output has gone; nothing is left to say and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BAD_INPUT
    except OSError as error:
        if _ran_out(error):
            return _no_memory()
        where = f"{error.filename}: " if error.filename else ""
        return _complain(_one_line(f"{where}{error.strerror or error}"), EXIT_BAD_INPUT)
    except Exception as error:
        return _no_memory() if _ran_out(error) else _crashed(error)
    return result if isinstance(result, int) else EXIT_DONE


def _say_our_warnings() -> None:
    """Let the project's own warnings be one line each, as every complaint; others stay Python's."""
    others = warnings.showwarning
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        line = _one_line(str(message))
        if not issubclass(category, EdgeHemoWarning):
            others(message, category, *where, **more)
        elif line not in said:
            said.add(line)
            _complain(line, EXIT_DONE)

    warnings.showwarning = show


def main() -> NoReturn:
    """The console script."""
    code = run()
    # The process ends: what it holds goes with it, and no collector need search it once more.
    gc.freeze()
    sys.exit(code)


def _complain(line: str, exit_code: int) -> int:
    from edgehemo.files.names import for_terminal

    click.echo(f"edgehemo: {for_terminal(line)}", err=True)
    return exit_code


def _crashed(error: BaseException) -> int:
    """What nobody foresaw, in one line without the message, which may name a patient's file."""
    from edgehemo.errors import place_of

    return _complain(
        f"a fault in edgehemo itself, which is not yours: {type(error).__name__} at "
        f"{place_of(error) or 'start'}, version {__version__}. Please report this line to whoever "
        "gave you edgehemo; with -vv all of it is shown",
        EXIT_CRASHED,
    )


def _ran_out(error: BaseException) -> bool:
    from edgehemo.memory import ran_out

    return ran_out(error)


def _no_memory() -> int:
    from edgehemo.memory import not_enough

    error = not_enough()
    return _complain(str(error), error.exit_code)


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _what_to_install(missing: str, arguments: Sequence[str]) -> str:
    name = _command_in(arguments)
    # From the source: no index has the name.
    extra = "." if name in BUILT_IN else f'".[{extra_of(name)}]"'
    return (
        f"this needs {missing}, which is not installed: pip install {extra} "
        "in the folder of the source"
    )


def extra_of(command: str) -> str:
    """The extra that a command of another distribution needs."""
    return EXTRAS.get(command, "host")


def _command_in(arguments: Sequence[str]) -> str:
    """The name of the command among arguments that may begin with options; empty without one."""
    rest = iter(arguments)
    for argument in rest:
        if argument in _WITH_VALUE:
            next(rest, None)
        elif not argument.startswith("-"):
            return argument
    return ""


def _entry_points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {
        entry.name: entry
        for entry in entry_points(group=ENTRY_POINT_GROUP)
        if entry.name not in BUILT_IN
    }


def _loaded(entry_point: EntryPoint) -> Any:
    try:
        return entry_point.load()
    except ImportError as error:
        raise MissingDependencyError(
            f"`edgehemo {entry_point.name}` is a workstation's command and cannot be loaded here "
            f'({_one_line(str(error))}): pip install ".[{extra_of(entry_point.name)}]"'
        ) from error


def _as_command(value: Any, name: str) -> click.Command:
    if not isinstance(value, click.Command):
        raise MissingDependencyError(
            f"what is installed as `edgehemo {name}` is not a command of this version; "
            f'reinstall it: pip install --force-reinstall ".[{extra_of(name)}]"'
        )
    return value
