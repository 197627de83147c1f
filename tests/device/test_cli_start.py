"""How a command is found and how little a start loads: entry points, versions, imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest

from edgehemo import cli
from edgehemo.cli import BUILT_IN, run
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_CRASHED, EXIT_DONE, EXIT_WITHHELD
from edgehemo.files.folders import user_folder
from edgehemo.version import __version__
from tests.support.screening_fakes import TruthFinder, simulated_frames


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


def test_the_cells_of_a_picture_wait_for_nothing_that_they_do_not_use(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    """Neither for what sends results, stores them, draws them or measures concentrations."""
    (frame,) = simulated_frames(TruthFinder(), width_px=640, height_px=480, um_per_px=0.2)
    path = write_image(tmp_path / "field.png", frame.pixels)
    script = (
        "import sys; from edgehemo.cli import run; code = run(['cells', sys.argv[1]]); "
        "print(code, [m for m in ('ssl', 'sqlite3', 'jinja2', 'platformdirs', 'httpx', 'nacl', "
        "'edgehemo.estimate', 'edgehemo.profile', 'edgehemo.interop') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert "red" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.skipif(sys.platform != "linux", reason="the folders of Linux")
def test_the_users_folders_are_those_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """As platformdirs has them, which the device does not wait for."""
    import platformdirs

    def expected() -> list[Path]:
        return [
            Path(of("edgehemo", appauthor=False))
            for of in (
                platformdirs.user_config_dir,
                platformdirs.user_data_dir,
                platformdirs.user_cache_dir,
            )
        ]

    for value in ("/somewhere/else", "not/absolute", "", None):
        for kind in ("CONFIG", "DATA", "CACHE"):
            if value is None:
                monkeypatch.delenv(f"XDG_{kind}_HOME", raising=False)
            else:
                monkeypatch.setenv(f"XDG_{kind}_HOME", value)
        assert [user_folder("config"), user_folder("data"), user_folder("cache")] == expected()
