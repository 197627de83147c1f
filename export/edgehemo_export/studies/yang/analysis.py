"""From answers to figures: what the page and the files are made of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo.measurands import Measurand
from edgehemo.profile.analyser import Agreement, ComparisonLine
from edgehemo_calibration.analyser.comparison import bland_altman, deming
from edgehemo_calibration.analyser.line import left_out_estimates
from edgehemo_export.evaluation.statistics import EvaluationFigure
from edgehemo_export.studies.yang.agreement import (
    PCC,
    R2,
    Answers,
    Band,
    by_concentration,
    mean_figures,
    shrinkage,
    with_intervals,
)
from edgehemo_export.studies.yang.comparators import MEAN, ONE_INDEX
from edgehemo_export.studies.yang.configuration import YangConfiguration
from edgehemo_export.studies.yang.density import (
    Densities,
    DensityTest,
    densities,
    density_tests,
)
from edgehemo_export.studies.yang.folding import NETWORK, Repeated, SeedAnswers, Tables
from edgehemo_export.studies.yang.patients import Row

Array = NDArray[np.float64]
Figures = Mapping[str, EvaluationFigure]

# Methods whose answers to density are tested, and those tried on other sources: the network as it
# is, and through a straight line that the source's other patients give, as a laboratory would
# calibrate its own microscope.
DENSITY_METHODS = (NETWORK, ONE_INDEX)
EXTERNAL_METHODS = (NETWORK, ONE_INDEX)
LINE_NAMES: Mapping[str, str] = {
    NETWORK: f"{NETWORK}, line of the others",
    ONE_INDEX: "one physical index, line of the others",
    MEAN: "the mean of the others",
}
MIN_EXTERNAL_PATIENTS = 4


@dataclass(frozen=True)
class MeasurandAnalysis:
    """Of one measurand on the internal source. methods: by patient, over usual fields; single: the
    network by single usual field. agreement, line, bands, slope: of the network by patient.
    answers: those behind, by method; density: by method, empty where no patient has two fields.
    """

    methods: Mapping[str, Figures]
    single: Figures
    agreement: Agreement
    line: ComparisonLine | None
    bands: Sequence[Band]
    slope: EvaluationFigure
    answers: Mapping[str, Answers]
    density: Mapping[str, DensityTest]


@dataclass(frozen=True)
class ExternalAnalysis:
    """Of one measurand on another source, by patient. figures: by method, raw and as `LINE_NAMES`
    calls them.
    """

    figures: Mapping[str, Figures]
    answers: Mapping[str, Answers]
    patients: int
    fields: int


@dataclass(frozen=True)
class Analysis:
    """densities: of all internal fields; relative: method -> measurand -> answers to single fields,
    all of them, that the density tests are made from. repeated: the network by patient in the folds
    that were trained again.
    """

    internal: Mapping[Measurand, MeasurandAnalysis]
    external: Mapping[str, Mapping[Measurand, ExternalAnalysis]]
    densities: Densities
    fields: Mapping[str, Mapping[Measurand, Answers]]
    repeated: Mapping[Measurand, Answers]


def analysed(
    tables: Tables,
    by_seed: Mapping[int, SeedAnswers],
    repeated: Repeated,
    configuration: YangConfiguration,
) -> Analysis:
    """Everything that is told of a run."""
    rows, rounds = tables.internal, configuration.bootstrap_rounds
    usual = usual_rows(rows)
    methods = list(next(iter(by_seed.values())).internal)
    fields = {
        method: {
            measurand: _answers(
                rows,
                measurand,
                {seed: own.internal[method][:, column] for seed, own in by_seed.items()},
            )
            for column, measurand in enumerate(tables.measurands)
        }
        for method in methods
        if all(method in own.internal for own in by_seed.values())
    }
    found = densities(
        np.array([row.field.indices.cell_cover for row in rows]), [row.group for row in rows]
    )
    density = {
        method: density_tests(
            found,
            fields[method],
            rounds=rounds,
            permutations=configuration.permutations,
            seed=configuration.seeds[0],
            r2={
                measurand: mean_figures(known(own.of(usual)).by_patient()).get(R2, 0.0)
                for measurand, own in fields[method].items()
            },
        )
        for method in DENSITY_METHODS
        if method in fields and _whole(fields[method])
    }
    return Analysis(
        internal={
            measurand: _internal(measurand, fields, usual, density, rounds)
            for measurand in tables.measurands
        },
        external={
            name: _external(asked, name, tables, by_seed, rounds)
            for name, asked in tables.external.items()
        },
        densities=found,
        fields=fields,
        repeated={
            measurand: _repeated(rows, measurand, column, repeated)
            for column, measurand in enumerate(tables.measurands)
        },
    )


def _repeated(rows: Sequence[Row], measurand: Measurand, column: int, of: Repeated) -> Answers:
    """By patient, over usual fields, every training by its seed."""
    chosen = [row for row, kept in zip(rows, of.chosen, strict=True) if kept]
    by_seed = {seed: values[:, column] for seed, values in of.by_seed.items()}
    return _answers(chosen, measurand, by_seed).of(usual_rows(chosen)).by_patient()


def usual_rows(rows: Sequence[Row]) -> NDArray[np.bool_]:
    """Which fields the figures by patient stand on (n,): those as an operator chooses them."""
    return np.array([row.field.place == "usual" for row in rows], dtype=bool)


def _answers(rows: Sequence[Row], measurand: Measurand, by_seed: Mapping[int, Array]) -> Answers:
    return Answers(
        [row.group for row in rows], np.array([row.values[measurand] for row in rows]), by_seed
    )


def _whole(answers: Mapping[Measurand, Answers]) -> bool:
    return all(bool(np.isfinite(each.mean).all()) for each in answers.values())


def known(answers: Answers) -> Answers:
    """The items that every seed answered."""
    return answers.of(np.isfinite(answers.mean))


def told(method: str, answers: Answers, rounds: int) -> Figures:
    """The figures of a method; the mean of the others correlates with nothing but who is left out,
    so it has no correlation.
    """
    found = with_intervals(answers, rounds)
    if method in (MEAN, LINE_NAMES[MEAN]):
        found.pop(PCC, None)
    return found


def _internal(
    measurand: Measurand,
    fields: Mapping[str, Mapping[Measurand, Answers]],
    usual: NDArray[np.bool_],
    density: Mapping[str, Mapping[Measurand, DensityTest]],
    rounds: int,
) -> MeasurandAnalysis:
    by_patient = {
        method: known(of[measurand].of(usual)).by_patient() for method, of in fields.items()
    }
    network = by_patient[NETWORK]
    return MeasurandAnalysis(
        methods={method: told(method, own, rounds) for method, own in by_patient.items()},
        single=with_intervals(fields[NETWORK][measurand].of(usual), rounds),
        agreement=bland_altman(network.truth, network.mean),
        line=deming(network.truth, network.mean),
        bands=by_concentration(network, measurand, rounds),
        slope=shrinkage(network, rounds),
        answers=by_patient,
        density={method: tests[measurand] for method, tests in density.items() if tests},
    )


def _external(
    rows: Sequence[Row],
    name: str,
    tables: Tables,
    by_seed: Mapping[int, SeedAnswers],
    rounds: int,
) -> dict[Measurand, ExternalAnalysis]:
    out: dict[Measurand, ExternalAnalysis] = {}
    for column, measurand in enumerate(tables.measurands):
        if not rows or any(measurand not in row.values for row in rows):
            continue
        answers: dict[str, Answers] = {}
        for method in EXTERNAL_METHODS:
            each = {
                seed: own.external[name][method][:, column]
                for seed, own in by_seed.items()
                if method in own.external[name]
            }
            if len(each) < len(by_seed):
                continue
            # By sample, not by blood count: two samples of one patient are two measurements.
            samples = known(_answers_of_samples(rows, measurand, each)).by_patient()
            if not len(samples.truth):
                continue
            groups = _groups_of(rows, samples.groups)
            raw = Answers(groups, samples.truth, samples.by_seed)
            if method == NETWORK:
                answers[method] = raw
            if (line := calibrated(raw, len(rows) / len(groups))) is not None:
                answers[LINE_NAMES[method]] = line
        if not answers:
            continue
        truth = next(iter(answers.values()))
        answers[LINE_NAMES[MEAN]] = mean_of_others(truth)
        out[measurand] = ExternalAnalysis(
            {method: told(method, own, rounds) for method, own in answers.items()},
            answers,
            len(set(truth.groups)),
            len(rows),
        )
    return out


def _answers_of_samples(
    rows: Sequence[Row], measurand: Measurand, by_seed: Mapping[int, Array]
) -> Answers:
    return Answers(
        [row.patient for row in rows], np.array([row.values[measurand] for row in rows]), by_seed
    )


def _groups_of(rows: Sequence[Row], samples: Sequence[str]) -> list[str]:
    group = {row.patient: row.group for row in rows}
    return [group[sample] for sample in samples]


def calibrated(answers: Answers, fields_per_sample: float) -> Answers | None:
    """Each sample through the line of few pairs that the other patients give
    (`edgehemo_calibration.analyser.line`); None where they determine none.
    """
    names = sorted(set(answers.groups))
    if len(names) < MIN_EXTERNAL_PATIENTS:
        return None
    groups = np.array([names.index(group) for group in answers.groups], dtype=np.int64)
    out: dict[int, Array] = {}
    for seed, values in answers.by_seed.items():
        made = left_out_estimates(
            values[:, None], answers.truth, groups, fields_per_sample=max(1.0, fields_per_sample)
        )
        if made is None:
            return None
        out[seed] = made
    return Answers(answers.groups, answers.truth, out)


def mean_of_others(answers: Answers) -> Answers:
    """The answer "the mean of the other patients"."""
    groups = np.array(answers.groups)
    values = np.array(
        [
            float(answers.truth[groups != group].mean()) if (groups != group).any() else np.nan
            for group in answers.groups
        ]
    )
    return Answers(answers.groups, answers.truth, dict.fromkeys(answers.by_seed, values))
