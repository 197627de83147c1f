"""What a command tells of its work: `-v`, `-q` and `--log-file`.

The log says what is being done and how much of it: steps, counts, codes, versions, times. Nothing
of a patient stands in it: no name of a sample or picture, no age or sex, no measured value. Only
loggers of this project are heard, for a library's log could name a file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import click

from edgehemo.errors import EXIT_DONE, PACKAGES, EdgeHemoError, UsageError, place_of
from edgehemo.files.names import for_terminal
from edgehemo.version import __version__

# A log file and its older ones take 4 MB together, so that no memory card fills up.
LOG_FILE_BYTES = 1_000_000
OLDER_LOG_FILES = 3
FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_KEY = "edgehemo.logs"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks to be told.

    verbose: 1 what is being done, 2 every step. quiet: errors only, and no progress. log_file: a
    log beside it, None for none.
    """

    verbose: int = 0
    quiet: bool = False
    log_file: Path | None = None

    @property
    def stderr_level(self) -> int:
        if self.quiet:
            return logging.ERROR
        return {0: logging.WARNING, 1: logging.INFO}.get(self.verbose, logging.DEBUG)

    @property
    def file_level(self) -> int:
        return logging.DEBUG if self.verbose else logging.INFO


def wanted() -> Wanted:
    """What the running command was asked to tell; the default outside of one."""
    context = click.get_current_context(silent=True)
    found = None if context is None else context.meta.get(_KEY)
    return found if isinstance(found, Wanted) else Wanted()


def ask(context: click.Context, **changes: int | bool | Path | None) -> None:
    """Take what one of the options asked for; raises UsageError where they contradict."""
    given = replace(context.meta.get(_KEY, Wanted()), **changes)
    if given.quiet and given.verbose:
        raise UsageError("-v asks for more to be told and -q for less: give one of them")
    context.meta[_KEY] = given
    _listen(given)


def keep_in(path: Path) -> None:
    """Keep a log at ``path`` beside what the options ask for; one that cannot be written is said
    and does without.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler = _log_file(path, logging.INFO)
    except (OSError, UsageError) as error:
        log.warning("no log is kept: %s", error)
        return
    handler.name = _KEY
    for logger in _loggers():
        logger.setLevel(min(logger.level or logging.INFO, logging.INFO))
        logger.addHandler(handler)


def stop() -> None:
    """Let go of the log file and of standard error."""
    for logger in _loggers():
        for handler in list(logger.handlers):
            if handler.name == _KEY:
                logger.removeHandler(handler)
                handler.close()
        logger.setLevel(logging.NOTSET)


def begun(command: str) -> None:
    """Note which command begins; its arguments may name a patient's pictures and are left out."""
    log.info("%s begins, version %s", command, __version__)


def ended(error: BaseException | None = None, exit_code: int = EXIT_DONE) -> None:
    """Note how a command ended: an error by its code or type and place, its message left out."""
    if error is None:
        log.info("the command is done, exit code %d", exit_code)
    elif isinstance(error, EdgeHemoError):
        log.info("the command ended with %s, exit code %d", error.code, error.exit_code)
    else:
        log.info("the command ended with %s at %s", type(error).__name__, place_of(error))
        # Where standard error shows every step; a log file holds no message, which may name files.
        if wanted().verbose > 1 and not isinstance(error, KeyboardInterrupt):
            click.echo(for_terminal("".join(traceback.format_exception(error))), err=True, nl=False)


def _loggers() -> list[logging.Logger]:
    return [logging.getLogger(name) for name in PACKAGES]


def _listen(given: Wanted) -> None:
    stop()
    handlers: list[logging.Handler] = [_Stderr(given.stderr_level)]
    # Under torchrun the first process writes for all.
    if given.log_file is not None and os.environ.get("RANK", "0") == "0":
        handlers.append(_log_file(given.log_file, given.file_level))
    for handler in handlers:
        handler.name = _KEY
    for logger in _loggers():
        logger.setLevel(min(handler.level for handler in handlers))
        for handler in handlers:
            logger.addHandler(handler)


def _log_file(path: Path, level: int) -> logging.Handler:
    # What writes a file, and turns it over, is loaded where one is asked for.
    from edgehemo.commands.log_file import LogFile

    try:
        handler = LogFile(
            path, maxBytes=LOG_FILE_BYTES, backupCount=OLDER_LOG_FILES, encoding="utf-8"
        )
    except OSError as error:
        raise UsageError(
            f"{path}: no log can be written there ({error.strerror or error}); name another file "
            "with --log-file"
        ) from None
    formatter = logging.Formatter(FILE_FORMAT, "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.setLevel(level)
    return handler


class _Stderr(logging.Handler):
    """Lines on standard error; a warning looks as every complaint of the command line does."""

    def emit(self, record: logging.LogRecord) -> None:
        warning = record.levelno >= logging.WARNING
        level = f"edgehemo: {record.levelname.lower()}: " if warning else ""
        # A disk or a terminal that takes no more ends no work.
        with contextlib.suppress(OSError):
            click.echo(for_terminal(f"{level}{record.getMessage()}"), err=True)
