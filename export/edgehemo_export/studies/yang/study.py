"""The study of Yang et al. 2025: HGB, HCT and RBC of a patient from fields of the smear.

Patients' fields are read or drawn, a ResNet18 is trained in ten folds grouped by patient, its
answers are held against simple ones, tested for what the density of a field does to them, and tried
on other sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.evaluation.statistics import EvaluationFigure
from edgehemo_export.studies.study import (
    PlannedPart,
    Prediction,
    Study,
    StudyContext,
    StudyResult,
    Table,
)
from edgehemo_export.studies.yang import page_parts, sections
from edgehemo_export.studies.yang.analysis import Analysis, analysed
from edgehemo_export.studies.yang.configuration import Start, YangConfiguration
from edgehemo_export.studies.yang.density import MARGIN
from edgehemo_export.studies.yang.folding import (
    NETWORK,
    Repeated,
    SeedAnswers,
    Tables,
    comparator_folds,
    fold_of_rows,
    network_fold,
    seed_answers,
    tables_of,
)
from edgehemo_export.studies.yang.patients import Source
from edgehemo_export.studies.yang.sources import FoundData, find_data, read_sources

CACHE = "cache"
# Processor seconds measured here, one thread on a busy machine: a drawn field, a training crop of
# `TIMED_CROP_PX`, a field that is answered, the comparators of a seed.
FIELD_S, CROP_S, ANSWER_S, COMPARATORS_S = 0.19, 0.0175, 0.020, 20.0
TIMED_CROP_PX = 96
START_SAYS: Mapping[Start, str] = {
    "scratch": "from scratch: random first weights, nothing learnt before",
    "sibling": "from the project's field estimator, which learnt the content of drawn tiles: on "
    "drawn fields this is a leak of what the simulation is",
    "imagenet": "from ImageNet's weights (torchvision)",
}


def plan(configuration: YangConfiguration) -> list[PlannedPart]:
    """Each part with what it takes on drawn fields."""
    simulated, loop = configuration.simulated, configuration.loop
    outside = len(simulated.external_microscopes) * simulated.external_patients
    drawn = simulated.patients * (simulated.usual_fields + 2) + outside * simulated.usual_fields
    answered = simulated.patients * (simulated.usual_fields + 2) / configuration.folds
    answered += outside * simulated.usual_fields
    crops = loop.steps * loop.batch_size * (configuration.fields.crop_px / TIMED_CROP_PX) ** 2
    parts = [PlannedPart("fields", FIELD_S * drawn)]
    fold_s = CROP_S * crops + ANSWER_S * answered
    for seed in configuration.seeds:
        parts += [PlannedPart(fold_name(seed, fold), fold_s) for fold in range(configuration.folds)]
        parts.append(PlannedPart(f"seed{seed}-comparators", COMPARATORS_S))
    parts += [
        PlannedPart(fold_name(seed, fold), fold_s)
        for seed in configuration.repeat_seeds
        for fold in range(min(configuration.repeat_folds, configuration.folds))
    ]
    return parts


def fold_name(seed: int, fold: int) -> str:
    """The name of a fold's part."""
    return f"seed{seed}-fold{fold + 1:02d}"


def run(context: StudyContext[YangConfiguration]) -> StudyResult:
    """From data to what the page shows."""
    configuration = context.configuration
    found = find_data(context.data)
    context.use(found.files)
    cache = context.store.folder / CACHE

    def read() -> list[dict[str, Any]]:
        made = read_sources(found, configuration, cache, context.tell)
        return [_counts(source) for source in made]

    needs = (configuration.fields, configuration.simulated)
    context.part("fields", read, needs)
    sources = read_sources(found, configuration, cache, lambda says: None)
    tables = tables_of(sources)
    by_seed = {seed: _seed(context, tables, seed, needs) for seed in configuration.seeds}
    repeated = _repeated(context, tables, by_seed, needs)
    analysis = analysed(tables, by_seed, repeated, configuration)
    return _result(context, found, sources, tables, by_seed, analysis)


def _repeated(
    context: StudyContext[YangConfiguration],
    tables: Tables,
    by_seed: Mapping[int, SeedAnswers],
    needs: Sequence[object],
) -> Repeated:
    """The first folds of the first seed again, with other first weights and batches."""
    configuration = context.configuration
    first = configuration.seeds[0]
    fold = by_seed[first].fold
    count = min(configuration.repeat_folds, int(fold.max()) + 1)
    chosen = fold < count
    answers = {first: by_seed[first].internal[NETWORK][chosen]}
    for seed in configuration.repeat_seeds:
        answers[seed] = np.full_like(answers[first], np.nan)
        for number in range(count):
            part = _trained(context, tables, fold == number, seed, number, (*needs, first))
            answers[seed][fold[chosen] == number] = np.array(part["held_out"])
    return Repeated(chosen, answers)


def _trained(
    context: StudyContext[YangConfiguration],
    tables: Tables,
    held_out: NDArray[np.bool_],
    seed: int,
    number: int,
    needs: Sequence[object],
) -> Any:
    """The part of one fold's network; see `network_fold`."""
    configuration = context.configuration
    name = fold_name(seed, number)
    of = (
        *needs,
        configuration.folds,
        seed,
        configuration.threads,
        configuration.loop,
        configuration.start,
    )
    made = partial(
        network_fold,
        tables,
        held_out,
        configuration,
        seed,
        partial(context.work, name, of),
        context.tell,
    )
    return context.part(name, made, of)


def _seed(
    context: StudyContext[YangConfiguration], tables: Tables, seed: int, needs: Sequence[object]
) -> SeedAnswers:
    configuration = context.configuration
    fold = fold_of_rows(tables.internal, configuration.folds, seed)
    parts = [
        _trained(context, tables, fold == number, seed, number, needs)
        for number in range(int(fold.max()) + 1)
    ]
    needs = (*needs, configuration.folds, seed, configuration.threads)
    comparators = context.part(
        f"seed{seed}-comparators", partial(comparator_folds, tables, fold), needs
    )
    return seed_answers(tables, fold, parts, comparators)


def _counts(source: Source) -> dict[str, Any]:
    return {
        "name": source.label,
        "patients": len({patient.group for patient in source.patients}),
        "fields": sum(len(patient.fields) for patient in source.patients),
        "left_out": source.left_out,
    }


def _result(
    context: StudyContext[YangConfiguration],
    found: FoundData,
    sources: Sequence[Source],
    tables: Tables,
    by_seed: Mapping[int, SeedAnswers],
    analysis: Analysis,
) -> StudyResult:
    configuration = context.configuration
    internal, simulated = sources[0], sources[0].simulated
    labels = {source.name: source.label for source in sources}
    folds = int(next(iter(by_seed.values())).fold.max()) + 1
    patients = len({patient.group for patient in internal.patients})
    return StudyResult(
        summary=page_parts.summary_of(analysis, simulated, patients, folds),
        measures=page_parts.measures_of(analysis, labels),
        predictions=_predictions(tables, by_seed, labels),
        comparison=page_parts.comparison_of(analysis, simulated, labels),
        not_comparable=page_parts.apart(simulated, _cuts(configuration)),
        sections=[
            *sections.fields_section(tables, simulated, labels),
            *sections.internal_sections(analysis, by_seed, simulated),
            *sections.external_sections(analysis, sources),
        ],
        data=_data_table(found, sources),
        start={NETWORK: START_SAYS[configuration.start]},
        tables=_plain_tables(analysis, labels),
    )


def _cuts(configuration: YangConfiguration) -> list[str]:
    seeds, loop = len(configuration.seeds), configuration.loop
    return [
        f"Cut for time on a processor: {seeds} whole seed{'s' if seeds > 1 else ''}, "
        f"{len(configuration.repeat_seeds)} more on {configuration.repeat_folds} of the folds, "
        f"{loop.steps} steps of {loop.batch_size} crops a fold, fields at "
        f"{configuration.fields.um_per_px:g} um a pixel. More of each is one line in the "
        "configuration."
    ]


def _data_table(found: FoundData, sources: Sequence[Source]) -> Table:
    rows = []
    for number, source in enumerate(sources):
        counts = _counts(source)
        what = (
            f"drawn by the simulated microscope from real blood counts ({found.panels.name})"
            if source.simulated and found.panels is not None
            else "pictures with an analyser's values"
        )
        rows.append(
            (
                source.label,
                "learnt from" if number == 0 else "external",
                str(counts["patients"]),
                str(counts["fields"]),
                str(counts["left_out"]),
                what,
            )
        )
    return Table(
        ("source", "use", "patients", "fields", "fields refused", "what it is"), rows, (2, 3, 4)
    )


def _predictions(
    tables: Tables, by_seed: Mapping[int, SeedAnswers], labels: Mapping[str, str]
) -> list[Prediction]:
    found: list[Prediction] = []
    for seed, own in by_seed.items():
        parts = [("folds", tables.internal, own.internal)]
        parts += [
            ("external", asked, own.external[name]) for name, asked in tables.external.items()
        ]
        for part, rows, methods in parts:
            for method, values in methods.items():
                for index, row in enumerate(rows):
                    for column, measurand in enumerate(tables.measurands):
                        if measurand not in row.values or not np.isfinite(values[index, column]):
                            continue
                        found.append(
                            Prediction(
                                part=part,
                                method=method,
                                seed=seed,
                                picture=row.field.name,
                                group=row.patient,
                                source=labels[row.source],
                                truth=float(row.values[measurand]),
                                predicted=float(values[index, column]),
                                fold=int(own.fold[index]) + 1 if part == "folds" else None,
                                target=measurand,
                            )
                        )
    return found


def _plain_tables(analysis: Analysis, labels: Mapping[str, str]) -> dict[str, Any]:
    """Agreement, bands and density as plain values."""
    return {
        "agreement": {
            measurand: own.agreement.model_dump() for measurand, own in analysis.internal.items()
        },
        "by_concentration": {
            measurand: [
                {
                    "from": band.low,
                    "to": band.high,
                    "patients": band.patients,
                    **{name: _bounds(figure) for name, figure in band.figures.items()},
                }
                for band in own.bands
            ]
            for measurand, own in analysis.internal.items()
        },
        "density": {
            measurand: {
                method: {
                    "elasticity": _bounds(test.elasticity),
                    "p": test.p,
                    "p_holm": test.p_adjusted,
                    "change": _bounds(test.change),
                    "tenths": list(test.tenths),
                    "margin": MARGIN,
                    "verdict": test.verdict,
                    "fields": test.fields,
                    "patients": test.patients,
                    "thirds": [
                        {name: _bounds(figure) for name, figure in third.items()}
                        for third in test.thirds
                    ],
                }
                for method, test in own.density.items()
            }
            for measurand, own in analysis.internal.items()
        },
        "sources": dict(labels),
    }


def _bounds(figure: EvaluationFigure) -> dict[str, float | None]:
    return {"value": figure.value, "low": figure.low, "high": figure.high}


STUDY = Study(
    name="yang",
    title="HGB, HCT and RBC from fields of a smear (Yang et al. 2025)",
    paper=page_parts.PAPER,
    shape="a folder with pairs.csv and pictures (and external/NAME/pairs.csv), or a data root with "
    "AneRBC, whose blood counts fields are drawn from",
    configuration=YangConfiguration,
    plan=plan,
    run=run,
)
