"""Artefacts of all formats and precisions on 64-bit ARM: the same answers as where they were made.

An emulated processor: function and parity only. Its times say nothing about any board.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgehemo.inference import RUNTIMES
from tests.lab import guest

# Building the root and booting an emulated processor take minutes.
pytestmark = [pytest.mark.lab, pytest.mark.host, pytest.mark.timeout(3000)]
torch = pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("litert_torch", reason='needs pip install "edgehemo[host]"')

PACKAGE = Path(__file__).parents[2] / "edgehemo"
PARTS = Path(__file__).with_name("parts")
# What a device installs, as wheels of ARM; the versions this machine verified the export with.
WHEELS = (
    "numpy",
    "opencv-python-headless",
    "click",
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-extensions",
    "typing-inspection",
    "platformdirs",
    "pynacl",
    "cffi",
    "pycparser",
    "onnxruntime",
    "flatbuffers",
    "protobuf",
    "packaging",
    "ai-edge-litert",
    "backports.strenum",
    "tqdm",
    "openvino",
)
DISK_MB = 2000
MEMORY_MB = 2048
GUEST_TIMEOUT_S = 1500.0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The guest's machine, and what `edgehemo verify` said there about nine artefacts."""
    from edgehemo_export import exporting
    from edgehemo_export.checkpoints import Checkpoint, save_checkpoint
    from edgehemo_export.exporting import ExportOptions, export_bundle
    from edgehemo_export.formats import FORMATS
    from edgehemo_export.signing import signer_for
    from tests.test_export import small_subject

    source = tmp_path_factory.mktemp("arm64")
    checkpoint = source / "small.safetensors"
    save_checkpoint(checkpoint, Checkpoint("nucleated", {"a": torch.zeros(1)}, {}))
    (source / "data").mkdir()
    module = SimpleNamespace(export_subject=lambda _: small_subject())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEHEMO_KEYS", str(source / "keys"))
        patch.setattr(exporting, "BY_TASK", {"nucleated": SimpleNamespace(load=lambda: module)})
        options = ExportOptions(
            formats=FORMATS,
            precisions=("fp32", "fp16", "int8"),
            calibration=source / "data",
            evaluation=None,
            name="small",
        )
        bundle = source / "bundle"
        export_bundle(
            [checkpoint], bundle, options, signer=signer_for(None, bundle), say=lambda _: None
        )
        (source / "keys" / "signing.key").unlink()  # a device has the public half alone
        shutil.copytree(PACKAGE, source / "edgehemo", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(PARTS, source / "parts", ignore=shutil.ignore_patterns("__pycache__"))
        patch.setattr(guest, "DISK_MB", DISK_MB)
        patch.setattr(guest, "MEMORY_MB", MEMORY_MB)
        wheels = [f"{name}=={importlib.metadata.version(name)}" for name in WHEELS]
        console = guest.run(
            guest.build(wheels), source, "verify_in_guest.py", timeout_s=GUEST_TIMEOUT_S
        )
    lines = console.splitlines()
    machine = next(line.split()[1] for line in lines if line.startswith("MACHINE"))
    told = next(line for line in lines if line.startswith("VERIFIED"))
    return machine, json.loads(told.removeprefix("VERIFIED "))


def test_every_artefact_runs_on_arm64_and_answers_as_it_should(
    seen: tuple[str, dict[str, Any]],
) -> None:
    machine, record = seen
    assert machine == "aarch64"
    assert record["trust"] == "signed" and record["problems"] == []
    rows = record["artefacts"]
    assert {(row["format"], row["precision"]) for row in rows} == {
        (name, precision) for name in RUNTIMES for precision in ("fp32", "fp16", "int8")
    }
    for row in rows:
        assert row["gate"] == "pass", row
        assert row["parity"]["sample_difference"] < 0.1
