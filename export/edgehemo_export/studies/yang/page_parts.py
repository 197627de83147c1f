"""The study's words: tables, comparison with the paper, and what keeps the two apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgehemo.measurands import MEASURAND_FACTS, Measurand
from edgehemo_export.evaluation.statistics import EvaluationFigure
from edgehemo_export.studies.study import Comparison, Measure, Paper, Table
from edgehemo_export.studies.yang.agreement import BIAS, MAE, PCC, R2, mean_figures
from edgehemo_export.studies.yang.agreement import figures as figures_of
from edgehemo_export.studies.yang.analysis import Analysis, MeasurandAnalysis
from edgehemo_export.studies.yang.comparators import SAYS
from edgehemo_export.studies.yang.density import LEAST_R2, MARGIN, DensityTest
from edgehemo_export.studies.yang.drawings import SIMULATED, band_name, unit_of
from edgehemo_export.studies.yang.folding import NETWORK

PAPER = Paper(
    citation="Yang C, Li D, Zhao C, et al. Prediction of hemoglobin levels and red blood cell "
    "parameters using deep learning on blood smear images. Intelligent Medicine, 2025",
    doi="10.1016/j.imed.2025.05.011",
    licence="the abstract alone was read",
)
# What the paper says of each measurand: PCC, R2, MAE (abstract, Results).
PAPER_FIGURES: Mapping[Measurand, Mapping[str, float]] = {
    "hgb_g_per_l": {PCC: 0.977, R2: 0.954, MAE: 4.269},
    "hct_l_per_l": {PCC: 0.982, R2: 0.965, MAE: 0.013},
    "rbc_1e12_per_l": {PCC: 0.982, R2: 0.964, MAE: 0.155},
}
WHERE = "abstract, Results"
DRAWN_SAYS = (
    "Our fields are drawn: their stain, film and counting noise are what the simulation sets, so "
    "the figure says what the method does in that world, nothing of a real smear."
)
REAL_SAYS = "Other patients, microscopes and numbers of pictures; the protocol is the same."
SHOWN: Mapping[str, str] = {PCC: "PCC", R2: "R²", MAE: "MAE", BIAS: "bias"}


@dataclass(frozen=True)
class Decimals:
    """How a measurand's errors are written."""

    digits: int

    def __call__(self, figure: EvaluationFigure | None) -> str:
        if figure is None:
            return "none"
        value = f"{figure.value:.{self.digits}f}"
        if figure.low is None or figure.high is None:
            return value
        return f"{value} ({figure.low:.{self.digits}f} to {figure.high:.{self.digits}f})"


SHARES = Decimals(3)
ERRORS: Mapping[Measurand, Decimals] = {
    "hgb_g_per_l": Decimals(1),
    "hct_l_per_l": Decimals(4),
    "rbc_1e12_per_l": Decimals(3),
}


def written(name: str, measurand: Measurand, figure: EvaluationFigure | None) -> str:
    """A figure by its name with as many digits as it has."""
    return (SHARES if name in (PCC, R2) else ERRORS[measurand])(figure)


def methods_table(own: MeasurandAnalysis, measurand: Measurand) -> Table:
    """Every method by patient."""
    patients = len(own.answers[NETWORK].truth)
    rows = [
        (method, *(written(name, measurand, found.get(name)) for name in (PCC, R2, MAE, BIAS)))
        for method, found in own.methods.items()
    ]
    rows.insert(
        1,
        (
            f"{NETWORK}, single fields",
            *(written(name, measurand, own.single.get(name)) for name in (PCC, R2, MAE, BIAS)),
        ),
    )
    return Table(
        (unit_of(measurand), "PCC", "R²", "MAE", "bias"),
        rows,
        (1, 2, 3, 4),
        f"{patients} patients, each left out once; 95 % intervals: bootstrap over patients.",
    )


def methods_text(analysis: Analysis) -> str:
    """What each comparator is."""
    used = [method for method in next(iter(analysis.internal.values())).methods if method in SAYS]
    return " ".join(f"`{method}`: {SAYS[method]}." for method in used)


def agreement_table(analyses: Mapping[Measurand, MeasurandAnalysis]) -> Table:
    """Bland-Altman by patient, with the Deming line and the slope of the error."""
    rows = []
    for measurand, own in analyses.items():
        shown, agreement = ERRORS[measurand], own.agreement
        line = own.line
        rows.append(
            (
                unit_of(measurand),
                shown(_figure(agreement.bias, agreement.bias_low, agreement.bias_high)),
                shown(
                    _figure(
                        agreement.lower_limit,
                        agreement.lower_limit_low,
                        agreement.lower_limit_high,
                    )
                ),
                shown(
                    _figure(
                        agreement.upper_limit,
                        agreement.upper_limit_low,
                        agreement.upper_limit_high,
                    )
                ),
                "none"
                if line is None
                else SHARES(_figure(line.slope, line.slope_low, line.slope_high)),
                SHARES(own.slope),
            )
        )
    return Table(
        ("network", "bias", "lower limit", "upper limit", "Deming slope", "error's slope"),
        rows,
        (1, 2, 3, 4, 5),
        "Limits of agreement: bias and 1.96 standard deviations, with their 95 % intervals. The "
        "error's slope on the analyser's value is 0 for an even error and -1 for one answer to "
        "everybody.",
    )


def _figure(value: float, low: float | None, high: float | None) -> EvaluationFigure:
    return EvaluationFigure(value, low, high, "")


def bands_table(analyses: Mapping[Measurand, MeasurandAnalysis]) -> Table:
    """Error by concentration."""
    return Table(
        ("", "band", "patients", "bias", "MAE"),
        [
            (
                unit_of(measurand),
                band_name(band, measurand),
                str(band.patients),
                ERRORS[measurand](band.figures.get(BIAS)),
                ERRORS[measurand](band.figures.get(MAE)),
            )
            for measurand, own in analyses.items()
            for band in own.bands
        ],
        (2, 3, 4),
    )


def density_table(analyses: Mapping[Measurand, MeasurandAnalysis]) -> Table:
    """The test of density, of the network and of an index that can only count."""
    rows = []
    for measurand, own in analyses.items():
        for method, test in own.density.items():
            rows.append(
                (
                    MEASURAND_FACTS[measurand].name,
                    method,
                    SHARES(test.elasticity),
                    f"{test.p_adjusted:.4f}",
                    _percent(test.change),
                    test.verdict,
                )
            )
    some = next((own.density[NETWORK] for own in analyses.values() if own.density), None)
    caption = "" if some is None else _density_caption(some)
    return Table(
        ("", "answer", "elasticity", "p (Holm)", "thinnest to thickest tenth", "density"),
        rows,
        (2, 3, 4),
        caption,
    )


def _density_caption(test: DensityTest) -> str:
    low, high = test.tenths
    return (
        f"{test.fields} fields of {test.patients} patients. The tenths lie at {low:.2f} and "
        f"{high:.2f} of the patient's mean density; the change between them is a share of the "
        f"patient's value, with its 90 % interval. Margin: {100 * MARGIN:.0f} %. Nothing is said "
        f"where the answers by patient explain less than {100 * LEAST_R2:.0f} % of the variance: "
        "an answer that is the same for everybody would pass."
    )


def _percent(figure: EvaluationFigure) -> str:
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:.1f} %"
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def external_table(analysis: Analysis, name: str) -> Table:
    """Another source by method."""
    rows = []
    for measurand, own in analysis.external[name].items():
        for method, found in own.figures.items():
            rows.append(
                (
                    unit_of(measurand),
                    method,
                    *(written(each, measurand, found.get(each)) for each in (PCC, R2, MAE, BIAS)),
                )
            )
    first = next(iter(analysis.external[name].values()))
    return Table(
        ("", "answer", "PCC", "R²", "MAE", "bias"),
        rows,
        (2, 3, 4, 5),
        f"{first.patients} patients, {first.fields} fields. Left out with their patient where a "
        "line was fitted on the others.",
    )


def measures_of(analysis: Analysis, labels: Mapping[str, str]) -> list[Measure]:
    """Every single figure, for metrics.json and the page's last table. labels: how each source is
    named in full, the internal one first.
    """
    found: list[Measure] = []
    internal = next(iter(labels.values()))
    for measurand, own in analysis.internal.items():
        for method, figures in own.methods.items():
            answers = own.answers[method]
            each = {s: figures_of(values, answers.truth) for s, values in answers.by_seed.items()}
            for name, figure in figures.items():
                found.append(
                    Measure.of_seeds(
                        f"{MEASURAND_FACTS[measurand].name} {name}",
                        {seed: values[name] for seed, values in each.items() if name in values},
                        of=method,
                        on=f"{internal}, by patient",
                        n=len(answers.truth),
                        figure=figure,
                        unit=MEASURAND_FACTS[measurand].unit if name in (MAE, BIAS) else "",
                    )
                )
    for measurand, answers in analysis.repeated.items():
        if len(answers.by_seed) < 2:
            continue
        each = {s: figures_of(values, answers.truth) for s, values in answers.by_seed.items()}
        found += [
            Measure.of_seeds(
                f"{MEASURAND_FACTS[measurand].name} {name}",
                {seed: values[name] for seed, values in each.items() if name in values},
                of=NETWORK,
                on=f"{internal}, folds trained again",
                n=len(answers.truth),
                unit=MEASURAND_FACTS[measurand].unit if name == MAE else "",
            )
            for name in (PCC, MAE)
            if all(name in values for values in each.values())
        ]
    for source, measurands in analysis.external.items():
        for measurand, own_external in measurands.items():
            for method, figures in own_external.figures.items():
                answers = own_external.answers[method]
                each = {
                    s: figures_of(values, answers.truth) for s, values in answers.by_seed.items()
                }
                for name, figure in figures.items():
                    found.append(
                        Measure.of_seeds(
                            f"{MEASURAND_FACTS[measurand].name} {name}",
                            {s: values[name] for s, values in each.items() if name in values},
                            of=method,
                            on=labels[source],
                            n=len(answers.truth),
                            figure=figure,
                            unit=MEASURAND_FACTS[measurand].unit if name in (MAE, BIAS) else "",
                        )
                    )
    return found


def comparison_of(
    analysis: Analysis, simulated: bool, labels: Mapping[str, str]
) -> list[Comparison]:
    """The paper's figures beside ours. labels: how each external source is named in full."""
    why = DRAWN_SAYS if simulated else REAL_SAYS
    mark = f" {SIMULATED}" if simulated else ""
    rows = [
        Comparison(
            f"{MEASURAND_FACTS[measurand].name} {SHOWN[name]}",
            f"{PAPER_FIGURES[measurand][name]:g}"
            + (f" {MEASURAND_FACTS[measurand].typeset_unit}" if name == MAE else ""),
            WHERE,
            written(name, measurand, own.methods[NETWORK].get(name)) + mark,
            not simulated,
            why,
        )
        for measurand, own in analysis.internal.items()
        for name in (PCC, R2, MAE)
    ]
    for source, measurands in analysis.external.items():
        if not measurands:
            continue
        shown = ", ".join(
            f"{MEASURAND_FACTS[measurand].name} {SHARES(own.figures[NETWORK].get(PCC))}"
            for measurand, own in measurands.items()
            if NETWORK in own.figures
        )
        patients = max(own.patients for own in measurands.values())
        rows.append(
            Comparison(
                f"external PCC, {labels[source]}",
                "above 0.9, two data sets",
                WHERE,
                shown,
                False,
                f"{patients} patients of {labels[source]}, raw answers without any calibration; "
                "how many patients the paper's sets hold is not in the abstract.",
            )
        )
    verdicts = ", ".join(
        f"{MEASURAND_FACTS[measurand].name} {own.density[NETWORK].verdict} "
        f"(elasticity {own.density[NETWORK].elasticity.value:.2f})"
        for measurand, own in analysis.internal.items()
        if NETWORK in own.density
    )
    if verdicts:
        rows.append(
            Comparison(
                "RBC from single pictures of any density",
                "shown, by the global distribution of cells",
                WHERE,
                verdicts + mark,
                False,
                "The abstract gives no figure for it. Here it is tested within patients; in drawn "
                "fields nothing but their number tells how concentrated the cells were."
                if simulated
                else "The abstract gives no figure for it. Here it is tested within patients.",
            )
        )
    return rows


def repeats_table(analysis: Analysis) -> Table:
    """What chance does to a network: the repeated folds by seed."""
    rows = []
    seeds: list[int] = []
    patients = 0
    for measurand, answers in analysis.repeated.items():
        seeds, patients = list(answers.by_seed), len(answers.truth)
        each = [figures_of(values, answers.truth) for values in answers.by_seed.values()]
        for name in (PCC, MAE):
            values = [found[name] for found in each if name in found]
            if len(values) == len(each) > 1:
                digits = SHARES.digits if name == PCC else ERRORS[measurand].digits
                rows.append(
                    (
                        f"{unit_of(measurand)}: {name}"
                        if name == MAE
                        else f"{MEASURAND_FACTS[measurand].name}: {name}",
                        *(f"{value:.{digits}f}" for value in values),
                        f"{np.mean(values):.{digits}f}",
                        f"{np.std(values, ddof=1):.{digits}f}",
                    )
                )
    return Table(
        ("", *(f"seed {seed}" for seed in seeds), "mean", "sd"),
        rows,
        tuple(range(1, len(seeds) + 3)),
        f"{patients} patients of the folds that were trained again: the same patients held out, "
        "other first weights and batches.",
    )


def seeds_text(own: MeasurandAnalysis, measurand: Measurand) -> str:
    """Each seed's PCC and MAE, in words."""
    answers = own.answers[NETWORK]
    each = []
    for seed, values in answers.by_seed.items():
        found = figures_of(values, answers.truth)
        shown = f"{found[MAE]:.{ERRORS[measurand].digits}f}"
        pcc = f"{found[PCC]:.3f}" if PCC in found else "none"
        each.append(f"seed {seed}: PCC {pcc}, MAE {shown}")
    return f"{MEASURAND_FACTS[measurand].name}: {'; '.join(each)}."


def summary_of(analysis: Analysis, simulated: bool, patients: int, folds: int) -> str:
    """One to three sentences for the top of the page."""
    parts = []
    for measurand, own in analysis.internal.items():
        mean = mean_figures(own.answers[NETWORK])
        parts.append(
            f"{MEASURAND_FACTS[measurand].name} PCC {mean.get(PCC, float('nan')):.3f}, MAE "
            f"{mean[MAE]:.{ERRORS[measurand].digits}f} {MEASURAND_FACTS[measurand].typeset_unit}"
        )
    what = (
        f"{SIMULATED} fields of {patients} real blood counts"
        if simulated
        else f"fields of {patients} patients"
    )
    return f"ResNet18 on {what}, {folds} folds by patient: {'; '.join(parts)}. " + (
        "Drawn fields show that the method runs and what limits it; they are never a claim of "
        "accuracy."
        if simulated
        else "Every patient was answered by a network that had not seen any field of theirs."
    )


def apart(simulated: bool, sequence: Sequence[str]) -> list[str]:
    """What keeps the paper and this run apart."""
    found = [
        "Only the paper's abstract was at hand: its network's input size, augmentation, schedule, "
        "first weights, number of patients and how folds were grouped are not known here.",
        "The paper trains models for HGB, HCT and RBC; here one network has three outputs.",
        "The paper's R² (0.954, 0.965, 0.964) are the squares of its PCC within rounding, so it "
        "cannot be told which of the two it gives. Here R² is 1 less squared error over variance, "
        "which a biased answer lowers.",
    ]
    if simulated:
        found += [
            f"{SIMULATED}: one simulated stain, film and camera in a laboratory; how fields and "
            "samples vary is set by the simulation (10 % between fields, 3 % between samples), and "
            "bounds every figure.",
            "The blood counts are real (AneRBC); each is taken for another patient, which the set "
            "does not say.",
        ]
    return [*found, *sequence]
