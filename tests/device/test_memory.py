"""Memory that runs out ends in one line that says what to do, whichever library noticed."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgehemo import cli
from edgehemo.bundle.manifest import ArtefactFormat
from edgehemo.errors import BundleError, EdgeHemoError, NotEnoughMemoryError
from edgehemo.inference import open_runner, runtimes
from edgehemo.memory import not_enough, ran_out


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libopenblas.so: failed to map segment from shared object"),
        ImportError("libx.so: cannot map zero-fill pages"),
        RuntimeError("bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 9"),
        RuntimeError("PosixThread pthread_create failed, error code: 11"),
        cv2.error(
            "(-4:Insufficient memory) Failed to allocate 999 bytes in function 'OutOfMemory'"
        ),
        not_enough(),
    ],
    ids=repr,
)
def test_it_is_known_in_any_words(error: Exception) -> None:
    assert ran_out(error)
    try:
        raise ValueError("something else") from error
    except ValueError as raised:
        assert ran_out(raised)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the sample is not enough"),
        OSError(errno.ENOSPC, "No space left on device"),
        ModuleNotFoundError("No module named 'torch'"),
        RuntimeError("Load model failed: Protobuf parsing failed"),
        None,
    ],
    ids=repr,
)
def test_nothing_else_is_taken_for_it(error: Exception | None) -> None:
    assert not ran_out(error)


def test_the_limit_is_named_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (800_000_000, resource.RLIM_INFINITY))
    assert "lift its limit of 800 MB" in str(not_enough())
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert "ulimit" not in str(not_enough())


def _failing(said: str) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    return fail


def _runtime(said: str) -> SimpleNamespace:
    """Any of the three runtimes, whose opening of a model fails with these words."""
    fail = _failing(said)
    options = SimpleNamespace(add_session_config_entry=lambda *_: None)
    return SimpleNamespace(
        __version__="1", SessionOptions=lambda: options, InferenceSession=fail, Core=fail,
        Interpreter=fail,
    )  # fmt: skip


@pytest.mark.parametrize("format", ["onnx", "openvino", "tflite"])
def test_a_model_that_does_not_fit_is_not_called_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: ArtefactFormat
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"x")
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1")
    for said, expected in (("std::bad_alloc", NotEnoughMemoryError), ("no model", BundleError)):
        loaded = runtimes.LoadedRuntime("x", _runtime(said))  # type: ignore[arg-type]  # stands in
        monkeypatch.setattr(f"edgehemo.inference.{format}.load_runtime", lambda _, it=loaded: it)
        with pytest.raises(EdgeHemoError) as caught:
            open_runner(path, format, threads=1)
        assert type(caught.value) is expected


def test_a_runtime_that_does_not_fit_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, module: str) -> None:
        raise ImportError(f"{module}.so: failed to map segment from shared object")

    monkeypatch.setattr(runtimes.RuntimeFacts, "imported", fail)
    with pytest.raises(NotEnoughMemoryError):
        runtimes.load_runtime("onnx")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        ImportError("cannot map zero-fill pages"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=repr,
)
def test_the_command_line_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli.edgehemo, "main", fail)
    assert cli.run(["screen", "x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edgehemo: not enough memory: close other programs")


@pytest.mark.parametrize("limit_mb", [60, 140, 250, 430, 520, 600, 680])
def test_a_screening_under_a_limit_ends_in_one_line(tmp_path: Path, limit_mb: int) -> None:
    """Each limit ends in another library: numpy, OpenCV, the runtime's import, model or run."""
    rng = np.random.default_rng(2)
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), rng.integers(0, 255, (480, 640, 3)).astype(np.uint8))
    limit = limit_mb * 1_000_000

    done = subprocess.run(
        [sys.executable, "-m", "edgehemo", "screen", str(picture), "--out", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1:] == [
        f"edgehemo: not enough memory: close other programs, lift its limit of {limit_mb} MB "
        "(ulimit -v), or give fewer or smaller pictures"
    ]
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "s").exists()
