"""`edgehemo export`: checkpoints to verified artefacts in a bundle.

Each artefact is reopened in its own runtime and must pass its gate before it enters the bundle;
a bundle appears whole or not at all.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edgehemo.bundle import (
    MANIFEST_NAME,
    Artefact,
    KindOperatingPoint,
    Manifest,
    Metric,
    ModelEntry,
    Precision,
    TrainingEnvelope,
    load_bundle,
)
from edgehemo.cells.finder import CellFinder, calibrate
from edgehemo.cells.records import CELL_KINDS
from edgehemo.errors import BundleError, UsageError, WithheldError
from edgehemo.files import sha256_of_file, write_bytes_atomically, write_text_atomically
from edgehemo.inference import open_runner
from edgehemo.version import __version__
from edgehemo_export.architectures import FINDER_MULTIPLE
from edgehemo_export.calibration_set import (
    CalibrationSet,
    read_calibration_set,
    shared_contents,
)
from edgehemo_export.checkpoints import Checkpoint, load_checkpoint
from edgehemo_export.datasets import LabelledImage, read_data_root
from edgehemo_export.finder_evaluation import (
    Examined,
    TorchRunner,
    bare_finder,
    examine,
    finder_input,
    measure,
)
from edgehemo_export.finder_run import TASK, finder_net, images_of, operating_points
from edgehemo_export.formats import ExportFormat
from edgehemo_export.onnx_export import OPSET, export_fp32, quantise_int8
from edgehemo_export.splits import Part

LICENCE = "Apache-2.0"
INTENDED_USE = (
    "Research and screening aid on stained blood smears; not a diagnosis, not a medical device."
)
# int8 may lose at most this much mAP50 against PyTorch on kept-out images.
FINDER_MAP_GATE = 0.01
# The parity is measured on at most this many kept-out images of each source.
PARITY_IMAGES = 40
# Calibrators in the order they are tried until one passes; what is kept in float with each.
INT8_RECIPES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("minmax", ()),
    ("percentile", ()),
    ("entropy", ()),
    ("minmax", ("output",)),
)

Say = Callable[[str], None]
Recipe = dict[str, str | int | float | list[str]]


@dataclass(frozen=True)
class ExportRow:
    """One artefact's result, for the command's table and JSON."""

    model: str
    gate: str
    artefact: Artefact


def export_bundle(
    checkpoints: Sequence[Path],
    out: Path,
    *,
    formats: Sequence[ExportFormat],
    precisions: Sequence[Precision],
    calibration: Path | None,
    evaluation: Path | None,
    name: str,
    say: Say,
) -> list[ExportRow]:
    """Export checkpoints into a bundle folder, replacing an older one there whole.

    evaluation: a data root with labels for the parity gates (the tune part of its split); by
    default the calibration's, when that is a data root. Raises WithheldError when an artefact
    fails its gate with every recipe; the bundle at ``out`` is then what it was.
    """
    if "int8" in precisions and calibration is None:
        raise UsageError("int8 needs --calibration DIR: real fields to measure activations on")
    serial = _next_serial(out)
    loaded = [(path, load_checkpoint(path)) for path in checkpoints]
    for path, checkpoint in loaded:
        if checkpoint.task != TASK:
            raise UsageError(f"{path.name}: this version exports {TASK}, not {checkpoint.task}")
    calibration_set = None
    if calibration is not None:
        say("calibration set")
        calibration_set = read_calibration_set(calibration)
    labelled = _labelled(evaluation or calibration)
    if calibration_set is not None:
        both = shared_contents(calibration_set.files, [image.path for image in labelled])
        if both:
            raise UsageError(
                f"{both[0].name} is in the calibration and in the evaluation set; "
                "keep them apart, or parity would flatter itself"
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        rows: list[ExportRow] = []
        models = []
        for path, checkpoint in loaded:
            entry, made = _export_finder(
                path, checkpoint, staging, formats, precisions, calibration_set, labelled, say
            )
            models.append(entry)
            rows += made
        manifest = Manifest(
            bundle_schema="edgehemo.bundle/1",
            name=name,
            serial=serial,
            created_at=datetime.now(UTC).replace(microsecond=0),
            software_version=__version__,
            licence=LICENCE,
            intended_use=INTENDED_USE,
            machine=f"{platform.system()} {platform.machine()}",
            models=models,
        )
        text = manifest.model_dump_json(by_alias=True, indent=2) + "\n"
        write_text_atomically(staging / MANIFEST_NAME, text)
        load_bundle(staging).check_files()
        _replace_folder(staging, out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return rows


def _export_finder(
    path: Path,
    checkpoint: Checkpoint,
    folder: Path,
    formats: Sequence[ExportFormat],
    precisions: Sequence[Precision],
    calibration: CalibrationSet | None,
    labelled: Sequence[LabelledImage],
    say: Say,
) -> tuple[ModelEntry, list[ExportRow]]:
    net = finder_net(checkpoint)
    points = operating_points(checkpoint)
    say("PyTorch reference")
    reference = examine(labelled, bare_finder(TorchRunner(net), FINDER_MULTIPLE))
    example = np.full((1, 256, 320, 3), 200, np.uint8)
    example[:, 64:160, 64:200] = np.random.default_rng(0).integers(60, 220, (96, 136, 3))
    rows: list[ExportRow] = []
    artefacts: list[Artefact] = []
    for item in formats:
        say(f"{item.name} fp32")
        fp32 = export_fp32(net, example, multiple_of_px=FINDER_MULTIPLE)
        for precision in precisions:
            file = folder / f"cell_finder.{precision}{item.suffix}"
            made = None
            failures = []
            for recipe, data in _candidates(fp32, precision, calibration, say):
                write_bytes_atomically(file, data)
                parity = _finder_parity(file, item, points, reference, labelled)
                if parity["mAP50_drop"] <= FINDER_MAP_GATE:
                    made = Artefact(
                        format=item.name,
                        precision=precision,
                        file=file.name,
                        sha256=sha256_of_file(file),
                        bytes=len(data),
                        parity=parity,
                        recipe=recipe,
                    )
                    break
                failures.append(f"{parity['mAP50_drop']:.4f}")
            if made is None:
                raise WithheldError(
                    f"{TASK} {item.name} {precision}: mAP50 falls by {', '.join(failures)} with "
                    f"the recipes tried, the gate is {FINDER_MAP_GATE}; nothing was written"
                )
            artefacts.append(made)
            rows.append(ExportRow(model=TASK, gate="pass", artefact=made))
    record = checkpoint.record
    card = path.with_suffix(".md")
    if card.is_file():
        shutil.copyfile(card, folder / "cell_finder.md")
    entry = ModelEntry(
        name=TASK,
        task="cell_finder",
        input=finder_input(FINDER_MULTIPLE),
        classes=list(CELL_KINDS),
        operating_points=points,
        training_envelope=TrainingEnvelope(**record["training_envelope"]),
        metrics=[Metric(**metric) for metric in record.get("metrics", [])],
        training_data=record["training_data"],
        checkpoint_sha256=sha256_of_file(path),
        model_card="cell_finder.md" if card.is_file() else None,
        artefacts=artefacts,
    )
    return entry, rows


def _candidates(
    fp32: bytes, precision: Precision, calibration: CalibrationSet | None, say: Say
) -> Iterator[tuple[Recipe, bytes]]:
    """The recipes of a precision in the order they are tried, each made when it is asked for."""
    if precision == "fp32":
        yield {"opset": OPSET}, fp32
        return
    assert calibration is not None, "int8 without a calibration set is refused before"
    for calibrator, kept in INT8_RECIPES:
        say(f"int8, {calibrator} calibration" + (f", {kept[0]} in float" if kept else ""))
        data = quantise_int8(fp32, calibration.batches(), calibrator=calibrator, keep_float=kept)
        yield (
            {
                "calibrator": calibrator,
                "kept_in_float": list(kept),
                "calibration_samples": len(calibration.tiles),
                "calibration_digest": calibration.digest,
            },
            data,
        )


def _finder_parity(
    file: Path,
    item: ExportFormat,
    points: dict[str, KindOperatingPoint],
    reference: Sequence[Examined],
    labelled: Sequence[LabelledImage],
) -> dict[str, float]:
    """mAP50 and counts of an artefact, reopened in its runtime, beside PyTorch's."""
    runner = open_runner(file, item.name, threads=2)
    finder = CellFinder(runner, finder_input(FINDER_MULTIPLE), points)
    ours = examine(labelled, finder)
    theirs_map, ours_map = _mean_ap(reference, points), _mean_ap(ours, points)
    counted = sum(_reported(item, points) for item in ours)
    wanted = sum(_reported(item, points) for item in reference)
    return {
        "mAP50_pytorch": round(theirs_map, 5),
        "mAP50": round(ours_map, 5),
        "mAP50_drop": round(theirs_map - ours_map, 5),
        "count_ratio": round(counted / max(1e-9, wanted), 5),
        "images": float(len(labelled)),
    }


def _mean_ap(items: Sequence[Examined], points: dict[str, KindOperatingPoint]) -> float:
    values = [m.value for m in measure(items, points, rounds=0) if m.name == "mAP50"]
    return float(np.mean(values))


def _reported(item: Examined, points: dict[str, KindOperatingPoint]) -> float:
    red = item.candidates[item.candidates[:, 5] == 0, 4]
    return float(calibrate(red, points["rbc"]).sum())


def _labelled(root: Path | None, part: Part = "tune") -> list[LabelledImage]:
    if root is None:
        raise UsageError("give --evaluation DIR: a data root with labels, to check parity on")
    try:
        images = images_of(read_data_root(root), part)
    except UsageError as error:
        raise UsageError(f"--evaluation: {error}") from error
    out: list[LabelledImage] = []
    for source in sorted({image.source for image in images}):
        out += [image for image in images if image.source == source][:PARITY_IMAGES]
    return out


def _next_serial(out: Path) -> int:
    if not out.exists():
        return 1
    if not (out / MANIFEST_NAME).is_file():
        if any(out.iterdir()):
            raise UsageError(f"{out}: exists and is no bundle; give --out another folder")
        return 1
    try:
        return load_bundle(out).manifest.serial + 1
    except BundleError as error:
        raise UsageError(f"{out}: holds a bundle that cannot be read ({error})") from error


def _replace_folder(staging: Path, out: Path) -> None:
    staging.chmod(0o755)
    if not out.exists():
        staging.rename(out)
        return
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    out.rename(old)
    staging.rename(out)
    shutil.rmtree(old, ignore_errors=True)
