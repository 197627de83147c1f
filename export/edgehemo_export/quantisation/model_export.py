"""One checkpoint's artefacts: made, reopened in their own runtimes, judged, described."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.bundle import Bundle
from edgehemo.bundle.manifest import Artefact, Companion, InputSpec, ModelEntry, Precision
from edgehemo.errors import BundleError, EdgeHemoError, UsageError
from edgehemo.files.atomic import sha256_of_file, write_bytes_atomically
from edgehemo.inference.worker import WorkerRunner
from edgehemo_export.nets.torch_runner import TorchRunner
from edgehemo_export.quantisation.calibration_set import (
    ADVISED_SAMPLES,
    MIN_SAMPLES,
    CalibrationSet,
    shared_pictures,
)
from edgehemo_export.quantisation.fingerprints import artefact_fingerprint, content_digest
from edgehemo_export.quantisation.formats import (
    PRECISIONS,
    ExportFormat,
    calibrated_among,
    tool_versions,
)
from edgehemo_export.quantisation.former import taken_over
from edgehemo_export.quantisation.gates import DIFFERENCE
from edgehemo_export.quantisation.graph import Files, Graph
from edgehemo_export.quantisation.int8_recipes import (
    RECIPE_VERSION,
    Int8Recipe,
    first_recipes,
    float_layers_of,
    further_recipes,
)
from edgehemo_export.quantisation.options import ExportOptions, ExportRow
from edgehemo_export.quantisation.parity import (
    Reference,
    Verification,
    difference_on,
    differences,
    reference_of,
    verify,
)
from edgehemo_export.quantisation.progress import ExportProgress
from edgehemo_export.quantisation.report import Measured, ReportRow
from edgehemo_export.quantisation.samples import published_samples
from edgehemo_export.quantisation.subject import HeldOut, TrainedModel
from edgehemo_export.quantisation.writers import ArtefactWriter, writer_for

log = logging.getLogger(__name__)


class ModelExport:
    """One model's way into the bundle."""

    def __init__(
        self,
        model: TrainedModel,
        folder: Path,
        options: ExportOptions,
        data: str,
        former: Bundle | None,
        earlier: Mapping[str, Measured],
        progress: ExportProgress,
    ) -> None:
        self.rows: list[ExportRow] = []
        self.report: list[ReportRow] = []
        subject = model.subject
        self._subject = subject
        self._checkpoint = model.path
        self._heads = model.heads
        self._content = content_digest(model.checkpoint, *(h.checkpoint for h in model.heads))
        self._float_layers = float_layers_of(subject.net, subject.float_layers)
        self._sha256 = sha256_of_file(model.path)
        self._folder = folder
        self._options = options
        self._data = data
        self._former = former
        self._earlier = earlier
        self._progress = progress
        self._say = progress.say
        self._writers: dict[str, ArtefactWriter] = {}
        self._references: dict[tuple[int | None, int | None], Reference] = {}
        self._graph = Graph(subject.net, subject.example, subject.free_size_multiple)

    def export(self) -> ModelEntry | None:
        """Make every artefact asked for; the manifest's entry around them, None without any."""
        entry = self._subject.entry([], self._sha256)
        artefacts: list[Artefact] = []
        for item in self._options.formats:
            for precision in self._options.precisions:
                made = self._artefact(item, precision)
                if made is not None:
                    artefacts.append(made)
                self._told(self.report[-1])
        if not artefacts:
            return None
        name = self._subject.name
        stored: dict[str, Any] = {f"input_{i}": item for i, item in enumerate(self._samples)}
        stored |= {f"answer_{i}": item for i, item in enumerate(self._sample_answers)}
        np.savez_compressed(self._folder / f"{name}.samples.npz", **stored)
        changes: dict[str, Any] = {
            "artefacts": artefacts,
            "checkpoint_sha256": self._sha256,
            "samples": f"{name}.samples.npz",
        }
        changes |= self._card(self._checkpoint, name)
        return ModelEntry.model_validate(entry.model_copy(update=changes).model_dump())

    def heads(self) -> list[ModelEntry]:
        """The entries of the models that its graph answers for as well."""
        made = []
        for head in self._heads:
            entry = head.subject.entry([], sha256_of_file(head.path))
            changes = {"trunk": self._subject.task, **self._card(head.path, head.subject.name)}
            made.append(ModelEntry.model_validate(entry.model_copy(update=changes).model_dump()))
        return made

    def _card(self, checkpoint: Path, name: str) -> dict[str, str]:
        """What a checkpoint's card, copied into the bundle, changes in the model's entry."""
        card = checkpoint.with_suffix(".md")
        if not card.is_file():
            return {}
        shutil.copyfile(card, self._folder / f"{name}.md")
        return {"model_card": f"{name}.md"}

    def _artefact(self, item: ExportFormat, precision: Precision) -> Artefact | None:
        name = self._subject.name
        fingerprint = artefact_fingerprint(
            self._content, self._data, item, precision, self._float_layers
        )
        kept = None
        if self._former is not None:
            kept = taken_over(
                self._former, self._subject.task, item.name, precision, fingerprint, self._folder
            )
        if kept is not None:
            self.rows.append(ExportRow(name, item.name, precision, kept, 0.0))
            measured = self._earlier.get(fingerprint)
            self.report.append(
                ReportRow(name, item.name, precision, kept, measured, taken_over=True)
            )
            return kept
        started = time.monotonic()
        failures: list[str] = []
        try:
            writer = self._writer(item)
            reference = self._reference_at(writer)
            for recipe, made in self._candidates(writer, item, precision, reference):
                self._say(f"{name} {item.name} {precision}: verifying" + _with(recipe))
                files = self._written(item, precision, made)
                found, problem = self._verified(item, precision, files[0], reference)
                if found is None or problem:
                    failures.append(problem + _with(recipe))
                    self._say(f"{name} {item.name} {precision}: {failures[-1]}")
                    for file in files:
                        (self._folder / file).unlink()
                    continue
                seconds = round(time.monotonic() - started, 1)
                artefact = self._described(
                    item, precision, files, writer, recipe, found, fingerprint
                )
                self.rows.append(
                    ExportRow(
                        name, item.name, precision, artefact, seconds, warnings=self._warnings
                    )
                )
                measured = Measured.here(
                    seconds, found.run_ms, self._options.threads, reference.answers, found.answers
                )
                self.report.append(ReportRow(name, item.name, precision, artefact, measured))
                return artefact
        except _ConverterError as error:
            failures.append(str(error))
        problem = " | ".join(failures)
        seconds = round(time.monotonic() - started, 1)
        self.rows.append(ExportRow(name, item.name, precision, None, seconds, problem))
        self.report.append(ReportRow(name, item.name, precision, None, None, problem=problem))
        return None

    def _told(self, row: ReportRow) -> None:
        """How an artefact came out, and how far the export is now."""
        ending = "passes its gate"
        if row.taken_over:
            ending = "up to date"
        elif row.artefact is None:
            ending = f"fails its gate: {row.problem}"
        self._progress.finished(
            f"{row.model} {row.format} {row.precision}: {ending}", taken_over=row.taken_over
        )

    def _verified(
        self, item: ExportFormat, precision: Precision, file: str, reference: Reference
    ) -> tuple[Verification | None, str]:
        """What a written artefact reached, and its problems as one line, empty without any."""
        try:
            found = verify(
                self._subject,
                self._held_out,
                reference,
                self._folder / file,
                item.name,
                precision,
                threads=self._options.threads,
            )
        except BundleError as error:  # its own runtime does not open it
            return None, str(error)
        return found, "; ".join(found.problems)

    def _candidates(
        self,
        writer: ArtefactWriter,
        item: ExportFormat,
        precision: Precision,
        reference: Reference,
    ) -> Iterator[tuple[Int8Recipe | None, Files]]:
        """What is tried in turn, each made when it is asked for.

        Of the calibrators the one that differs least from PyTorch on kept-out inputs comes first.
        Accuracy control goes on to the others, the slow ones last, then to layers in float.
        """
        label = f"{self._subject.name} {item.name} {precision}"
        if not PRECISIONS[precision].calibrated:
            self._say(label)
            yield None, _converted(lambda: writer.plain(precision))
            return
        batches = [tile[None] for tile in self._calibration.tiles]
        tried: list[tuple[float, Int8Recipe, Files]] = []
        for recipe in first_recipes(item.calibrators, self._float_layers):
            self._say(f"{label}: {recipe}")
            made = _converted(partial(writer.int8, batches, recipe))
            tried.append((self._apart(item, made, reference), recipe, made))
        tried.sort(key=lambda candidate: candidate[0])
        going_on = self._options.accuracy_control
        for _, recipe, made in tried if going_on else tried[:1]:
            yield recipe, made
        if not going_on:
            return
        best = [recipe.calibrator for _, recipe, _ in tried][:2]
        for recipe in (
            *first_recipes(item.spare_calibrators, self._float_layers),
            *further_recipes(self._subject.net, best, self._float_layers),
        ):
            self._say(f"{label}: {recipe}")
            yield recipe, _converted(partial(writer.int8, batches, recipe))

    def _apart(self, item: ExportFormat, made: Files, reference: Reference) -> float:
        """Mean difference from PyTorch, infinite for what its runtime does not open."""
        with tempfile.TemporaryDirectory() as folder:
            path = _write(Path(folder), "candidate", made)[0]
            try:
                return difference_on(reference, Path(folder) / path, item.name)
            except BundleError:
                return math.inf

    def _written(self, item: ExportFormat, precision: Precision, made: Files) -> list[str]:
        stem = f"{self._subject.name}.{precision}"
        if item.name != "onnx":
            stem += f".{item.name}"
        return _write(self._folder, stem, made)

    def _described(
        self,
        item: ExportFormat,
        precision: Precision,
        files: Sequence[str],
        writer: ArtefactWriter,
        recipe: Int8Recipe | None,
        found: Verification,
        fingerprint: str,
    ) -> Artefact:
        main, *others = (self._folder / name for name in files)
        companion = None
        if others:
            companion = Companion(
                file=others[0].name,
                sha256=sha256_of_file(others[0]),
                bytes=others[0].stat().st_size,
            )
        with WorkerRunner(main, item.name, threads=self._options.threads) as runner:
            again = [runner.run(codes) for codes in self._samples]
        record: dict[str, str | int | float | list[str]] = {"recipe_version": RECIPE_VERSION}
        if recipe is not None:
            record |= {
                "calibrator": recipe.calibrator,
                "kept_in_float": list(recipe.keep_float),
                "calibration_samples": len(self._calibration.tiles),
                "calibration_digest": self._calibration.digest,
            }
        return Artefact(
            format=item.name,
            precision=precision,
            file=main.name,
            sha256=sha256_of_file(main),
            bytes=main.stat().st_size,
            companion=companion,
            height_px=writer.fixed_height_px,
            width_px=writer.fixed_width_px,
            parity=found.figures,
            recipe=record,
            reproduction=round(differences(self._sample_answers, again)[DIFFERENCE], 6),
            versions={**tool_versions(item), found.runtime: found.version},
            fingerprint=fingerprint,
        )

    @cached_property
    def _held_out(self) -> HeldOut:
        self._say(f"{self._subject.name}: kept-out samples")
        return self._subject.held_out(self._options.evaluation_root)

    def _reference_at(self, writer: ArtefactWriter) -> Reference:
        """PyTorch's answers at the size the writer fixes, kept for its other precisions."""
        key = (writer.fixed_height_px, writer.fixed_width_px)
        if key not in self._references:
            held_out = self._held_out
            self._say(f"{self._subject.name}: PyTorch reference")
            spec = self._fixed_spec(writer)
            self._references[key] = reference_of(self._subject, held_out, spec)
        return self._references[key]

    def _writer(self, item: ExportFormat) -> ArtefactWriter:
        """One a format: what it converts serves all its precisions."""
        if item.name not in self._writers:
            self._writers[item.name] = writer_for(item, self._graph)
        return self._writers[item.name]

    def _fixed_spec(self, writer: ArtefactWriter) -> InputSpec | None:
        """What the artefact takes where it fixes a size, else None."""
        if writer.fixed_height_px is None:
            return None
        fixed = {"height_px": writer.fixed_height_px, "width_px": writer.fixed_width_px}
        return self._subject.entry([], self._sha256).input.model_copy(update=fixed)

    @cached_property
    def _calibration(self) -> CalibrationSet:
        assert self._options.calibration is not None, "refused before"
        self._say(f"{self._subject.name}: calibration samples")
        found = self._subject.calibration(self._options.calibration)
        if len(found.tiles) < MIN_SAMPLES:
            raise UsageError(
                f"{self._subject.name}: only {len(found.tiles)} calibration samples, int8 needs "
                f"at least {MIN_SAMPLES} (better {ADVISED_SAMPLES})"
            )
        both = shared_pictures(found.files, self._held_out.files)
        if both:
            raise UsageError(
                f"{both[0].name} is in the calibration and in the evaluation set of "
                f"{self._subject.name}; keep them apart, or parity would flatter itself"
            )
        return found

    @property
    def _warnings(self) -> tuple[str, ...]:
        if not calibrated_among(self._options.precisions):
            return ()
        found = self._calibration
        out = []
        if len(found.tiles) < ADVISED_SAMPLES:
            out.append(f"only {len(found.tiles)} calibration samples; {ADVISED_SAMPLES} are better")
        if found.skipped:
            out.append(f"{len(found.skipped)} calibration images unreadable: {found.skipped[0]}")
        return tuple(out)

    @cached_property
    def _samples(self) -> list[NDArray[np.uint8]]:
        return published_samples(self._subject)

    @cached_property
    def _sample_answers(self) -> list[NDArray[np.float32]]:
        runner = TorchRunner(self._subject.net)
        return [runner.run(codes) for codes in self._samples]


class _ConverterError(Exception):
    """A library could not write the network in its format."""


def _converted(convert: Callable[[], Files]) -> Files:
    """What a converter makes. They raise what they please: told as one line, as of a gate."""
    try:
        return convert()
    except (EdgeHemoError, OSError, MemoryError):
        raise
    except Exception as error:
        log.debug("conversion failed", exc_info=True)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[0] if lines else "no reason given"
        raise _ConverterError(
            f"it could not be written ({type(error).__name__}: {said})"
        ) from error


def _write(folder: Path, stem: str, made: Files) -> list[str]:
    names = []
    for suffix, data in made:
        write_bytes_atomically(folder / f"{stem}{suffix}", data)
        names.append(f"{stem}{suffix}")
    return names


def _with(recipe: Int8Recipe | None) -> str:
    return "" if recipe is None else f" ({recipe})"
