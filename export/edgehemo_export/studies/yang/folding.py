"""Ten-fold answers: every field of the internal source by a network, and by comparators, that never
saw its patient; every external field by all of a seed's networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.measurands import Measurand
from edgehemo_export.studies.yang.comparators import compared
from edgehemo_export.studies.yang.configuration import YangConfiguration
from edgehemo_export.studies.yang.folds import folds_of
from edgehemo_export.studies.yang.network import BloodCountTask, answers, trained
from edgehemo_export.studies.yang.patients import Row, Source, rows_of, truth_of

Array = NDArray[np.float64]

NETWORK = "ResNet18"


@dataclass(frozen=True)
class Tables:
    """Fields as rows. internal: of what is learnt from; external: of each further source by name.
    measurands: those the internal source has.
    """

    internal: Sequence[Row]
    external: Mapping[str, Sequence[Row]]
    measurands: tuple[Measurand, ...]


@dataclass(frozen=True)
class SeedAnswers:
    """Answers of one seed, float64 (n, k), NaN where a method has none. fold: of each internal row
    (n,). internal: by method. external: source -> method -> answers, of all folds their mean.
    losses: of each fold's network, on its way.
    """

    fold: NDArray[np.intp]
    internal: Mapping[str, Array]
    external: Mapping[str, Mapping[str, Array]]
    losses: Sequence[Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Repeated:
    """The network's answers to some internal rows by trainings that differ by chance alone.

    chosen: which rows (n,). by_seed: seed -> float64 (m, k) of those.
    """

    chosen: NDArray[np.bool_]
    by_seed: Mapping[int, Array]


def tables_of(sources: Sequence[Source]) -> Tables:
    """Of the sources, the internal one first."""
    internal, *others = sources
    return Tables(
        rows_of(internal), {source.name: rows_of(source) for source in others}, internal.measurands
    )


def fold_of_rows(rows: Sequence[Row], folds: int, seed: int) -> NDArray[np.intp]:
    """The fold of each row, by its patient; dealt out by the first measurand."""
    return folds_of(
        [row.group for row in rows],
        np.array([next(iter(row.values.values())) for row in rows]),
        folds,
        seed,
    )


def network_fold(
    tables: Tables,
    held_out: NDArray[np.bool_],
    configuration: YangConfiguration,
    seed: int,
    work: Callable[[], Path],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Train on all rows but the held-out ones (n,), answer these and the external ones; as JSON.

    work: the folder for the state of the training.
    """
    rows, measurands = tables.internal, tables.measurands
    training = [row for row, out in zip(rows, held_out, strict=True) if not out]
    names = sorted({row.patient for row in training})
    by_patient = {name: [row for row in training if row.patient == name] for name in names}
    task = BloodCountTask(
        [[row.field.codes for row in by_patient[name]] for name in names],
        truth_of([by_patient[name][0] for name in names], measurands),
        configuration.fields.crop_px,
    )
    curve: dict[str, list[float]] = {"step": [], "loss": []}

    def reached(step: int, parts: Mapping[str, float]) -> None:
        curve["step"].append(float(step))
        curve["loss"].append(parts["loss"])
        tell(f"step {step} of {configuration.loop.steps}, loss {parts['loss']:.3f}")

    loop = configuration.loop.model_copy(update={"seed": seed})
    net = trained(task, loop, work(), start=configuration.start, progress=reached)

    def said(asked: Sequence[Row], of: str) -> list[list[float]]:
        total = len(asked)

        def at(done: int) -> None:
            if done % 25 == 0:
                tell(f"{of}, field {done} of {total}")

        found = answers(net, [row.field.codes for row in asked], at)
        return [[float(value) for value in row] for row in found]

    return {
        "held_out": said([r for r, out in zip(rows, held_out, strict=True) if out], "held out"),
        "external": {name: said(asked, name) for name, asked in tables.external.items()},
        "curve": curve,
    }


def comparator_folds(tables: Tables, fold: NDArray[np.intp]) -> dict[str, Any]:
    """What the comparators say, fold by fold, and the mean of all folds of external rows; JSON."""
    internal: dict[str, Array] = {}
    external: dict[str, dict[str, list[Array]]] = {name: {} for name in tables.external}
    shape = (len(tables.internal), len(tables.measurands))
    outside = [row for asked in tables.external.values() for row in asked]
    for number in range(int(fold.max()) + 1):
        out = fold == number
        training = [row for row, o in zip(tables.internal, out, strict=True) if not o]
        held_out = [row for row, o in zip(tables.internal, out, strict=True) if o]
        for method, values in compared(training, [*held_out, *outside], tables.measurands).items():
            internal.setdefault(method, np.full(shape, np.nan))[out] = values[: len(held_out)]
            start = len(held_out)
            for name, asked in tables.external.items():
                own = values[start : start + len(asked)]
                external[name].setdefault(method, []).append(own)
                start += len(asked)
    return {
        "internal": {method: _plain(values) for method, values in internal.items()},
        "external": {
            name: {method: _plain(np.mean(each, axis=0)) for method, each in methods.items()}
            for name, methods in external.items()
        },
    }


def seed_answers(
    tables: Tables,
    fold: NDArray[np.intp],
    folds: Sequence[Mapping[str, Any]],
    comparators: Mapping[str, Any],
) -> SeedAnswers:
    """What the parts of one seed say together: ``folds`` as `network_fold` gives them, in order."""
    network = np.full((len(tables.internal), len(tables.measurands)), np.nan)
    for number, part in enumerate(folds):
        network[fold == number] = np.array(part["held_out"], np.float64)
    internal = {NETWORK: network}
    internal |= {name: _array(values) for name, values in comparators["internal"].items()}
    external: dict[str, dict[str, Array]] = {}
    for name in tables.external:
        each = [_array(part["external"][name]) for part in folds]
        external[name] = {NETWORK: np.mean(each, axis=0)}
        external[name] |= {
            method: _array(values) for method, values in comparators["external"][name].items()
        }
    return SeedAnswers(fold, internal, external, [part["curve"] for part in folds])


def _plain(values: Array) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in values]


def _array(values: Sequence[Sequence[float | None]]) -> Array:
    return np.array([[np.nan if v is None else v for v in row] for row in values], np.float64)
