"""An artefact in a process of its own: what it lacks, what it takes, why it does not open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgehemo.errors import BundleError, MissingDependencyError
from edgehemo.inference.worker import WorkerRunner, peak_memory_mb

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("onnx", reason='needs pip install "edgehemo[host]"')

from tests.support.small_export import crops, small_onnx


def test_a_worker_without_its_runtime_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"edgehemo\[onnx\]"):
        WorkerRunner(tmp_path / "x.onnx", "onnx", threads=1)


def test_a_workers_memory_is_its_own(tmp_path: Path) -> None:
    """Not that of the process that started it, which here holds PyTorch and more."""
    held = np.ones(100_000_000, np.uint8)
    path = tmp_path / "x.onnx"
    path.write_bytes(small_onnx())
    with WorkerRunner(path, "onnx", threads=1) as runner:
        runner.run(crops(1)[0])
        assert 20 < runner.peak_memory_mb < peak_memory_mb() - held.nbytes / 1e6


def test_a_worker_says_why_it_cannot_open_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"x\.onnx: ONNX Runtime refuses it"):
        WorkerRunner(path, "onnx", threads=1)
