"""An export from checkpoint to bundle: whole or not at all, signed, taken over, told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgehemo.bundle.bundle import Bundle, load_bundle
from edgehemo.commands.verify import verify as verify_command
from edgehemo.errors import BundleError, UsageError, WithheldError
from edgehemo.inference import Runner, check_graph, open_model

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install ".[host]"')
pytest.importorskip("onnx", reason='needs pip install ".[host]"')

import torch

from edgehemo_export.checkpoints import Checkpoint, save_checkpoint
from edgehemo_export.commands.export import export
from edgehemo_export.models import registry
from edgehemo_export.quantisation import model_export
from edgehemo_export.quantisation.bundling import export_bundle
from edgehemo_export.quantisation.calibration_set import shared_pictures
from edgehemo_export.quantisation.gates import Figures
from edgehemo_export.quantisation.int8_recipes import float_layers_of, further_recipes
from edgehemo_export.quantisation.options import ExportRow
from edgehemo_export.quantisation.subject import ExportSubject, TrainedModel
from tests.support.pages import faults_of_page
from tests.support.small_export import (
    CLASSES,
    FAILS_IN_INT8,
    SIDE,
    SmallHeldOut,
    SmallNet,
    calibration_of,
    crops,
    options_of,
    run_export,
    small_onnx,
    small_subject,
    trained,
)


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_onnx()
    monkeypatch.setattr(
        "edgehemo_export.quantisation.onnx_export.export_fp32", lambda *_, **__: model
    )


@pytest.fixture
def subject_is(
    monkeypatch: pytest.MonkeyPatch, traced_once: None
) -> Callable[[ExportSubject], None]:
    """Have the task table answer with this subject, whatever the checkpoint."""

    def use(subject: ExportSubject) -> None:
        module = SimpleNamespace(export_subject=lambda _: subject)
        task = SimpleNamespace(load=lambda: module)
        monkeypatch.setattr(registry, "BY_TASK", {"nucleated": task})

    return use


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, Checkpoint("nucleated", {"a": torch.zeros(1)}, {}))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "list.txt").write_text("what is here does not matter")
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ExportRow]]:
    """A bundle of one small model, ONNX at three precisions, signed."""
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEHEMO_KEYS", str(tmp_path_factory.getbasetemp() / "keys"))
        model = small_onnx()
        patch.setattr(
            "edgehemo_export.quantisation.onnx_export.export_fp32", lambda *_, **__: model
        )
        module = SimpleNamespace(export_subject=lambda _: small_subject())
        patch.setattr(registry, "BY_TASK", {"nucleated": SimpleNamespace(load=lambda: module)})
        save_checkpoint(
            folder / "small.safetensors", Checkpoint("nucleated", {"a": torch.zeros(1)}, {})
        )
        (folder / "small.md").write_text("# small\n")
        (folder / "data").mkdir()
        options = options_of(folder / "data", precisions=("fp32", "fp16", "int8"))
        rows = run_export(folder / "small.safetensors", folder / "bundle", options)
    return folder, rows


def test_an_export_is_whole_signed_verified_and_described(
    exported: tuple[Path, list[ExportRow]],
) -> None:
    folder, rows = exported
    assert [row.artefact and row.artefact.precision for row in rows] == ["fp32", "fp16", "int8"]
    bundle = load_bundle(folder / "bundle")
    bundle.check_files()
    assert bundle.trust == "signed" and bundle.strangers() == []
    int8 = rows[-1].artefact
    assert int8 is not None
    assert int8.recipe["calibrator"] in ("minmax", "percentile")
    assert int8.recipe["kept_in_float"] == ["head"]
    assert int8.recipe["calibration_samples"] == 120
    assert int8.parity["accuracy"] >= int8.parity["accuracy_pytorch"] - 0.05
    assert "onnxruntime" in int8.versions
    report = json.loads((folder / "bundle" / "export.json").read_text())
    assert report["schema"] == "edgehemo.export-report/1"
    assert [row["precision"] for row in report["artefacts"]] == ["fp32", "fp16", "int8"]
    page = (folder / "bundle" / "export.html").read_text()
    assert not faults_of_page(page)
    assert page.count("data:image/png;base64,") == 3
    for row in report["artefacts"]:
        measured = row["measured"]
        assert measured["run_ms"] > 0 and measured["threads"] == 1 and measured["board"]
        apart = np.abs(np.subtract(measured["pytorch"], measured["artefact"]))
        assert apart.max() == pytest.approx(row["parity"]["largest_difference"], abs=2e-6)
    artefact, runner = open_model(bundle, "nucleated", threads=1, runtime="onnx")
    assert artefact.precision == "int8"
    assert runner.run(np.concatenate(crops(3))).shape == (3, len(CLASSES))


def test_verify_reproduces_an_export_and_names_what_was_changed(
    exported: tuple[Path, list[ExportRow]], tmp_path: Path
) -> None:
    import shutil

    folder, _ = exported
    report = tmp_path / "verify.json"

    def run(bundle: Path) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(
            verify_command, [str(bundle), "--json", str(report)], standalone_mode=False
        )
        assert done.exception is None, done.output
        return int(done.return_value), json.loads(report.read_text())

    code, record = run(folder / "bundle")
    assert code == 0 and record["trust"] == "signed" and record["problems"] == []
    for row in record["artefacts"]:
        assert row["gate"] == "pass" and row["parity"]["sample_difference"] < 0.1
        assert {"model", "format", "precision", "bytes", "sha256", "parity"} <= row.keys()
    for name in sorted(path.name for path in (folder / "bundle").iterdir()):
        copy = Path(shutil.copytree(folder / "bundle", tmp_path / f"changed-{name}"))
        target = copy / name
        content = bytearray(target.read_bytes())
        if name == "manifest.json":
            content = bytearray(content.replace(b'"serial": 1', b'"serial": 9'))
        elif name == "manifest.sig":
            content = bytearray(content.replace(b'"key": "', b'"key": "0'))
        else:
            content[len(content) // 2] ^= 1
        target.write_bytes(bytes(content))
        code, record = run(copy)
        assert code == 1, name
        failed = [row["gate"] for row in record["artefacts"]].count("fail")
        assert record["problems"] or failed, name


def test_a_second_run_takes_over_what_is_up_to_date(
    exported: tuple[Path, list[ExportRow]], subject_is: Callable[[ExportSubject], None]
) -> None:
    folder, first = exported
    subject_is(small_subject())
    out = folder / "bundle"
    options = options_of(folder / "data", precisions=("fp32", "int8"))
    again = run_export(folder / "small.safetensors", out, options)
    assert [row.seconds for row in again] == [0.0, 0.0]
    assert again[-1].artefact == first[-1].artefact
    bundle = load_bundle(out)
    assert bundle.manifest.serial == 2
    bundle.check_files()
    report = json.loads((out / "export.json").read_text())["artefacts"]
    assert all(row["taken_over"] and row["measured"]["seconds"] > 0 for row in report)
    assert (out / "export.html").read_text().count("data:image/png;base64,") == 2
    assert again[0].artefact is not None
    damaged = out / again[0].artefact.file
    damaged.write_bytes(b"damaged")
    mended = run_export(folder / "small.safetensors", out, options)
    assert mended[0].seconds > 0 and mended[1].seconds == 0
    load_bundle(out).check_files()


def test_a_failing_gate_leaves_the_old_bundle_and_nothing_else(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    out = tmp_path / "bundle"
    subject_is(small_subject())
    run_export(checkpoint, out, options_of(data, precisions=("fp32",)))
    before = load_bundle(out)
    empty = [np.full((1, SIDE, SIDE, 3), 200, np.uint8)] * 120
    subject_is(small_subject(calibration=lambda _: calibration_of(empty)))
    with pytest.raises(WithheldError, match="accuracy falls by") as caught:
        run_export(checkpoint, out, options_of(data, accuracy_control=False))
    assert caught.value.exit_code == 1 and "try without --one-recipe" in str(caught.value)
    assert load_bundle(out).digest == before.digest
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_passes_is_written_and_what_fails_is_told(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject(gates=(FAILS_IN_INT8,)))
    out = tmp_path / "bundle"
    arguments = [str(checkpoint), "--fp32", "--int8", "--format", "onnx", "--calibration"]
    report = tmp_path / "report.json"
    done = CliRunner().invoke(
        export,
        [*arguments, str(data), "--one-recipe", "--out", str(out), "--json", str(report)],
        standalone_mode=False,
    )
    assert done.exception is None, done.output
    assert done.return_value == 1
    assert "1 of 2 done" in done.output and "small onnx fp32: passes its gate" in done.output
    assert "small onnx int8 fails its gate: int8: accuracy falls by " in done.output
    assert sorted(path.name for path in out.glob("*.onnx")) == ["small.fp32.onnx"]
    bundle = load_bundle(out)
    assert [a.precision for a in bundle.model("nucleated").artefacts] == ["fp32"]
    told = json.loads((out / "export.json").read_text())["artefacts"]
    assert [(row["precision"], row["gate"]) for row in told] == [("fp32", "pass"), ("int8", "fail")]
    assert told[1]["problem"].count("calibration") == 1, "one recipe was tried"
    assert "the gate is -0.1" in told[1]["problem"]
    assert "failed their gate" in (out / "export.html").read_text()
    rows = json.loads(report.read_text())["artefacts"]
    assert [row["gate"] for row in rows] == ["pass", "fail"]


def test_a_failed_gate_takes_nothing_from_an_older_bundle(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject())
    out = tmp_path / "bundle"
    run_export(checkpoint, out, options_of(data, precisions=("fp32", "int8")))
    before = load_bundle(out).digest
    subject_is(small_subject(gates=(FAILS_IN_INT8,)))
    again = options_of(data, precisions=("fp32", "int8"), fresh=True, accuracy_control=False)
    with pytest.raises(WithheldError, match=r"stays what it was.* int8 fails its gate"):
        run_export(checkpoint, out, again)
    assert load_bundle(out).digest == before
    load_bundle(out).check_files()


def test_models_that_no_checkpoint_is_given_for_stay_where_that_is_asked(
    checkpoint: Path, data: Path, subject_is: Callable[[ExportSubject], None], tmp_path: Path
) -> None:
    subject_is(small_subject())
    out = tmp_path / "bundle"
    alone = options_of(data, precisions=("fp32",))
    asked = dataclasses.replace(alone, keep_others=True)
    run_export(checkpoint, out, alone)
    first = load_bundle(out).manifest.models[0]

    other = small_subject()
    named = dataclasses.replace(
        other,
        name="other",
        task="morphology",
        entry=lambda artefacts, sha256: other.entry(artefacts, sha256).model_copy(
            update={"name": "other", "task": "morphology"}
        ),
    )
    model = TrainedModel(checkpoint, Checkpoint("morphology", {}, {}), named)
    export_bundle([model], out, asked, signer=None, say=lambda _: None)
    bundle = load_bundle(out, trust="files-only")
    bundle.check_files()
    assert [entry.task for entry in bundle.manifest.models] == ["nucleated", "morphology"]
    assert bundle.manifest.models[0] == first, "byte for byte"
    report = json.loads((out / "export.json").read_text())["artefacts"]
    assert {row["model"]: row["taken_over"] for row in report} == {"small": True, "other": False}

    # Where no bundle is yet, the shipped one's models are kept.
    fresh = tmp_path / "fresh"
    run_export(checkpoint, fresh, asked)
    shipped, made = load_bundle().manifest, load_bundle(fresh, trust="files-only").manifest
    assert [entry.task for entry in made.models] == [entry.task for entry in shipped.models]
    kept = [entry for entry in made.models if entry.task != "nucleated"]
    assert kept == [entry for entry in shipped.models if entry.task != "nucleated"]
    assert made.serial == shipped.serial + 1

    # Without being asked, a bundle holds what it was given checkpoints for, and no more.
    export_bundle([model], out, alone, signer=None, say=lambda _: None)
    assert [e.task for e in load_bundle(out, trust="files-only").manifest.models] == ["morphology"]


def test_a_bundle_in_one_file_is_exported_opened_and_taken_over_from(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject())
    out = tmp_path / "bundle.zip"
    options = options_of(data, precisions=("fp32",))
    run_export(checkpoint, out, options)
    assert out.is_file() and [p.name for p in tmp_path.iterdir() if p.name[0] == "."] == []
    done = CliRunner().invoke(verify_command, [str(out)], standalone_mode=False)
    assert done.exception is None and done.return_value == 0, done.output
    (again,) = run_export(checkpoint, out, options)
    assert again.seconds == 0 and load_bundle(out).manifest.serial == 2
    damaged = bytearray(out.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    out.write_bytes(damaged)
    with pytest.raises(BundleError):
        load_bundle(out).check_files()
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(UsageError, match="is not one file"):
        run_export(checkpoint, tmp_path / "folder.zip", options)


def test_a_converter_that_gives_up_is_one_line_of_one_artefact(
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    subject_is: Callable[[ExportSubject], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject_is(small_subject())

    def broken(*_: object) -> bytes:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr("edgehemo_export.quantisation.onnx_export.to_fp16", broken)
    options = options_of(data, precisions=("fp32", "fp16"))
    first, second = run_export(checkpoint, tmp_path / "bundle", options)
    assert first.gate == "pass" and second.gate == "fail"
    assert second.problem == "it could not be written (RuntimeError: no such operator)"


def test_a_precision_of_no_use_to_a_network_is_refused_before_any_work(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject(precisions=("fp32",), why_not="its kernel"))
    with pytest.raises(UsageError, match=r"no int8 .*its kernel.* choose from --fp32"):
        run_export(checkpoint, tmp_path / "bundle", options_of(data))
    assert not (tmp_path / "bundle").exists()


def test_a_checkpoint_of_ours_with_other_weights_is_one_line(tmp_path: Path, data: Path) -> None:
    """Of a task this version knows, but not what it needs."""
    path = tmp_path / "odd.safetensors"
    save_checkpoint(path, Checkpoint("field_estimator", {"a": torch.zeros(1)}, {}))
    with pytest.raises(
        UsageError, match=r"odd\.safetensors: is not a whole checkpoint of field_est"
    ):
        run_export(path, tmp_path / "bundle", options_of(data))


def test_an_export_goes_on_until_the_gate_holds(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    net = SmallNet().eval()

    class HardToPlease(SmallHeldOut):
        """Content with PyTorch, which is asked first, and with the sixth artefact."""

        asked = 0

        def measure(self, runner: Runner) -> Figures:
            self.asked += 1
            return {"accuracy": 1.0 if self.asked in (1, 7) else 0.0}

    subject_is(small_subject(net=net, held_out=lambda _: HardToPlease(net)))
    out = tmp_path / "bundle"
    (row,) = run_export(checkpoint, out, options_of(data))
    assert row.artefact is not None
    kept = row.artefact.recipe["kept_in_float"]
    assert isinstance(kept, list) and set(kept) > {"head"}
    assert len([path for path in out.iterdir() if path.suffix == ".onnx"]) == 1


def test_a_small_head_stays_in_float_and_a_large_one_is_quantised() -> None:
    net = SmallNet()
    assert float_layers_of(net, ("body.0",)) == ("body.0", "head")
    study = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(400, 100))
    assert float_layers_of(study, ()) == ()
    assert float_layers_of(torch.nn.Conv2d(3, 4, 3), ("x",)) == ("x",)


def test_further_recipes_leave_more_and_more_in_float() -> None:
    made = [set(r.keep_float) for r in further_recipes(SmallNet(), ("minmax",), ("head",))]
    assert made[0] == {"body.0", "head"} and made[-1] >= {"body.2", "head"}
    assert all(recipe > {"head"} for recipe in made)


def test_too_few_samples_are_refused_and_few_are_warned_of(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject(calibration=lambda _: calibration_of(crops(99))))
    with pytest.raises(UsageError, match="only 99 calibration samples, int8 needs at least 100"):
        run_export(checkpoint, tmp_path / "bundle", options_of(data))
    subject_is(small_subject())
    (row,) = run_export(checkpoint, tmp_path / "bundle", options_of(data))
    assert row.warnings == ("only 120 calibration samples; 300 are better",)


def test_a_calibration_that_shares_a_picture_with_the_evaluation_is_refused(
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    subject_is: Callable[[ExportSubject], None],
    write_image: Callable[..., Path],
) -> None:
    rng = np.random.default_rng(1)
    coarse = rng.integers(20, 230, (12, 16, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    other = cv2.resize(coarse[::-1], (320, 240), interpolation=cv2.INTER_CUBIC)
    ours = write_image(tmp_path / "a.png", picture)
    stored_anew = write_image(tmp_path / "b.jpg", cv2.resize(picture, (256, 192)))
    unlike = write_image(tmp_path / "c.png", other)
    assert shared_pictures([ours], [unlike, stored_anew]) == [stored_anew]
    net = SmallNet().eval()
    subject_is(
        small_subject(
            calibration=lambda _: calibration_of(crops(120), [ours]),
            held_out=lambda _: SmallHeldOut(net, [stored_anew]),
        )
    )
    with pytest.raises(UsageError, match=r"b\.jpg is in the calibration and in the evaluation"):
        run_export(checkpoint, tmp_path / "bundle", options_of(data))
    assert not (tmp_path / "bundle").exists()


def test_a_full_disk_half_way_leaves_no_half_bundle(
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    subject_is: Callable[[ExportSubject], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject_is(small_subject())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_export, "write_bytes_atomically", full)
    with pytest.raises(UsageError, match=r"bundle: cannot be written .No space"):
        run_export(checkpoint, tmp_path / "bundle", options_of(data, precisions=("fp32",)))
    assert not (tmp_path / "bundle").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_file_size_limit_half_way_leaves_no_half_bundle(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    """The system itself stops the writing, as a full disk does."""
    import resource

    subject_is(small_subject())
    out = tmp_path / "bundle"
    run_export(checkpoint, out, options_of(data, precisions=("fp32",)))
    before = load_bundle(out).digest
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises((UsageError, WithheldError)):
            run_export(checkpoint, out, options_of(data, fresh=True))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_bundle(out).digest == before
    load_bundle(out).check_files()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_one_model_a_task_and_no_folder_that_is_no_bundle(
    checkpoint: Path, data: Path, tmp_path: Path, subject_is: Callable[[ExportSubject], None]
) -> None:
    subject_is(small_subject())
    twin = trained(checkpoint)
    with pytest.raises(UsageError, match=r"/other\.safetensors are both nucleated.* a task$"):
        export_bundle(
            [twin, dataclasses.replace(twin, path=tmp_path / "other.safetensors")],
            tmp_path / "b",
            options_of(data),
            signer=None,
            say=lambda _: None,
        )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a bundle"):
        run_export(checkpoint, tmp_path / "full", options_of(data))


def test_int8_without_calibration_is_an_error(checkpoint: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        export, [str(checkpoint), "--int8", "--out", str(tmp_path / "b")], standalone_mode=False
    )
    assert isinstance(done.exception, UsageError) and "--calibration" in str(done.exception)


def test_a_graph_that_is_not_what_the_manifest_says_is_refused(
    exported: tuple[Path, list[ExportRow]],
) -> None:
    bundle: Bundle = load_bundle(exported[0] / "bundle")
    entry = bundle.model("nucleated")
    artefact, runner = open_model(bundle, "nucleated", threads=1, runtime="onnx")
    check_graph(runner, entry, artefact)
    narrow = entry.input.model_copy(update={"height_px": 16})
    with pytest.raises(BundleError, match="the manifest says uint8"):
        check_graph(runner, entry.model_copy(update={"input": narrow}), artefact)
    free = entry.input.model_copy(update={"height_px": None, "width_px": None})
    with pytest.raises(BundleError, match="the manifest says uint8"):
        check_graph(runner, entry.model_copy(update={"input": free}), artefact)
    with pytest.raises(BundleError, match="4 values in the last dimension"):
        check_graph(runner, entry.model_copy(update={"classes": [*CLASSES, "four"]}), artefact)
