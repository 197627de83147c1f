"""Whether an artefact answers as PyTorch does: reopened in its runtime, in a fresh process.

Judged by the table in `edgehemo_export.quantisation.gates`: how far it answers from PyTorch on
kept-out inputs, then by the figures of its task. A regression is asked beyond its calibration range
as well, where int8 graphs clip.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import ArtefactFormat, InputSpec, Precision
from edgehemo.field.canonical import CLEAR_FIELD_CODE
from edgehemo.inference import Runner
from edgehemo.inference.worker import WorkerRunner
from edgehemo_export.evaluation.tiled_runner import TiledRunner
from edgehemo_export.nets.torch_runner import TorchRunner
from edgehemo_export.quantisation.gates import (
    DIFFERENCE,
    DIFFERENCES,
    FOLLOWED,
    MEAN_DIFFERENCE,
    Figures,
    problems,
)
from edgehemo_export.quantisation.subject import ExportSubject, HeldOut

# Of the kept-out inputs at most this many are compared value by value.
COMPARED_INPUTS = 48
# Optical density is multiplied by these to leave the calibrated range on both sides.
BEYOND_DENSITIES = (0.25, 1.6, 2.2)
BEYOND_INPUTS = 12
# Where PyTorch leaves the range it answered in on kept-out inputs by more than this share of its
# width, an artefact is held against it. A clipped one stays at the range's end.
BEYOND_SHARE = 0.1


@dataclass(frozen=True)
class Reference:
    """PyTorch's side, computed once a model and size.

    spec: the input as the artefact takes it; where it fixes what the model leaves free, both sides
    are given tiles of that size. beyond: inputs past the calibration range with their answers,
    empty for what is no regression.
    """

    spec: InputSpec | None
    inputs: tuple[NDArray[np.uint8], ...]
    answers: tuple[NDArray[np.float32], ...]
    figures: Figures
    beyond: tuple[NDArray[np.uint8], ...]
    beyond_answers: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Verification:
    """What an artefact reached, what it failed, and its answers to the reference's inputs.

    run_ms: median time of one run over them.
    """

    figures: Figures
    problems: tuple[str, ...]
    answers: tuple[NDArray[np.float32], ...]
    run_ms: float
    runtime: str
    version: str


def reference_of(
    subject: ExportSubject, held_out: HeldOut, spec: InputSpec | None = None
) -> Reference:
    """PyTorch's answers and figures on the kept-out samples; spec: see `Reference`."""
    runner = sized(TorchRunner(subject.net), spec)
    inputs = tuple(spread(held_out.inputs, COMPARED_INPUTS))
    beyond: tuple[NDArray[np.uint8], ...] = ()
    if subject.estimates:
        beyond = tuple(
            stained(codes, factor)
            for codes in spread(inputs, BEYOND_INPUTS)
            for factor in BEYOND_DENSITIES
        )
    return Reference(
        spec=spec,
        inputs=inputs,
        answers=tuple(runner.run(codes) for codes in inputs),
        figures=held_out.measure(runner),
        beyond=beyond,
        beyond_answers=tuple(runner.run(codes) for codes in beyond),
    )


def sized(runner: Runner, spec: InputSpec | None) -> Runner:
    """The runner, tiled where the artefact fixes a size."""
    return runner if spec is None else TiledRunner(runner, spec)


def spread(inputs: Sequence[NDArray[np.uint8]], count: int) -> list[NDArray[np.uint8]]:
    """At most ``count`` of the inputs, evenly from first to last."""
    if len(inputs) <= count:
        return list(inputs)
    return [inputs[int(i)] for i in np.linspace(0, len(inputs) - 1, count)]


def stained(codes: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Codes with every optical density multiplied by a factor."""
    transmittance = np.maximum(codes, 1) / CLEAR_FIELD_CODE
    changed = CLEAR_FIELD_CODE * transmittance**factor
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def verify(
    subject: ExportSubject,
    held_out: HeldOut,
    reference: Reference,
    path: Path,
    format: ArtefactFormat,
    precision: Precision,
    *,
    threads: int = 1,
) -> Verification:
    """Open an artefact in a fresh process and compare it with PyTorch."""
    with WorkerRunner(path, format, threads=threads) as opened:
        runner = sized(opened, reference.spec)
        answers, seconds = [], []
        for codes in reference.inputs:
            answers.append(runner.run(codes))
            seconds.append(opened.last_run_s)
        figures = differences(reference.answers, answers)
        failed = problems(DIFFERENCES, {}, figures, precision)
        if not failed:
            figures |= {f"{name}_pytorch": value for name, value in reference.figures.items()}
            figures |= held_out.measure(runner)
            if reference.beyond:
                figures[FOLLOWED] = followed_beyond(reference, runner, subject.estimates)
            failed = problems(subject.gates, reference.figures, figures, precision)
        return Verification(
            {name: round(float(value), 6) for name, value in figures.items()},
            tuple(failed),
            tuple(answers),
            1e3 * statistics.median(seconds),
            runner.name,
            runner.version,
        )


def difference_on(
    reference: Reference, path: Path, format: ArtefactFormat, *, threads: int = 1
) -> float:
    """Mean difference from PyTorch, by which one calibrator is preferred to another."""
    with WorkerRunner(path, format, threads=threads) as opened:
        runner = sized(opened, reference.spec)
        answers = [runner.run(codes) for codes in reference.inputs]
    return differences(reference.answers, answers)[MEAN_DIFFERENCE]


def differences(
    wanted: Sequence[NDArray[np.float32]], got: Sequence[NDArray[np.float32]]
) -> Figures:
    """Largest and mean difference, relative to the wanted value where that is above 1."""
    worst, total, count = 0.0, 0.0, 0
    for theirs, ours in zip(wanted, got, strict=True):
        if theirs.shape != ours.shape:
            return {DIFFERENCE: float("inf"), MEAN_DIFFERENCE: float("inf")}
        apart = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
        # What is no number is as far apart as can be.
        apart = np.where(np.isfinite(apart), apart, np.inf)
        worst = max(worst, float(apart.max(initial=0.0)))
        total, count = total + float(apart.sum()), count + apart.size
    return {DIFFERENCE: worst, MEAN_DIFFERENCE: total / max(1, count)}


def followed_beyond(reference: Reference, runner: Runner, outputs: int) -> float:
    """How far an artefact follows PyTorch past the range of the kept-out answers, at its worst.

    outputs: how many of the first ones are looked at. 1 is all the way, 0 is clipped.
    """
    usual = np.concatenate(reference.answers)[:, :outputs]
    low, high = usual.min(axis=0), usual.max(axis=0)
    width = np.maximum(high - low, 1e-6)
    worst = 1.0
    for codes, answer in zip(reference.beyond, reference.beyond_answers, strict=True):
        wanted, got = answer[:, :outputs], runner.run(codes)[:, :outputs]
        over, under = wanted - high, low - wanted
        past = np.maximum(over, under)
        reached = np.where(over >= under, got - high, low - got)
        far = past > BEYOND_SHARE * width
        if far.any():
            worst = min(worst, float((reached[far] / past[far]).min()))
    return max(worst, 0.0)
