"""What an earlier bundle at the same place holds: it is taken over from, and never loses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from edgehemo.bundle.bundle import MANIFEST_NAME, Bundle, load_bundle
from edgehemo.bundle.manifest import Artefact, ArtefactFormat, ModelEntry, ModelTask, Precision
from edgehemo.bundle.packing import is_packed
from edgehemo.errors import BundleError, UsageError, WithheldError
from edgehemo_export.quantisation.options import ExportRow


def former_bundle(out: Path) -> Bundle | None:
    """The bundle that the export replaces; UsageError where something else stands there."""
    if not out.exists():
        return None
    if out.is_dir() == is_packed(out):
        wanted = "a folder" if out.is_file() else f"one file, named {out.name}"
        raise UsageError(f"{out}: exists and is not {wanted}; give another --out")
    if out.is_dir() and not (out / MANIFEST_NAME).is_file():
        if any(out.iterdir()):
            raise UsageError(f"{out}: exists and is not a bundle; give --out another folder")
        return None
    try:
        return load_bundle(out, trust="files-only")
    except BundleError as error:
        raise UsageError(f"{out}: holds a bundle that cannot be read ({error})") from error


def refuse_losses(rows: Sequence[ExportRow], former: Bundle | None, *, advice: str) -> None:
    """WithheldError where failed gates leave nothing, or would take from the earlier bundle.

    advice: what to try then.
    """
    failed = [row for row in rows if row.artefact is None]
    if not failed:
        return
    said = " | ".join(
        f"{row.model} {row.format} {row.precision} fails its gate: {row.problem}" for row in failed
    )
    if len(failed) == len(rows):
        raise WithheldError(f"nothing was written: {said}; {advice}")
    held = {
        (entry.name, artefact.format, artefact.precision)
        for entry in (() if former is None else former.manifest.models)
        for artefact in entry.artefacts
    }
    if any((row.model, row.format, row.precision) in held for row in failed):
        raise WithheldError(
            f"the bundle stays what it was, for it has what would be lost: {said}; {advice}, or "
            "give another --out"
        )


def taken_over(
    former: Bundle,
    task: ModelTask,
    format: ArtefactFormat,
    precision: Precision,
    fingerprint: str,
    folder: Path,
) -> Artefact | None:
    """The earlier artefact where it was made of just the same, its files copied to the folder."""
    if not former.has(task):
        return None
    for artefact in former.model(task).artefacts:
        if (artefact.format, artefact.precision) != (format, precision):
            continue
        if artefact.fingerprint != fingerprint:
            return None
        files = [(artefact.file, artefact.sha256)]
        if artefact.companion is not None:
            files.append((artefact.companion.file, artefact.companion.sha256))
        try:
            for name, digest in files:
                (folder / name).write_bytes(former.checked_bytes(name, digest))
        except BundleError:
            return None  # damaged since: it is made again
        return artefact
    return None


def kept_whole(former: Bundle, exported: Collection[ModelTask], folder: Path) -> list[ModelEntry]:
    """The earlier bundle's models of tasks that are not exported now, their files copied to the
    folder byte for byte. Raises BundleError for a file that is not what its manifest says,
    UsageError for a head or a trunk without the other one.
    """
    for entry in former.manifest.models:
        together = {entry.trunk} if entry.trunk is not None else set(entry.heads)
        if together and (entry.task in exported) != together.issubset(exported):
            others = " and ".join(sorted(together))
            raise UsageError(
                f"--keep-others: in this bundle {entry.task} and {others} are one graph; give the "
                "checkpoints of both"
            )
    entries = [entry for entry in former.manifest.models if entry.task not in exported]
    for entry in entries:
        files = {
            name: former.manifest.files[name] for name in (entry.model_card, entry.samples) if name
        }
        for artefact in entry.artefacts:
            files[artefact.file] = artefact.sha256
            if artefact.companion is not None:
                files[artefact.companion.file] = artefact.companion.sha256
        for name, digest in files.items():
            (folder / name).write_bytes(former.checked_bytes(name, digest))
    return entries
