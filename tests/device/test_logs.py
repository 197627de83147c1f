"""`-v`, `-q` and `--log-file`: what is told of the work, and that nothing of a patient is."""

from __future__ import annotations

import ast
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import click
import pytest

import edgehemo.api
from edgehemo import cli
from edgehemo.cli import run
from edgehemo.commands import logs
from edgehemo.demo.demonstration import SIMULATED_PROFILE
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_CRASHED, EXIT_DONE, PACKAGES, UsageError
from edgehemo.screening.field import FieldReader
from tests.support.screening_fakes import TruthFinder, simulated_frames, use_equipment

WriteImage = Callable[..., Path]
ROOT = Path(edgehemo.api.__file__).parents[1]
# What names a patient here: in the folders, the files, the person.
NAME = "Okonkwo"
PERSON = ["--age", "37.25", "--sex", "female", "--pregnant", "2", "--altitude", "1234"]
TELLING_WORDS = (NAME.lower(), "37.25", "female", "pregnan", "1234", "trimester")


@pytest.fixture
def smears(tmp_path: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a named patient: two fields, one black picture and one empty file."""
    finder = TruthFinder()
    use_equipment(monkeypatch, finder)
    folder = tmp_path / f"{NAME}_A"
    frames = simulated_frames(finder, count=2, width_px=480, height_px=360, um_per_px=0.2)
    for number, frame in enumerate(frames):
        path = write_image(folder / f"{NAME}_{number}.png", frame.pixels)
        finder.truths[str(path)] = finder.truths[frame.source]
    black = write_image(folder / f"{NAME}_black.png", frames[0].pixels * 0)
    finder.truths[str(black)] = finder.truths[frames[0].source]
    (folder / f"{NAME}_empty.png").write_bytes(b"")
    return folder


def numbers(value: Any) -> Iterator[float]:
    """Every measured number of a record."""
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def assert_nothing_of_the_patient(log: str, record: dict[str, Any]) -> None:
    assert not [word for word in TELLING_WORDS if word in log.lower()]
    known = {f"{number:.4g}" for number in numbers(record) if len(f"{number:.4g}") >= 4}
    assert len(known) > 20, "there are numbers to look for"
    assert not [number for number in known if number in log]


def without_times(log: str) -> str:
    """The log without the time each line begins with, whose digits are nobody's age."""
    return "\n".join(line.partition("Z ")[2] for line in log.splitlines())


def test_the_log_of_a_screening_holds_the_steps_and_nothing_of_the_patient(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, out = tmp_path / "log.txt", tmp_path / f"out-{NAME}"
    arguments = ["-vv", "--log-file", str(log), "screen", str(smears), "--out", str(out)]
    assert run([*arguments, *PERSON]) == EXIT_BAD_INPUT
    written = log.read_text(encoding="utf-8")
    record = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert_nothing_of_the_patient(without_times(written), record)
    for step in (
        "edgehemo screen begins, version ",
        "image 1 is accepted",
        "is refused: ",
        "image 4 cannot be read",
        "sample of 4 images, 2 accepted: reported",
        "report written with 3 pictures",
        "the command is done, exit code 2",
    ):
        assert step in written, step
    # -vv says the same steps on standard error; the one line that names a file is the complaint.
    said = capsys.readouterr().err.splitlines()
    assert "image 1 is accepted" in said
    assert [line for line in said if NAME in line] == [
        line for line in said if line.startswith("edgehemo: ")
    ]


def test_the_log_of_a_concentration_holds_no_value(tmp_path: Path) -> None:
    log, out = tmp_path / "log.txt", tmp_path / "out"
    # So many fields that the haemoglobin is certain enough to be graded.
    source = "simulated:?seed=3&fields=8&width=640&height=480"
    arguments = ["screen", source, "--out", str(out), "--profile", str(SIMULATED_PROFILE)]
    assert run([*arguments, *PERSON[:4], "-vv", "--log-file", str(log)]) == EXIT_DONE
    record = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert record["sample"]["hgb_g_per_l"]["value"] > 0 and record["anaemia"] is not None
    written = without_times(log.read_text(encoding="utf-8"))
    assert_nothing_of_the_patient(written, record)
    assert "a profile, results may be given" in written and "opened: onnx int8" in written


def test_a_fault_of_the_program_is_logged_by_its_place_alone(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: FieldReader, *_: object, **__: object) -> None:
        raise RuntimeError(f"cannot read {NAME}")

    monkeypatch.setattr(FieldReader, "read", broken)
    log = tmp_path / "log.txt"
    arguments = ["-v", "--log-file", str(log), "screen", str(smears), "--out", str(tmp_path / "o")]
    assert run(arguments) == EXIT_CRASHED
    written = log.read_text(encoding="utf-8")
    assert "the command ended with RuntimeError at " in written
    assert "edgehemo.screening.sample:" in written and NAME not in written


def test_a_users_mistake_is_logged_by_its_code(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    missing = tmp_path / f"{NAME}.json"
    arguments = ["--log-file", str(log), "estimate", "x.png", "--profile", str(missing)]
    assert run(arguments) == EXIT_BAD_INPUT
    written = log.read_text(encoding="utf-8")
    assert "the command ended with PROFILE_REFUSED, exit code 2" in written
    assert NAME not in written


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    for folder in ("edgehemo", "calibration", "firmware_config"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ("debug", "info", "warning", "error", "exception")
                    and isinstance(node.func.value, ast.Name | ast.Call)
                    and "log" in ast.unparse(node.func.value).lower()
                ):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_line_of_the_log_is_formatted_late_and_names_no_picture() -> None:
    calls = list(log_calls())
    assert len(calls) > 12
    for where, call in calls:
        message, *values = call.args
        assert isinstance(message, ast.Constant), where
        assert not call.keywords, f"{where}: a traceback would print messages with file names"
        parts = [node for value in values for node in ast.walk(value)]
        names = {node.id for node in parts if isinstance(node, ast.Name)}
        names |= {node.attr for node in parts if isinstance(node, ast.Attribute)}
        told = names & {"source", "sources", "image", "path", "name", "person", "value", "slide"}
        assert not told, where


# Levels and places


def test_standard_output_is_the_same_whatever_is_told(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = []
    for telling in ([], ["-v"], ["-vv"], ["-q"]):
        run([*telling, "quality", str(smears), "--json", "-"])
        outputs.append(capsys.readouterr().out)
    assert json.loads(outputs[0])["images"]
    assert len(set(outputs)) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["-v", "--log-file", "{log}", "keys", "list"],
        ["keys", "-v", "--log-file", "{log}", "list"],
        ["keys", "list", "-v", "--log-file", "{log}"],
        ["-v", "keys", "list", "--log-file={log}"],
    ],
    ids=["before", "between", "after", "both"],
)
def test_the_options_stand_before_the_command_or_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    log = tmp_path / "log.txt"
    assert run([part.format(log=log) for part in arguments]) == EXIT_DONE
    for written in (log.read_text(encoding="utf-8"), capsys.readouterr().err):
        assert written.count("edgehemo keys list begins") == 1
        assert written.count("the command is done, exit code 0") == 1


def test_nothing_is_told_unless_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "list"]) == EXIT_DONE
    assert capsys.readouterr().err == ""


def test_quiet_and_verbose_contradict(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["-q", "-v", "keys", "list"], ["-q", "keys", "list", "-v"]):
        assert run(arguments) == EXIT_BAD_INPUT
        said = capsys.readouterr().err
        assert "give one of them" in said and said.count("\n") == 1


def test_warnings_are_told_and_quiet_silences_them(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("edgehemo.of_a_test")
    context = click.Context(click.Command("x"))
    try:
        logs.ask(context)
        logger.warning("%s is odd", "this")
        logger.info("not asked for")
        assert capsys.readouterr().err == "edgehemo: warning: this is odd\n"
        logs.ask(context, quiet=True)
        logger.warning("%s is odd", "this")
        logger.error("it is broken")
        assert capsys.readouterr().err == "edgehemo: error: it is broken\n"
    finally:
        logs.stop()


def test_a_log_file_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_FILE_BYTES", 2000)
    context = click.Context(click.Command("x"))
    try:
        logs.ask(context, log_file=tmp_path / "log.txt")
        for number in range(500):
            logging.getLogger("edgehemo.of_a_test").info("line %d of many", number)
    finally:
        logs.stop()
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["log.txt", "log.txt.1", "log.txt.2", "log.txt.3"]
    assert all(path.stat().st_size <= 2000 for path in files)
    assert "line 499" in files[0].read_text(encoding="utf-8")
    assert (logs.OLDER_LOG_FILES + 1) * 1_000_000 <= 4_000_000


def test_a_log_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--log-file", str(tmp_path / "none" / "log.txt"), "keys", "list"]) == EXIT_BAD_INPUT
    said = capsys.readouterr().err
    assert "name another file" in said and said.count("\n") == 1


def test_a_full_disk_ends_the_log_and_not_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: logging.Handler, record: logging.LogRecord) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RotatingFileHandler, "shouldRollover", full)
    assert run(["--log-file", str(tmp_path / "log.txt"), "keys", "list"]) == EXIT_DONE
    assert capsys.readouterr().err == ""


def test_only_the_first_process_of_several_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert run(["--log-file", str(tmp_path / "log.txt"), "keys", "list"]) == EXIT_DONE
    assert not (tmp_path / "log.txt").exists()


def test_loggers_are_left_as_they_were(tmp_path: Path) -> None:
    assert run(["-vv", "--log-file", str(tmp_path / "log.txt"), "keys", "list"]) == EXIT_DONE
    for name in PACKAGES:
        logger = logging.getLogger(name)
        assert (logger.handlers, logger.level) == ([], logging.NOTSET)
    assert logs.wanted() == logs.Wanted()


def test_a_library_is_not_heard(tmp_path: Path) -> None:
    context = click.Context(click.Command("x"))
    try:
        logs.ask(context, verbose=2, log_file=tmp_path / "log.txt")
        logging.getLogger("another.library").error("opened %s", NAME)
    finally:
        logs.stop()
    assert NAME not in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_contradicting_options_raise_where_they_are_asked_for() -> None:
    context = click.Context(click.Command("x"))
    try:
        logs.ask(context, verbose=1)
        with pytest.raises(UsageError, match="give one of them"):
            logs.ask(context, quiet=True)
    finally:
        logs.stop()


def test_what_to_install_is_told_whatever_stands_before_the_command() -> None:
    for before in ([], ["-v"], ["--log-file", "train"], ["--log-file=x", "-vv"]):
        assert 'pip install ".[host]"' in cli._what_to_install("torch", [*before, "train"])
        assert "pip install . in" in cli._what_to_install("numpy", [*before, "screen"])


def test_a_standard_error_that_takes_no_more_ends_no_work(tmp_path: Path) -> None:
    program = (
        "import logging\n"
        "from edgehemo.commands.logs import _listen, Wanted\n"
        "_listen(Wanted())\n"
        "logging.getLogger('edgehemo.kiosk').error('the disk is full')\n"
        f"open({str(tmp_path / 'went-on')!r}, 'w').close()\n"
    )
    with Path("/dev/full").open("w") as full:
        subprocess.run([sys.executable, "-c", program], stderr=full, check=False)
    assert (tmp_path / "went-on").exists()
