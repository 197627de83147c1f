"""Times of artefacts: what is chosen from them, and how it is written down."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehemo.bench.artefacts import ArtefactTime, recommended, time_artefacts
from edgehemo.bundle.bundle import load_bundle
from edgehemo.commands.bench import bench
from edgehemo.device.configuration import with_inference

DEVICE = """schema = "edgehemo.device/1"
name = "kiosk 7"
board = "workstation"  # for now

[inference]
runtime = "tflite" # tried
threads = 2

[kiosk]
port = 8400
"""


def row(**values: object) -> ArtefactTime:
    plain = ArtefactTime("finder", "onnx", "int8", 1, 1000, median_ms=10.0)
    return dataclasses.replace(plain, **values)  # type: ignore[arg-type]


def test_the_fastest_that_serves_every_model_is_chosen() -> None:
    rows = [
        row(),
        row(model="types", median_ms=5.0),
        row(format="tflite", median_ms=1.0),  # no artefact for the types
        row(format="openvino", median_ms=8.0),
        row(format="openvino", model="types", median_ms=4.0),
    ]
    choice = recommended(rows)
    assert choice is not None and choice.format == "openvino"
    assert choice.total_ms == pytest.approx(12.0)


def test_a_second_thread_must_be_worth_it() -> None:
    alike = recommended([row(), row(threads=2, median_ms=9.8)])
    assert alike is not None and alike.threads == 1
    faster = recommended([row(), row(threads=2, median_ms=6.0)])
    assert faster is not None and faster.threads == 2
    assert recommended([row(problem="not installed")]) is None


def test_the_choice_is_written_and_all_else_stays() -> None:
    text = with_inference(DEVICE, runtime="onnx", precision="fp32", threads=1)
    assert tomllib.loads(text)["inference"] == {
        "runtime": "onnx",
        "precision": "fp32",
        "threads": 1,
    }
    assert "# for now" in text and "# tried" in text and "port = 8400" in text
    again = with_inference(text, runtime="onnx", precision="fp32", threads=1)
    assert again == text
    bare = 'schema = "edgehemo.device/1"\n'
    made = tomllib.loads(with_inference(bare, runtime="onnx", precision="int8", threads=4))
    assert made["inference"]["threads"] == 4


def test_every_artefact_of_the_shipped_bundle_is_timed() -> None:
    bundle = load_bundle()
    told: list[str] = []
    rows = time_artefacts(bundle, threads=(1,), runs=2, tell=told.append)
    assert len(rows) == len(told) == sum(len(e.artefacts) for e in bundle.manifest.models)
    for item in rows:
        assert item.problem is None, item.problem
        assert item.median_ms > 0 and item.p95_ms >= item.median_ms
        assert item.runtime and item.peak_memory_mb > 20 and item.cold_start_ms > 0


def test_bench_writes_its_choice_into_the_devices_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "device.toml"
    device.write_text(DEVICE.replace('"tflite"', '"onnx"'))
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device))
    report = tmp_path / "bench.json"
    arguments = ["--runs", "1", "--threads", "1", "--json", str(report)]
    done = CliRunner().invoke(bench, [*arguments, "--no-write"], standalone_mode=False)
    assert done.exception is None, done.output
    assert tomllib.loads(device.read_text())["inference"]["threads"] == 2
    done = CliRunner().invoke(bench, arguments, standalone_mode=False)
    assert done.exception is None, done.output
    record = json.loads(report.read_text())
    assert record["recommended"] == {
        **record["recommended"],
        "runtime": "onnx",
        "precision": "int8",
        "threads": 1,
    }
    assert record["machine"]["board"] and all(r["runtime"] for r in record["artefacts"])
    assert tomllib.loads(device.read_text())["inference"]["threads"] == 1
    assert "use here: onnx int8, 1 thread(s)" in done.output
