"""How a command is found and how little a start loads: entry points, versions, imports."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import click
import pytest

from edgehemo import cli
from edgehemo.cli import BUILT_IN, run
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_CRASHED, EXIT_DONE, EXIT_WITHHELD
from edgehemo.version import __version__


def _command_of(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the entry points hold one command ``train``, which loads to ``value`` or raises it."""

    class Entry:
        name = "train"

        def load(self) -> object:
            if isinstance(value, Exception):
                raise value
            return value

    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: [Entry()])


def test_a_workstations_command_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @click.argument("task")
    def train(task: str) -> int:
        """Train a model."""
        click.echo(f"training {task}")
        return EXIT_WITHHELD

    _command_of(train, monkeypatch)
    assert run(["train", "cell-finder"]) == EXIT_WITHHELD
    assert capsys.readouterr().out == "training cell-finder\n"
    assert run(["--help"]) == EXIT_DONE
    assert "Train a model." in capsys.readouterr().out


@pytest.mark.parametrize("when", ["loading", "running"])
def test_a_workstations_command_on_a_device_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    missing = ModuleNotFoundError("No module named 'torch'", name="torch")

    @click.command()
    def train() -> None:
        raise missing

    _command_of(missing if when == "loading" else train, monkeypatch)
    assert run(["train"]) == EXIT_BAD_INPUT
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert 'pip install ".[host]"' in said
    assert run(["--help"]) == EXIT_DONE


def test_a_missing_module_of_our_own_is_no_users_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def train() -> None:
        raise ModuleNotFoundError("No module named 'edgehemo.gone'", name="edgehemo.gone")

    _command_of(train, monkeypatch)
    assert run(["train"]) == EXIT_CRASHED
    assert "a fault in edgehemo itself" in capsys.readouterr().err


def test_an_interrupted_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def train() -> None:
        raise KeyboardInterrupt

    _command_of(train, monkeypatch)
    assert run(["train"]) == cli.EXIT_INTERRUPTED
    assert capsys.readouterr().err.strip() == "edgehemo: interrupted"


def test_built_in_commands_load_without_reading_the_entry_points(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*, group: str) -> list[EntryPoint]:
        raise AssertionError("a built-in command read the entry points")

    monkeypatch.setattr("importlib.metadata.entry_points", never)
    for name in BUILT_IN:
        assert run([name, "--help"]) == EXIT_DONE
        assert capsys.readouterr().out.startswith(f"Usage: edgehemo {name}")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == EXIT_DONE
    assert __version__ in capsys.readouterr().out


def test_importing_the_package_is_cheap() -> None:
    """No third party's module, and no reading of what is installed."""
    script = (
        "import sys; before = set(sys.modules); import edgehemo; edgehemo.__version__; "
        "print(','.join(sorted(m.partition('.')[0] for m in set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.strip().split(","))
    # An editable installation has loaded __future__ before us.
    assert loaded - {"__future__"} == {"edgehemo"}


def test_help_of_a_command_imports_no_heavy_library() -> None:
    script = (
        "import sys; from edgehemo.cli import run; run(['screen', '--help']); "
        "print([m for m in ('numpy', 'cv2', 'onnxruntime', 'jinja2', 'pydantic', 'rich') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("[]")


def test_a_device_needs_no_pydantic() -> None:
    script = (
        "import sys; sys.modules['pydantic'] = None; import importlib, pkgutil; "
        "import edgehemo, edgehemo_calibration, edgehemo_firmware; "
        "[importlib.import_module(m.name) for p in (edgehemo, edgehemo_calibration, "
        "edgehemo_firmware) for m in pkgutil.walk_packages(p.__path__, p.__name__ + '.') "
        "if not m.name.endswith('__main__')]"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
