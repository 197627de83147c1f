"""The tables of formats, precisions and gates, and what is refused before anything is made."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from edgehemo.bundle.manifest import PRECISION_PREFERENCE, ModelTask, Precision
from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo.inference import RUNTIMES

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("onnx", reason='needs pip install "edgehemo[host]"')

from edgehemo_export.models import registry
from edgehemo_export.quantisation import formats
from edgehemo_export.quantisation.formats import (
    ALL_PRECISIONS,
    FORMATS,
    PRECISIONS,
    calibrated_among,
    chosen_formats,
    chosen_precisions,
)
from edgehemo_export.quantisation.gates import DIFFERENCES, TASK_GATES, Gate, problems


def test_the_table_knows_a_runtime_for_every_format() -> None:
    assert [item.name for item in FORMATS] == list(RUNTIMES)
    for item in FORMATS:
        assert item.suffix.startswith(".") and item.runtime.distributions
    assert [item.name for item in chosen_formats([])] == ["onnx", "openvino", "tflite"]


def test_the_documentation_agrees_with_the_table() -> None:
    page = (Path(__file__).parents[2] / "export" / "README.md").read_text()
    for item in FORMATS:
        facts = item.runtime
        packages = ", ".join(name for name, _ in facts.distributions)
        row = f"| {item.name} | {item.suffix} | {', '.join(item.precisions)} | {packages} | "
        assert row + f"{', '.join(facts.boards)} |" in page


def test_every_task_and_precision_has_its_gates_and_the_documentation_tells_them() -> None:
    page = (Path(__file__).parents[2] / "export" / "README.md").read_text()
    assert set(TASK_GATES) == set(get_args(ModelTask)) == set(registry.BY_TASK)
    for gate in DIFFERENCES:
        assert f"| every model | {', '.join(gate.precisions)} | {gate.says} |" in page
    for task, gates in TASK_GATES.items():
        assert {name for gate in gates for name in gate.precisions} == set(ALL_PRECISIONS)
        for gate in gates:
            assert f"| {task} | every | {gate.says} |" in page


@pytest.mark.parametrize(
    ("sense", "limit", "passing", "failing"),
    [
        ("fall", 0.1, (2.0, 0.95), (0.8, float("nan"))),
        ("rise", 0.1, (0.0, 1.05), (1.2, float("nan"))),
        ("move", 0.1, (0.95, 1.05), (0.8, 1.2, float("nan"))),
        ("at least", 0.5, (0.5, 2.0), (0.4, float("nan"))),
        ("at most", 0.5, (0.5, -2.0), (0.6, float("nan"))),
    ],
)
def test_a_gate_holds_a_figure_against_pytorch_or_its_limit(
    sense: Any, limit: float, passing: tuple[float, ...], failing: tuple[float, ...]
) -> None:
    gate = Gate("x", sense, limit, "{amount:g} against {limit:g}", "", ("int8",))
    for value in passing:
        assert problems([gate], {"x": 1.0}, {"x": value}, "int8") == []
    for value in failing:
        (said,) = problems([gate], {"x": 1.0}, {"x": value}, "int8")
        assert said.startswith("int8: ") and said.endswith(f" against {limit:g}")
        assert problems([gate], {"x": 1.0}, {"x": value}, "fp32") == []


@pytest.mark.parametrize(
    ("typed", "meant"), [("onx", "onnx"), ("openvno", "openvino"), ("tflight", "tflite")]
)
def test_a_mistyped_format_suggests_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {meant}"):
        chosen_formats([typed])


def test_precisions_default_to_int8_and_come_largest_first() -> None:
    assert set(PRECISIONS) == set(get_args(Precision)) == set(PRECISION_PREFERENCE)
    assert chosen_precisions([]) == ("int8",)
    assert chosen_precisions(["int8", "fp16", "fp32"]) == ("fp32", "fp16", "int8")
    assert chosen_precisions(["fp16"]) == ("fp16",)
    assert calibrated_among(ALL_PRECISIONS) == ("int8",)


def test_what_is_not_supported_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from edgehemo.cli import run\n"
        "code = run(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "sys.exit(code)\n"
    )
    for arguments, said in (
        (["--format", "tflit"], "did you mean tflite"),
        (["--int8"], "--calibration"),
    ):
        command = [sys.executable, "-c", code, "export", "x.safetensors", *arguments]
        done = subprocess.run(
            [*command, "--out", str(tmp_path / "b")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done.stderr
        assert said in done.stderr and "Traceback" not in done.stderr


def test_a_format_whose_tools_are_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"openvino needs .*nncf.*\.\[host\]"):
        formats.refuse_unsupported(chosen_formats(["openvino"]), ("int8",))
