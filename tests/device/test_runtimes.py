"""The table of runtimes, the formats' defaults, and the gates that artefacts are held to."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from edgehemo.bundle.bundle import load_bundle
from edgehemo.bundle.manifest import (
    DEFAULT_FORMAT,
    DEFAULT_PRECISION,
    PRECISION_PREFERENCE,
    ArtefactFormat,
    Precision,
)
from edgehemo.device.configuration import InferenceSection
from edgehemo.device.requirements import required
from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo.inference.runtimes import RUNTIMES, format_named, load_runtime
from edgehemo.inference.verification import GATES, SAMPLE_GATES, allowed_difference

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))[
    "project"
]


def test_every_format_has_one_row() -> None:
    assert tuple(RUNTIMES) == get_args(ArtefactFormat)
    suffixes = {facts.suffix for facts in RUNTIMES.values()}
    assert len(suffixes) == len(RUNTIMES)
    for name, facts in RUNTIMES.items():
        assert facts.format == name == format_named(name)


def test_what_a_row_says_to_install_brings_its_first_distribution() -> None:
    for facts in RUNTIMES.values():
        brought = required(PROJECT["optional-dependencies"][facts.extra])
        assert facts.distributions[0][0] in brought


def test_the_default_runs_on_every_installation() -> None:
    section = InferenceSection()
    assert (section.runtime, section.precision) == (DEFAULT_FORMAT, DEFAULT_PRECISION)
    assert RUNTIMES[DEFAULT_FORMAT].distributions[0][0] in required(PROJECT["dependencies"])
    assert load_runtime(DEFAULT_FORMAT).distribution == "onnxruntime"
    artefact, _ = load_bundle().artefact("cell_finder", DEFAULT_FORMAT)
    assert artefact.precision == DEFAULT_PRECISION == PRECISION_PREFERENCE[0]


def test_a_runtime_that_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for _, module in RUNTIMES["tflite"].distributions:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError) as caught:
        load_runtime("tflite")
    assert str(caught.value) == 'LiteRT is not installed; pip install "edgehemo[tflite]"'
    with pytest.raises(UsageError, match="did you mean openvino"):
        format_named("openvno")


def test_the_first_distribution_that_is_there_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tflite_runtime"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text("Interpreter = object\n")
    monkeypatch.syspath_prepend(tmp_path)
    newest, _ = RUNTIMES["tflite"].distributions
    monkeypatch.setitem(sys.modules, newest[1], None)
    loaded = load_runtime("tflite")
    assert loaded.distribution == "tflite-runtime"
    assert loaded.module.Interpreter is object


def test_a_runtime_is_imported_with_its_switches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_runtime.py").write_text(
        "import os\n"
        "told = os.environ.get('A_RUNTIME_SPEAKS'), os.environ.get('A_RUNTIME_ASKS')\n"
        "try:\n"
        "    import a_reporter\n"
        "    reports = True\n"
        "except ImportError:\n"
        "    reports = False\n"
    )
    (tmp_path / "a_reporter.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    # Remembered, so that what the import sets is taken back after the test.
    monkeypatch.setenv("A_RUNTIME_SPEAKS", "x")
    monkeypatch.delenv("A_RUNTIME_SPEAKS")
    monkeypatch.setenv("A_RUNTIME_ASKS", "set by its owner")
    facts = replace(
        RUNTIMES["onnx"],
        environment={"A_RUNTIME_SPEAKS": "0", "A_RUNTIME_ASKS": "0"},
        kept_out=("a_reporter",),
    )
    module = facts.imported("a_runtime")
    assert module.told == ("0", "set by its owner")
    assert module.reports is False
    assert "a_reporter" not in sys.modules
    assert __import__("a_reporter").__name__ == "a_reporter"


def test_onnxruntime_is_told_to_keep_to_itself() -> None:
    load_runtime("onnx")
    assert os.environ["ORT_DISABLE_TELEMETRY"]


def test_every_precision_has_a_gate() -> None:
    assert set(SAMPLE_GATES) == set(get_args(Precision))
    assert GATES == {"fp32": 1e-3, "fp16": 1e-2}
    artefact, _ = load_bundle().artefact("cell_finder", "onnx")
    recorded = artefact.model_copy(update={"reproduction": 0.05, "precision": "int8"})
    assert allowed_difference(recorded) == pytest.approx(0.12)
    exact = artefact.model_copy(update={"reproduction": None, "precision": "int8"})
    assert allowed_difference(exact) == pytest.approx(0.02)
    full = artefact.model_copy(update={"reproduction": 0.05, "precision": "fp32"})
    assert allowed_difference(full) == 1e-3


def test_a_process_can_be_silenced_for_good() -> None:
    code = (
        "import os, sys; from edgehemo.inference.runtimes import silence_runtimes\n"
        "silence_runtimes()\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "assert 'onnxruntime' not in sys.modules and 'openvino' not in sys.modules"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
