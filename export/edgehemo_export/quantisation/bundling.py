"""`edgehemo export`: checkpoints to verified artefacts in a bundle.

Each artefact is reopened in its own runtime, in a fresh process, and must pass its gate before it
enters the bundle; a bundle appears whole or not at all. One that fails is left out and reported,
and takes nothing away that an earlier bundle at the same place holds. What that bundle has already,
made from the same weights, data, recipe and versions, is taken over.
"""

from __future__ import annotations

import errno
import platform
import shutil
import tempfile
from collections.abc import Sequence
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
from edgehemo.errors import UsageError
from edgehemo.files.atomic import sha256_of_file, write_text_atomically
from edgehemo.version import __version__
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.quantisation.fingerprints import data_fingerprint
from edgehemo_export.quantisation.former import former_bundle, kept_whole, refuse_losses
from edgehemo_export.quantisation.model_export import ModelExport
from edgehemo_export.quantisation.options import ExportOptions, ExportRow, Say
from edgehemo_export.quantisation.progress import ExportProgress
from edgehemo_export.quantisation.report import ReportRow, earlier_measurements, write_report
from edgehemo_export.quantisation.signing import Signer
from edgehemo_export.quantisation.subject import ExportSubject, TrainedModel
from edgehemo_export.training.record import taught

LICENCE = "Apache-2.0"
INTENDED_USE = (
    "Research and screening aid on stained blood smears; not a diagnosis, not a medical device."
)
# What the system says when a file cannot grow any more.
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def export_bundle(
    trained: Sequence[TrainedModel],
    out: Path,
    options: ExportOptions,
    *,
    signer: Signer | None,
    say: Say,
) -> list[ExportRow]:
    """Export models into a bundle folder or one ZIP file, replacing an older one there whole. Where
    other models are kept and none is there, they are the shipped bundle's.

    An artefact that fails its gate with every recipe is not in the bundle, and its row says why.
    Raises WithheldError where none is left of any model, or where the bundle at ``out`` has an
    artefact that would so be lost; it is then what it was.
    """
    options.refuse_uncalibrated()
    refuse_twins([(model.path, model.checkpoint) for model in trained])
    former = former_bundle(out)
    if options.keep_others and former is None:
        former = load_bundle(SHIPPED_BUNDLE, trust="files-only")
    for model in trained:
        _refuse_unsuited(model.subject, options)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    earlier = {} if former is None else earlier_measurements(former)
    try:
        rows: list[ExportRow] = []
        entries: list[ModelEntry] = []
        report: list[ReportRow] = []
        data = data_fingerprint(options)
        progress = ExportProgress(
            len(trained) * len(options.formats) * len(options.precisions), say
        )
        for model in trained:
            one = ModelExport(
                model,
                staging,
                options,
                data,
                None if options.fresh else former,
                earlier,
                progress,
            )
            entry = one.export()
            if entry is not None:
                entries += [entry, *one.heads()]
            rows += one.rows
            report += one.report
        refuse_losses(rows, former, advice=_advice(options))
        if options.keep_others and former is not None:
            exported = {one.subject.task for m in trained for one in (m, *m.heads)}
            kept = kept_whole(former, exported, staging)
            entries = _in_order(former, [*kept, *entries])
            report += [
                ReportRow(
                    entry.name,
                    artefact.format,
                    artefact.precision,
                    artefact,
                    earlier.get(artefact.fingerprint or ""),
                    taken_over=True,
                )
                for entry in kept
                for artefact in entry.artefacts
            ]
        files = write_report(staging, report, options.name)
        files |= {
            name: sha256_of_file(staging / name)
            for entry in entries
            for name in (entry.model_card, entry.samples)
            if name is not None
        }
        manifest = Manifest(
            schema="edgehemo.bundle/1",
            name=options.name,
            serial=1 if former is None else former.manifest.serial + 1,
            created_at=datetime.now(UTC).replace(microsecond=0),
            software_version=__version__,
            licence=LICENCE,
            intended_use=INTENDED_USE,
            machine=f"{platform.system()} {platform.machine()}",
            models=entries,
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


def refuse_twins(checkpoints: Sequence[tuple[Path, Checkpoint]]) -> None:
    """UsageError where two checkpoints are of one task, before any work is done.

    A pupil's record holds how its teacher was trained: where both are given, that is said.
    """
    first: dict[str, tuple[Path, Checkpoint]] = {}
    for path, checkpoint in checkpoints:
        if checkpoint.task not in first:
            first[checkpoint.task] = (path, checkpoint)
            continue
        other, earlier = first[checkpoint.task]
        said = f"{other} and {path} are both {checkpoint.task}; a bundle holds one model a task"
        if taught(earlier, teacher=checkpoint):
            said += f" ({path} is the teacher of {other}: leave it out)"
        elif taught(checkpoint, teacher=earlier):
            said += f" ({other} is the teacher of {path}: leave it out)"
        raise UsageError(said)


def _in_order(former: Bundle, entries: Sequence[ModelEntry]) -> list[ModelEntry]:
    """Entries in the order of the earlier bundle, new tasks after them."""
    order = [entry.task for entry in former.manifest.models]
    return sorted(entries, key=lambda e: order.index(e.task) if e.task in order else len(order))


def _advice(options: ExportOptions) -> str:
    """What to try where gates fail."""
    if options.accuracy_control:
        return "every recipe was tried; try another --calibration, with more kinds of fields"
    return "try without --one-recipe"


def _refuse_unsuited(subject: ExportSubject, options: ExportOptions) -> None:
    """UsageError for a precision in which this network is of no use, before any work is done."""
    for precision in options.precisions:
        if precision not in subject.precisions:
            raise UsageError(
                f"{subject.name}: no {precision} artefact of it is of use ({subject.why_not}); "
                "choose from " + ", ".join(f"--{name}" for name in subject.precisions)
            )


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
