"""Times of artefacts: what is chosen from them, and how it is written down."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgehemo.bench.artefacts import ArtefactTime, lacking, recommended, time_artefacts
from edgehemo.bundle.bundle import load_bundle
from edgehemo.commands.bench import bench
from edgehemo.device.configuration import with_inference
from edgehemo.inference import processor
from edgehemo.inference.worker import WorkerRunner

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


def test_a_model_without_a_precision_is_reckoned_in_the_one_that_runs_instead() -> None:
    rows = [
        row(),
        row(precision="fp32", median_ms=6.0),
        row(model="types", median_ms=5.0),  # in int8 alone
    ]
    choice = recommended(rows)
    assert choice is not None and choice.precision == "fp32"
    assert choice.total_ms == pytest.approx(11.0)


def test_only_models_that_a_screening_runs_have_a_say() -> None:
    rows = [
        row(),
        row(precision="fp32", median_ms=20.0),
        row(model="screen", median_ms=90.0),
        row(model="screen", precision="fp32", median_ms=30.0),
    ]
    every, running = recommended(rows), recommended(rows, {"finder"})
    assert every is not None and every.precision == "fp32"
    assert running is not None and running.precision == "int8"
    assert running.total_ms == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("family", "dot_products", "wanted", "says"),
    [
        ("x86", False, "fp32", "VNNI"),
        ("arm", False, "fp32", "asimddp"),
        ("x86", True, None, ""),
        ("other", None, None, ""),
    ],
)
def test_a_precision_that_is_likely_faster_and_not_there_is_said(
    family: processor.Family, dot_products: bool | None, wanted: str | None, says: str
) -> None:
    bundle = load_bundle()
    running = {"cell_finder", "morphology"}
    found = lacking(bundle, "onnx", running, family=family, dot_products=dot_products)
    assert {item.model for item in found} == (running if wanted else set())
    assert all(item.precision == wanted and says in item.reason for item in found)
    assert lacking(bundle, "tflite", running, family=family, dot_products=dot_products) == []


@pytest.mark.parametrize(
    ("machine", "text", "has"),
    [
        ("x86_64", "flags\t\t: fpu avx2 avx_vnni\n", True),
        ("x86_64", "flags\t\t: fpu avx2\n", False),
        ("aarch64", "Features\t: fp asimd asimddp\n", True),
        ("aarch64", "Features\t: fp asimd evtstrm\n", False),
        ("aarch64", "model name : unknown\n", None),
        ("riscv64", "flags : avx_vnni\n", None),
    ],
)
def test_dot_products_of_bytes_are_read_off_the_processor(
    machine: str, text: str, has: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(text)
    monkeypatch.setattr(processor, "CPU_INFO", info)
    monkeypatch.setattr("edgehemo.inference.processor.platform.machine", lambda: machine)
    processor.byte_dot_products.cache_clear()
    try:
        assert processor.byte_dot_products() is has
    finally:
        processor.byte_dot_products.cache_clear()


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


def test_an_artefact_that_answers_otherwise_here_is_not_recommended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as OpenVINO in int8 on a Cortex-A72, which answers nothing at all, and quickly."""
    bundle = load_bundle()
    monkeypatch.setattr(WorkerRunner, "run", lambda *_: np.empty((0, 3), np.float32))
    rows = time_artefacts(bundle, threads=(1,), runs=1, tell=lambda _: None)
    assert recommended(rows) is None
    for item in rows:
        assert item.problem is not None and "differs from PyTorch by inf" in item.problem


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
    stages = {item["stage"]: item["median_ms"] for item in record["stages"]}
    assert stages["field estimator"] == stages["anaemia screen"] == 0
    assert record["field_ms"] == pytest.approx(sum(stages.values()), abs=0.02)
    beside = {item["stage"]: item for item in record["on_request"]}
    assert beside.keys() == {"field estimator", "anaemia screen"}
    assert all(item["median_ms"] > 0 for item in beside.values())
    assert "only where it is asked for" in done.output


def test_bench_counts_a_network_that_the_device_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "device.toml"
    asking = DEVICE.replace('"tflite"', '"onnx"') + "\n[screening]\nanaemia_screen = true\n"
    device.write_text(asking)
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device))
    report = tmp_path / "bench.json"
    arguments = ["--runs", "1", "--threads", "1", "--no-write", "--json", str(report)]
    done = CliRunner().invoke(bench, arguments, standalone_mode=False)
    assert done.exception is None, done.output
    record = json.loads(report.read_text())
    stages = {item["stage"]: item["median_ms"] for item in record["stages"]}
    assert stages["anaemia screen"] > 0 and stages["field estimator"] == 0
    assert [item["stage"] for item in record["on_request"]] == ["field estimator"]
