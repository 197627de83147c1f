"""`edgehemo export`: checkpoints to verified artefacts in a bundle.

Each artefact is reopened in its own runtime, in a fresh process, and must pass its gate before it
enters the bundle; a bundle appears whole or not at all. One that fails is left out and reported,
and takes nothing away that an earlier bundle at the same place holds. What that bundle has already,
made from the same weights, data, recipe and versions, is taken over.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from edgehemo.bundle.bundle import (
    MANIFEST_NAME,
    SHIPPED_BUNDLE,
    Bundle,
    load_bundle,
    record_shipped,
)
from edgehemo.bundle.manifest import Manifest, ModelEntry
from edgehemo.bundle.packing import is_packed
from edgehemo.device.installed_bundles import pack
from edgehemo.errors import BundleError, UsageError, WithheldError
from edgehemo.files.atomic import sha256_of_file, write_text_atomically
from edgehemo.version import __version__
from edgehemo_export.checkpoints import Checkpoint, load_checkpoint
from edgehemo_export.models.registry import BY_TASK
from edgehemo_export.quantisation.model_export import ModelExport, content_digest
from edgehemo_export.quantisation.options import ExportOptions, ExportRow, Say
from edgehemo_export.quantisation.report import ReportRow, earlier_measurements, write_report
from edgehemo_export.quantisation.signing import Signer
from edgehemo_export.quantisation.subject import ExportSubject

LICENCE = "Apache-2.0"
INTENDED_USE = (
    "Research and screening aid on stained blood smears; not a diagnosis, not a medical device."
)
# What the system says when a file cannot grow any more.
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def export_bundle(
    checkpoints: Sequence[Path],
    out: Path,
    options: ExportOptions,
    *,
    signer: Signer | None,
    say: Say,
) -> list[ExportRow]:
    """Export checkpoints into a bundle folder or one ZIP file, replacing an older one there whole.

    An artefact that fails its gate with every recipe is not in the bundle, and its row says why.
    Raises WithheldError where none is left of any model, or where the bundle at ``out`` has an
    artefact that would so be lost; it is then what it was.
    """
    if "int8" in options.precisions and options.calibration is None:
        raise UsageError("int8 needs --calibration DIR: real fields to measure activations on")
    loaded = [(path, load_checkpoint(path)) for path in checkpoints]
    _refuse_twins(loaded)
    former = _former_bundle(out)
    subjects = [_subject_of(path, checkpoint) for path, checkpoint in loaded]
    for subject in subjects:
        _refuse_unsuited(subject, options)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    earlier = {} if former is None else earlier_measurements(former)
    try:
        rows: list[ExportRow] = []
        models: list[ModelEntry] = []
        report: list[ReportRow] = []
        data = _data_fingerprint(options)
        for (path, checkpoint), subject in zip(loaded, subjects, strict=True):
            one = ModelExport(
                subject,
                content_digest(checkpoint),
                path,
                staging,
                options,
                data,
                None if options.fresh else former,
                earlier,
                say,
            )
            entry = one.export()
            if entry is not None:
                models.append(entry)
            rows += one.rows
            report += one.report
        _refuse_losses(rows, former)
        files = write_report(staging, report, options.name)
        files |= {
            name: sha256_of_file(staging / name)
            for entry in models
            for name in (entry.model_card, entry.samples)
            if name is not None
        }
        manifest = Manifest(
            bundle_schema="edgehemo.bundle/1",
            name=options.name,
            serial=1 if former is None else former.manifest.serial + 1,
            created_at=datetime.now(UTC).replace(microsecond=0),
            software_version=__version__,
            licence=LICENCE,
            intended_use=INTENDED_USE,
            machine=f"{platform.system()} {platform.machine()}",
            models=models,
            files=files,
        )
        text = manifest.model_dump_json(indent=2) + "\n"
        write_text_atomically(staging / MANIFEST_NAME, text)
        if signer is not None:
            signer.sign(staging)
        load_bundle(staging, trust="files-only").check_files()
        if is_packed(out):
            pack(staging, out)
            shutil.rmtree(staging)
        else:
            _replace_folder(staging, out)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        if error.errno in NO_ROOM:
            raise UsageError(
                f"{out}: cannot be written ({error.strerror}); make room, what stood there is "
                "untouched"
            ) from error
        raise
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    if out.resolve() == SHIPPED_BUNDLE.resolve():
        record_shipped(out)
    return rows


def _refuse_twins(loaded: Sequence[tuple[Path, Checkpoint]]) -> None:
    first: dict[str, Path] = {}
    for path, checkpoint in loaded:
        if checkpoint.task not in BY_TASK:
            raise UsageError(f"{path.name}: this version exports no {checkpoint.task}")
        if checkpoint.task in first:
            raise UsageError(
                f"{first[checkpoint.task].name} and {path.name} are both {checkpoint.task}; "
                "a bundle holds one model a task"
            )
        first[checkpoint.task] = path


def _refuse_losses(rows: Sequence[ExportRow], former: Bundle | None) -> None:
    """WithheldError where failed gates leave nothing, or would take from the earlier bundle."""
    failed = [row for row in rows if row.artefact is None]
    if not failed:
        return
    said = " | ".join(
        f"{row.model} {row.format} {row.precision} fails its gate: {row.problem}" for row in failed
    )
    if len(failed) == len(rows):
        raise WithheldError(f"nothing was written: {said}; try --accuracy-control")
    held = {
        (entry.name, artefact.format, artefact.precision)
        for entry in (() if former is None else former.manifest.models)
        for artefact in entry.artefacts
    }
    if any((row.model, row.format, row.precision) in held for row in failed):
        raise WithheldError(
            f"the bundle stays what it was, for it has what would be lost: {said}; try "
            "--accuracy-control, or another --out"
        )


def _subject_of(path: Path, checkpoint: Checkpoint) -> ExportSubject:
    """UsageError for a checkpoint of ours whose content is not what its task needs."""
    try:
        return BY_TASK[checkpoint.task].load().export_subject(checkpoint)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise UsageError(
            f"{path.name}: is no whole checkpoint of {checkpoint.task} ({lines[0].strip()}); "
            "train it again with this version"
        ) from error


def _refuse_unsuited(subject: ExportSubject, options: ExportOptions) -> None:
    """UsageError for a precision in which this network is of no use, before any work is done."""
    for precision in options.precisions:
        if precision not in subject.precisions:
            raise UsageError(
                f"{subject.name}: no {precision} artefact of it is of use ({subject.why_not}); "
                "choose from " + ", ".join(f"--{name}" for name in subject.precisions)
            )


def _data_fingerprint(options: ExportOptions) -> str:
    """Digest of what the data folders hold, by name, size and time: content is read later."""
    digest = hashlib.sha256()
    for root in (options.calibration, options.evaluation_root):
        if root is None:
            continue
        for path in [root] if root.is_file() else _files_below(root):
            stat = path.stat()
            digest.update(f"{path.name}/{stat.st_size}/{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files_below(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(names))


def _former_bundle(out: Path) -> Bundle | None:
    """The bundle that the export replaces; UsageError where something else stands there."""
    if not out.exists():
        return None
    if out.is_dir() == is_packed(out):
        wanted = "a folder" if out.is_file() else f"one file, named {out.name}"
        raise UsageError(f"{out}: exists and is not {wanted}; give another --out")
    if out.is_dir() and not (out / MANIFEST_NAME).is_file():
        if any(out.iterdir()):
            raise UsageError(f"{out}: exists and is no bundle; give --out another folder")
        return None
    try:
        return load_bundle(out, trust="files-only")
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
    try:
        staging.rename(out)
    except BaseException:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
